//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// child is the built program while it runs.
type child struct {
	*exec.Cmd
	done chan struct{}
	err  error

	mu          sync.Mutex
	out, errOut bytes.Buffer
}

func (c *child) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String() + c.errOut.String()
}

// shared is a buffer that the test reads while the child writes.
type shared struct {
	*child
	buf *bytes.Buffer
}

func (s shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func start(t *testing.T, args ...string) *child {
	t.Helper()
	c := &child{Cmd: command(t, args...), done: make(chan struct{})}
	c.Stdout, c.Stderr = shared{c, &c.out}, shared{c, &c.errOut}
	// A shell has its background jobs ignore interrupts, and what is ignored here would be ignored there.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGINT)
	err := c.Start()
	signal.Stop(heard)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = c.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has ended, unless the test failed
		<-c.done
	})
	return c
}

func (c *child) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatalf("%v\n%s", err, c.output())
	}
}

// patience is what no test needs on a machine that has time.
const patience = 5 * time.Minute

// until waits until ok. If the child ends before, or does not come so far, the test fails and shows what the child has
// said, and where it hangs.
func (c *child) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for wait := 5 * time.Millisecond; !ok(); wait = min(2*wait, 320*time.Millisecond) { // looking costs time, too
		select {
		case <-time.After(wait):
		case <-c.done:
			t.Fatalf("it ended before this was true: %s\n%v\n%s", what, c.err, c.output())
		case <-limit.C:
			c.signal(t, syscall.SIGQUIT)
			<-c.done
			t.Fatalf("after %s this is not true: %s\n%s", patience, what, c.output())
		}
	}
}

// code waits for the end and returns the exit code, -1 if a signal ended it.
func (c *child) code(t *testing.T) int {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-c.done:
	case <-limit.C:
		c.signal(t, syscall.SIGQUIT)
		<-c.done
		t.Fatalf("it does not end\n%s", c.output())
	}
	return c.ProcessState.ExitCode()
}

// doneStats returns the drain stats of the JSON event done.
func doneStats(t *testing.T, out io.Reader) (stats connection.DrainStats) {
	t.Helper()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var event struct {
			Event string `json:"event"`
			Done  struct {
				Drain connection.DrainStats `json:"drain"`
			} `json:"done"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if event.Event == "done" {
			return event.Done.Drain
		}
	}
	t.Fatal("no event done")
	return stats
}

// Ctrl-C in the middle: what is stored is deleted at the source, the rest is still there, and the archive is whole.
func TestInterrupt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			raws := samples(1500, 12)
			srv, from := demoServer(t, raws)
			dir := t.TempDir()
			c := start(t, "-from", from, "-to", dir, "-workers", "2", "-json")
			c.until(t, "some messages are deleted", func() bool { return len(srv.Messages()) < len(raws) })
			c.signal(t, signal)
			if code := c.code(t); code != exitInterrupted {
				t.Fatalf("got exit code %d, want %d\n%s", code, exitInterrupted, c.output())
			}
			stats := doneStats(t, &c.out)
			if stats.Stored == 0 || stats.Deleted != stats.Stored {
				t.Errorf("got %+v, want every stored message acknowledged", stats)
			}
			if !strings.Contains(c.errOut.String(), "interrupted") {
				t.Errorf("standard error does not say why:\n%s", c.errOut.String())
			}
			left := srv.Messages()
			if len(left) == 0 || len(left) != len(raws)-int(stats.Deleted) {
				t.Errorf("%d messages are on the server, want %d", len(left), len(raws)-int(stats.Deleted))
			}
			found := archived(t, dir)
			for _, m := range left {
				found[strings.TrimSuffix(keyOf(m.Raw)[len("messages/aa/bb/"):], ".eml")] = true
			}
			if want := len(distinct(raws)); len(found) != want {
				t.Errorf("got %d messages in the archive or on the server, want %d", len(found), want)
			}
			runArgs(t, "-verify", dir).want(t, exitOK)
			runArgs(t, "-from", from, "-to", dir).want(t, exitOK)
			wantArchived(t, dir, raws)
		})
	}
}

func distinct(raws [][]byte) map[string]bool {
	keys := map[string]bool{}
	for _, raw := range raws {
		keys[keyOf(raw)] = true
	}
	return keys
}

// A second signal does not wait for a server that has stopped answering.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	srv, from := demoServer(t, samples(100, 13))
	srv.Stall("STORE")
	c := start(t, "-from", from, "-to", t.TempDir())
	c.until(t, "the server is asked to delete", func() bool { return len(srv.Transcript("STORE")) > 0 })
	c.signal(t, syscall.SIGINT)
	c.until(t, "it says that it stops", func() bool { return strings.Contains(c.output(), "Press Ctrl-C again") })
	c.signal(t, syscall.SIGINT)
	if code := c.code(t); code != -1 {
		t.Errorf("got exit code %d, want an end by the signal\n%s", code, c.output())
	}
	var exit *exec.ExitError
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !errors.As(c.err, &exit) || !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("got %v, want an end by SIGINT", c.err)
	}
}

// -follow waits for mail that arrives later, until it is told to stop.
func TestFollow(t *testing.T) {
	raws := samples(60, 14)
	srv, from := demoServer(t, raws[:20])
	dir := t.TempDir()
	c := start(t, "-follow", "-from", from, "-to", dir)
	empty := func() bool { return len(srv.Messages()) == 0 }
	c.until(t, "the server is empty", empty)
	for _, raw := range raws[20:] {
		srv.Deliver(raw)
	}
	c.until(t, "the server is empty again", empty)
	c.signal(t, syscall.SIGTERM)
	if code := c.code(t); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d\n%s", code, exitInterrupted, c.output())
	}
	wantArchived(t, dir, raws)
}
