package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/netx"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// tlsMemory remembers whether a Conn has had TLS from its server. A server that offered STARTTLS once and does so no
// longer is most likely somebody on the path. The zero value is ready.
type tlsMemory struct{ seen atomic.Bool }

// connect dials, secures and logs in as cfg says; login is nil if nobody is to log in. step, if not nil, receives what
// each step found. The error is that of the first step that failed, a *connection.Error; the connection is closed then.
// When ctx ends, connect ends soon; the session it returned is no longer bound to ctx. exchange, if not nil, is the SASL
// exchange that was tried.
func (m *tlsMemory) connect(ctx context.Context, cfg *Config, env *connection.Env, login *saslx.Attempt, step func(connection.Step)) (s *session, exchange *saslx.Exchange, err error) {
	host, port, err := cfg.HostPort(cfg.port())
	if err != nil {
		return nil, nil, &connection.Error{Op: "connect", Driver: DriverName, Kind: connection.ErrConfig, Err: err}
	}
	if step == nil {
		step = func(connection.Step) {}
	}
	s = &session{cfg: cfg, env: env, step: step, scrub: wirelog.NewScrubber(cfg.Username, cfg.Password)}
	s.peer = &netx.Peer{Driver: DriverName, ID: cfg.ID, Host: host, Port: port, Ports: portsHint, Settings: &cfg.NetworkSettings, Env: env}
	s.trace = wirelog.New(env.Log(), s.peer.Endpoint(), s.scrub)
	dialCtx, cancel := s.peer.WithConnectTimeout(ctx)
	defer cancel()
	if err := s.dial(dialCtx); err != nil {
		return nil, nil, err
	}
	release := s.conn.Bind(ctx)
	exchange, err = s.establish(ctx, dialCtx, login, m)
	if !release() && err == nil {
		err = s.peer.Ended(ctx)
	}
	if err != nil {
		s.conn.Fail(err)
		return nil, exchange, err
	}
	s.step = func(connection.Step) {}
	return s, exchange, nil
}

// report times one step and tells of it. what and warning are used only when err is nil.
func (s *session) report(name string, began time.Time, what, warning string, err error) {
	r := connection.Step{Name: name, Status: connection.StatusOK, Detail: what, Hint: warning, Elapsed: time.Since(began), Err: err}
	switch {
	case err != nil:
		r.Status, r.Detail, r.Hint = connection.StatusFailed, "", ""
		var e *connection.Error
		if errors.As(err, &e) {
			r.Hint = e.Hint
		}
	case warning != "":
		r.Status = connection.StatusWarned
	}
	s.step(r)
}

func (s *session) dial(ctx context.Context) error {
	began := time.Now()
	addrs, err := s.peer.Addresses(ctx)
	s.report("resolve", began, strings.Join(addrs, ", "), "", err)
	if err != nil {
		return err
	}
	began = time.Now()
	conn, err := s.peer.Dial(ctx, addrs)
	if err != nil {
		s.report("connect", began, "", "", err)
		return err
	}
	s.report("connect", began, conn.RemoteAddr().String(), "", nil)
	s.conn = conn
	s.use(conn)
	return nil
}

// establish goes from the first octet to the end of the login. Until TLS and greeting are done it is also under the
// connect timeout, that of dialCtx.
func (s *session) establish(ctx, dialCtx context.Context, login *saslx.Attempt, m *tlsMemory) (*saslx.Exchange, error) {
	release := s.conn.Bind(dialCtx)
	if s.cfg.Mode.Or() == connection.ModeTLS {
		if err := s.secure(dialCtx, false); err != nil {
			return nil, err
		}
	}
	if err := s.greet(); err != nil {
		return nil, err
	}
	if s.tls == nil {
		if err := s.tlsPolicy(dialCtx, m); err != nil {
			return nil, err
		}
	}
	if s.tls != nil {
		m.seen.Store(true)
	}
	if !release() {
		return nil, s.peer.Ended(dialCtx)
	}
	if err := s.askExtensions(""); err != nil {
		return nil, err
	}
	if login == nil || !s.wantsLogin() {
		const what = "no login, since username is not set"
		s.step(connection.Step{Name: "auth", Status: connection.StatusSkipped, Detail: what})
		return nil, nil
	}
	exchange, err := s.authenticate(ctx, login)
	if err != nil {
		return exchange, err
	}
	s.authorized = true
	if s.ext.hasSize && s.ext.size == 0 {
		// Dovecot tells its limit, and DSN, only after the login.
		s.ext = extensions{}
		return exchange, s.askExtensions("after login: ")
	}
	return exchange, nil
}

// wantsLogin reports whether there is anything to log in by. With a certificate alone EXTERNAL is used where it is
// offered; elsewhere the certificate itself is what the server looks at.
func (s *session) wantsLogin() bool {
	if s.cfg.Username != "" {
		return true
	}
	for _, name := range s.ext.auth {
		if name == saslx.External && s.tls != nil && s.tls.ClientCertRequested {
			return true
		}
	}
	return false
}

// secure makes the connection a TLS one, from the start or after consent to an upgrade, and forgets what was heard.
func (s *session) secure(ctx context.Context, upgrade bool) error {
	began := time.Now()
	var secured *netx.Secured
	var err error
	if upgrade {
		secured, err = s.conn.Upgrade(ctx, s.br)
	} else {
		secured, err = s.conn.Handshake(ctx)
	}
	if err != nil {
		s.report("tls", began, "", "", err)
		return err
	}
	s.tls = secured
	s.use(secured)
	warning := ""
	switch {
	case !secured.Trusted:
		warning = "accept_any_certificate: anybody on the path can read and change everything; set pin_sha256 to " + netx.Pin(secured.State.PeerCertificates) + " instead"
	case s.cfg.ClientCertPEM != "" && !secured.ClientCertRequested:
		warning = "client_cert_pem: the server did not ask for the client certificate"
	}
	s.report("tls", began, secured.Describe(), warning, nil)
	return nil
}

// greet reads the greeting. Nothing is sent before it (RFC 5321, 4.3.1).
func (s *session) greet() error {
	began := time.Now()
	err := s.readGreeting()
	s.report("greeting", began, s.greeting, "", err)
	return err
}

func (s *session) readGreeting() error {
	first, err := s.br.Peek(1)
	if err == nil && (first[0] < '2' || first[0] > '5') {
		line, err := s.readLine(maxLine)
		if err != nil {
			return s.greetingLost(err)
		}
		return s.notSMTP(s.shown(line))
	}
	r, err := s.reply()
	if err != nil {
		return s.greetingLost(err)
	}
	s.greeting = s.said(r)
	switch {
	case r.code == 554 || r.code == 521 || r.code/100 == 4:
		return s.refusal(stageHello, r, "server: the server turned the connection away; its words are in the error")
	case r.code != 220:
		return s.notSMTP(s.greeting)
	}
	return nil
}

// greetingLost explains why no greeting came.
func (s *session) greetingLost(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Hint != "" || e.Kind == connection.ErrCanceled {
		return err
	}
	explained := *e
	explained.Hint = "server: no SMTP greeting came; is this the submission port?"
	if s.tls == nil {
		explained.Hint = "mode: no SMTP greeting came; if port " + strconv.Itoa(s.peer.Port) + " speaks TLS from the first octet, set mode to tls (usual ports: " + portsHint + ")"
	}
	return &explained
}

// protocols are what other servers say first.
var protocols = []struct{ prefix, name, hint string }{
	{"* OK", "IMAP", "server: this looks like an IMAP server; give the submission port"},
	{"* PREAUTH", "IMAP", "server: this looks like an IMAP server; give the submission port"},
	{"* BYE", "IMAP", "server: this looks like an IMAP server; give the submission port"},
	{"+OK", "POP3", "server: this looks like a POP3 server; give the submission port"},
	{"HTTP/", "HTTP", "server: this looks like a web server; give the submission port"},
	{"SSH-", "SSH", "server: this looks like an SSH server; give the submission port"},
}

func (s *session) notSMTP(line string) error {
	for _, p := range protocols {
		if strings.HasPrefix(line, p.prefix) {
			return s.peer.Errorf(connection.ErrProtocol, p.hint+" (usual ports: "+portsHint+")", "no SMTP greeting but one of %s: %q", p.name, line)
		}
	}
	hint := "server: is this the port of an SMTP server? (usual ports: " + portsHint + ")"
	if s.tls == nil {
		hint = "mode: if this port speaks TLS from the first octet, set mode to tls; else: " + hint
	}
	return s.peer.Errorf(connection.ErrProtocol, hint, "no SMTP greeting: %q", line)
}

// usualMessage is a size that a server for people's mail should take.
const usualMessage = 10 << 20

// askExtensions says EHLO, unless what is offered is known, and reports it.
func (s *session) askExtensions(when string) error {
	began := time.Now()
	if s.ext.words == nil {
		if err := s.hello(); err != nil {
			s.report("capabilities", began, "", "", err)
			return err
		}
	}
	what, warning := when+clip(s.clean(strings.Join(s.ext.words, ", "))), ""
	if s.ext.size > 0 {
		what += fmt.Sprintf("; messages of up to %d octets", s.ext.size)
	}
	switch {
	case !s.ext.eightBit:
		warning = "eight_bit: the server does not offer 8BITMIME, so messages with 8-bit content are refused unless this is send-anyway"
	case s.ext.size > 0 && s.ext.size < usualMessage:
		warning = fmt.Sprintf("server: it takes messages of at most %d octets, which is less than people send", s.ext.size)
	}
	s.report("capabilities", began, what, warning, nil)
	return nil
}
