package ews

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/saslx"
)

// A Conn is an account on an Exchange server, and all mailboxes that it may open. It is safe for concurrent use.
type Conn struct {
	cfg    Config
	env    *connection.Env
	info   connection.Info
	server *url.URL             // of the settings; nil without
	http   *ewshttp.Client      //
	finder *autodiscover.Finder // nil where all mailboxes lie on server

	life context.Context // ends at Close
	end  context.CancelCauseFunc

	learnt  learnt
	removed atomic.Int64 // messages that Delete has removed
	streams atomic.Int32 // hanging requests for notifications
	spots   spots        // where Append found folders

	mu     sync.Mutex
	closed bool
}

// Driver returns the driver for a [connection.Registry]. Its name in Settings is "ews".
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Open returns a Conn for cfg. It does no I/O. An invalid cfg is ErrConfig and names the JSON field. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	bad := func(err error) (*Conn, error) {
		e := &connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
		if u, urlErr := cfg.serverURL(); urlErr == nil && u != nil {
			e.Endpoint = endpoint(u)
		}
		return nil, e
	}
	if err := cfg.Validate(); err != nil {
		return bad(err)
	}
	if err := cfg.checkTokens(env); err != nil {
		return bad(err)
	}
	server, err := cfg.serverURL()
	if err != nil {
		return bad(err)
	}
	c := &Conn{cfg: cfg, env: env, server: server, info: connection.Info{ID: cfg.ID, Name: cfg.Name, Driver: DriverName}}
	switch {
	case server != nil:
		c.info.Endpoint = endpoint(server)
	default:
		c.info.Endpoint = domainOf(cfg.Username)
	}
	if c.http, err = ewshttp.New(cfg.transport(env), env); err != nil {
		return bad(err)
	}
	if cfg.discovers() {
		c.finder = c.newFinder()
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	for _, warning := range cfg.warnings() {
		env.Log().Warn("a setting is unwise", "setting", warning)
	}
	return c, nil
}

// endpoint returns "host:port" of a URL.
func endpoint(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case strings.EqualFold(u.Scheme, "http"):
		return u.Host + ":80"
	}
	return u.Host + ":443"
}

// transport returns what the HTTP layer is to do.
func (c *Config) transport(env *connection.Env) ewshttp.Options {
	o := ewshttp.Options{
		Driver:             DriverName,
		ID:                 c.ID,
		TLS:                &c.TLSSettings,
		ConnectTimeout:     c.ConnectTimeout.D(),
		NoDataTimeout:      c.NoDataTimeout.D(),
		Auth:               c.auth(),
		Username:           c.Username,
		Password:           c.Password,
		Mode:               c.Mode.Or(),
		AllowPlaintextAuth: c.AllowPlaintextAuth,
		MaxConnections:     c.maxConnections(),
		ChannelBinding:     c.ChannelBinding == "on",
		UserAgent:          c.userAgent(),
		OldNames:           c.ceiling().Below("Exchange2013"),
	}
	if server, err := c.serverURL(); err == nil && server != nil {
		o.Server = server.Hostname()
	}
	switch {
	case c.OAuth2 != nil:
		o.Tokens = c.OAuth2.Source(env, nil)
	case env != nil && env.Token != nil && c.Password.IsZero():
		o.Tokens = env.Token
	}
	return o
}

// Info implements [connection.Connection].
func (c *Conn) Info() connection.Info { return c.info }

// name is what events call the connection.
func (c *Conn) name() string { return or(c.cfg.ID, DriverName) }

var errClosed = errors.New("the connection was closed")

// Close ends every verb under way with ErrClosed and closes all connections. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.end(errClosed)
	err := c.http.Close()
	if err != nil {
		return c.fail("close", target{}, connection.Ref{}, err)
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

// archiveSuffix behind a mailbox's name names its in-place archive.
const archiveSuffix = "#archive"

// publicName names the public folders.
const publicName = "#public"

// A target is a mailbox, and how requests reach it.
type target struct {
	mailbox string        // as Refs name it
	address string        // of its owner, for autodiscover and X-AnchorMailbox; "" where it is the account's own and not known
	as      soap.Identity // whom requests impersonate; zero = nobody
	named   bool          // distinguished folders are to be named together with the mailbox
	archive bool          // the in-place archive of the mailbox
	public  bool          // the public folders
}

// ref returns the Ref of a message. It has no Folder: an ItemId outlives a rename of the folder it lies in.
func (t target) ref(id string) connection.Ref { return connection.Ref{Mailbox: t.mailbox, ID: id} }

// folderRef returns the Ref that an error about a folder has.
func (t target) folderRef(path string) connection.Ref {
	return connection.Ref{Mailbox: t.mailbox, Folder: path}
}

// owner returns whose throttling budget requests are charged to: the mailbox's when impersonating, else the account's.
func (t target) owner() string {
	if t.as == (soap.Identity{}) {
		return ""
	}
	return strings.ToLower(t.address)
}

// target returns the mailbox that FetchOptions.Mailbox and its like name. The error is ErrInvalid or ErrConfig, without an Op.
func (c *Conn) target(mailbox string) (target, error) {
	t := target{mailbox: mailbox}
	if mailbox == publicName {
		t.public = true
		return c.ownTarget(t)
	}
	name, archive := strings.CutSuffix(mailbox, archiveSuffix)
	t.archive = archive
	if login, err := saslx.ParseName(c.cfg.Username); err == nil && name == "" && login.Mailbox != "" {
		name = login.Mailbox // `dom\user\mailbox`: a login for somebody else's mailbox
	} else if name == "" || strings.EqualFold(name, c.cfg.Username) {
		return c.ownTarget(t)
	} else if err := c.cfg.checkMailbox(name); err != nil {
		return target{}, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("mailbox %w", err)}
	}
	t.address = name
	switch {
	case c.cfg.access() == AccessOwn:
		return target{}, &connection.Error{
			Kind: connection.ErrConfig, Err: fmt.Errorf("mailbox %q is not the account's own", name),
			Hint: "access: own permits nothing but the account's own mailbox; impersonation or delegate opens others",
		}
	case c.cfg.access() == AccessDelegate || c.cfg.userTokens():
		t.named = true
	default:
		t.as = c.identity(name)
	}
	return t, nil
}

// ownTarget makes t the account's own mailbox.
func (c *Conn) ownTarget(t target) (target, error) {
	if strings.Contains(c.cfg.Username, "@") {
		t.address = c.cfg.Username
	}
	if !c.cfg.appTokens() && !c.learnt.mustImpersonate() {
		t.named = t.address != "" && !t.public && c.learnt.mustName()
		return t, nil
	}
	if t.address == "" {
		return target{}, &connection.Error{
			Kind: connection.ErrInvalid, Err: errors.New("an application has no mailbox of its own"),
			Hint: "name a mailbox, or set username to the address of the one that is meant",
		}
	}
	// An application's token is good for nothing without somebody to impersonate (OfficeDev/ews-managed-api#245).
	t.as = c.identity(t.address)
	return t, nil
}

// identity returns whom to impersonate for a mailbox of this name.
func (c *Conn) identity(name string) soap.Identity {
	kinds := map[string]string{BySMTP: soap.ByPrimaryAddress, BySMTPAny: soap.ByAnyAddress, ByUPN: soap.ByPrincipalName, BySID: soap.BySID}
	kind := kinds[c.cfg.impersonateBy()]
	if kind == soap.BySID && strings.Contains(name, "@") {
		kind = soap.ByPrimaryAddress
	}
	if !strings.Contains(name, "@") && kind != soap.BySID {
		kind = soap.ByPrincipalName // of a login with three parts: no address
	}
	return soap.Identity{Kind: kind, Value: name}
}

// appTokens reports whether the tokens are those of an application, which must impersonate.
func (c *Config) appTokens() bool { return c.OAuth2 != nil && c.OAuth2.RefreshToken.IsZero() }

// userTokens reports whether the tokens are those of a person, which must not impersonate (OfficeDev/ews-managed-api#212).
func (c *Config) userTokens() bool { return c.OAuth2 != nil && !c.OAuth2.RefreshToken.IsZero() }

// distinguished returns a well-known folder of a mailbox: "inbox", "msgfolderroot".
func (c *Conn) distinguished(t target, id string) soap.FolderID {
	f := soap.FolderID{Distinguished: id}
	if t.named {
		f.Mailbox = t.address
	}
	return f
}
