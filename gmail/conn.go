package gmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	directory "google.golang.org/api/admin/directory/v1"
	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
	"github.com/mailconn/mailconn/gmail/internal/token"
	"github.com/mailconn/mailconn/internal/httpx"
)

// A Conn is a Workspace domain, or the one mailbox of a person. It is safe for concurrent use.
type Conn struct {
	cfg  Config
	env  *connection.Env
	opts Options
	info connection.Info

	sites     sites
	inner     *httpx.Client // connections to all hosts
	client    *http.Client  // puts the token of the call under way on each request; only for the hosts of sites
	tokens    *token.Source
	quota     *quota.Limiter
	gmail     *gapi.Service
	directory *directory.Service
	admin     *box // in whose name the directory and the audit feed are asked; nil in single-mailbox use
	own       *box // the one mailbox of single-mailbox use, else nil

	life context.Context // ends at Close
	end  context.CancelCauseFunc

	people     people
	labelCache labelCache
	news       news
	doubts     doubts
	monitors   monitors

	mu     sync.Mutex
	closed bool
}

var (
	_ connection.Connection    = (*Conn)(nil)
	_ connection.FolderLister  = (*Conn)(nil)
	_ connection.MailboxLister = (*Conn)(nil)
)

// Driver returns the driver for a [connection.Registry]. Its name in Settings is "gmail".
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Open is [New] without options.
func Open(cfg Config, env *connection.Env) (*Conn, error) { return New(cfg, env, nil) }

// New returns a Conn for cfg. It does no I/O. An invalid cfg is ErrConfig and names the JSON field. env and opts may be nil.
func New(cfg Config, env *connection.Env, opts *Options) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	c := &Conn{cfg: cfg, env: env, info: connection.Info{ID: cfg.ID, Name: cfg.Name, Driver: DriverName}}
	if opts != nil {
		c.opts = *opts
	}
	if err := c.build(); err != nil {
		return nil, &connection.Error{Op: "open", Driver: DriverName, Endpoint: c.info.Endpoint, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	for _, warning := range cfg.warnings() {
		env.Log().Warn("a setting is unwise", "setting", warning)
	}
	return c, nil
}

func (c *Conn) build() error {
	if err := c.cfg.Validate(); err != nil {
		return err
	}
	if err := c.cfg.checkHook(c.env); err != nil {
		return err
	}
	var err error
	if c.sites, err = c.cfg.sites(); err != nil {
		return err
	}
	c.info.Endpoint = authority(c.sites.gmail)
	if c.domainUse() {
		c.admin = newBox("", c.cfg.Admin)
	} else {
		c.own = newBox("", "")
	}
	if err := c.transport(); err != nil {
		return err
	}
	c.quota = quota.New(quota.Options{
		Profile: quota.Profile(c.cfg.quotaProfile()), Daily: c.cfg.dailyBudget(), Parallel: c.cfg.parallel(), Retries: c.cfg.retries(),
		Now: c.opts.Now, State: c.opts.State, Observe: c.emit,
	})
	c.life, c.end = context.WithCancelCause(context.Background())
	return nil
}

// authority returns "host:port" of a URL.
func authority(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "http":
		return u.Host + ":80"
	}
	return u.Host + ":443"
}

// Info implements [connection.Connection].
func (c *Conn) Info() connection.Info { return c.info }

// name is what events call the connection.
func (c *Conn) name() string { return or(c.cfg.ID, DriverName) }

// domainUse reports whether the connection opens the mailboxes of a domain, and not just one.
func (c *Conn) domainUse() bool { return c.cfg.Admin != "" }

// now is the clock.
func (c *Conn) now() time.Time {
	if c.opts.Now != nil {
		return c.opts.Now()
	}
	return time.Now()
}

// Polling returns how long to wait between two looks at an active mailbox, and at one where nothing happens: poll_interval
// and poll_interval_max, as MirrorOptions take them.
func (c *Conn) Polling() (active, idle time.Duration) {
	return c.cfg.pollInterval(), c.cfg.pollIntervalMax()
}

var errClosed = errors.New("the connection was closed")

// closing is how long Close takes at most to save the count of the day.
const closing = 10 * time.Second

// Close ends every verb under way with ErrClosed, saves the count of the day's units and closes all connections. A second
// Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.end(errClosed)
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	c.quota.Flush(ctx)
	if err := c.inner.Close(); err != nil {
		return c.fail("close", connection.Ref{}, err)
	}
	return nil
}

// enter begins a verb: the ctx returned ends with the caller's, with Close, and with leave, which must be called when the
// verb is over.
func (c *Conn) enter(ctx context.Context, op string) (inner context.Context, leave func(), err error) {
	if ctx.Err() != nil {
		return nil, nil, c.ended(ctx, op, connection.Ref{})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, c.problem(op, connection.Ref{}, connection.ErrClosed, "%w", errClosed)
	}
	inner, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { end(errClosed) })
	return inner, func() {
		stop()
		end(nil)
	}, nil
}

// emit sends an event with the connection's name.
func (c *Conn) emit(ev connection.Event) {
	ev.Connection = c.name()
	c.env.Emit(ev)
}

// A box is one mailbox. It is safe for concurrent use.
type box struct {
	id string // the user's immutable id, as Refs name the mailbox; "" in single-mailbox use

	mu      sync.Mutex
	address string            // the current primary one
	rests   time.Time         // until then nothing is asked of Gmail
	why     *connection.Error // what it said
}

func newBox(id, address string) *box { return &box{id: id, address: address} }

// email returns the current primary address, in whose name tokens are asked for; "" in single-mailbox use.
func (b *box) email() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.address
}

// rename sets the primary address, and reports whether it is another one.
func (b *box) rename(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.address
	b.address = address
	return was != address
}

// restFor is how long a mailbox that Gmail does not have is left alone: what is missing is a licence, or a service that is
// switched off.
const restFor = 24 * time.Hour

// rest keeps calls back until a day from now: err is what they get. nil ends that.
func (b *box) rest(err *connection.Error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why, b.rests = err, now.Add(restFor)
}

// resting returns the error of a mailbox that is left alone, nil if it is not.
func (b *box) resting(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why == nil || !now.Before(b.rests) {
		return nil
	}
	e := *b.why
	e.RetryAfter = b.rests.Sub(now)
	return &e
}

// ref returns the Ref of a message. It has no Folder: labels change, and a Ref stays good.
func (b *box) ref(id string) connection.Ref { return connection.Ref{Mailbox: b.id, ID: id} }

// shown is what errors and events call the mailbox.
func (b *box) shown() string { return or(b.id, b.email()) }

// box returns the mailbox that FetchOptions.Mailbox and its like name: by id, primary address or alias. In single-mailbox
// use there is one, which "" names. Its errors are without an Op.
func (c *Conn) box(ctx context.Context, mailbox string) (*box, error) {
	if strings.ContainsFunc(mailbox, control) {
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrInvalid, Err: errors.New("mailbox: control character")}
	}
	if !c.domainUse() {
		return c.ownBox(ctx, mailbox)
	}
	if mailbox == "" {
		return nil, &connection.Error{
			Driver: DriverName, Kind: connection.ErrConfig, Err: errors.New("mailbox: missing"),
			Hint: "these credentials open a whole domain: name one of its mailboxes, by id or address",
		}
	}
	if b := c.people.find(mailbox); b != nil {
		return b, nil
	}
	u, err := c.user(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	if out, err := c.excludes(ctx, u); err != nil {
		return nil, err
	} else if out {
		return nil, &connection.Error{
			Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("the settings exclude mailbox %q", mailbox),
			Hint: "exclude, exclude_org_units, exclude_groups: what they name is never opened",
		}
	}
	if u.Skip != "" {
		return nil, noMailbox(u)
	}
	return c.people.add(u), nil
}

// noMailbox is the error of a user whose mailbox cannot be opened. What is known of it stays good.
func noMailbox(u *user) error {
	return &connection.Error{
		Driver: DriverName, Kind: connection.ErrNotFound, Err: fmt.Errorf("%w: user %s (%s) is marked: %s", ErrNoMailbox, u.ID, u.Email, u.Skip),
		Hint: "keep what is known of the mailbox: when the user is active again, it goes on where it ended",
	}
}
