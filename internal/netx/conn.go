package netx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// pieceSize is how much of a Write must go out within the no-data timeout.
const pieceSize = 64 << 10

// A Conn is a connection that gives up when nothing moves. While a Read or a Write waits and for the limit of
// [Conn.Watch] no octet has gone either way, it is closed, and that error is all it returns from then on. Time in which
// nobody reads or writes does not count. It counts octets, and it turns what ends it into a *connection.Error; io.EOF
// stays io.EOF.
//
// Deadlines are not supported: SetDeadline and its kin do nothing, as the limit is what rules.
type Conn struct {
	peer *Peer
	conn net.Conn

	in, out atomic.Int64
	waiting atomic.Int32 // Reads and Writes under way
	last    atomic.Int64 // when something moved or began to wait, since start
	start   time.Time

	mu    sync.Mutex
	err   error // the first that ended the connection
	limit time.Duration
	timer *time.Timer
	due   time.Time // when timer fires; zero if it does not
}

func newConn(p *Peer, conn net.Conn) *Conn {
	c := &Conn{peer: p, conn: conn, start: time.Now()}
	c.Watch(p.Settings.NoDataTimeout.D())
	return c
}

// Watch sets the no-data limit from now on, also for a Read or Write that waits already; 0 means none. It starts
// with the settings' no_data_timeout.
func (c *Conn) Watch(limit time.Duration) {
	c.touch()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = limit
	if c.err == nil && limit > 0 {
		c.checkIn(limit)
	}
}

// checkIn has check run when d is over. A timer that fires sooner stays as it is, since check finds out what is left: to
// set one for each command costs more than to have it fire for nothing now and then. c.mu must be held.
func (c *Conn) checkIn(d time.Duration) {
	due := time.Now().Add(d)
	if !c.due.IsZero() && !due.Before(c.due) {
		return
	}
	c.due = due
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.check)
	} else {
		c.timer.Reset(d)
	}
}

// check runs when the limit may be over, and otherwise comes back when it will be.
func (c *Conn) check() {
	c.mu.Lock()
	c.due = time.Time{}
	limit := c.limit
	if c.err != nil || limit <= 0 {
		c.mu.Unlock()
		return
	}
	left := limit - (time.Since(c.start) - time.Duration(c.last.Load()))
	if c.waiting.Load() == 0 {
		left = limit
	}
	if left > 0 {
		c.checkIn(left)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	e := c.peer.Errorf(connection.ErrTimeout, "", "no octet moved for %s (no_data_timeout): %w", limit, os.ErrDeadlineExceeded)
	e.Code = "no-data"
	c.Fail(e)
}

func (c *Conn) touch() { c.last.Store(int64(time.Since(c.start))) }

// Fail closes the connection. What waits or comes later returns err, unless another error was first. It never blocks.
func (c *Conn) Fail(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
		if c.timer != nil {
			c.timer.Stop()
		}
	}
	c.mu.Unlock()
	if first {
		_ = c.conn.Close() // err is what matters; the socket is given up either way
	}
}

// Bind makes the end of ctx the end of the connection, with an error that holds ctx.Err(), until stop is called.
func (c *Conn) Bind(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.Fail(c.peer.Ended(ctx)) })
}

// Err returns the error that ended the connection, nil while there is none.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Octets returns how many octets were read and written so far, below TLS.
func (c *Conn) Octets() (in, out int64) { return c.in.Load(), c.out.Load() }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	c.begin()
	n, err := c.conn.Read(p)
	c.end(n, &c.in)
	return n, c.broken(err, "read")
}

// Write implements net.Conn. A large p goes out in pieces, each of which is progress.
func (c *Conn) Write(p []byte) (int, error) {
	total := 0
	for {
		if err := c.Err(); err != nil {
			return total, err
		}
		piece := p[total:min(len(p), total+pieceSize)]
		c.begin()
		n, err := c.conn.Write(piece)
		c.end(n, &c.out)
		total += n
		if err == nil && n < len(piece) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, c.broken(err, "write")
		}
		if total == len(p) {
			return total, nil
		}
	}
}

func (c *Conn) begin() {
	c.touch()
	c.waiting.Add(1)
}

func (c *Conn) end(n int, count *atomic.Int64) {
	c.waiting.Add(-1)
	if n > 0 {
		count.Add(int64(n))
		c.touch()
	}
}

// broken gives err its class, or what ended the connection before.
func (c *Conn) broken(err error, doing string) error {
	if err == nil {
		return nil
	}
	if first := c.Err(); first != nil {
		return first
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	kind := connection.KindOf(err)
	if kind != connection.ErrTimeout {
		kind = connection.ErrNetwork
	}
	return c.peer.Errorf(kind, "", "%s: %w", doing, cause(err))
}

// errClosed is what a Conn returns after Close. It holds net.ErrClosed, as for any net.Conn.
var errClosed = fmt.Errorf("the connection was closed: %w", net.ErrClosed)

// Close implements net.Conn. A second Close does nothing.
func (c *Conn) Close() error {
	c.Fail(errClosed)
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements net.Conn and does nothing.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn and does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn and does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
