package imaptest_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// squeezed is a connection that compresses, with every write flushed.
type squeezed struct {
	net.Conn
	w *flate.Writer
}

func (s *squeezed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.w.Flush()
	}
	return n, err
}

// squeeze makes the peer compress from here on.
func (p *peer) squeeze() {
	p.t.Helper()
	w, err := flate.NewWriter(p.conn, flate.BestCompression)
	if err != nil {
		p.t.Fatal(err)
	}
	p.r = bufio.NewReader(flate.NewReader(p.r)) // with what is buffered behind the reply
	p.conn = &squeezed{p.conn, w}
}

func TestCompress(t *testing.T) {
	for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeTLS} {
		t.Run(string(mode), func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode})
			large := strings.Repeat("the same again and again\r\n", 40_000)
			srv.Deliver([]byte(large))
			p := login(t, srv)
			before := srv.Sent()[0]
			p.want("COMPRESS GZIP", "", "BAD")
			p.want("COMPRESS", "", "BAD")
			p.ok("COMPRESS DEFLATE")
			p.squeeze()
			p.want("COMPRESS DEFLATE", "", "NO [COMPRESSIONACTIVE]")
			p.ok("SELECT INBOX")
			if got := p.ok("FETCH 1 BODY[]"); !strings.Contains(got, large) {
				t.Errorf("got %d octets without the message", len(got))
			}
			if sent := srv.Sent()[0] - before; sent < int64(len(large)) {
				t.Errorf("got %d octets sent, want them counted as they were before compression", sent)
			}
			p.send("i IDLE\r\n")
			p.line()
			srv.Deliver([]byte(small)) // announced from another goroutine
			if got := p.line(); got != "* 2 EXISTS" {
				t.Errorf("IDLE: got %q", got)
			}
			p.send("DONE\r\n")
			p.until("i")
			p.ok("LOGOUT")
		})
	}
}

func TestCompressRefuses(t *testing.T) {
	srv, p := inBox(t, nil)
	p.send("a COMPRESS DEFLATE\r\nb NOOP\r\n") // RFC 4978, 3: must not be
	if _, reply := p.until("a"); !strings.HasPrefix(reply, "BAD") {
		t.Errorf("a command behind COMPRESS: got %q, want BAD", reply)
	}
	p.until("b")
	srv.Fail("COMPRESS", "NO no resources", 1)
	p.want("COMPRESS DEFLATE", "", "NO no resources")
	p.want("NOOP", "", "OK") // in the clear
}

// TestCompressedCut cuts a compressed connection at an octet counted before compression.
func TestCompressedCut(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	srv.Deliver([]byte(small))
	talk := func() []byte {
		p := login(t, srv)
		p.ok("COMPRESS DEFLATE")
		p.squeeze()
		_, _ = io.WriteString(p.conn, "b EXAMINE INBOX\r\nc FETCH 1 BODY[]\r\nd LOGOUT\r\n") // it may be cut already
		got, err := io.ReadAll(p.r)
		if err == nil {
			t.Error("the stream had an end of its own")
		}
		return got
	}
	whole := talk()
	before := srv.Sent()[0] - int64(len(whole))
	for _, n := range []int{0, 1, 7, len(whole) / 2, len(whole) - 1} {
		srv.CutAfter(before + int64(n))
		if got := talk(); !bytes.Equal(got, whole[:n]) {
			t.Errorf("cut after %d octets: got %q, want %q", n, got, whole[:n])
		}
	}
}

// TestCompressPartialFlush has a client that flushes with zlib's Z_PARTIAL_FLUSH, as isync does.
func TestCompressPartialFlush(t *testing.T) {
	// Python: z = zlib.compressobj(9, zlib.DEFLATED, -15); z.compress(b"n NOOP\r\n") + z.flush(zlib.Z_PARTIAL_FLUSH)
	const noop = "ca53f0f3f70fe0e50208"
	_, p := inBox(t, nil)
	p.ok("COMPRESS DEFLATE")
	raw := p.conn
	p.squeeze()
	octets, err := hex.DecodeString(noop)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write(octets); err != nil {
		t.Fatal(err)
	}
	if _, reply := p.until("n"); reply != "OK done" {
		t.Errorf("got %q", reply)
	}
}
