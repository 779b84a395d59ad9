package smtpclient

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

// A Conn is a way to send mail through one server as one account. It implements [connection.Sender] and is safe for
// concurrent use: up to Config.PoolSize messages are sent at once, and more wait in line.
type Conn struct {
	cfg  Config
	env  *connection.Env
	info connection.Info
	auth *saslx.Authenticator // nil if nobody logs in

	life context.Context // ends at Close
	end  context.CancelCauseFunc
	busy sync.WaitGroup // verbs under way and farewells; no Add after closed

	tls  tlsMemory
	pool pool

	mu     sync.Mutex
	closed bool
	noBDAT bool // the server offers BDAT and does not know it
}

var (
	_ connection.Connection = (*Conn)(nil)
	_ connection.Sender     = (*Conn)(nil)
)

// Driver returns the driver for a [connection.Registry]. Its name in Settings is "smtp".
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Open returns a Conn for cfg. It does no I/O. An invalid cfg is ErrConfig and names the JSON field. With a user name
// but neither a password, OAuth2 nor a client certificate env must have a Token. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	endpoint := cfg.Server
	if host, port, err := cfg.HostPort(cfg.port()); err == nil {
		endpoint = net.JoinHostPort(host, strconv.Itoa(port))
	}
	bad := func(err error) error {
		return &connection.Error{Op: "open", Driver: DriverName, Endpoint: endpoint, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	if err := cfg.Validate(); err != nil {
		return nil, bad(err)
	}
	c := &Conn{cfg: cfg, env: env, info: connection.Info{ID: cfg.ID, Name: cfg.Name, Driver: DriverName, Endpoint: endpoint}}
	if cfg.Username != "" || cfg.ClientCertPEM != "" {
		var token saslx.TokenSource
		switch {
		case cfg.OAuth2 != nil:
			token = cfg.OAuth2.Source(env, cfg.TokenScopes)
		case env != nil:
			token = env.Token
		}
		var err error
		if c.auth, err = saslx.New(cfg.account(token)); err != nil {
			return nil, bad(err)
		}
	}
	c.pool.conn = c
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// Info implements [connection.Connection].
func (c *Conn) Info() connection.Info { return c.info }

// From returns the from_address of the settings as an Envelope takes it: the sender of the host's own mail, "" for the
// null reverse-path.
func (c *Conn) From() string {
	if c.cfg.null() {
		return ""
	}
	return c.cfg.FromAddress
}

// Close ends every Send under way, with ErrClosed, or with ErrUncertain if its message was sent whole and not answered
// yet; says good-bye on the connections that are idle; and closes all. It takes at most some 2 s longer than the bodies
// that are being read. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.end(errClosed)
	c.busy.Wait()
	var all sync.WaitGroup
	for _, s := range c.pool.drain() {
		all.Go(func() { s.quit(context.Background()) })
	}
	all.Wait()
	return nil
}

// begin adds to busy, unless the Conn is closed.
func (c *Conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.busy.Add(1)
	return true
}

// farewell ends a session that is not needed any more, without making anybody wait but Close. It is called while busy is
// held.
func (c *Conn) farewell(s *session) { c.busy.Go(func() { s.quit(context.Background()) }) }

// enter begins a verb: the ctx returned ends with the caller's and with Close. leave must be called at its end.
func (c *Conn) enter(ctx context.Context, op string) (inner context.Context, leave func(), err error) {
	if !c.begin() {
		return nil, nil, &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Kind: connection.ErrClosed, Err: errClosed}
	}
	inner, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { end(errClosed) })
	return inner, func() {
		stop()
		end(nil)
		c.busy.Done()
	}, nil
}

// login connects and logs in. A token that the server refuses is renewed once.
func (c *Conn) login(ctx context.Context, step func(connection.Step)) (*session, error) {
	if c.auth == nil {
		s, _, err := c.tls.connect(ctx, &c.cfg, c.env, nil, step)
		return s, err
	}
	steps := &retriedSteps{to: step}
	attempt := c.auth.Login()
	for {
		s, x, err := c.tls.connect(ctx, &c.cfg, c.env, attempt, steps.step)
		if err == nil {
			return s, nil
		}
		if x == nil || !attempt.Renew(ctx, x, err) {
			steps.fail()
			return nil, err
		}
		steps.again()
	}
}

// retriedSteps passes on the steps of a login that may be tried twice: a failed "auth" is held back until it is final,
// and what the second try repeats is left out.
type retriedSteps struct {
	to     func(connection.Step)
	held   *connection.Step
	second bool
}

func (r *retriedSteps) step(s connection.Step) {
	switch {
	case r.to == nil:
	case s.Name == "auth" && s.Status == connection.StatusFailed:
		r.held = &s
	case !r.second || s.Status == connection.StatusFailed || s.Name == "auth":
		r.second = false
		r.to(s)
	}
}

func (r *retriedSteps) again() { r.held, r.second = nil, true }

func (r *retriedSteps) fail() {
	if r.held != nil {
		r.to(*r.held)
	}
}

// emit sends an event with the connection's name.
func (c *Conn) emit(ev connection.Event) {
	ev.Connection = or(c.cfg.ID, DriverName)
	c.env.Emit(ev)
}

// bdatFails reports whether BDAT is known not to work.
func (c *Conn) bdatFails() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.noBDAT
}

// setBDATFails remembers, once, that BDAT does not work.
func (c *Conn) setBDATFails() {
	c.mu.Lock()
	known := c.noBDAT
	c.noBDAT = true
	c.mu.Unlock()
	if !known {
		c.emit(connection.Event{Kind: connection.EventQuirk, Detail: errNoBDAT.Error() + "; DATA is used from now on, which does not keep every octet"})
	}
}
