package imapclient_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
)

// A message of 100 MB and thousands of small ones pass through a few MiB.
func TestDovecotMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("short: 120 MB of mail")
	}
	srv := peertest.Dovecot(t, nil)
	srv.DeliverTo(srv.User, "INBOX", small(3000))
	srv.Deliver(srv.User, bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 100<<20/64))
	srv.DeliverTo(srv.User, "INBOX", small(1000))
	c := open(t, dovecotConfig(srv, connection.ModeTLS), nil)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	n, large := 0, int64(0)
	for msg, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.Copy(io.Discard, &sampled{r: msg.Body, most: &most})
		if err != nil || got != msg.Size {
			t.Fatal(got, msg.Size, err)
		}
		if large = max(large, got); n%100 == 0 {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		n++
	}
	if n != 4001 || large != 100<<20 {
		t.Errorf("got %d messages, the largest of %d octets", n, large)
	}
	if used := int64(most) - int64(before); used > 24<<20 {
		t.Errorf("%d MiB of heap", used>>20)
	}
}

// sampled looks at the heap now and then while a large body is read.
type sampled struct {
	r    io.Reader
	most *uint64
	n    int
}

func (s *sampled) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.n++; s.n%100 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*s.most = max(*s.most, m.HeapAlloc)
	}
	return n, err
}
