package imapclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

// A Conn is a mailbox on an IMAP server, or several mailboxes that one login may open (Config.Mailboxes), each with
// sessions of its own. It implements [connection.Source], [connection.MailboxSyncer], [connection.Appender],
// [connection.Opener], [connection.Marker] and [connection.FolderLister]. It is safe for concurrent use.
type Conn struct {
	cfg  Config
	env  *connection.Env
	info connection.Info

	life context.Context // ends at Close
	end  context.CancelCauseFunc
	busy sync.WaitGroup // verbs that hold a session; no Add after closed

	tls tlsMemory

	whole *Conn // of a Conn for one of Config.Mailboxes: the one that Open returned
	pool  idlePool

	sessions atomic.Int64 // logged in
	noModSeq atomic.Bool  // the server offers CONDSTORE and refuses to obey it
	dialing  turn         // one login at a time
	deleting turn         // one delete at a time: they share one session

	mu      sync.Mutex
	closed  bool
	idle    []*session          // logged in, in nobody's hands
	fetches map[*fetch]struct{} // those that hold a session
	oneOnly bool                // the server allows one session, or UIDs live only as long as one
	shared  chan struct{}       // closed when oneOnly is set
	paired  bool                // a Delete had a session beside that of a Fetch
	trash   string              // the server's trash folder, once known
	idling  idling              // how well IDLE has worked
	parts   partial             // what the server makes of partial fetches
	flagged map[string]*flagged // by folder: marked \Deleted by us and not expunged yet
	delim   *rune               // the server's hierarchy delimiter, once known; 0 is none
	others  map[string]*Conn    // by mailbox: those of Config.Mailboxes in use
}

var (
	_ connection.Source        = (*Conn)(nil)
	_ connection.MailboxSyncer = (*Conn)(nil)
	_ connection.Appender      = (*Conn)(nil)
	_ connection.Opener        = (*Conn)(nil)
	_ connection.FolderLister  = (*Conn)(nil)
	_ connection.Marker        = (*Conn)(nil)
)

// Driver returns the driver for a [connection.Registry]. Its name in Settings is "imap".
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Open returns a Conn for cfg. It does no I/O. An invalid cfg is ErrConfig and names the JSON field. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	endpoint := cfg.Server
	if host, port, err := cfg.HostPort(cfg.port()); err == nil {
		endpoint = net.JoinHostPort(host, strconv.Itoa(port))
	}
	if err := cfg.Validate(); err != nil {
		return nil, &connection.Error{Op: "open", Driver: DriverName, Endpoint: endpoint, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	if cfg.OAuth2 != nil {
		cfg.tokens = cfg.OAuth2.Source(env, cfg.TokenScopes)
	}
	auth, err := saslx.New(cfg.account(env))
	if err != nil {
		return nil, &connection.Error{Op: "open", Driver: DriverName, Endpoint: endpoint, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	return newConn(cfg, env, endpoint, auth), nil
}

func newConn(cfg Config, env *connection.Env, endpoint string, auth *saslx.Authenticator) *Conn {
	c := &Conn{
		cfg:      cfg,
		env:      env,
		info:     connection.Info{ID: cfg.ID, Name: cfg.Name, Driver: DriverName, Endpoint: endpoint},
		tls:      tlsMemory{auth: auth},
		dialing:  newTurn(),
		deleting: newTurn(),
		fetches:  make(map[*fetch]struct{}),
		shared:   make(chan struct{}),
		flagged:  make(map[string]*flagged),
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	if cfg.MaxSessions == 1 {
		c.share()
	}
	return c
}

// Info implements [connection.Connection].
func (c *Conn) Info() connection.Info { return c.info }

// closeLimit bounds what Close does over the network: the outstanding expunge and the LOGOUTs.
const (
	closeLimit  = 30 * time.Second
	logoutLimit = 2 * time.Second
)

// Close ends every verb under way with ErrClosed, expunges what Delete has marked and not expunged yet (delete_mode
// expunge), logs out and closes all sessions. An error says which messages are marked \Deleted but may still be there.
// It takes at most 30 s. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	others := slices.Collect(maps.Values(c.others))
	c.mu.Unlock()
	c.end(errClosed)
	c.busy.Wait()
	otherErr := closeAll(others)

	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := c.expungeAll(ctx, "close")
	for _, s := range c.idle { // nobody else is left to touch it
		s.logout(ctx)
	}
	c.idle = nil
	return errors.Join(err, otherErr)
}

// enter begins a verb: the ctx returned ends with the caller's and with Close, at the latest with cancel. leave must be
// called when the verb holds no session any more; Close waits for it.
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

// register and unregister keep the fetches that a Delete may borrow a session from.
func (c *Conn) register(f *fetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetches[f] = struct{}{}
}

func (c *Conn) unregister(f *fetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fetches, f)
}

// passingValidity returns a text that stands for UIDVALIDITY during one SELECT only.
func (c *Conn) passingValidity() string { return "passing-" + rand.Text() }

// session returns a session that is in nobody else's hands: an idle one, or a new one.
func (c *Conn) session(ctx context.Context, op string) (*session, error) {
	for {
		s := c.takeIdle()
		if s == nil {
			return c.dial(ctx, op)
		}
		if s.ready(ctx) {
			return s, nil
		}
		s.abandon()
	}
}

func (c *Conn) takeIdle() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	s := c.idle[n-1]
	c.idle = c.idle[:n-1]
	c.fewerIdle()
	return s
}

// release takes back a session. One that is broken is closed, and one too many is logged out.
func (c *Conn) release(s *session) {
	if s.broken() {
		s.abandon()
		return
	}
	if !c.moreIdle() {
		s.logout(c.life)
		return
	}
	s.idleSince = time.Now()
	c.mu.Lock()
	c.idle = append(c.idle, s)
	c.mu.Unlock()
}

// dial logs in. At most one login is under way in a Conn, so that a server that refuses is not asked by many at once.
func (c *Conn) dial(ctx context.Context, op string) (*session, error) {
	if !c.dialing.take(ctx) {
		return nil, c.ended(ctx, op, connection.Ref{})
	}
	defer c.dialing.give()
	if most := c.cfg.MaxSessions; most > 0 && c.sessions.Load() >= int64(most) {
		e := c.problem(op, connection.Ref{}, connection.ErrThrottled, "all %d sessions that max_sessions permits are in use", most)
		e.Hint = "max_sessions: raise it, or 0 for as many as are needed"
		return nil, e
	}
	s, err := newSession(ctx, c, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, c.ended(ctx, op, connection.Ref{})
		}
		return nil, c.fault(op, connection.Ref{}, err)
	}
	return s, nil
}

// share makes Fetch and Delete take turns on one session from now on.
func (c *Conn) share() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.oneOnly {
		c.oneOnly = true
		close(c.shared)
	}
}

func (c *Conn) sharing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.oneOnly
}

// company reports whether Fetch and Delete share one session, and whether they are known to have one each.
func (c *Conn) company() (sharing, paired bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.oneOnly, c.paired
}

// emit sends an event with the connection's name.
func (c *Conn) emit(ev connection.Event) {
	ev.Connection = c.cfg.ID
	if ev.Connection == "" {
		ev.Connection = DriverName
	}
	ev.Mailbox = c.mailboxName()
	c.env.Emit(ev)
}

// A turn is a mutex that a ctx can end the wait for, first come, first served.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take reports whether the turn was had before ctx was done.
func (t turn) take(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turn) give() { <-t }
