package pop3client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// FuzzDotReader holds the reader of messages against what RFC 1939 says, octet by octet.
func FuzzDotReader(f *testing.F) {
	for _, raw := range exact {
		f.Add([]byte(stuffed(raw)+"+OK\r\n"), uint8(5), false)
	}
	f.Add([]byte("a\n.\n+OK"), uint8(1), true)
	f.Fuzz(func(t *testing.T, wire []byte, size uint8, bareLF bool) {
		want, whole := unstuff(wire, bareLF)
		l := &link{cfg: &Config{}}
		l.use(&canned{r: bytes.NewReader(wire)})
		d := l.body()
		d.bareLF = bareLF
		var got bytes.Buffer
		_, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{d}, make([]byte, int(size)+1))
		if (err == nil) != whole || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("got error %v, want the whole message: %v", err, whole)
		}
		if !whole {
			// What was read so far is a beginning of it.
			if !bytes.HasPrefix(want, got.Bytes()) {
				t.Fatalf("got %q, want a beginning of %q", got.Bytes(), want)
			}
			return
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("got %q, want %q", got.Bytes(), want)
		}
	})
}

// unstuff is the plain way to do it: line by line.
func unstuff(wire []byte, bareLF bool) (text []byte, whole bool) {
	for len(wire) > 0 {
		var line []byte
		line, wire = cutLine(wire, bareLF)
		switch {
		case string(line) == ".\r\n", bareLF && string(line) == ".\n":
			return text, true
		case line[0] == '.':
			line = line[1:]
		}
		text = append(text, line...)
	}
	return text, false
}

func cutLine(wire []byte, bareLF bool) (line, rest []byte) {
	for i, c := range wire {
		if c == '\n' && (bareLF || i > 0 && wire[i-1] == '\r') {
			return wire[:i+1], wire[i+1:]
		}
	}
	return wire, nil
}

// canned is a connection that says what it was given.
type canned struct {
	net.Conn
	r io.Reader
}

func (c *canned) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *canned) Write(p []byte) (int, error) { return len(p), nil }
func (c *canned) Close() error                { return nil }
func (c *canned) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

// FuzzReplies lets a server say anything to the whole client: it must end, with typed errors and bounded listings, and
// never yield a message that did not come whole.
func FuzzReplies(f *testing.F) {
	const login = "+OK <1@h>\r\n+OK\r\nUSER\r\nUIDL\r\nTOP\r\n.\r\n+OK\r\n+OK\r\n+OK\r\nPIPELINING\r\n.\r\n"
	for _, session := range []string{
		"+OK 2 20\r\n+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\n1 10\r\n2 10\r\n.\r\n+OK\r\n..x\r\n.\r\n+OK\r\ny\r\n.\r\n+OK bye\r\n",
		"+OK\r\n-ERR\r\n+OK\r\n1 10\r\n.\r\n+OK\r\nS: x\r\n\r\n.\r\n+OK\r\ny\r\n.\r\n",
		"+OK 1 1\r\n+OK\r\n1 a\r\n1 a\r\n99999999999 x\r\n.\r\n", "+OK 0 0\r\n+OK\r\n.\r\n+OK\r\n.\r\n+OK\r\n", "-ERR [SYS/TEMP] x\r\n",
	} {
		f.Add([]byte(login + session))
	}
	f.Add([]byte("-ERR [IN-USE] x\r\n"))
	f.Add([]byte("+OK\n+OK\nSASL PLAIN\n.\n+ \n+OK\n"))
	f.Add([]byte(strings.Repeat("+OK\r\n", 40)))
	f.Fuzz(func(t *testing.T, said []byte) {
		cfg := Config{Username: "u", Password: connection.NewSecret("p"), AllowPlaintextAuth: true, DeleteMode: DeleteDelete}
		cfg.Server, cfg.Mode = "h", connection.ModeInsecure
		dials := 0
		c, err := Open(cfg, &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) {
			if dials++; dials > 2 {
				return nil, errors.New("no more")
			}
			return &canned{r: bytes.NewReader(said)}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for m, err := range c.Fetch(ctx, &connection.FetchOptions{Limit: 100}) {
			var e *connection.Error
			if err != nil {
				if !errors.As(err, &e) || e.Op == "" || e.Driver == "" {
					t.Fatalf("got %v, want an *Error", err)
				}
				continue
			}
			raw, err := io.ReadAll(m.Body)
			if err != nil || int64(len(raw)) != m.Size {
				t.Fatalf("a body of %d octets and Size %d: %v", len(raw), m.Size, err)
			}
			cancel() // one is enough, and the next dial waits
		}
		if ctx.Err() == context.DeadlineExceeded { //nolint:errorlint // a context's own error is bare
			t.Fatal("it did not end")
		}
		c.drop()
		clear(c.pending)
		_ = c.Close() // there is nobody to say goodbye to
	})
}

// FuzzCheckpoint holds that what a Checkpoint is read as is written as one that reads the same, and that nothing else is
// taken for one.
func FuzzCheckpoint(f *testing.F) {
	for _, h := range histories {
		f.Add(string(h.encode()))
	}
	f.Add("pop3/1:")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := decodeHistory(connection.Checkpoint(text), "ann")
		if err != nil {
			return
		}
		again, err := decodeHistory(h.encode(), "ann")
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("got %+v, %v, want %+v", again, err, h)
		}
	})
}
