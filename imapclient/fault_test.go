package imapclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// 49: the connection is cut after each octet of a whole cycle. No message is ever both absent from the server and not
// stored, and what is stored has the octets that the server had.
func TestCutAfterEachOctet(t *testing.T) {
	raw := letters(4)
	run := func(cut int64) (sent []int64) {
		srv, err := imaptest.Listen(&imaptest.Options{Mode: connection.ModeInsecure})
		if err != nil {
			t.Error(err)
			return nil
		}
		defer srv.Close()
		srv.Deliver(raw...)
		cfg := emptying(srv.Config())
		cfg.AllowPlaintextAuth, cfg.MessagesPerCycle, cfg.ExpungeEvery = true, 3, 2
		stored := map[string]int{}
		drain := func() {
			c, err := imapclient.Open(cfg, srv.Env()) // not open: what t.Cleanup holds of thousands of runs is gigabytes
			if err != nil {
				t.Error(err)
				return
			}
			_, err = connection.Drain(t.Context(), c, func(_ context.Context, m *connection.Message) error {
				octets, err := io.ReadAll(m.Body)
				if err == nil {
					stored[string(octets)]++
				}
				return err
			}, &connection.DrainOptions{Batch: 2, RetryDelay: time.Millisecond})
			if err != nil && !connection.Temporary(err) && !errors.Is(err, connection.ErrUncertain) {
				t.Errorf("cut after %d octets: %v", cut, err)
			}
			_ = c.Close() // what it says is not the point: what is on the server is
		}
		if cut >= 0 {
			srv.CutAfter(cut)
			srv.CutAfter(cut) // the second session as well
		}
		drain()
		left := map[string]bool{}
		for _, m := range srv.Messages() {
			left[string(m.Raw)] = true
		}
		for _, r := range raw {
			if !left[string(r)] && stored[string(r)] == 0 {
				t.Errorf("cut after %d octets: %q is lost", cut, r)
			}
		}
		srv.ClearFaults()
		drain()
		if n := len(srv.Messages()); n != 0 {
			t.Errorf("cut after %d octets: %d messages are left by a good line", cut, n)
		}
		for _, r := range raw {
			if stored[string(r)] == 0 {
				t.Errorf("cut after %d octets: %q was never stored", cut, r)
			}
		}
		if len(stored) != len(raw) {
			t.Errorf("cut after %d octets: stored %d different messages, want %d", cut, len(stored), len(raw))
		}
		return srv.Sent()
	}
	whole := run(-1)
	step := int64(1)
	if testing.Short() {
		step = 29
	}
	var wg sync.WaitGroup
	at := make(chan int64)
	for range 16 { // most of the time is spent waiting before another try
		wg.Go(func() {
			for cut := range at {
				run(cut)
			}
		})
	}
	for cut := int64(0); cut < max(whole[0], whole[1]) && !t.Failed(); cut += step {
		at <- cut
	}
	close(at)
	wg.Wait()
}

// 41: a caller that takes its time in the middle of a body is not cut off, however short the timeout is.
func TestSlowCaller(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // more than sockets and buffers take
	srv.Deliver(big, []byte("small"))
	cfg := srv.Config()
	cfg.NoDataTimeout = connection.Duration(3 * time.Second)
	n := 0
	for m, err := range open(t, cfg, srv.Env()).Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(m.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		<-time.After(cfg.NoDataTimeout.D() + time.Second)
		rest, err := io.Copy(io.Discard, m.Body)
		if err != nil || rest != m.Size-1 {
			t.Fatalf("got %d of %d octets, %v", rest+1, m.Size, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("got %d messages, want 2", n)
	}
}

// 4: a server that is silent in the middle of a body ends by the no-data timeout.
func TestSilentServer(t *testing.T) {
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Repeat: true, Lenient: true}, imaptest.Script{
		imaptest.Welcome(caps),
		imaptest.Answer("EXAMINE", "* 1 EXISTS", "* OK [UIDVALIDITY 7] valid", "* OK [UIDNEXT 2] next", "$TAG OK [READ-ONLY] done"),
		imaptest.Answer("UID SEARCH", "* SEARCH 1", "$TAG OK done"),
		imaptest.Answer("LOGOUT", "$TAG OK done"),
		imaptest.Expect("UID FETCH"), imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Stall(),
	})
	cfg := srv.Config()
	cfg.NoDataTimeout = connection.Duration(20 * time.Millisecond)
	all := collect(t, open(t, cfg, srv.Env()), nil)
	if len(all) != 1 {
		t.Fatalf("got %d items, want one error", len(all))
	}
	if e := theError(t, all[0].Err, connection.ErrTimeout); e.Ref.ID != "7:1" {
		t.Errorf("got an error for %v, want one for 7:1", e.Ref)
	}
}

// 42: ctx ends a verb at once wherever the line is stuck, Close does not block, and nothing is left running.
func TestCancelWhereverItIs(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, test := range []struct {
		name string
		act  func(*testing.T, *imaptest.Server)
	}{
		{"greeting", func(_ *testing.T, s *imaptest.Server) { s.StallAfter(0) }},
		{"login", func(_ *testing.T, s *imaptest.Server) { s.Stall("LOGIN"); s.Stall("AUTHENTICATE") }},
		{"select", func(_ *testing.T, s *imaptest.Server) { s.Stall("SELECT") }},
		{"search", func(_ *testing.T, s *imaptest.Server) { s.Stall("SEARCH") }},
		{"fetch", func(_ *testing.T, s *imaptest.Server) { s.Stall("FETCH") }},
		{"in a body", func(_ *testing.T, s *imaptest.Server) { s.StallAfter(500_000) }},
		{"in a small body", func(_ *testing.T, s *imaptest.Server) { s.Delete("INBOX", 1); s.StallAfter(2_500) }},
		{"store", func(_ *testing.T, s *imaptest.Server) { s.Stall("STORE") }},
		{"expunge", func(_ *testing.T, s *imaptest.Server) { s.Stall("EXPUNGE") }},
	} {
		for _, closing := range []bool{false, true} {
			name := test.name + ", ctx"
			if closing {
				name = test.name + ", Close"
			}
			t.Run(name, func(t *testing.T) {
				srv := imaptest.NewServer(t, nil)
				srv.Deliver(big, bytes.Repeat([]byte("y"), 10_000), []byte("small"))
				test.act(t, srv)
				cfg := emptying(srv.Config())
				cfg.NoDataTimeout = connection.Duration(2 * time.Second) // bounds what Close finishes
				c := open(t, cfg, srv.Env())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := make(chan struct{})
				var ended time.Time
				var closeErr error
				var wg sync.WaitGroup
				wg.Go(func() {
					<-began
					<-time.After(100 * time.Millisecond)
					ended = time.Now()
					if closing {
						closeErr = c.Close()
					} else {
						cancel()
					}
				})
				close(began)
				var last error
				for m, err := range c.Fetch(ctx, nil) {
					if last = err; err != nil {
						continue
					}
					if _, err := io.Copy(io.Discard, m.Body); err != nil {
						last = err
						continue
					}
					if err := c.Delete(ctx, m.Ref); err != nil {
						last = err
					}
				}
				took := time.Since(ended)
				wg.Wait()
				want := error(context.Canceled)
				if closing {
					want = connection.ErrClosed
				}
				if !errors.Is(last, want) && !errors.Is(last, connection.ErrUncertain) {
					t.Errorf("got %v, want %v", last, want)
				}
				if took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if test.name != "expunge" && closeErr != nil {
					t.Errorf("Close: %v", closeErr)
				}
				srv.Close()
				_ = c.Close() // with an expunge that nobody answers it has nothing good to say
				noGoroutines(t)
			})
		}
	}
}

// Leaving the loop early leaves nothing behind, and the Conn serves on.
func TestBreak(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(200)...)
	srv.Deliver(bytes.Repeat([]byte("x"), 1<<22))
	c := open(t, srv.Config(), srv.Env())
	for range 3 {
		n := 0
		for m, err := range c.Fetch(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; m.Size > 1<<20 || n == 10 {
				break
			}
		}
	}
	for m, err := range c.Fetch(t.Context(), &connection.FetchOptions{Skip: func(r connection.Ref) bool { return !strings.HasSuffix(r.ID, ":201") }}) {
		if err != nil || m.Size != 1<<22 {
			t.Fatal(m, err)
		}
		break
	}
	wantBodies(t, bodies(t, collect(t, c, nil))[:200], texts(letters(200))...)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	noGoroutines(t)
}

// The password appears nowhere: not in errors, reports, logs and traces, not even when the server repeats it.
func TestSecretsNeverPrint(t *testing.T) {
	var printed bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &printed}, &slog.HandlerOptions{Level: connection.LevelTrace}))
	say := func(texts ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, text := range texts {
			printed.WriteString(text)
		}
	}
	use := func(cfg imapclient.Config, env *connection.Env) {
		env.Logger = logger
		env.Observe = func(ev connection.Event) {
			if ev.Err != nil {
				say(ev.Err.Error())
			}
			say(ev.Detail)
		}
		cfg.Password = connection.NewSecret(canary)
		c := open(t, cfg, env)
		report, err := c.Test(t.Context(), nil)
		say(report.String())
		if err != nil {
			say(err.Error())
		}
		for _, f := range collect(t, c, nil) {
			if f.Err != nil {
				say(f.Err.Error())
			}
			if err := c.Delete(t.Context(), f.Ref); err != nil {
				say(err.Error())
			}
		}
	}
	srv := imaptest.NewServer(t, &imaptest.Options{Password: canary})
	srv.Deliver(letters(2)...)
	srv.Fail("STORE", "NO the password "+canary+" is a fine one", 1)
	srv.Fail("SELECT", "BAD LOGIN user "+canary, 1)
	use(emptying(srv.Config()), srv.Env())
	echo := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure, Repeat: true, Lenient: true}, imaptest.Script{
		imaptest.Send("* OK [CAPABILITY IMAP4rev1] hello"), imaptest.Expect("LOGIN"), imaptest.Send("$TAG NO LOGIN user " + canary + " refused"),
	})
	cfg := echo.Config()
	cfg.AllowPlaintextAuth = true
	use(cfg, echo.Env())
	mu.Lock()
	defer mu.Unlock()
	if printed.Len() == 0 {
		t.Fatal("nothing was printed: the test tests nothing")
	}
	if i := strings.Index(printed.String(), canary); i >= 0 {
		t.Errorf("printed: …%s…", printed.String()[max(0, i-200):i+40])
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
