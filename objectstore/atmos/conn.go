package atmos

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

var (
	_ connection.ObjectStore       = (*Conn)(nil)
	_ objectstore.Backend          = (*backend)(nil)
	_ objectstore.Locker           = (*backend)(nil)
	_ objectstore.Presigner        = (*backend)(nil)
	_ objectstore.IncompleteLister = (*backend)(nil)
)

// A Conn is an open store. Its methods may be called from several goroutines.
type Conn struct {
	*objectstore.Store
	cfg     Config
	backend *backend
}

// Open returns the store that cfg describes. It does no I/O. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	bad := func(err error) error {
		return &connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	if err := cfg.Validate(); err != nil {
		return nil, bad(err)
	}
	base, err := cfg.base()
	if err != nil {
		return nil, bad(err)
	}
	key, err := cfg.key()
	if err != nil {
		return nil, bad(err)
	}
	web, err := httpx.New(httpx.Options{
		Driver: DriverName, ID: cfg.ID, Base: base, TLS: &cfg.TLSSettings,
		ConnectTimeout: cfg.ConnectTimeout.D(), MaxIdle: max(cfg.Workers, objectstore.DefaultWorkers),
	}, env)
	if err != nil {
		return nil, bad(err)
	}
	b := &backend{web: web, signer: signer{cfg.Settings.Identity, key}, base: base, bucket: cfg.Bucket}
	store := objectstore.New(b, objectstore.Options{
		Driver: DriverName, Endpoint: base.Host, ID: cfg.ID, Tuning: cfg.Tuning, Wire: wireHash,
		Features: objectstore.Features{IfAbsent: true, Meta: true, Lock: true},
	}, env)
	return &Conn{Store: store, cfg: cfg, backend: b}, nil
}

// Info implements connection.Connection. The endpoint is the access point's host and port.
func (c *Conn) Info() connection.Info {
	return connection.Info{ID: c.cfg.ID, Name: c.cfg.Name, Driver: DriverName, Endpoint: c.backend.base.Host}
}

// Close implements connection.Connection. Verbs under way end with ErrClosed.
func (c *Conn) Close() error { return errors.Join(c.Store.Close(), c.backend.web.Close()) }

// auth asks which version answers.
func (c *Conn) auth(ctx context.Context) (detail, hint string, err error) {
	resp, err := c.backend.do(ctx, request{method: http.MethodGet, path: "/rest/service"})
	if err != nil {
		return "", "", c.explain(err)
	}
	defer func() { _ = resp.Body.Close() }() // read as far as wanted
	var service struct {
		Atmos string `xml:"Version>Atmos"`
	}
	if err := xml.Unmarshal(httpx.ReadLimited(resp.Body), &service); err != nil {
		return "", "location: what answers there is no Atmos access point", c.explain(&connection.Error{Kind: connection.ErrProtocol, Err: err})
	}
	detail = "Atmos " + httpx.Clean(service.Atmos)
	if skew, known := c.backend.web.Skew(); known && skew.Abs() > skewWorthAHint {
		hint = "the server's clock differs from this machine's by " + skew.Round(time.Second).String() + ": set the clock"
	}
	return detail, hint, nil
}

// explain completes the error of a step.
func (c *Conn) explain(err error) error {
	if err == nil {
		return nil
	}
	e := &connection.Error{Op: "test", Driver: DriverName, Endpoint: c.backend.base.Host, Kind: connection.KindOf(err), Err: err}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e.Code, e.RetryAfter, e.Hint, e.Err = inner.Code, inner.RetryAfter, inner.Hint, inner.Err
	}
	return e
}
