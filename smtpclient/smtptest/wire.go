package smtptest

import (
	"errors"
	"net"
	"sync"
	"time"
)

// wire counts and spoils connections. Both kinds of server have one.
type wire struct {
	lock   sync.Mutex
	meters []*meter // of every connection, in the order of acceptance
	due    []*lineFault
}

// lineFault is what a test wants to happen to a connection after some octets.
type lineFault struct {
	after int64
	stall bool
	left  int // connections; negative = all
}

// CutAfter makes the server close the next connection as soon as it has sent so many octets on it. Octets are counted
// as SMTP sees them: above TLS, from the greeting on, STARTTLS included. 0 closes it before the greeting. With times
// that many of the next connections are cut, with a negative number all of them. What was sent before the cut arrives.
// See Sent for how many octets a whole session has.
func (w *wire) CutAfter(octets int64, times ...int) { w.add(octets, false, times) }

// StallAfter makes the server fall silent for ever on the next connection as soon as it has sent so many octets on
// it. Octets and times are as for CutAfter.
func (w *wire) StallAfter(octets int64, times ...int) { w.add(octets, true, times) }

func (w *wire) add(octets int64, stall bool, times []int) {
	left := 1
	if len(times) > 0 {
		left = times[0]
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.due = append(w.due, &lineFault{after: octets, stall: stall, left: left})
}

// Sent returns how many octets the server has sent on each connection so far, counted as for CutAfter.
func (w *wire) Sent() []int64 { return w.counts(func(m *meter) int64 { return m.sent.Load() }) }

// Received returns how many octets the server has received on each connection so far, counted as for CutAfter.
func (w *wire) Received() []int64 { return w.counts(func(m *meter) int64 { return m.received.Load() }) }

func (w *wire) counts(count func(*meter) int64) []int64 {
	w.lock.Lock()
	defer w.lock.Unlock()
	out := make([]int64, len(w.meters))
	for i, m := range w.meters {
		out[i] = count(m)
	}
	return out
}

func (w *wire) clear() {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.due = nil
}

// meter returns the meter of a new connection, with the fault that is due, and the connection's number, from 1.
func (w *wire) meter(conn net.Conn, maxWrite int) (*meter, int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	m := &meter{Conn: conn, raw: conn, maxWrite: maxWrite, limit: -1}
	w.meters = append(w.meters, m)
	for _, f := range w.due {
		if f.left == 0 {
			continue
		}
		f.left = max(f.left-1, -1)
		m.limit, m.stall = f.after, f.stall
		break
	}
	return m, len(w.meters)
}

const acceptPause = 5 * time.Millisecond

// accept hands each new connection to serve, until l is closed.
func accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-time.After(acceptPause) // no file descriptor is free, perhaps
			continue
		}
		serve(conn)
	}
}
