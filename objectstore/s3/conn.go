package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // the digest of Content-MD5, which the protocol demands
	"errors"
	"fmt"
	"hash"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

var (
	_ connection.ObjectStore      = (*Conn)(nil)
	_ connection.Copier           = (*Conn)(nil)
	_ connection.Locker           = (*Conn)(nil)
	_ connection.Restorer         = (*Conn)(nil)
	_ connection.Presigner        = (*Conn)(nil)
	_ connection.IncompleteLister = (*Conn)(nil)

	_ objectstore.Backend          = (*backend)(nil)
	_ objectstore.PartPutter       = (*backend)(nil)
	_ objectstore.BulkDeleter      = (*backend)(nil)
	_ objectstore.Copier           = (*backend)(nil)
	_ objectstore.Locker           = (*backend)(nil)
	_ objectstore.Restorer         = (*backend)(nil)
	_ objectstore.Presigner        = (*backend)(nil)
	_ objectstore.IncompleteLister = (*backend)(nil)
)

// A Conn is an open store. Its methods may be called from several goroutines.
type Conn struct {
	*objectstore.Store
	b *backend
}

// Open returns the store that cfg describes. It does no I/O: the first verb connects. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	if err := cfg.Validate(); err != nil {
		return nil, invalid(err)
	}
	p, err := cfg.place()
	if err != nil {
		return nil, invalid(err)
	}
	b := &backend{cfg: cfg, env: env, asking: make(chan struct{}, 1)}
	base := p.url()
	workers := max(cfg.Workers, objectstore.DefaultWorkers)
	b.http, err = httpx.New(httpx.Options{
		Driver: DriverName, ID: cfg.ID, Base: &url.URL{Scheme: base.Scheme, Host: base.Host}, TLS: &cfg.TLSSettings,
		ConnectTimeout: cfg.ConnectTimeout.D(), MaxIdle: 4 * workers,
	}, env)
	if err != nil {
		return nil, invalid(err)
	}
	b.keys = aws.NewCredentialsCache(aws.CredentialsProviderFunc(cfg.retrieve))
	b.target.Store(b.newTarget(p))
	if p.aws {
		b.conditions.Store(obeyed)
		b.completes.Store(obeyed)
	}
	var wire func() hash.Hash                                                  // none: the signature is for the SHA-256 of the body, which servers check
	if p.scheme == "https" || cfg.UnsignedPayload == UnsignedAlways || p.aws { // Amazon wants it in buckets with a default retention
		wire = md5.New
	}
	b.store = objectstore.New(b, objectstore.Options{
		Driver: DriverName, Endpoint: p.endpoint(), ID: cfg.ID, Tuning: cfg.Tuning, Wire: wire, WireSHA256: wire == nil,
		Features: objectstore.Features{IfAbsent: true, Meta: true, Class: true, Lock: true},
	}, env)
	return &Conn{Store: b.store, b: b}, nil
}

// errKeys is that of a source of keys.
var errKeys = errors.New("no keys")

// retrieve returns the keys to sign with.
func (c Config) retrieve(ctx context.Context) (aws.Credentials, error) {
	keys := Keys{AccessKey: c.Settings.Identity, SecretKey: c.Credential, SessionToken: c.SessionToken}
	if c.Keys != nil {
		var err error
		if keys, err = c.Keys(ctx); err != nil {
			return aws.Credentials{}, fmt.Errorf("%w: %w", errKeys, err)
		}
	}
	return aws.Credentials{
		AccessKeyID: keys.AccessKey, SecretAccessKey: keys.SecretKey.Reveal(), SessionToken: keys.SessionToken.Reveal(), Source: DriverName,
		CanExpire: !keys.Expires.IsZero(), Expires: keys.Expires,
	}, nil
}

// Info implements connection.Connection. The endpoint is the host and the bucket.
func (c *Conn) Info() connection.Info {
	return connection.Info{ID: c.b.cfg.ID, Name: c.b.cfg.Name, Driver: DriverName, Endpoint: c.b.target.Load().endpoint()}
}

// Close implements connection.Connection.
func (c *Conn) Close() error { return errors.Join(c.Store.Close(), c.b.http.Close()) }

// A backend makes single requests.
type backend struct {
	cfg    Config
	env    *connection.Env
	http   *httpx.Client
	keys   *aws.CredentialsCache
	store  *objectstore.Store
	target atomic.Pointer[target]

	conditions atomic.Int32 // whether the server obeys If-None-Match on PutObject: unknown, obeyed or ignored
	completes  atomic.Int32 // the same of CompleteMultipartUpload, but for ignored: servers have one without the other
	noBulk     atomic.Bool  // the server has no bulk delete that works

	asking chan struct{} // held by who asks for locks
	mu     sync.Mutex
	locks  lockState
}

func (b *backend) eventID() string {
	if b.cfg.ID != "" {
		return b.cfg.ID
	}
	return DriverName
}
