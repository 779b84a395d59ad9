package imapclient

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// benchLink is a link over a loopback socket, on which text is sent n times.
func benchStream(b *testing.B, text []byte) (*link, func(n int)) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return pipeLink(b, near), func(n int) {
		w := bufio.NewWriterSize(far, 256<<10)
		for range n {
			if _, err := w.Write(text); err != nil {
				return // the reader sees it
			}
		}
		_ = w.Flush() // as above
	}
}

// response is a FETCH response with a body of n octets.
func fetchText(n int) []byte {
	return fmt.Appendf(nil, "* 1 FETCH (UID 10 FLAGS (\\Seen) INTERNALDATE \"01-Jul-2026 02:44:25 -0700\" RFC822.SIZE %d BODY[] {%d}\r\n%s)\r\n", n, n, strings.Repeat("x", n))
}

// BenchmarkGuard reads FETCH responses from a loopback socket with go-imap's way of reading, bare and guarded.
func BenchmarkGuard(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 20} {
		text := fetchText(size)
		read := func(b *testing.B, r io.Reader, send func(int)) {
			go send(b.N)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			b.ResetTimer()
			buf := make([]byte, 32<<10)
			for left := int64(b.N) * int64(len(text)); left > 0; {
				n, err := r.Read(buf)
				left -= int64(n)
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(fmt.Sprintf("bare/%dKiB", size>>10), func(b *testing.B) {
			l, send := benchStream(b, text)
			read(b, l.stream, send)
		})
		b.Run(fmt.Sprintf("guard/%dKiB", size>>10), func(b *testing.B) {
			l, send := benchStream(b, text)
			g := newGuard(l, nil)
			g.sent([]byte("T1 UID FETCH 1:*\r\n"))
			if _, err := io.CopyN(io.Discard, g, int64(len(g.out))); err != nil {
				b.Fatal(err)
			}
			read(b, g, send)
		})
	}
}

// TestGuardAllocations keeps the cost of a message's response low, since there are millions of them.
func TestGuardAllocations(t *testing.T) {
	text := fetchText(100)
	const runs = 200
	g := feed(t, bytes.NewReader(bytes.Repeat(text, runs+1)), "UID FETCH 1:*")
	buf := make([]byte, len(text))
	allocs := testing.AllocsPerRun(runs, func() {
		if _, err := io.ReadFull(g, buf); err != nil {
			t.Fatal(err)
		}
	})
	if !bytes.Equal(buf, text) {
		t.Errorf("got %q, want %q", buf, text)
	}
	if allocs > 10 {
		t.Errorf("got %.0f allocations a message, want at most 10", allocs)
	}
}
