// Package doubles is what the server doubles of this module (imaptest, pop3test, smtptest) have in common: they listen, count the
// octets of each connection above TLS, cut and stall connections at an octet, have certificates of their own, and play scripts.
package doubles

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A Line listens, and counts and spoils connections. The zero Line is ready for Listen; the methods may be called by
// several goroutines at once.
type Line struct {
	listener net.Listener
	serve    func(*Meter)
	maxWrite int
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	meters []*Meter // of every connection, in the order of acceptance
	open   map[*Meter]bool
	due    []*fault
}

// fault is what a test wants to happen to a connection after some octets.
type fault struct {
	after int64
	stall bool
	left  int // connections; negative = all
}

// Listen listens on addr, and runs serve on each connection, in a goroutine of its own; the connection is closed when
// serve returns. maxWrite, if not 0, cuts what is sent into pieces of so many octets. It is called once.
func (l *Line) Listen(addr string, maxWrite int, serve func(*Meter)) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	l.listener, l.maxWrite, l.serve, l.open = listener, maxWrite, serve, make(map[*Meter]bool)
	l.running.Go(l.accept)
	return nil
}

const acceptPause = 5 * time.Millisecond

// accept takes connections until the listener is closed.
func (l *Line) accept() {
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-time.After(acceptPause) // no file descriptor is free, perhaps
			continue
		}
		l.take(conn)
	}
}

func (l *Line) take(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close() // nobody has seen it
		return
	}
	m := &Meter{Conn: conn, Raw: conn, MaxWrite: l.maxWrite, limit: -1}
	l.meters = append(l.meters, m)
	m.ID = len(l.meters)
	l.open[m] = true
	for _, f := range l.due {
		if f.left == 0 {
			continue
		}
		f.left = max(f.left-1, -1)
		m.limit, m.stall = f.after, f.stall
		break
	}
	l.running.Go(func() {
		if m.start() == nil {
			l.serve(m)
		}
		_ = m.Conn.Close() // it may have been cut before
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, m)
	})
}

// Addr returns the address, "127.0.0.1:port".
func (l *Line) Addr() string { return l.listener.Addr().String() }

// Spoil cuts connections as soon as so many octets were sent on them above TLS, or with stall makes them fall silent: the
// next connection, with times so many of the next ones, with a negative number all. 0 octets are before the first.
func (l *Line) Spoil(octets int64, stall bool, times []int) {
	left := 1
	if len(times) > 0 {
		left = times[0]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, &fault{after: octets, stall: stall, left: left})
}

// Heal forgets what Spoil was to do to connections that are not there yet.
func (l *Line) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = nil
}

// Sent returns how many octets were sent on each connection so far, above TLS.
func (l *Line) Sent() []int64 { return l.counts(func(m *Meter) int64 { return m.sent.Load() }) }

// Received returns how many octets were received on each connection so far, above TLS.
func (l *Line) Received() []int64 { return l.counts(func(m *Meter) int64 { return m.received.Load() }) }

func (l *Line) counts(count func(*Meter) int64) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]int64, len(l.meters))
	for i, m := range l.meters {
		out[i] = count(m)
	}
	return out
}

// CutAll ends all connections that are open now, without a word.
func (l *Line) CutAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.open {
		m.Cut()
	}
}

// Close ends all connections and stops listening, at once. No goroutine is left when it returns. A second Close does
// nothing.
func (l *Line) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.listener.Close() // the second time it is an error, which means nothing
	l.CutAll()
	l.running.Wait()
}
