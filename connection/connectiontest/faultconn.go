package connectiontest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Fault is something that goes wrong on a network connection. Faults are put around a dial function with
// [FaultyDial], or around a connection that a listener accepted by calling them.
type Fault func(net.Conn) net.Conn

// FaultyDial returns a dial function whose connections have the faults, the first one nearest to the caller. A nil next
// dials with a net.Dialer. It serves as Env.Dial and as the DialContext of an http.Transport.
func FaultyDial(next connection.DialFunc, faults ...Fault) connection.DialFunc {
	if next == nil {
		next = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if err != nil {
			return nil, err
		}
		for i := len(faults) - 1; i >= 0; i-- {
			conn = faults[i](conn)
		}
		return conn, nil
	}
}

// RefuseDial returns a dial function that is refused the given number of times, and then is next; times < 0 is for
// ever. A nil next dials with a net.Dialer.
func RefuseDial(next connection.DialFunc, times int) connection.DialFunc {
	if next == nil {
		next = new(net.Dialer).DialContext
	}
	var dials atomic.Int64
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if n := dials.Add(1); times < 0 || n <= int64(times) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		return next(ctx, network, address)
	}
}

// First applies fault to the first n connections only, so that a driver which connects again finds a line that works.
func First(n int, fault Fault) Fault {
	var conns atomic.Int64
	return func(c net.Conn) net.Conn {
		if conns.Add(1) > int64(n) {
			return c
		}
		return fault(c)
	}
}

// CutAfter ends the connection in order after n octets were received: Read gives io.EOF, Write fails.
func CutAfter(n int64) Fault {
	return func(c net.Conn) net.Conn { return &cutConn{Conn: c, received: n, sent: -1, err: io.EOF} }
}

// ResetAfter breaks the connection after n octets were received: Read and Write fail with ECONNRESET.
func ResetAfter(n int64) Fault {
	return func(c net.Conn) net.Conn { return &cutConn{Conn: c, received: n, sent: -1, err: resetError()} }
}

// CutAfterSent breaks the connection after n octets were sent. The octets before reach the peer.
func CutAfterSent(n int64) Fault {
	return func(c net.Conn) net.Conn { return &cutConn{Conn: c, received: -1, sent: n, err: resetError()} }
}

func resetError() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// cutConn lets a number of octets pass in each direction, -1 for all. When either is used up, the line is dead in both.
type cutConn struct {
	net.Conn
	err error

	mu             sync.Mutex
	received, sent int64
	dead           bool
}

// allow returns how many of want octets may pass. It kills the line when none may.
func (c *cutConn) allow(left *int64, want int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead && (*left < 0 || *left > 0) {
		if *left < 0 {
			return want, nil
		}
		return int(min(*left, int64(want))), nil
	}
	if !c.dead {
		c.dead = true
		if err := c.Conn.Close(); err != nil {
			return 0, fmt.Errorf("%w, and on closing: %w", c.err, err)
		}
	}
	return 0, c.err
}

func (c *cutConn) use(left *int64, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *left > 0 {
		*left = max(0, *left-int64(n))
	}
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.allow(&c.received, len(p))
	if err != nil {
		return 0, err
	}
	n, err = c.Conn.Read(p[:n])
	c.use(&c.received, n)
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	written := 0
	for {
		n, err := c.allow(&c.sent, len(p)-written)
		if err != nil {
			if err == io.EOF { //nolint:errorlint // our own, never wrapped; a Write has no EOF
				err = resetError()
			}
			return written, err
		}
		n, err = c.Conn.Write(p[written : written+n])
		c.use(&c.sent, n)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// Slow lets at most n octets pass with each Read and Write.
func Slow(n int) Fault {
	n = max(n, 1)
	return func(c net.Conn) net.Conn { return &slowConn{c, n} }
}

type slowConn struct {
	net.Conn
	n int
}

func (c *slowConn) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(len(p), c.n)]) }

func (c *slowConn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := c.Conn.Write(p[written:min(len(p), written+c.n)])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Corrupt inverts the lowest bit of the octet received after n others, as a faulty line would.
func Corrupt(n int64) Fault {
	return func(c net.Conn) net.Conn { return &corruptConn{Conn: c, left: n} }
}

type corruptConn struct {
	net.Conn
	mu   sync.Mutex
	left int64
}

func (c *corruptConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left >= 0 && c.left < int64(n) {
		p[c.left] ^= 1
	}
	c.left = max(-1, c.left-int64(n))
	return n, err
}

// Stall lets n octets be received; after that Read blocks until the connection is closed or its deadline passes.
// Nothing is closed, so the peer notices nothing.
func Stall(n int64) Fault {
	return func(c net.Conn) net.Conn { return newStallConn(c, n, -1) }
}

// StallSent lets n octets be sent; after that Write blocks until the connection is closed or its deadline passes.
func StallSent(n int64) Fault {
	return func(c net.Conn) net.Conn { return newStallConn(c, -1, n) }
}

type stallConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
	reads  gate
	writes gate
}

func newStallConn(c net.Conn, received, sent int64) *stallConn {
	s := &stallConn{Conn: c, closed: make(chan struct{})}
	s.reads = gate{left: received, changed: make(chan struct{}), closed: s.closed}
	s.writes = gate{left: sent, changed: make(chan struct{}), closed: s.closed}
	return s
}

func (s *stallConn) Read(p []byte) (int, error) {
	n, err := s.reads.pass(len(p))
	if err != nil {
		return 0, err
	}
	n, err = s.Conn.Read(p[:n])
	s.reads.use(n)
	return n, err
}

func (s *stallConn) Write(p []byte) (int, error) {
	written := 0
	for {
		n, err := s.writes.pass(len(p) - written)
		if err != nil {
			return written, err
		}
		n, err = s.Conn.Write(p[written : written+n])
		s.writes.use(n)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

func (s *stallConn) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

func (s *stallConn) SetDeadline(t time.Time) error {
	s.reads.setDeadline(t)
	s.writes.setDeadline(t)
	return s.Conn.SetDeadline(t)
}

func (s *stallConn) SetReadDeadline(t time.Time) error {
	s.reads.setDeadline(t)
	return s.Conn.SetReadDeadline(t)
}

func (s *stallConn) SetWriteDeadline(t time.Time) error {
	s.writes.setDeadline(t)
	return s.Conn.SetWriteDeadline(t)
}

// gate lets a number of octets pass, -1 for all, and then blocks until closed or its deadline.
type gate struct {
	closed chan struct{}

	mu       sync.Mutex
	left     int64
	deadline time.Time
	changed  chan struct{} // closed when deadline changes
}

// pass returns how many of want octets may pass now.
func (g *gate) pass(want int) (int, error) {
	for {
		g.mu.Lock()
		left, deadline, changed := g.left, g.deadline, g.changed
		g.mu.Unlock()
		switch {
		case left < 0 || want == 0:
			return want, nil
		case left > 0:
			return int(min(left, int64(want))), nil
		}
		var expired <-chan time.Time
		var timer *time.Timer
		if !deadline.IsZero() {
			timer = time.NewTimer(time.Until(deadline))
			expired = timer.C
		}
		var err error
		select {
		case <-g.closed:
			err = net.ErrClosed
		case <-expired:
			err = os.ErrDeadlineExceeded
		case <-changed:
		}
		if timer != nil {
			timer.Stop()
		}
		if err != nil {
			return 0, err
		}
	}
}

func (g *gate) use(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left > 0 {
		g.left = max(0, g.left-int64(n))
	}
}

func (g *gate) setDeadline(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	close(g.changed)
	g.changed = make(chan struct{})
}
