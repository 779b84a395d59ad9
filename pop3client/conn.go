package pop3client

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
	"github.com/mailconn/mailconn/internal/saslx"
)

// A Conn is a mailbox on a POP3 server. It implements [connection.Source], [connection.Opener] and
// [connection.MailboxSyncer]. It is safe for concurrent use: its verbs take turns on one session.
type Conn struct {
	cfg  Config
	env  *connection.Env
	info connection.Info
	auth *saslx.Authenticator

	life context.Context // ends at Close
	end  context.CancelCauseFunc
	busy sync.WaitGroup // verbs under way; no Add after closed

	tls  tlsMemory
	turn turn // held by whoever uses what is said to be under it

	sess      *session        // under turn; nil if there is none
	sessions  uint64          // under turn; how many there were
	nextLogin time.Time       // under turn; LOGIN-DELAY forbids an earlier one
	facts     map[string]fact // under turn; by id: what was read, where delete_mode deletes
	pending   map[string]fact // under turn; by id: Delete accepted it, and no QUIT was answered since

	expireTold bool // under turn; an event has told of EXPIRE 0

	committed map[string]struct{} // under turn; ids that a QUIT has deleted since the last Sync began; nil without a Sync

	mu     sync.Mutex
	closed bool
	active int         // fetches that read; not those that wait for mail
	linger *time.Timer // ends a session that nobody uses; nil if none is due
}

var (
	_ connection.Source        = (*Conn)(nil)
	_ connection.Opener        = (*Conn)(nil)
	_ connection.MailboxSyncer = (*Conn)(nil)
)

// Driver returns the driver for a [connection.Registry]. Its name in Settings is "pop3".
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Open returns a Conn for cfg. It does no I/O. An invalid cfg is ErrConfig and names the JSON field. Without a password,
// OAuth2 and a client certificate env must have a Token. env may be nil.
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
	var token saslx.TokenSource
	switch {
	case cfg.OAuth2 != nil:
		token = cfg.OAuth2.Source(env, cfg.TokenScopes)
	case env != nil:
		token = env.Token
	}
	auth, err := saslx.New(cfg.account(token))
	if err != nil {
		return nil, bad(err)
	}
	c := &Conn{
		cfg:     cfg,
		env:     env,
		info:    connection.Info{ID: cfg.ID, Name: cfg.Name, Driver: DriverName, Endpoint: endpoint},
		auth:    auth,
		facts:   make(map[string]fact),
		pending: make(map[string]fact),
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// Info implements [connection.Connection].
func (c *Conn) Info() connection.Info { return c.info }

const (
	closeLimit = 30 * time.Second       // of all that Close does over the network
	quitLimit  = 2 * time.Second        // of a QUIT that commits nothing
	lingerFor  = 2 * time.Second        // a session that nobody uses is kept so long, for the next Delete
	lockPause  = 500 * time.Millisecond // before a login is tried again that a lock may have refused
)

// Close ends every verb under way with ErrClosed, commits what Delete has marked (QUIT; if need be in a new session) and
// closes the session. An error, ErrUncertain, says how many messages were marked and may still be there. It takes at
// most 30 s. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.stopLinger()
	c.mu.Unlock()
	c.end(errClosed)
	c.busy.Wait()

	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := c.commit(ctx, "close") // nobody else is left to hold the turn
	c.drop()
	if err != nil {
		n := len(c.pending)
		e := c.fault("close", connection.Ref{}, err)
		e.Kind, e.Err = connection.ErrUncertain, fmt.Errorf("%d stored messages may still be on the server and come again: %w", n, err)
		return e
	}
	return nil
}

// enter begins a verb: the ctx returned ends with the caller's and with Close, at the latest with cancel. leave must be
// called when the verb uses no session any more; Close waits for it.
func (c *Conn) enter(ctx context.Context, op string) (inner context.Context, cancel, leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, nil, &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Kind: connection.ErrClosed, Err: errClosed}
	}
	inner, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { end(errClosed) })
	c.busy.Add(1)
	return inner, func() {
		stop()
		end(nil)
	}, c.busy.Done, nil
}

// login connects and logs in, not before LOGIN-DELAY permits it. A token that the server refuses is renewed once. A
// refusal that may only mean a locked maildrop is tried once more.
func (c *Conn) login(ctx context.Context, step func(connection.Step)) (*link, error) {
	if err := backoff.Wait(ctx, time.Until(c.nextLogin)); err != nil {
		return nil, err
	}
	steps := &retriedSteps{to: step}
	attempt := c.auth.Login()
	for locked := false; ; {
		l, x, err := c.tls.connect(ctx, &c.cfg, c.env, attempt, steps.step)
		if err == nil {
			c.nextLogin = time.Now().Add(l.caps.loginDelay())
			return l, nil
		}
		e := c.fault("connect", connection.Ref{}, err)
		again := x != nil && attempt.Renew(ctx, x, err)
		if e.Code == codeLock {
			e.Code = ""
			if again = !locked; again {
				locked = true
				if err := backoff.Wait(ctx, lockPause); err != nil {
					return nil, err
				}
			}
		}
		if !again {
			steps.fail()
			return nil, e
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
		if e, ok := r.held.Err.(*connection.Error); ok && e.Code == codeLock { //nolint:errorlint // it is as verdict made it
			told := *e
			told.Code = ""
			r.held.Err = &told
		}
		r.to(*r.held)
	}
}

// emit sends an event with the connection's name.
func (c *Conn) emit(ev connection.Event) {
	ev.Connection = c.cfg.ID
	if ev.Connection == "" {
		ev.Connection = DriverName
	}
	ev.Mailbox = c.cfg.Username
	c.env.Emit(ev)
}

// ref returns the address of a message.
func (c *Conn) ref(id string) connection.Ref {
	return connection.Ref{Mailbox: c.cfg.Username, ID: id}
}
