package smtptest

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

var errCut = errors.New("connection cut as the test asked")

// meter counts the octets of one connection, above TLS, and cuts or stalls it where a test wants that.
type meter struct {
	net.Conn          // where the octets go: raw, later perhaps TLS over raw
	raw      net.Conn // the TCP connection
	sent     atomic.Int64
	received atomic.Int64
	limit    int64 // octets to send before the fault; negative = no fault
	stall    bool  // the fault is silence, not a cut
	maxWrite int   // octets in one write; 0 = as they come
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.received.Add(int64(n))
	return n, err
}

func (m *meter) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		part := p
		if m.maxWrite > 0 && len(part) > m.maxWrite {
			part = part[:m.maxWrite]
		}
		left := m.limit - m.sent.Load()
		if m.limit >= 0 && int64(len(part)) > left {
			part = part[:left]
		}
		n, err := m.Conn.Write(part)
		m.sent.Add(int64(n))
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
		if m.limit >= 0 && m.sent.Load() >= m.limit {
			return total, m.fault()
		}
	}
	return total, nil
}

// start applies a fault that is due before the first octet.
func (m *meter) start() error {
	if m.limit == 0 {
		return m.fault()
	}
	return nil
}

func (m *meter) fault() error {
	if m.stall {
		m.silence()
	}
	m.cut()
	return errCut
}

// silence reads what the client sends, and answers nothing, until the connection ends.
func (m *meter) silence() { _, _ = io.Copy(io.Discard, m.raw) } // how it ends does not matter

// end ends the connection in an orderly way.
func (m *meter) end() { _ = m.Conn.Close() } // it may have been cut before

// cut ends the connection without a word; what was written before still arrives. Over TLS there is no close_notify.
func (m *meter) cut() {
	if tcp, ok := m.raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // a close with unread octets resets the connection and may overtake what was written
	}
	_ = m.raw.Close() // nothing depends on it
}
