package swift

import (
	"cmp"
	"crypto/md5"
	"errors"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

var (
	_ connection.ObjectStore      = (*Conn)(nil)
	_ connection.Copier           = (*Conn)(nil)
	_ connection.Presigner        = (*Conn)(nil)
	_ connection.IncompleteLister = (*Conn)(nil)
)

// A Conn is an open container. Its methods may be called from several goroutines.
type Conn struct {
	*objectstore.Store
	info    connection.Info
	http    *httpx.Client
	backend *backend
}

// maxIdle is how many connections are kept beyond those of the workers: verbs may run beside a bulk delete.
const maxIdle = 64

func open(p *place, id connection.Identity, s shared, env *connection.Env) (*Conn, error) {
	env = env.For(p.driver, id.ID)
	client, err := httpx.New(httpx.Options{
		Driver: p.driver, ID: id.ID, Base: p.identity, TLS: s.tls, ConnectTimeout: s.connect.D(), MaxIdle: max(s.Workers, maxIdle),
	}, env)
	if err != nil {
		return nil, configError(p.driver, err)
	}
	b := &backend{
		place: p, env: env, tempURLKey: s.tempURLKey, workers: cmp.Or(s.Workers, objectstore.DefaultWorkers), skew: client.Skew,
		account: &account{place: p, guard: guard{client.Transport()}, turn: make(chan struct{}, 1)},
	}
	b.account.fresh = b.lookAfterLogin
	endpoint := p.identity.Host + "/" + p.container
	return &Conn{
		info: connection.Info{ID: id.ID, Name: id.Name, Driver: p.driver, Endpoint: endpoint},
		http: client, backend: b,
		Store: objectstore.New(b, objectstore.Options{
			Driver: p.driver, Endpoint: endpoint, ID: id.ID, Wire: md5.New, Tuning: *s.Tuning,
			Features: objectstore.Features{IfAbsent: true, Meta: true, MaxSize: partLimits.MaxPart * int64(partLimits.MaxParts)},
		}, env),
	}, nil
}

// Info implements connection.Connection. The endpoint is the host of the identity service, and the container.
func (c *Conn) Info() connection.Info { return c.info }

// Close implements connection.Connection. Bodies that are being read end with ErrClosed, and are still to be closed.
func (c *Conn) Close() error { return errors.Join(c.Store.Close(), c.http.Close()) }

// Open returns the container that cfg describes. It does no I/O: the first verb logs in. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, configError(DriverName, err)
	}
	p, err := cfg.place()
	if err != nil {
		return nil, configError(DriverName, err)
	}
	return open(p, cfg.Identity, cfg.shared(), env)
}
