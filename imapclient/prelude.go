package imapclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/netx"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// The default ports (RFC 8314, 7.1 and 7.3).
const (
	portTLS   = 993
	portClear = 143
	portsHint = "993 with mode tls, 143 with the other modes"
)

// Limits of what a server may say before it is selected. Real servers stay far below.
const (
	maxPreludeLine  = 8 << 10   // one line
	maxCapsLine     = 256 << 10 // one line in answer to CAPABILITY or a login
	maxPreludeLines = 256       // lines that answer one command
	maxCaps         = 1000      // capabilities kept
	maxCapLength    = 128       // of one
	linkBuffer      = 128 << 10
)

// A link is an authenticated connection on which no go-imap code has run yet: what [newGuard] takes over.
type link struct {
	peer   *netx.Peer
	conn   *netx.Conn     // the socket
	stream net.Conn       // conn, or TLS on it
	tls    *netx.Secured  // nil in the clear
	br     *bufio.Reader  // of stream, with what it holds already
	heard  bool           // a line came over stream
	caps   []string       // upper case, as last told; nothing from before TLS
	hidden []string       // capabilities that the settings disable, upper case
	strict []string       // oddities that the settings do not want to be worked around
	trace  *wirelog.Trace // nil unless asked for
	scrub  *wirelog.Scrubber
	noData time.Duration

	greeting  string // the server's words
	mechanism string // "PLAIN", "LOGIN command", "PREAUTH"

	login    *saslx.Attempt
	user     string
	password connection.Secret
	actsFor  string // whose mailbox is opened, if the authorization identity says so
	serverID string // what follows "* ID", if the server was asked

	env  *connection.Env
	id   string
	step func(connection.Step)
	tags int
}

// has reports whether the server offers the capability and the settings do not disable it.
func (l *link) has(name string) bool {
	return slices.Contains(l.caps, name) && !slices.Contains(l.hidden, name)
}

// tlsMemory is what a Conn keeps from one connection to the next. The zero value is ready.
type tlsMemory struct {
	// seen says that the server has offered STARTTLS. One that does so no longer is most likely somebody on the path
	// (RFC 3207, 6).
	seen atomic.Bool
	// whole, if not nil, has what is known of the server, which is the same for all mailboxes.
	whole *tlsMemory
	// auth logs in; it keeps what is dear to compute (SCRAM). nil: newLink makes one.
	auth *saslx.Authenticator
}

// server returns the memory that is shared by all mailboxes of a server.
func (m *tlsMemory) server() *tlsMemory {
	if m.whole != nil {
		return m.whole
	}
	return m
}

// connect is tlsMemory.connect for a single connection, with nothing remembered.
func connect(ctx context.Context, cfg *Config, env *connection.Env, step func(connection.Step)) (*link, error) {
	return new(tlsMemory).connect(ctx, cfg, env, step)
}

// connect dials, secures and logs in as cfg says. step, if not nil, receives what each step found: resolve, connect,
// tls, greeting, capabilities, auth. The error is that of the first step that failed, a *connection.Error; the
// connection is closed then. When ctx ends, connect ends soon; the link it returned is no longer bound to ctx.
func (m *tlsMemory) connect(ctx context.Context, cfg *Config, env *connection.Env, step func(connection.Step)) (*link, error) {
	l, err := m.attempt(ctx, cfg, env, step, nil)
	if !errors.Is(err, errRenewed) {
		return l, err
	}
	// The same way once more, with the other token. What it was like to get there is told already.
	auth := func(s connection.Step) {
		if s.Name == "auth" || s.Err != nil || strings.HasPrefix(s.Detail, loggedIn) {
			step(s)
		}
	}
	if step == nil {
		auth = nil
	}
	return m.attempt(ctx, cfg, env, auth, l.login)
}

// attempt is one connection of connect. login, if not nil, is that of the attempt before. With errRenewed the link is
// not nil, but closed.
func (m *tlsMemory) attempt(ctx context.Context, cfg *Config, env *connection.Env, step func(connection.Step), login *saslx.Attempt) (*link, error) {
	l, err := newLink(cfg, env, step, m.auth)
	if err != nil {
		return nil, err
	}
	if login != nil {
		l.login = login
	}
	dialCtx, cancel := l.peer.WithConnectTimeout(ctx)
	defer cancel()
	if err := l.dial(dialCtx); err != nil {
		return nil, err
	}
	defer l.conn.Bind(ctx)()
	if err := l.establish(ctx, dialCtx, cfg, m); err != nil {
		l.conn.Fail(err)
		if errors.Is(err, errRenewed) {
			return l, err
		}
		return nil, err
	}
	return l, nil
}

// newLink returns a link that is not connected yet. auth may be nil.
func newLink(cfg *Config, env *connection.Env, step func(connection.Step), auth *saslx.Authenticator) (*link, error) {
	port := portClear
	if cfg.Mode.Or() == connection.ModeTLS {
		port = portTLS
	}
	host, port, err := cfg.HostPort(port)
	if err != nil {
		return nil, &connection.Error{Op: "connect", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	peer := &netx.Peer{Driver: DriverName, ID: cfg.ID, Host: host, Port: port, Ports: portsHint, Settings: &cfg.NetworkSettings, Env: env}
	if step == nil {
		step = func(connection.Step) {}
	}
	if auth == nil {
		if auth, err = saslx.New(cfg.account(env)); err != nil {
			return nil, peer.Errorf(connection.ErrConfig, "", "config: %w", err)
		}
	}
	l := &link{
		peer: peer, env: env, id: cfg.ID, step: step, noData: cfg.NoDataTimeout.D(),
		login: auth.Login(), user: cfg.Username, password: cfg.Password, actsFor: cfg.actFor,
		scrub: wirelog.NewScrubber(cfg.Username, cfg.Password),
	}
	l.strict = cfg.DisableQuirks
	for _, name := range cfg.DisableExtensions {
		l.hidden = append(l.hidden, strings.ToUpper(name))
	}
	l.trace = wirelog.New(env.Log(), peer.Endpoint(), l.scrub)
	return l, nil
}

// report times one step and tells of it. what, which may hold words of the server, and warning are used only when err is
// nil.
func (l *link) report(name string, began time.Time, what, warning string, err error) {
	s := connection.Step{Name: name, Status: connection.StatusOK, Detail: l.clean(what), Hint: warning, Elapsed: time.Since(began), Err: err}
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
	l.step(s)
}

func (l *link) dial(ctx context.Context) error {
	began := time.Now()
	addrs, err := l.peer.Addresses(ctx)
	l.report("resolve", began, strings.Join(addrs, ", "), "", err)
	if err != nil {
		return err
	}
	began = time.Now()
	conn, err := l.peer.Dial(ctx, addrs)
	if err != nil {
		l.report("connect", began, "", "", err)
		return err
	}
	l.report("connect", began, conn.RemoteAddr().String(), "", nil)
	l.conn = conn
	l.use(conn)
	return nil
}

// use makes stream the one that is spoken on. Nothing that was heard on another one is kept.
func (l *link) use(stream net.Conn) {
	l.stream, l.br, l.caps, l.heard = stream, bufio.NewReaderSize(stream, linkBuffer), nil, false
}

// loggedIn begins what the second step "capabilities" says.
const loggedIn = "after login: "

// establish goes from the first octet to the end of the login. Until TLS and greeting are done it is also under the
// connect timeout, that of dialCtx.
func (l *link) establish(ctx, dialCtx context.Context, cfg *Config, m *tlsMemory) error {
	release := l.conn.Bind(dialCtx)
	if cfg.Mode.Or() == connection.ModeTLS {
		if err := l.secure(dialCtx, func() (*netx.Secured, error) { return l.conn.Handshake(dialCtx) }); err != nil {
			return err
		}
	}
	greeting, err := l.greet()
	if err != nil {
		return err
	}
	if l.tls == nil {
		if err := l.upgrade(dialCtx, cfg.Mode, greeting.Type == "PREAUTH", m); err != nil {
			return err
		}
	}
	if !release() {
		return l.peer.Ended(dialCtx)
	}
	if err := l.identify(cfg); err != nil {
		return err
	}
	if greeting.Type == "PREAUTH" {
		l.mechanism = "PREAUTH"
		if cfg.mailbox != "" {
			err := l.peer.Errorf(connection.ErrAuth, "mailboxes: this server chooses the mailbox itself; leave the setting out", "the server says PREAUTH, so mailbox %q cannot be asked for", cfg.mailbox)
			l.report("auth", time.Now(), "", "", err)
			return err
		}
		l.report("auth", time.Now(), "the server says PREAUTH: it knows us without a login, and username and password were not used", "", nil)
	} else {
		if err := l.askCaps("before login: "); err != nil {
			return err
		}
		if err := l.authenticate(ctx); err != nil {
			return err
		}
	}
	if err := l.askCaps(loggedIn); err != nil {
		return err
	}
	return l.compress(cfg)
}

// secure reports what handshake made of the connection.
func (l *link) secure(ctx context.Context, handshake func() (*netx.Secured, error)) error {
	began := time.Now()
	s, err := handshake()
	if err != nil {
		l.report("tls", began, "", "", err)
		return err
	}
	l.tls = s
	l.use(s)
	warning := ""
	if !s.Trusted {
		warning = "accept_any_certificate: anybody on the path can read and change everything; set pin_sha256 to " + netx.Pin(s.State.PeerCertificates) + " instead"
	}
	l.report("tls", began, s.Describe(), warning, nil)
	return nil
}

// greet reads the greeting. Nothing is sent before it (RFC 9051, 7.1).
func (l *link) greet() (note, error) {
	began := time.Now()
	n, err := l.readGreeting()
	l.report("greeting", began, l.greeting, "", err)
	return n, err
}

func (l *link) readGreeting() (note, error) {
	line, err := l.readLine(maxPreludeLine)
	if err != nil {
		return note{}, l.greetingLost(err)
	}
	n := parseStatus(line)
	n.Text = l.clean(n.Text)
	l.greeting = clip(l.clean(line))
	if n.Tag != "*" {
		return n, l.notIMAP(line)
	}
	switch n.Type {
	case "OK", "PREAUTH":
		if n.Code == "CAPABILITY" {
			l.caps = parseCaps(n.Arg)
		}
		l.notice(n)
		return n, nil
	case "BYE":
		l.announce(n)
		return n, l.refusal(n, "server: the server turned the connection away; its words are in the error")
	}
	return n, l.notIMAP(line)
}

// greetingLost explains why no greeting came.
func (l *link) greetingLost(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Hint != "" || e.Kind == connection.ErrCanceled {
		return err
	}
	explained := *e
	switch {
	case l.tls != nil && l.tls.ClientCertRequested && e.Kind == connection.ErrNetwork:
		// TLS 1.3: the server looks at the certificate when the client takes the handshake to be over.
		explained.Hint = "client_cert_pem: the server asks for a client certificate; is there one, of an authority that the server trusts?"
	case e.Kind == connection.ErrProtocol && l.tls == nil, e.Kind == connection.ErrTimeout && l.tls == nil, e.Kind == connection.ErrNetwork && l.tls == nil:
		explained.Hint = "mode: no IMAP greeting came; if port " + strconv.Itoa(l.peer.Port) + " speaks TLS from the first octet, set mode to tls (usual ports: " + portsHint + ")"
	default:
		explained.Hint = "server: no IMAP greeting came; is this the IMAP port?"
	}
	return &explained
}

// protocols are what other servers say first.
var protocols = []struct{ prefix, name, hint string }{
	{"+OK", "POP3", "server: this looks like a POP3 server; give the IMAP port, or use the driver pop3"},
	{"220", "SMTP or FTP", "server: this looks like an SMTP or FTP server; give the IMAP port"},
	{"HTTP/", "HTTP", "server: this looks like a web server; give the IMAP port"},
	{"SSH-", "SSH", "server: this looks like an SSH server; give the IMAP port"},
	{"\x15\x03", "TLS", "mode: this port speaks TLS from the first octet; set mode to tls"},
	{"\x16\x03", "TLS", "mode: this port speaks TLS from the first octet; set mode to tls"},
}

func (l *link) notIMAP(line string) error {
	for _, p := range protocols {
		if strings.HasPrefix(line, p.prefix) {
			return l.peer.Errorf(connection.ErrProtocol, p.hint+" (usual ports: "+portsHint+")", "no IMAP greeting but one of %s: %q", p.name, clip(l.clean(line)))
		}
	}
	return l.peer.Errorf(connection.ErrProtocol, "server: is this the port of an IMAP server? (usual ports: "+portsHint+")", "no IMAP greeting: %q", clip(l.clean(line)))
}

// upgrade obeys the mode on a connection that is in the clear: see [connection.Mode].
func (l *link) upgrade(ctx context.Context, mode connection.Mode, preauth bool, m *tlsMemory) error {
	mode = mode.Or()
	if mode == connection.ModeInsecure {
		const what, hint = "no TLS, since mode is insecure", "mode: anybody on the path can read and change everything; use tls or starttls"
		l.peer.Insecure(ctx, what, hint)
		l.report("tls", time.Now(), what, hint, nil)
		return nil
	}
	began := time.Now()
	fail := func(hint, format string, args ...any) error {
		err := l.peer.Errorf(connection.ErrTLS, hint, format, args...)
		l.report("tls", began, "", "", err)
		return err
	}
	if preauth {
		// RFC 9051, 7.1.4: a PREAUTH greeting leaves no room for STARTTLS, so it may be there to prevent it.
		return fail("mode: use tls, if the server has a port for it", "the server says PREAUTH on a connection without TLS")
	}
	if l.caps == nil {
		if err := l.askCaps(""); err != nil {
			return err
		}
	}
	switch {
	case slices.Contains(l.caps, "STARTTLS"):
		m.server().seen.Store(true)
		return l.startTLS(ctx)
	case mode == connection.ModeSTARTTLS:
		return fail("mode: the server offers no STARTTLS; try port 993 with mode tls", "the server offers no STARTTLS")
	case m.server().seen.Load():
		return fail("mode: somebody on the path may have removed the offer; set mode to starttls, or tls with port 993", "the server used to offer STARTTLS and does so no longer")
	}
	const what, hint = "no TLS: the server offers no STARTTLS", "mode: anybody on the path can read and change everything; try port 993 with mode tls"
	l.peer.Insecure(ctx, what, hint)
	l.report("tls", began, what, hint, nil)
	return nil
}

// startTLS upgrades (RFC 9051, 6.2.1). Whatever the server said so far is forgotten, the codes in its consent included.
func (l *link) startTLS(ctx context.Context) error {
	return l.secure(ctx, func() (*netx.Secured, error) {
		n, err := l.command("STARTTLS", maxPreludeLine, nil)
		if err != nil {
			return nil, err
		}
		if n.Type != "OK" {
			return nil, l.peer.Errorf(connection.ErrTLS, "mode: the server offers STARTTLS and refuses it; try port 993 with mode tls", "STARTTLS refused: %s", l.said(n))
		}
		return l.conn.Upgrade(ctx, l.br)
	})
}

// askCaps asks for the capabilities unless they are known, and reports them if it is said when this is.
func (l *link) askCaps(when string) error {
	began := time.Now()
	if l.caps == nil {
		n, err := l.command("CAPABILITY", maxCapsLine, nil)
		if err == nil && n.Type != "OK" {
			err = l.refusal(n, "")
		}
		if err == nil && len(l.caps) == 0 {
			err = l.peer.Errorf(connection.ErrProtocol, "server: is this an IMAP server?", "the server tells no capabilities")
		}
		if err != nil {
			l.report("capabilities", began, "", "", err)
			return err
		}
	}
	if when != "" {
		l.report("capabilities", began, when+clip(l.clean(strings.Join(l.caps, " "))), "", nil)
	}
	return nil
}

// notice tells the host of an ALERT, which must be shown (RFC 9051, 7.1).
func (l *link) notice(n note) {
	if n.Code == "ALERT" && n.Type != "BYE" {
		l.announce(n)
	}
}

// announce tells the host what the server has to say to people.
func (l *link) announce(n note) {
	text := l.said(n)
	l.env.Log().Warn("server notice", slog.String("endpoint", l.peer.Endpoint()), slog.String("text", text))
	l.env.Emit(connection.Event{Kind: connection.EventNotice, Connection: l.name(), Detail: text})
}

func (l *link) name() string {
	if l.id != "" {
		return l.id
	}
	return DriverName
}

// refusal makes an error of a NO, BAD or BYE.
func (l *link) refusal(n note, hint string) *connection.Error {
	kind, after := n.kind()
	e := l.peer.Errorf(kind, hint, "server said %s", l.said(n))
	e.Code, e.RetryAfter = clip(l.clean(n.Code)), after
	return e
}

// said returns the server's words for an error or an event.
func (l *link) said(n note) string { return clip(l.clean(n.String())) }
