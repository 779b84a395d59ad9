// Package ewshttp carries requests to Exchange servers: it authenticates (Basic, NTLM over sessions of its own, OAuth 2.0), keeps
// the budget that a server grants each mailbox, keeps cookies apart, and says what an answer without XML means. It knows HTTP
// and the SOAP envelope's first octets, no operation of EWS.
//
// Errors are *connection.Error without Op; Driver, Endpoint, Kind and, where a setting is at fault, Hint are set. None holds a
// credential.
package ewshttp

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// The values of [Options.Auth].
const (
	AuthAuto  = "auto"
	AuthBasic = "basic"
	AuthNTLM  = "ntlm"
	AuthOAuth = "oauth"
)

// Options are the settings of a Client. Their errors name the JSON fields of the driver's Config.
type Options struct {
	Driver         string // for errors: "ews"
	ID             string // of the connection, for events; "" = Driver
	Server         string // host of the setting server: server_name holds for it alone, and http instead of https is tried with it alone
	TLS            *connection.TLSSettings
	ConnectTimeout time.Duration // of dialling, and again of the TLS handshake; 0 = none
	NoDataTimeout  time.Duration // while a request or a Read waits and nothing moves; 0 = none

	Auth               string // AuthAuto and its kin; "" = auto
	Username           string // in any of the forms that saslx.ParseName knows
	Password           connection.Secret
	Tokens             saslx.TokenSource // nil = none
	Scopes             []string          // what tokens must permit
	Mode               connection.Mode
	AllowPlaintextAuth bool // credentials may go over http
	ChannelBinding     bool // NTLM carries a binding to the TLS connection (RFC 5929, tls-server-end-point)
	OldNames           bool // the server may be older than Exchange 2013: a second login tries the bare name

	MaxConnections int    // most requests at once of one budget owner at one host; 0 = 10
	UserAgent      string // "" = none is sent
}

// A Client speaks with the servers of one account. It may be used by several goroutines at once.
type Client struct {
	opts  Options
	env   *connection.Env
	name  saslx.Name
	scrub atomic.Pointer[wirelog.Scrubber]
	skew  atomic.Pointer[time.Duration] // a server's clock minus ours
	now   func() time.Time

	life context.Context // ends with Close
	end  context.CancelCauseFunc

	wires    wires
	login    *login
	known    known
	tokens   tokens
	limiter  limiter
	jars     jars
	sessions sessions
	warned   warned
}

// New returns a Client. It does no I/O. env may be nil. If Env.HTTPClient has a transport, clones of it are used; one of another
// type than *http.Transport can neither be given TLS settings nor carry NTLM, which is ErrConfig where that is asked for.
func New(o Options, env *connection.Env) (*Client, error) {
	if o.Driver == "" {
		o.Driver = "ews"
	}
	if o.ID == "" {
		o.ID = o.Driver
	}
	if o.Auth == "" {
		o.Auth = AuthAuto
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 10
	}
	if o.TLS == nil {
		o.TLS = new(connection.TLSSettings)
	}
	o.Server = strings.ToLower(o.Server)
	c := &Client{opts: o, env: env, now: time.Now}
	var err error
	if c.name, err = saslx.ParseName(o.Username); err != nil {
		return nil, c.config("%w", err)
	}
	if err := c.checkAuth(); err != nil {
		return nil, err
	}
	if c.wires, err = c.newWires(); err != nil {
		return nil, c.config("%w", err)
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	c.login = newLogin(c)
	c.limiter.init(c)
	c.tokens.init(c)
	c.scrub.Store(wirelog.NewScrubber(c.name.Text, o.Password))
	return c, nil
}

// checkAuth holds the scheme against what there is to authenticate with.
func (c *Client) checkAuth() error {
	o := &c.opts
	switch o.Auth {
	case AuthAuto:
	case AuthBasic, AuthNTLM:
		if o.Password.IsZero() {
			return c.config("password: missing; auth %q needs one", o.Auth)
		}
	case AuthOAuth:
		if o.Tokens == nil {
			return c.config("auth: oauth needs oauth2, or a program that provides tokens")
		}
	default:
		return c.config("auth: unknown value %q; want auto, basic, ntlm or oauth", o.Auth)
	}
	return nil
}

// Reset forgets that logins were refused, and which schemes servers take, so that the credential is tried once more: for Test,
// after somebody has put the account or the server in order.
func (c *Client) Reset() {
	c.known.forget()
	c.login.reset()
}

// Skew returns a server's clock minus ours, by the Date of its newest reply. It is precise to a second or two.
func (c *Client) Skew() (d time.Duration, known bool) {
	if p := c.skew.Load(); p != nil {
		return *p, true
	}
	return 0, false
}

// Close ends every request and every body that is being read with ErrClosed and closes all connections. It waits for nobody. A
// second Close does nothing.
func (c *Client) Close() error {
	c.end(c.fail(connection.ErrClosed, "", "", "the connection was closed"))
	c.sessions.close()
	c.wires.close()
	return nil
}

// endpointOf returns "host:port" of u, in lower case.
func endpointOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
