package doubles_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
)

// recorder takes what a stage says of a test.
type recorder struct {
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (*recorder) Helper()                          {}
func (r *recorder) Cleanup(f func())               { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatalf(format string, a ...any) { r.Errorf(format, a...) }

func (r *recorder) Errorf(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, a...))
}

// end is the end of the recorder's test. It returns what failed.
func (r *recorder) end() []string {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	return r.failures
}

// word is the command of a language in which a line is a command, and "bye" the last.
type word string

func (w word) String() string { return string(w) }

type speaker struct{ *doubles.Player[word] }

func (s speaker) Read() (word, error) {
	line, err := s.R.ReadString('\n')
	return word(strings.TrimSpace(line)), err
}

func (speaker) Matches(w word, pattern string) bool { return string(w) == pattern }
func (speaker) Fill(text string) string             { return strings.ReplaceAll(text, "$WHO", "stage") }

func (speaker) Farewell(w word) []string {
	if w == "bye" {
		return []string{"bye from $WHO"}
	}
	return nil
}

func expect(want word) func(*speaker) doubles.Act {
	return func(s *speaker) doubles.Act {
		return doubles.Act{Label: "expect " + string(want), Play: func() error {
			return s.Expect(func(w word) bool { return w == want })
		}}
	}
}

func TestPlayer(t *testing.T) {
	hello := func(s *speaker) doubles.Act {
		return doubles.Act{Label: "hello", Play: func() error {
			if err := s.Answer("who", []string{"$WHO"}); err != nil {
				return err
			}
			return s.Send("hello")
		}}
	}
	cut := func(s *speaker) doubles.Act { return doubles.Act{Label: "cut", Play: s.Cut} }
	several := func(s *speaker) doubles.Act {
		return doubles.Act{Label: "several", Play: func() error { return s.Do([]doubles.Act{hello(s), expect("a")(s)}) }}
	}
	type script []func(*speaker) doubles.Act
	for _, test := range []struct {
		name    string
		opts    doubles.StageOptions
		script  script
		say     string
		silent  bool // the client says no more, and stays
		hear    string
		failure string // "" = none
	}{
		{name: "to the end", script: script{hello, expect("a")}, say: "who\na\nwho\nbye\n", hear: "hello\r\nstage\r\nstage\r\nbye from stage\r\n"},
		{name: "cut", script: script{hello, cut, expect("a")}, hear: "hello\r\n"},
		{name: "other command", script: script{expect("a")}, say: "b\n", failure: "double: script of connection 1: step 1, expect a: unexpected command: b"},
		{name: "within several", script: script{several}, say: "b\n", hear: "hello\r\n", failure: "double: script of connection 1: step 1, several: 2, expect a: unexpected command: b"},
		{name: "after the last", script: script{hello}, say: "b\n", hear: "hello\r\n", failure: "double: script of connection 1: unexpected command after the last step: b"},
		{name: "gone", script: script{expect("a")}, failure: "double: script of connection 1: step 1, expect a: the connection ended instead: EOF"},
		{name: "gone, lenient", opts: doubles.StageOptions{Lenient: true}, script: script{expect("a")}},
		{name: "silent", opts: doubles.StageOptions{Patience: 20 * time.Millisecond}, script: script{expect("a")}, silent: true, failure: "double: script of connection 1: step 1, expect a: nothing came within 20ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, line := &recorder{}, &doubles.Line{}
			test.opts.Name, test.opts.Mode = "double", connection.ModeInsecure
			doubles.NewStage(r, line, test.opts, 1, func(stage *doubles.Stage, m *doubles.Meter, _ int) {
				s := &speaker{}
				s.Player = doubles.NewPlayer(stage, m, 1<<10, s)
				var acts []doubles.Act
				for _, step := range test.script {
					acts = append(acts, step(s))
				}
				s.Play(acts)
			})
			conn := dial(t, line)
			if _, err := io.WriteString(conn, test.say); err != nil {
				t.Fatal(err)
			}
			if !test.silent {
				_ = conn.CloseWrite() // it may be cut
			}
			heard, _ := io.ReadAll(conn) // a cut may be a reset
			if got := string(heard); got != test.hear {
				t.Errorf("heard %q, want %q", got, test.hear)
			}
			if got := strings.Join(r.end(), "\n"); got != test.failure {
				t.Errorf("got the failures %q, want %q", got, test.failure)
			}
		})
	}
}

// Connections and scripts come in pairs, unless the last script is for all that follow.
func TestStageCountsScripts(t *testing.T) {
	for _, test := range []struct {
		name                 string
		opts                 doubles.StageOptions
		scripts, connections int
		played               string
		failure              string
	}{
		{"as many", doubles.StageOptions{}, 2, 2, "[0 1]", ""},
		{"too few connections", doubles.StageOptions{}, 2, 1, "[0]", "double: 1 of 2 scripts were played: the client made no more connections"},
		{"too few, lenient", doubles.StageOptions{Lenient: true}, 2, 1, "[0]", ""},
		{"too many", doubles.StageOptions{}, 1, 2, "[0]", "double: connection 2: there is no script for it"},
		{"repeat", doubles.StageOptions{Repeat: true}, 2, 4, "[0 1 1 1]", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, line := &recorder{}, &doubles.Line{}
			var played []int
			test.opts.Name, test.opts.Mode = "double", connection.ModeInsecure
			doubles.NewStage(r, line, test.opts, test.scripts, func(_ *doubles.Stage, _ *doubles.Meter, script int) {
				r.mu.Lock()
				defer r.mu.Unlock()
				played = append(played, script)
			})
			for range test.connections {
				_, _ = io.ReadAll(dial(t, line)) // to its end, which may be a reset
			}
			failures := strings.Join(r.end(), "\n")
			if got := fmt.Sprint(played); got != test.played || failures != test.failure {
				t.Errorf("played %s, failures %q; want %s, %q", got, failures, test.played, test.failure)
			}
		})
	}
}

// Close ends a script that waits.
func TestStageEndsWait(t *testing.T) {
	line := &doubles.Line{}
	waiting := make(chan struct{})
	stage := doubles.NewStage(t, line, doubles.StageOptions{Name: "double", Mode: connection.ModeInsecure}, 1, func(stage *doubles.Stage, m *doubles.Meter, _ int) {
		s := &speaker{}
		s.Player = doubles.NewPlayer(stage, m, 1<<10, s)
		s.Play([]doubles.Act{{Label: "wait", Play: func() error {
			close(waiting)
			return s.Wait(nil)
		}}})
	})
	dial(t, line)
	<-waiting
	stage.Close()
}
