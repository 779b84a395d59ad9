package doubles

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

const defaultPatience = 10 * time.Second

// T is what a [Stage] needs of a testing.TB. This package does not import testing, which its servers can do without.
type T interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// StageOptions say how a [Stage] listens.
type StageOptions struct {
	Name     string          // of the double, in front of what fails a test: "imaptest"
	Mode     connection.Mode // not ""
	TLS      *tls.Config     // as for ServerTLS
	MaxWrite int             // as for Line.Listen
	Patience time.Duration   // how long an expected command may take; 0 = 10 s, negative = for ever
	Repeat   bool            // the last script also serves every further connection
	Lenient  bool            // scripts that are not played to their end do not fail the test
}

// A Stage is a server on which a script is played for each connection, in the order of acceptance. A connection for
// which there is no script, and a script without a connection, fail the test.
type Stage struct {
	t     T
	opts  StageOptions
	line  *Line
	tls   *tls.Config
	caPEM string
	done  chan struct{} // closed by Close
	end   func()        // closes it, once
}

// NewStage listens with line, and runs play for each connection, in a goroutine of its own, with the index of its script.
// It is closed when the test ends.
func NewStage(t T, line *Line, opts StageOptions, scripts int, play func(s *Stage, m *Meter, script int)) *Stage {
	t.Helper()
	s := &Stage{t: t, opts: opts, line: line, done: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.done) })
	if s.opts.Patience == 0 {
		s.opts.Patience = defaultPatience
	}
	if opts.Mode != connection.ModeInsecure {
		var err error
		if s.tls, s.caPEM, err = ServerTLS(opts.Name, opts.TLS); err != nil {
			t.Fatalf("%s: %v", opts.Name, err)
		}
	}
	if err := line.Listen("127.0.0.1:0", opts.MaxWrite, func(m *Meter) {
		if m.ID > scripts && !opts.Repeat || scripts == 0 {
			t.Errorf("%s: connection %d: there is no script for it", opts.Name, m.ID)
			m.Cut()
			return
		}
		play(s, m, min(m.ID, scripts)-1)
	}); err != nil {
		t.Fatalf("%s: %v", opts.Name, err)
	}
	t.Cleanup(func() {
		s.Close()
		if n := len(line.Sent()); n < scripts && !opts.Lenient {
			t.Errorf("%s: %d of %d scripts were played: the client made no more connections", opts.Name, n, scripts)
		}
	})
	return s
}

// CAPEM returns the PEM text that clients must trust, "" without TLS.
func (s *Stage) CAPEM() string { return s.caPEM }

// Close ends all connections and the server, at once. A second Close does nothing.
func (s *Stage) Close() {
	s.end()
	s.line.Close()
}
