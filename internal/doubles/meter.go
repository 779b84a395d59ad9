package doubles

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// ErrCut is what Write returns once the connection was cut, or was silent to its end, as the test asked.
var ErrCut = errors.New("connection cut as the test asked")

// A Meter is one connection. It counts its octets above TLS, and cuts or stalls it where a test wants that.
type Meter struct {
	net.Conn          // where the octets go: Raw, later perhaps TLS over Raw
	Raw      net.Conn // the TCP connection
	ID       int      // counted from 1 in the order of acceptance
	MaxWrite int      // octets in one write; 0 = as they come

	sent     atomic.Int64
	received atomic.Int64
	limit    int64 // octets to send before the fault; negative = no fault
	stall    bool  // the fault is silence, not a cut
}

// Read implements io.Reader.
func (m *Meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.received.Add(int64(n))
	return n, err
}

// Write implements io.Writer. It returns ErrCut where the fault is due.
func (m *Meter) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		part := p
		if m.MaxWrite > 0 && len(part) > m.MaxWrite {
			part = part[:m.MaxWrite]
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
func (m *Meter) start() error {
	if m.limit == 0 {
		return m.fault()
	}
	return nil
}

func (m *Meter) fault() error {
	if m.stall {
		m.Silence()
	}
	m.Cut()
	return ErrCut
}

// Secure shakes hands as the server. From then on the octets go over TLS.
func (m *Meter) Secure(conf *tls.Config) error {
	conn := tls.Server(m.Raw, conf)
	if err := conn.Handshake(); err != nil { // ended by the client, or by Close
		return err
	}
	m.Conn = conn
	return nil
}

// TLS returns the state of TLS, nil without any.
func (m *Meter) TLS() *tls.ConnectionState {
	conn, ok := m.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// Silence reads what the client sends, and answers nothing, until the connection ends.
func (m *Meter) Silence() { _, _ = io.Copy(io.Discard, m.Raw) } // how it ends does not matter

// Cut ends the connection without a word; what was written before still arrives. Over TLS there is no close_notify.
func (m *Meter) Cut() {
	if tcp, ok := m.Raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // a close with unread octets resets the connection and may overtake what was written
	}
	_ = m.Raw.Close() // nothing depends on it
}
