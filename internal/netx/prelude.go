package netx

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Prelude is the way to the server of a text protocol, up to its greeting and TLS: it reports each step, as Test shows
// them, and explains what goes wrong. One goroutine uses it at a time.
type Prelude struct {
	Peer     *Peer
	Protocol string                // "IMAP"
	Service  string                // what its port is called, if not Protocol: "submission"
	Reads    bool                  // the protocol reads mail, so that a server of another one may serve as well
	Upgrade  string                // the command that asks for TLS: "STARTTLS"
	PortTLS  int                   // the port that speaks TLS from the first octet
	Clean    func(string) string   // removes secrets from what a server may have said
	Step     func(connection.Step) // nil: nobody wants to know
}

// Report times one step and tells of it. what, which may hold words of the server, and warning are used only when err is nil.
func (p *Prelude) Report(name string, began time.Time, what, warning string, err error) {
	if p.Step == nil {
		return
	}
	s := connection.Step{Name: name, Status: connection.StatusOK, Detail: p.Clean(what), Hint: warning, Elapsed: time.Since(began), Err: err}
	switch {
	case err != nil:
		s.Status, s.Detail, s.Hint = connection.StatusFailed, "", ""
		var e *connection.Error
		if errors.As(err, &e) {
			s.Hint = e.Hint
		}
	case warning != "":
		s.Status = connection.StatusWarned
	}
	p.Step(s)
}

// Dial takes the steps resolve and connect.
func (p *Prelude) Dial(ctx context.Context) (*Conn, error) {
	began := time.Now()
	addrs, err := p.Peer.Addresses(ctx)
	p.Report("resolve", began, strings.Join(addrs, ", "), "", err)
	if err != nil {
		return nil, err
	}
	began = time.Now()
	conn, err := p.Peer.Dial(ctx, addrs)
	if err != nil {
		p.Report("connect", began, "", "", err)
		return nil, err
	}
	p.Report("connect", began, conn.RemoteAddr().String(), "", nil)
	return conn, nil
}

// Secure takes the step tls: handshake makes the connection a TLS one.
func (p *Prelude) Secure(handshake func() (*Secured, error)) (*Secured, error) {
	began := time.Now()
	s, err := handshake()
	if err != nil {
		p.Report("tls", began, "", "", err)
		return nil, err
	}
	warning := ""
	switch {
	case !s.Trusted:
		warning = "accept_any_certificate: anybody on the path can read and change everything; set pin_sha256 to " + Pin(s.State.PeerCertificates) + " instead"
	case p.Peer.Settings.ClientCertPEM != "" && !s.ClientCertRequested:
		warning = "client_cert_pem: the server did not ask for the client certificate"
	}
	p.Report("tls", began, s.Describe(), warning, nil)
	return s, nil
}

// onPath is what TLS would prevent.
const onPath = "mode: anybody on the path can read and change everything; "

// WithoutTLS takes the step tls, begun then, of a connection that stays in the clear: because mode is insecure, or since
// the server offers no upgrade. That is an error if the mode demands one, or if the server used to offer it.
func (p *Prelude) WithoutTLS(ctx context.Context, began time.Time, mode connection.Mode, offeredBefore bool) error {
	port := strconv.Itoa(p.PortTLS)
	what, hint := "no TLS: the server offers no "+p.Upgrade, onPath+"try port "+port+" with mode tls"
	switch {
	case mode == connection.ModeInsecure:
		what, hint = "no TLS, since mode is insecure", onPath+"use tls or starttls"
	case mode == connection.ModeSTARTTLS:
		return p.NoTLS(began, "the server offers no "+p.Upgrade+"; try port "+port+" with mode tls", "the server offers no "+p.Upgrade)
	case offeredBefore:
		return p.NoTLS(began, "somebody on the path may have removed the offer; set mode to starttls, or tls with port "+port,
			"the server used to offer "+p.Upgrade+" and does so no longer")
	}
	p.Peer.Insecure(ctx, what, hint)
	p.Report("tls", began, what, hint, nil)
	return nil
}

// UpgradeRefused is the error for a server that offers an upgrade and refuses it, in its own words.
func (p *Prelude) UpgradeRefused(said string) error {
	return p.Peer.Errorf(connection.ErrTLS, "mode: the server offers "+p.Upgrade+" and refuses it; try port "+strconv.Itoa(p.PortTLS)+" with mode tls",
		"%s refused: %s", p.Upgrade, said)
}

// NoTLS fails the step tls, begun then; the remedy concerns the setting mode.
func (p *Prelude) NoTLS(began time.Time, remedy, text string) error {
	err := p.Peer.Errorf(connection.ErrTLS, "mode: "+remedy, "%s", text)
	p.Report("tls", began, "", "", err)
	return err
}

func (p *Prelude) service() string {
	if p.Service != "" {
		return p.Service
	}
	return p.Protocol
}

// GreetingLost explains an error that came instead of a greeting. s is nil in the clear.
func (p *Prelude) GreetingLost(err error, s *Secured) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Hint != "" || e.Kind == connection.ErrCanceled {
		return err
	}
	explained := *e
	none := "no " + p.Protocol + " greeting came; "
	switch {
	case s != nil && s.ClientCertRequested && e.Kind == connection.ErrNetwork:
		// TLS 1.3: the server looks at the certificate when the client takes the handshake to be over.
		explained.Hint = "client_cert_pem: the server asks for a client certificate; is there one, of an authority that the server trusts?"
	case s == nil:
		explained.Hint = "mode: " + none + "if port " + strconv.Itoa(p.Peer.Port) + " speaks TLS from the first octet, set mode to tls (usual ports: " + p.Peer.Ports + ")"
	default:
		explained.Hint = "server: " + none + "is this the " + p.service() + " port?"
	}
	return &explained
}

// protocols are what servers say first.
var protocols = []struct{ prefix, name, server, driver string }{
	{"* OK", "IMAP", "an IMAP server", "imap"},
	{"* PREAUTH", "IMAP", "an IMAP server", "imap"},
	{"* BYE", "IMAP", "an IMAP server", "imap"},
	{"+OK", "POP3", "a POP3 server", "pop3"},
	{"220", "SMTP or FTP", "an SMTP or FTP server", ""},
	{"HTTP/", "HTTP", "a web server", ""},
	{"SSH-", "SSH", "an SSH server", ""},
	{"\x15\x03", "TLS", "", ""},
	{"\x16\x03", "TLS", "", ""},
}

// NotOurs is the error for a first line that is none of the protocol; shown is what an error may hold of it.
func (p *Prelude) NotOurs(line, shown string, s *Secured) error {
	ports := " (usual ports: " + p.Peer.Ports + ")"
	for _, other := range protocols {
		if !strings.HasPrefix(line, other.prefix) || other.name == p.Protocol {
			continue
		}
		hint := "server: this looks like " + other.server + "; give the " + p.service() + " port"
		switch {
		case other.name == "TLS":
			hint = "mode: this port speaks TLS from the first octet; set mode to tls"
		case other.driver != "" && p.Reads:
			hint += ", or use the driver " + other.driver
		}
		return p.Peer.Errorf(connection.ErrProtocol, hint+ports, "no %s greeting but one of %s: %q", p.Protocol, other.name, shown)
	}
	hint := "server: is this the " + p.service() + " port?" + ports
	if s == nil {
		hint = "mode: if this port speaks TLS from the first octet, set mode to tls; else: " + hint
	}
	return p.Peer.Errorf(connection.ErrProtocol, hint, "no %s greeting: %q", p.Protocol, shown)
}

// Lost makes a *connection.Error of what ended the stream over conn, which is s if that is not nil. heard says that a line
// came over it: a broken TLS connection of which nothing was heard was most likely refused.
func (p *Prelude) Lost(conn *Conn, s *Secured, heard bool, err error) error {
	if first := conn.Err(); first != nil {
		return first // the timeout or ctx, not what TLS made of it
	}
	var e *connection.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, io.EOF):
		return p.Peer.Errorf(connection.ErrNetwork, "", "the server closed the connection: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, io.ErrUnexpectedEOF), s == nil, heard:
		return p.Peer.Errorf(connection.ErrNetwork, "", "the connection broke: %w", err)
	}
	return s.Explain(err)
}
