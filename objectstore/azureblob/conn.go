package azureblob

import (
	"crypto/md5" //nolint:gosec // the digest of Content-MD5, which the protocol demands
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

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
	at, err := cfg.endpoint()
	if err != nil {
		return nil, invalid(err)
	}
	b := &backend{cfg: cfg, env: env, at: at, bucket: bucket{busy: make(chan struct{}, 1)}}
	b.http, err = httpx.New(httpx.Options{
		Driver: DriverName, ID: cfg.ID, Base: at.base, TLS: &cfg.TLSSettings,
		ConnectTimeout: cfg.ConnectTimeout.D(), MaxIdle: 4 * max(cfg.Workers, objectstore.DefaultWorkers),
	}, env)
	if err != nil {
		return nil, invalid(err)
	}
	if b.cred, err = blob.NewSharedKeyCredential(cfg.Settings.Identity, cfg.Credential.Reveal()); err != nil {
		return nil, invalid(errors.New("credential: not base64")) // the library's error may quote it
	}
	if b.container, err = container.NewClientWithSharedKeyCredential(at.container(cfg.Bucket), b.cred, b.options()); err != nil {
		return nil, invalid(fmt.Errorf("location: %w", err))
	}
	b.store = objectstore.New(b, objectstore.Options{
		Driver: DriverName, Endpoint: at.container(cfg.Bucket), ID: cfg.ID, Tuning: cfg.Tuning, Wire: md5.New, WireWhole: true,
		Features: objectstore.Features{IfAbsent: true, Meta: true, Class: true, Lock: true, MaxSize: limits.MaxPart * int64(limits.MaxParts)},
	}, env)
	return &Conn{Store: b.store, b: b}, nil
}

func invalid(err error) error {
	return &connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
}

// Info implements connection.Connection. The endpoint is the container's URL.
func (c *Conn) Info() connection.Info {
	return connection.Info{ID: c.b.cfg.ID, Name: c.b.cfg.Name, Driver: DriverName, Endpoint: c.b.at.container(c.b.cfg.Bucket)}
}

// Close implements connection.Connection.
func (c *Conn) Close() error { return errors.Join(c.Store.Close(), c.b.http.Close()) }

// A backend makes single requests.
type backend struct {
	cfg       Config
	env       *connection.Env
	at        *endpoint
	http      *httpx.Client
	cred      *blob.SharedKeyCredential
	container *container.Client
	store     *objectstore.Store
	bucket    bucket
	versions  atomic.Int32 // whether the account keeps old versions: unknown, keeps or forgets
	staged    sync.Map     // uploads under way that have blocks, and whether some may arrive late
	abandoned abandoned    // uploads that were removed
}

// Values of backend.versions.
const (
	unknown int32 = iota
	keeps
	forgets
)

// options make the library do one attempt of one request, by our transport.
func (b *backend) options() *container.ClientOptions {
	return &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{
			Retry:     policy.RetryOptions{MaxRetries: -1}, // 0 would mean 3
			Telemetry: policy.TelemetryOptions{Disabled: true},
			Transport: &limited{b.http.HTTP()},

			PerCallPolicies: []policy.Policy{oldVersion{}},
		},
		ExpectContinueBehavior: container.ExpectContinueOptions{Mode: container.ExpectContinueModeOff},
	}
}

func (b *backend) blob(key string) *blob.Client           { return b.container.NewBlobClient(key) }
func (b *backend) blockBlob(key string) *blockblob.Client { return b.container.NewBlockBlobClient(key) }

func (b *backend) eventID() string {
	if b.cfg.ID != "" {
		return b.cfg.ID
	}
	return DriverName
}

// sawVersion learns from an answer about a blob whether the account keeps old versions.
func (b *backend) sawVersion(id *string) {
	if deref(id) != "" {
		b.versions.Store(keeps)
	} else {
		b.versions.Store(forgets)
	}
}
