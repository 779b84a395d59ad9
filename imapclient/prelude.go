package imapclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
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
	way  netx.Prelude
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
	if auth == nil {
		if auth, err = saslx.New(cfg.account(env)); err != nil {
			return nil, peer.Errorf(connection.ErrConfig, "", "config: %w", err)
		}
	}
	l := &link{
		way:  netx.Prelude{Peer: peer, Protocol: "IMAP", Reads: true, Upgrade: "STARTTLS", PortTLS: portTLS, Step: step},
		peer: peer, env: env, id: cfg.ID, noData: cfg.NoDataTimeout.D(),
		login: auth.Login(), user: cfg.Username, password: cfg.Password, actsFor: cfg.actFor,
		scrub: wirelog.NewScrubber(cfg.Username, cfg.Password),
	}
	l.way.Clean = l.clean
	l.strict = cfg.DisableQuirks
	for _, name := range cfg.DisableExtensions {
		l.hidden = append(l.hidden, strings.ToUpper(name))
	}
	l.trace = wirelog.New(env.Log(), peer.Endpoint(), l.scrub)
	return l, nil
}

func (l *link) dial(ctx context.Context) error {
	conn, err := l.way.Dial(ctx)
	if err != nil {
		return err
	}
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
		if err := l.secure(func() (*netx.Secured, error) { return l.conn.Handshake(dialCtx) }); err != nil {
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
			l.way.Report("auth", time.Now(), "", "", err)
			return err
		}
		l.way.Report("auth", time.Now(), "the server says PREAUTH: it knows us without a login, and username and password were not used", "", nil)
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

// secure has handshake make the connection a TLS one, and forgets what was heard.
func (l *link) secure(handshake func() (*netx.Secured, error)) error {
	s, err := l.way.Secure(handshake)
	if err != nil {
		return err
	}
	l.tls = s
	l.use(s)
	return nil
}

// greet reads the greeting. Nothing is sent before it (RFC 9051, 7.1).
func (l *link) greet() (note, error) {
	began := time.Now()
	n, err := l.readGreeting()
	l.way.Report("greeting", began, l.greeting, "", err)
	return n, err
}

func (l *link) readGreeting() (note, error) {
	line, err := l.readLine(maxPreludeLine)
	if err != nil {
		return note{}, l.way.GreetingLost(err, l.tls)
	}
	n := parseStatus(line)
	n.Text = l.clean(n.Text)
	l.greeting = wirelog.Clip(l.clean(line))
	if n.Tag != "*" {
		return n, l.way.NotOurs(line, l.greeting, l.tls)
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
	return n, l.way.NotOurs(line, l.greeting, l.tls)
}

// upgrade obeys the mode on a connection that is in the clear: see [connection.Mode].
func (l *link) upgrade(ctx context.Context, mode connection.Mode, preauth bool, m *tlsMemory) error {
	began := time.Now()
	if mode = mode.Or(); mode != connection.ModeInsecure {
		if preauth {
			// RFC 9051, 7.1.4: a PREAUTH greeting leaves no room for STARTTLS, so it may be there to prevent it.
			return l.way.NoTLS(began, "use tls, if the server has a port for it", "the server says PREAUTH on a connection without TLS")
		}
		if l.caps == nil {
			if err := l.askCaps(""); err != nil {
				return err
			}
		}
		if slices.Contains(l.caps, "STARTTLS") {
			m.server().seen.Store(true)
			return l.startTLS(ctx)
		}
	}
	return l.way.WithoutTLS(ctx, began, mode, m.server().seen.Load())
}

// startTLS upgrades (RFC 9051, 6.2.1). Whatever the server said so far is forgotten, the codes in its consent included.
func (l *link) startTLS(ctx context.Context) error {
	return l.secure(func() (*netx.Secured, error) {
		n, err := l.command("STARTTLS", maxPreludeLine, nil)
		if err != nil {
			return nil, err
		}
		if n.Type != "OK" {
			return nil, l.way.UpgradeRefused(l.said(n))
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
			l.way.Report("capabilities", began, "", "", err)
			return err
		}
	}
	if when != "" {
		l.way.Report("capabilities", began, when+wirelog.Clip(l.clean(strings.Join(l.caps, " "))), "", nil)
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
	e.Code, e.RetryAfter = wirelog.Clip(l.clean(n.Code)), after
	return e
}

// said returns the server's words for an error or an event.
func (l *link) said(n note) string { return wirelog.Clip(l.clean(n.String())) }
