package smtpclient

import (
	"context"
	"fmt"
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
	s = &session{cfg: cfg, env: env, scrub: wirelog.NewScrubber(cfg.Username, cfg.Password)}
	s.peer = &netx.Peer{Driver: DriverName, ID: cfg.ID, Host: host, Port: port, Ports: portsHint, Settings: &cfg.NetworkSettings, Env: env}
	s.way = netx.Prelude{Peer: s.peer, Protocol: "SMTP", Service: "submission", Upgrade: "STARTTLS", PortTLS: portTLS, Clean: s.clean, Step: step}
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
	s.way.Step = nil
	return s, exchange, nil
}

func (s *session) dial(ctx context.Context) error {
	conn, err := s.way.Dial(ctx)
	if err != nil {
		return err
	}
	s.conn = conn
	s.use(conn)
	return nil
}

// establish goes from the first octet to the end of the login. Until TLS and greeting are done it is also under the
// connect timeout, that of dialCtx.
func (s *session) establish(ctx, dialCtx context.Context, login *saslx.Attempt, m *tlsMemory) (*saslx.Exchange, error) {
	release := s.conn.Bind(dialCtx)
	if s.cfg.Mode.Or() == connection.ModeTLS {
		if err := s.secure(func() (*netx.Secured, error) { return s.conn.Handshake(dialCtx) }); err != nil {
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
		if s.way.Step != nil {
			s.way.Step(connection.Step{Name: "auth", Status: connection.StatusSkipped, Detail: what})
		}
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

// secure has handshake make the connection a TLS one, and forgets what was heard.
func (s *session) secure(handshake func() (*netx.Secured, error)) error {
	secured, err := s.way.Secure(handshake)
	if err != nil {
		return err
	}
	s.tls = secured
	s.use(secured)
	return nil
}

// greet reads the greeting. Nothing is sent before it (RFC 5321, 4.3.1).
func (s *session) greet() error {
	began := time.Now()
	err := s.readGreeting()
	s.way.Report("greeting", began, s.greeting, "", err)
	return err
}

func (s *session) readGreeting() error {
	first, err := s.br.Peek(1)
	if err == nil && (first[0] < '2' || first[0] > '5') {
		line, err := s.readLine(maxLine)
		if err != nil {
			return s.way.GreetingLost(err, s.tls)
		}
		return s.way.NotOurs(string(line), s.shown(line), s.tls)
	}
	r, err := s.reply()
	if err != nil {
		return s.way.GreetingLost(err, s.tls)
	}
	s.greeting = s.said(r)
	switch {
	case r.code == 554 || r.code == 521 || r.code/100 == 4:
		return s.refusal(stageHello, r, "server: the server turned the connection away; its words are in the error")
	case r.code != 220:
		return s.way.NotOurs(s.greeting, s.greeting, s.tls)
	}
	return nil
}

// usualMessage is a size that a server for people's mail should take.
const usualMessage = 10 << 20

// askExtensions says EHLO, unless what is offered is known, and reports it.
func (s *session) askExtensions(when string) error {
	began := time.Now()
	if s.ext.words == nil {
		if err := s.hello(); err != nil {
			s.way.Report("capabilities", began, "", "", err)
			return err
		}
	}
	what, warning := when+wirelog.Clip(s.clean(strings.Join(s.ext.words, ", "))), ""
	if s.ext.size > 0 {
		what += fmt.Sprintf("; messages of up to %d octets", s.ext.size)
	}
	switch {
	case !s.ext.eightBit:
		warning = "eight_bit: the server does not offer 8BITMIME, so messages with 8-bit content are refused unless this is send-anyway"
	case s.ext.size > 0 && s.ext.size < usualMessage:
		warning = fmt.Sprintf("server: it takes messages of at most %d octets, which is less than people send", s.ext.size)
	}
	s.way.Report("capabilities", began, what, warning, nil)
	return nil
}
