package objectstore_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func TestGet(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 20_000)
	cutAt := func(n int, err error) fault { return fault{cut: n, err: err} }
	reset := kind(connection.ErrNetwork, "Reset")
	cases := []struct {
		name   string
		setup  func(*memory)
		faults []fault
		opts   connection.GetOptions
		want   connection.Kind
		from   int
		to     int
		gets   int
	}{
		{name: "whole", to: len(content), gets: 1},
		{name: "cut by reset", faults: []fault{cutAt(100_000, reset)}, to: len(content), gets: 2},
		{name: "cut by early end", faults: []fault{cutAt(7, nil)}, to: len(content), gets: 2},
		{name: "cut at each try with progress", faults: slices.Repeat([]fault{cutAt(70_000, reset)}, 4), to: len(content), gets: 5},
		{name: "cut at each try without progress", faults: slices.Repeat([]fault{cutAt(1, reset)}, 9), want: connection.ErrNetwork, gets: 5},
		{name: "stalled", faults: []fault{{cut: 100_000, acted: true}}, to: len(content), gets: 2},
		{name: "mute", faults: []fault{{mute: true}}, to: len(content), gets: 2},
		{name: "mute for ever", faults: slices.Repeat([]fault{{mute: true}}, 9), want: connection.ErrTimeout, gets: 2},
		{name: "first request fails", faults: []fault{network, throttled}, to: len(content), gets: 3},
		{name: "denied", faults: []fault{{err: kind(connection.ErrPermission, "Denied")}}, want: connection.ErrPermission, gets: 1},
		{name: "denied on resume", faults: []fault{cutAt(9, reset), {err: kind(connection.ErrPermission, "Denied")}}, want: connection.ErrPermission, gets: 2},
		{name: "cut without etag", setup: func(m *memory) { m.noETag = true }, faults: []fault{cutAt(9, reset)}, want: connection.ErrNetwork, gets: 1},
		{name: "middle", opts: connection.GetOptions{Offset: 1000, Length: 5000}, from: 1000, to: 6000, gets: 1},
		{name: "middle, cut", opts: connection.GetOptions{Offset: 1000, Length: 5000}, faults: []fault{cutAt(3, nil)}, from: 1000, to: 6000, gets: 2},
		{name: "tail", opts: connection.GetOptions{Offset: 1000, Length: 1 << 62}, from: 1000, to: len(content), gets: 1},
		{name: "past the end", opts: connection.GetOptions{Offset: 1 << 40}, gets: 1},
		{name: "range ignored", setup: func(m *memory) { m.ignoreRange = true }, opts: connection.GetOptions{Offset: 1000, Length: 5000}, from: 1000, to: 6000, gets: 1},
		{name: "range ignored on resume", setup: func(m *memory) { m.ignoreRange = true }, faults: []fault{cutAt(100, nil)}, to: len(content), gets: 2},
		{name: "range ignored past the end", setup: func(m *memory) { m.ignoreRange = true }, opts: connection.GetOptions{Offset: 1 << 40}, gets: 1},
		{name: "size unknown", setup: func(m *memory) { m.noSize = true }, to: len(content), gets: 1},
		{name: "size unknown, length beyond", setup: func(m *memory) { m.noSize = true }, opts: connection.GetOptions{Length: 1 << 40}, to: len(content), gets: 1},
		{name: "other etag", opts: connection.GetOptions{IfMatch: "v9"}, want: connection.ErrChanged, gets: 1},
		{name: "negative", opts: connection.GetOptions{Offset: -1}, want: connection.ErrInvalid},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				if tc.setup != nil {
					tc.setup(m)
				}
				m.set("k", content, &objectstore.PutRequest{SHA256: sum(content)})
				m.fail("get", tc.faults...)
				s := newStore(m, nil)
				got, err := read(t.Context(), s, "k", &tc.opts)
				gets := 0
				for _, q := range m.requests {
					if strings.HasPrefix(q, "get") {
						gets++
					}
				}
				if gets != tc.gets {
					t.Errorf("got %d requests, want %d: %v", gets, tc.gets, m.requests)
				}
				if tc.want != 0 {
					var e *connection.Error
					if !errors.As(err, &e) || e.Kind != tc.want || e.Op != "get" || e.Key != "k" || e.Driver != "mem" {
						t.Errorf("got %v, want %v with everything filled in", err, tc.want)
					}
				} else if err != nil || got != content[tc.from:tc.to] {
					t.Errorf("got %d octets, %v; want those from %d to %d", len(got), err, tc.from, tc.to)
				}
			})
		})
	}
}

func read(ctx context.Context, s connection.Getter, key string, opts *connection.GetOptions) (string, error) {
	o, err := s.Get(ctx, key, opts)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(o.Body)
	return string(data), errors.Join(err, o.Body.Close())
}

func TestGetOfAReplacedObject(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.ignoreMatch = ignore
			m.set("k", "old old old", nil)
			m.fail("get", fault{cut: 4}, fault{hook: func(string) { m.set("k", "new new new", nil) }})
			got, err := read(t.Context(), newStore(m, nil), "k", nil)
			if !errors.Is(err, connection.ErrChanged) || got != "old " {
				t.Errorf("got %q, %v; want what was read before and ErrChanged", got, err)
			}
		})
	}
}

func TestGetVerifies(t *testing.T) {
	m := newMemory()
	m.set("k", "what it became", &objectstore.PutRequest{SHA256: sum("what it was...")})
	s := newStore(m, nil)
	if _, err := read(t.Context(), s, "k", nil); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	o, err := s.Get(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(o.Body, make([]byte, o.Size)); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("a reader that stops at the size: got %v, want ErrCorrupt", err)
	}
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
	for _, opts := range []connection.GetOptions{{NoVerify: true}, {Offset: 1}, {Length: 3}} {
		if _, err := read(t.Context(), s, "k", &opts); err != nil {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

func TestSlowReaderIsNotAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.set("k", "abcdef", nil)
		o, err := newStore(m, nil).Get(t.Context(), "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			<-time.After(time.Hour) // the caller's time, not the server's
			if _, err := io.ReadFull(o.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Body.Close(); err != nil || len(m.requests) != 1 {
			t.Errorf("got %v after requests %v", err, m.requests)
		}
	})
}
