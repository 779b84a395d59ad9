package pop3client

import (
	"bufio"
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/netx"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// The default ports (RFC 8314, 7.2; RFC 1939, 3).
const (
	portTLS   = 995
	portClear = 110
	portsHint = "995 with mode tls, 110 with the other modes"
)

// Limits of what a server may say outside of messages. RFC 2449, 4 permits 512 octets; servers exceed it.
const (
	maxLine         = 4 << 10
	maxGreeting     = 8 << 10
	maxChallenge    = 96 << 10
	maxCapabilities = 256
	linkBuffer      = 256 << 10
)

// A link is a connection to a server: first in the clear or not, in the end logged in. One goroutine uses it at a time.
type link struct {
	cfg    *Config
	env    *connection.Env
	peer   *netx.Peer
	conn   *netx.Conn    // the socket
	stream net.Conn      // conn, or TLS on it
	tls    *netx.Secured // nil in the clear
	br     *bufio.Reader // of stream
	waits  func()        // called before more is read from stream; may be nil
	caps   capabilities  // as last told; nothing from before TLS
	trace  *wirelog.Trace
	scrub  *wirelog.Scrubber
	way    netx.Prelude

	greeting  string // the server's words
	timestamp string // of the greeting, for APOP; "" if it has none that is sane
	lfOnly    bool   // the last status line ended in LF alone
	commands  int    // sent so far
}

// tlsMemory remembers whether a Conn has had TLS from its server. A server that offered STLS once and does so no longer
// is most likely somebody on the path. The zero value is ready.
type tlsMemory struct{ seen atomic.Bool }

// connect dials, secures and logs in as cfg says. step, if not nil, receives what each step found. The error is that of
// the first step that failed, a *connection.Error; the connection is closed then. When ctx ends, connect ends soon; the
// link it returned is no longer bound to ctx. exchange, if not nil, is the SASL exchange that was tried.
func (m *tlsMemory) connect(ctx context.Context, cfg *Config, env *connection.Env, login *saslx.Attempt, step func(connection.Step)) (l *link, exchange *saslx.Exchange, err error) {
	host, port, err := cfg.HostPort(cfg.port())
	if err != nil {
		return nil, nil, &connection.Error{Op: "connect", Driver: DriverName, Kind: connection.ErrConfig, Err: err}
	}
	l = &link{cfg: cfg, env: env, scrub: wirelog.NewScrubber(cfg.Username, cfg.Password)}
	l.peer = &netx.Peer{Driver: DriverName, ID: cfg.ID, Host: host, Port: port, Ports: portsHint, Settings: &cfg.NetworkSettings, Env: env}
	l.way = netx.Prelude{Peer: l.peer, Protocol: "POP3", Reads: true, Upgrade: "STLS", PortTLS: portTLS, Clean: l.clean, Step: step}
	l.trace = wirelog.New(env.Log(), l.peer.Endpoint(), l.scrub)
	dialCtx, cancel := l.peer.WithConnectTimeout(ctx)
	defer cancel()
	if err := l.dial(dialCtx); err != nil {
		return nil, nil, err
	}
	defer l.conn.Bind(ctx)()
	if exchange, err = l.establish(ctx, dialCtx, login, m); err != nil {
		l.conn.Fail(err)
		return nil, exchange, err
	}
	return l, exchange, nil
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
	l.stream, l.br, l.caps = stream, bufio.NewReaderSize(source{l}, linkBuffer), capabilities{}
}

// A source is where a link's buffer is filled from.
type source struct{ l *link }

// Read implements io.Reader.
func (s source) Read(p []byte) (int, error) {
	if s.l.waits != nil {
		s.l.waits()
	}
	return s.l.stream.Read(p)
}

// establish goes from the first octet to the end of the login. Until TLS and greeting are done it is also under the
// connect timeout, that of dialCtx.
func (l *link) establish(ctx, dialCtx context.Context, login *saslx.Attempt, m *tlsMemory) (*saslx.Exchange, error) {
	release := l.conn.Bind(dialCtx)
	if l.cfg.Mode.Or() == connection.ModeTLS {
		if err := l.secure(func() (*netx.Secured, error) { return l.conn.Handshake(dialCtx) }); err != nil {
			return nil, err
		}
	}
	if err := l.greet(); err != nil {
		return nil, err
	}
	if l.tls == nil {
		if err := l.upgrade(dialCtx, m); err != nil {
			return nil, err
		}
	}
	if l.tls != nil {
		m.seen.Store(true)
	}
	if !release() {
		return nil, l.peer.Ended(dialCtx)
	}
	if err := l.askCaps("before login: "); err != nil {
		return nil, err
	}
	if err := l.international(); err != nil {
		return nil, err
	}
	exchange, err := l.authenticate(ctx, login)
	if err != nil {
		return exchange, err
	}
	l.caps = capabilities{} // RFC 2449, 5: they may differ in the TRANSACTION state
	return exchange, l.askCaps("after login: ")
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

// greet reads the greeting. Nothing is sent before it (RFC 1939, 4).
func (l *link) greet() error {
	began := time.Now()
	err := l.readGreeting()
	l.way.Report("greeting", began, l.greeting, "", err)
	return err
}

func (l *link) readGreeting() error {
	line, err := l.readLine(maxGreeting)
	if err != nil {
		return l.way.GreetingLost(err, l.tls)
	}
	l.greeting = wirelog.Clip(l.clean(line))
	r, ok := parseReply(line)
	switch {
	case !ok:
		return l.way.NotOurs(line, l.greeting, l.tls)
	case !r.ok:
		return l.refusal(r, connection.ErrUnavailable, "server: the server turned the connection away; its words are in the error")
	}
	l.timestamp = timestamp(line)
	return nil
}

// upgrade obeys the mode on a connection that is in the clear: see [connection.Mode]. Before TLS nothing but CAPA and
// STLS is sent.
func (l *link) upgrade(ctx context.Context, m *tlsMemory) error {
	began, mode := time.Now(), l.cfg.Mode.Or()
	if mode != connection.ModeInsecure {
		if err := l.askCaps(""); err != nil {
			return err
		}
		// A server without CAPA may have STLS all the same (RFC 2595, 4 came with CAPA, but not every server did).
		if l.caps.has("STLS") || !l.caps.known {
			done, err := l.startTLS(ctx, l.caps.known)
			if done || err != nil {
				return err
			}
		}
	}
	return l.way.WithoutTLS(ctx, began, mode, m.seen.Load())
}

// startTLS upgrades (RFC 2595, 4). done is false if a server that had not offered STLS does not know it.
func (l *link) startTLS(ctx context.Context, offered bool) (done bool, err error) {
	began := time.Now()
	r, err := l.command("STLS")
	if err == nil && !r.ok {
		if !offered {
			return false, nil
		}
		err = l.way.UpgradeRefused(l.said(r))
	}
	if err != nil {
		l.way.Report("tls", began, "", "", err)
		return false, err
	}
	return true, l.secure(func() (*netx.Secured, error) { return l.conn.Upgrade(ctx, l.br) })
}

// askCaps asks for the capabilities unless they are known (RFC 2449, 5), and reports them if it is said when this is. A
// server without CAPA is fine: what it can is then found by use.
func (l *link) askCaps(when string) error {
	began := time.Now()
	if !l.caps.known {
		if err := l.capa(); err != nil {
			if when != "" {
				l.way.Report("capabilities", began, "", "", err)
			} else {
				l.way.Report("tls", began, "", "", err)
			}
			return err
		}
	}
	if when == "" {
		return nil
	}
	what := when + "the server does not know CAPA"
	if l.caps.known {
		what = when + wirelog.Clip(l.caps.String())
	}
	l.way.Report("capabilities", began, what, "", nil)
	return nil
}

func (l *link) capa() error {
	r, err := l.command("CAPA")
	if err != nil || !r.ok {
		return err
	}
	l.caps = capabilities{known: true}
	lines := 0
	return l.lines(func(line string) error {
		if lines++; lines > maxCapabilities {
			return l.peer.Errorf(connection.ErrProtocol, "", "over %d capabilities", maxCapabilities)
		}
		l.caps.add(l.clean(line))
		return nil
	})
}

// international asks for UTF-8 and a language where the settings want them and the server offers them (RFC 6856, 2 and
// 3). A refusal changes nothing.
func (l *link) international() error {
	if l.cfg.UTF8 && l.caps.has("UTF8") {
		if _, err := l.command("UTF8"); err != nil {
			return err
		}
	}
	if l.cfg.Lang != "" && l.caps.has("LANG") {
		if _, err := l.command("LANG " + l.cfg.Lang); err != nil {
			return err
		}
	}
	return nil
}

// pipelines reports whether several commands may be sent at once (RFC 2449, 6.6).
func (l *link) pipelines() bool { return l.cfg.Pipelining != Off && l.caps.has("PIPELINING") }
