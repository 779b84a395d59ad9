package connectiontest

import (
	"context"
	"net"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// line is the network of an exam: it counts what passes and lets the rules break it.
type line struct {
	mu       sync.Mutex
	fault    Fault // of connections dialled from now on; nil = none
	dials    int
	received int64
	sent     int64
}

// set makes connections dialled from now on have fault, and counts from zero. nil repairs the line.
func (l *line) set(fault Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.dials, l.received, l.sent = fault, 0, 0, 0
}

func (l *line) counted() (dials int, received, sent int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials, l.received, l.sent
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	l.dials++
	fault := l.fault
	l.mu.Unlock()
	count := func(c net.Conn) net.Conn { return &countConn{c, l} }
	faults := []Fault{count}
	if fault != nil {
		faults = append(faults, fault)
	}
	return FaultyDial(nil, faults...)(ctx, network, address)
}

var _ connection.DialFunc = (*line)(nil).dial

type countConn struct {
	net.Conn
	line *line
}

func (c *countConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.line.mu.Lock()
	c.line.received += int64(n)
	c.line.mu.Unlock()
	return n, err
}

func (c *countConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.line.mu.Lock()
	c.line.sent += int64(n)
	c.line.mu.Unlock()
	return n, err
}
