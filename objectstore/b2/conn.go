package b2

import (
	"crypto/sha1" //nolint:gosec // what the server checks
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	blazer "github.com/Backblaze/blazer/base"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

var (
	_ connection.ObjectStore       = (*Conn)(nil)
	_ objectstore.Backend          = (*backend)(nil)
	_ objectstore.PartPutter       = (*backend)(nil)
	_ objectstore.Copier           = (*backend)(nil)
	_ objectstore.Locker           = (*backend)(nil)
	_ objectstore.Presigner        = (*backend)(nil)
	_ objectstore.IncompleteLister = (*backend)(nil)
)

// maxFile is the size of the largest file that the service takes.
const maxFile = 10_000_000_000_000

// A Conn is an open store. Its methods may be called from several goroutines.
type Conn struct {
	*objectstore.Store
	backend *backend
}

// A backend does one attempt of each verb; see objectstore.Backend.
type backend struct {
	cfg   Config
	env   *connection.Env
	web   *httpx.Client
	fence *fence
	base  *url.URL

	gate    chan struct{} // held by who begins a session
	current atomic.Pointer[session]
	urls    pool[*blazer.URL]
	parts   sync.Map // of upload IDs to *pool[*blazer.FileChunk]
}

// Open returns the store that cfg describes. It does no I/O: the first verb asks for a token. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	bad := func(err error) error {
		return &connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	if err := cfg.Validate(); err != nil {
		return nil, bad(err)
	}
	service, err := cfg.base()
	if err != nil {
		return nil, bad(err)
	}
	web, err := httpx.New(httpx.Options{
		Driver: DriverName, ID: cfg.ID, Base: service, TLS: &cfg.TLSSettings,
		ConnectTimeout: cfg.ConnectTimeout.D(), MaxIdle: max(cfg.Workers, objectstore.DefaultWorkers),
	}, env)
	if err != nil {
		return nil, bad(err)
	}
	b := &backend{
		cfg: cfg, env: env, web: web, base: service, gate: make(chan struct{}, 1),
		fence: &fence{inner: web.Transport(), secure: service.Scheme == "https"},
	}
	store := objectstore.New(b, objectstore.Options{
		Driver: DriverName, Endpoint: service.Host, ID: cfg.ID, Tuning: cfg.tuning(), Wire: sha1.New, WireWhole: true,
		Features: objectstore.Features{Meta: true, Lock: true, MaxSize: maxFile},
	}, env)
	return &Conn{Store: store, backend: b}, nil
}

// Info implements connection.Connection. The endpoint is the API's host.
func (c *Conn) Info() connection.Info {
	cfg := &c.backend.cfg
	return connection.Info{ID: cfg.ID, Name: cfg.Name, Driver: DriverName, Endpoint: c.backend.base.Host}
}

func (b *backend) eventID() string {
	if b.cfg.ID != "" {
		return b.cfg.ID
	}
	return DriverName
}

// Close implements connection.Connection. Verbs under way end with ErrClosed.
func (c *Conn) Close() error { return errors.Join(c.Store.Close(), c.backend.web.Close()) }

// wanted are the capabilities without which something does not work, and what.
var wanted = [...]struct{ capability, verbs string }{
	{"listFiles", "List and Delete"},
	{"readFiles", "Get and Stat"},
	{"writeFiles", "Put"},
	{"deleteFiles", "Delete, which then only hides"},
}

func (c *Conn) skew() (hint string) {
	if d, known := c.backend.web.Skew(); known && d.Abs() > 5*time.Minute {
		return "the server's clock differs from this machine's by " + d.Round(time.Second).String() + ": set the clock, by which retention is counted"
	}
	return ""
}

// capabilities tells what the application key may do, and warns of what is lacking.
func (c *Conn) capabilities(s *session) (detail, hint string, err error) {
	var lacks []string
	for _, w := range wanted {
		if !s.can(w.capability) {
			lacks = append(lacks, w.capability+" ("+w.verbs+")")
		}
	}
	all := slices.Sorted(slices.Values(s.account.APIInfo.Storage.Capabilities))
	detail = httpx.Clean(strings.Join(all, ", "))
	if len(lacks) > 0 {
		hint = "credential: the application key lacks " + strings.Join(lacks, ", ")
	}
	return detail, hint, nil
}

// explain completes the error of a step.
func (c *Conn) explain(err error) error {
	e := &connection.Error{Op: "test", Driver: DriverName, Endpoint: c.backend.base.Host, Kind: connection.KindOf(err), Err: err}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e.Code, e.RetryAfter, e.Hint, e.Err = inner.Code, inner.RetryAfter, inner.Hint, inner.Err
	}
	return e
}
