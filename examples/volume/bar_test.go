package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
)

// clocked returns a bar whose time the test moves.
func clocked(terminal bool, objects, total int64) (b *bar, out *bytes.Buffer, later func(time.Duration)) {
	out = new(bytes.Buffer)
	p := newPrinter(new(bytes.Buffer), out)
	p.terminal = terminal
	b = p.newBar("put", objects, total)
	now := b.began
	b.now = func() time.Time { return now }
	return b, out, func(d time.Duration) { now = now.Add(d) }
}

func TestBarOnATerminal(t *testing.T) {
	b, out, later := clocked(true, 3, 4_000_000)
	b.move(1000)
	if out.Len() > 0 {
		t.Errorf("at once %q is drawn, want nothing yet", out)
	}
	later(time.Second)
	b.move(999_000)
	const first = "\rput  [######------------------]  25%  1.0 MB of 4.0 MB  1.0 MB/s  0 of 3 objects"
	if got := out.String(); got != first {
		t.Errorf("drawn %q, want %q", got, first)
	}
	b.finish()
	if got := out.String(); got != first {
		t.Errorf("it is drawn again within a moment: %q", got)
	}
	out.Reset()
	if err := b.above(func() error { _, err := out.WriteString("put a\n"); return err }); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "\r"+strings.Repeat(" ", len(first)-1)+"\rput a\n"; got != want {
		t.Errorf("a line above the bar is %q, want %q", got, want)
	}
	out.Reset()
	later(3 * time.Second)
	b.move(5_000_000) // more than was said
	if got := out.String(); !strings.Contains(got, "[########################] 100%") || strings.Contains(got, "\n") {
		t.Errorf("drawn %q, want a full bar", got)
	}
	out.Reset()
	b.end()
	b.end()
	if got := out.String(); strings.Count(got, "\r") != 2 || strings.TrimSpace(got) != "" {
		t.Errorf("at its end the bar leaves %q", got)
	}
}

func TestBarElsewhere(t *testing.T) {
	b, out, later := clocked(false, 0, 0)
	later(4 * time.Second)
	b.move(2_000_000)
	if out.Len() > 0 {
		t.Errorf("within 5 s %q is printed", out)
	}
	later(6 * time.Second)
	b.finish()
	b.move(10)
	if got, want := out.String(), "put  2.0 MB  200.0 kB/s  1 object\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	b.end()
}

// A coldStore has a tier that must be restored from.
type coldStore struct {
	*connectiontest.ObjectStore
	asked map[string]time.Duration
}

func (c *coldStore) Restore(_ context.Context, key string, keep time.Duration) error {
	c.asked[key] = keep
	return nil
}

func (c *coldStore) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	info, err := c.ObjectStore.Stat(ctx, key)
	info.Restore = connection.RestoreNeeded
	if c.asked[key] > 0 {
		info.Restore = connection.RestorePending
	}
	return info, err
}

func (c *coldStore) Get(ctx context.Context, key string, opts *connection.GetOptions) (*connection.Object, error) {
	if strings.HasPrefix(key, "cold") {
		return nil, &connection.Error{Op: "get", Driver: "memory", Key: key, Kind: connection.ErrArchived, Err: errors.New("restore it first")}
	}
	return c.ObjectStore.Get(ctx, key, opts)
}

func TestColdObjects(t *testing.T) {
	store := &coldStore{connectiontest.NewObjectStore(), map[string]time.Duration{}}
	for _, key := range []string{"cold/1", "warm"} {
		if _, err := store.Put(t.Context(), key, strings.NewReader("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	s := &session{ctx: t.Context(), store: store, workers: 2, printer: newPrinter(&out, &errOut)}
	if err := s.verify(&connection.ListOptions{}); err != nil {
		t.Error(err)
	}
	if got, want := out.String(), "1 object verified, 1 B read; 1 in a cold tier, not read\n"; got != want {
		t.Errorf("verify says %q, want %q", got, want)
	}
	out.Reset()
	flags := flag.NewFlagSet("restore", flag.ContinueOnError)
	restore := restoreCommand(flags)
	if err := flags.Parse([]string{"-days", "3", "cold/1"}); err != nil {
		t.Fatal(err)
	}
	if err := restore(s, flags.Args()); err != nil {
		t.Error(err)
	}
	if got := store.asked["cold/1"]; got != 3*24*time.Hour {
		t.Errorf("restore asks for %s, want 72h", got)
	}
	if !strings.Contains(out.String(), "cold/1 is on its way") {
		t.Errorf("restore says %q", out.String())
	}
}
