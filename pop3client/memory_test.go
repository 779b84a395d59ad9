package pop3client_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"

	"github.com/mailconn/mailconn/connection"
)

// heap runs work, which looks at the heap through look now and then, and returns how much it grew at most.
func heap(work func(look func())) int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	work(func() {
		runtime.GC() // what is garbage is not held
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
	})
	return int64(most) - int64(before)
}

// A message of 100 MB and thousands of small ones pass through a few MiB.
func TestDovecotMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("short: 120 MB of mail")
	}
	srv := dovecot(t, peertest.DovecotOptions{})
	small := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 80)
	for range 3000 {
		srv.Deliver(srv.User, small)
	}
	srv.Deliver(srv.User, bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 100<<20/64))
	c := open(t, dovecotConfig(srv, connection.ModeTLS), nil)
	n, octets := 0, int64(0)
	used := heap(func(look func()) {
		for m, err := range c.Fetch(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.Copy(io.Discard, m.Body)
			if err != nil || got != m.Size {
				t.Fatal(got, m.Size, err)
			}
			octets += got
			if n++; n%200 == 0 {
				look()
			}
		}
	})
	if want := int64(3000*len(small) + 100<<20); n != 3001 || octets != want {
		t.Errorf("got %d messages of %d octets, want 3001 of %d", n, octets, want)
	}
	if used > 20<<20 {
		t.Errorf("%d MiB of heap", used>>20)
	}
}

// A caller who does not come back for the next message keeps the server waiting, not the memory filling; LIST's lies
// change nothing.
func TestReadAheadIsBounded(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 3000) // 192 KB
	for name, size := range map[string]func(int64) int64{"true sizes": nil, "sizes of 1": func(int64) int64 { return 1 }, "sizes of 2 GB": func(int64) int64 { return 2 << 30 }} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, &pop3test.Options{Mode: connection.ModeInsecure, Quirks: pop3test.Quirks{Size: size}})
			for range 300 {
				srv.Deliver(big)
			}
			c := open(t, srv.Config(), nil)
			n := 0
			used := heap(func(look func()) {
				for _, err := range c.Fetch(t.Context(), nil) {
					if err != nil {
						t.Fatal(err)
					}
					if n++; n == 1 {
						quiet := int64(-1)
						eventually(t, "the end of reading ahead", func() bool {
							sent := srv.Sent()[0]
							defer func() { quiet = sent }()
							return sent == quiet && sent > int64(len(big))
						})
					}
					if n%50 == 1 {
						look()
					}
				}
			})
			if n != 300 || used > 32<<20 {
				t.Errorf("%d messages, %d MiB of heap", n, used>>20)
			}
		})
	}
}

func BenchmarkFetch(b *testing.B) {
	srv, err := pop3test.Listen(&pop3test.Options{Mode: connection.ModeInsecure})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Close)
	const count = 2000
	small := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 70)
	for range count {
		srv.Deliver(small)
	}
	c, err := pop3client.Open(srv.Config(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(count * len(small)))
	b.ReportAllocs()
	for b.Loop() {
		for m, err := range c.Fetch(b.Context(), nil) {
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, m.Body); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}
