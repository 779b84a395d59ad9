package netx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// pair returns a Conn with the no-data limit given, and its far end. Both close with the test.
func pair(t *testing.T, limit time.Duration) (*Conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	p := &Peer{Driver: "imap", Host: "mail.example.org", Port: 143, Settings: &connection.NetworkSettings{NoDataTimeout: connection.Duration(limit)}}
	c := newConn(p, near)
	t.Cleanup(func() {
		_ = c.Close()
		_ = far.Close()
	})
	return c, far
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrTimeout || e.Code != "no-data" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want ErrTimeout [no-data] with os.ErrDeadlineExceeded", err)
	}
}

func TestMutePeerTimesOutOnceAndForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t, 3*time.Second)
		start := time.Now()
		_, err := c.Read(make([]byte, 10))
		wantTimeout(t, err)
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("took %v, want 3s", got)
		}
		// Sticky: no second timeout is waited for, and the socket is closed.
		_, again := c.Read(make([]byte, 10))
		_, written := c.Write([]byte("x"))
		if !errors.Is(again, err) || !errors.Is(written, err) || time.Since(start) != 3*time.Second {
			t.Errorf("afterwards: read %v, write %v after %v; want the first error at once", again, written, time.Since(start))
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("far end: got %v, want a closed connection", err)
		}
	})
}

func TestSlowDripLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t, 2*time.Second)
		go func() {
			for range 100 {
				wait(1900 * time.Millisecond)
				if _, err := far.Write([]byte("x")); err != nil {
					return
				}
			}
			_ = far.Close()
		}()
		got, err := io.ReadAll(c)
		if len(got) != 100 || err != nil {
			t.Errorf("got %d octets and %v, want 100 and none", len(got), err)
		}
		if in, out := c.Octets(); in != 100 || out != 0 {
			t.Errorf("counted %d in and %d out, want 100 and 0", in, out)
		}
	})
}

func TestPeerThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, time.Second)
		start := time.Now()
		_, err := c.Write([]byte("hello"))
		wantTimeout(t, err)
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v, want 1s", got)
		}
	})
}

func TestLargeWriteIsJudgedByItsPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t, 2*time.Second)
		want := bytes.Repeat([]byte("mail"), 100<<10)
		var got bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, pieceSize)
			for got.Len() < len(want) {
				wait(1500 * time.Millisecond) // each piece within the limit, the whole far beyond it
				n, err := far.Read(buf)
				got.Write(buf[:n])
				if err != nil {
					return
				}
			}
		}()
		n, err := c.Write(want)
		<-done
		if n != len(want) || err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("wrote %d and got %v, want %d and none; the octets arrived: %t", n, err, len(want), bytes.Equal(got.Bytes(), want))
		}
		if _, out := c.Octets(); out != int64(len(want)) {
			t.Errorf("counted %d out, want %d", out, len(want))
		}
	})
}

func TestWritingKeepsAReaderAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t, time.Second)
		go func() {
			_, _ = io.Copy(io.Discard, far) // ends with the connection
		}()
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}()
		start := time.Now()
		for range 10 {
			wait(900 * time.Millisecond)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("write after %v: %v", time.Since(start), err)
			}
		}
		wantTimeout(t, <-read)
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("the reader ended after %v, want 9s of writing and 1s", got)
		}
	})
}

func TestTimeNobodyWaitsDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t, time.Second)
		wait(10 * time.Minute) // a stalled sink
		go func() {
			_, _ = far.Write([]byte("x")) // fails only with the test
		}()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("got %d and %v, want 1 and none", n, err)
		}
	})
}

func TestNoLimitWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t, 0)
		go func() {
			wait(1000 * time.Hour)
			_, _ = far.Write([]byte("x")) // fails only with the test
		}()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("got %d and %v, want 1 and none", n, err)
		}
	})
}

func TestWatchConcernsAReadThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, time.Second)
		c.Watch(0)
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}()
		wait(time.Hour)
		start := time.Now()
		c.Watch(5 * time.Second)
		wantTimeout(t, <-read)
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("ended %v after Watch, want 5s", got)
		}
	})
}

func TestContextEndsAWaitingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stop := c.Bind(ctx)
		defer stop()
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, connection.ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout that holds ctx.Err()", err)
		}
	})
	c, _ := pair(t, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	c.Bind(ctx)
	cancel(errors.New("the user left"))
	_, err := c.Read(make([]byte, 1))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, connection.ErrCanceled) {
		t.Errorf("got %v, want ErrCanceled that holds ctx.Err()", err)
	}
}

func TestFirstFailureWins(t *testing.T) {
	c, _ := pair(t, time.Hour)
	first := errors.New("first")
	c.Fail(first)
	c.Fail(errors.New("second"))
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.Read(nil); !errors.Is(err, first) {
		t.Errorf("got %v, want the first error", err)
	}
	closed, _ := pair(t, 0)
	if err := closed.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := closed.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: got %v, want net.ErrClosed", err)
	}
}

func TestEndOfStreamAndResets(t *testing.T) {
	c, far := pair(t, 0)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || errors.Is(err, connection.ErrNetwork) {
		t.Errorf("read: got %v, want io.EOF as it is", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, connection.ErrNetwork) {
		t.Errorf("write: got %v, want ErrNetwork", err)
	}
}

// wait lets d pass, in a synctest bubble.
func wait(d time.Duration) { <-time.After(d) }
