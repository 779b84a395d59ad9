package imaptest

import (
	"crypto/tls"
	"time"

	"github.com/mailconn/mailconn/internal/doubles"
)

// wire counts and spoils connections. Both kinds of server have one.
type wire struct{ connections doubles.Line }

// CutAfter makes the server close the next connection as soon as it has sent so many octets on it. Octets are counted
// as IMAP sees them: above TLS, from the greeting on, STARTTLS included. 0 closes it before the greeting. With times
// that many of the next connections are cut, with a negative number all of them. What was sent before the cut arrives.
// See Sent for how many octets a whole session has.
func (w *wire) CutAfter(octets int64, times ...int) { w.connections.Spoil(octets, false, times) }

// StallAfter makes the server fall silent for ever on the next connection as soon as it has sent so many octets on
// it. Octets and times are as for CutAfter.
func (w *wire) StallAfter(octets int64, times ...int) { w.connections.Spoil(octets, true, times) }

// Sent returns how many octets the server has sent on each connection so far, counted as for CutAfter.
func (w *wire) Sent() []int64 { return w.connections.Sent() }

// Received returns how many octets the server has received on each connection so far, counted as for CutAfter.
func (w *wire) Received() []int64 { return w.connections.Received() }

// NewCertificate makes a self-signed certificate (ECDSA, P-256) for host names and IP addresses, valid until notAfter
// (which may be in the past: an expired one) and for a year before that. Put it into Options.TLS. Its PEM text is what
// a client must trust; [Server.Config] returns it.
func NewCertificate(notAfter time.Time, hosts ...string) (tls.Certificate, error) {
	return doubles.NewCertificate("imaptest", notAfter, hosts...)
}
