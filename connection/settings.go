package connection

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Settings are what a host stores for each connection: which driver, and the driver's own settings as JSON.
type Settings struct {
	ID     string          `json:"id,omitempty"`     // the host's, by which it refers to the connection
	Name   string          `json:"name,omitempty"`   // for people
	Driver string          `json:"driver"`           // "imap", "maildir", "file"
	Config json.RawMessage `json:"config,omitempty"` // the driver's Config, with its secrets in the clear: see String
}

// String returns the driver, name and ID, and not Config: fmt and slog then print no password. Only JSON holds it.
func (s Settings) String() string { return fmt.Sprintf("%s %q (%s)", s.Driver, s.Name, s.ID) }

// GoString implements fmt.GoStringer under the rule of String.
func (s Settings) GoString() string {
	return fmt.Sprintf("connection.Settings{ID:%q, Name:%q, Driver:%q, Config:%s}", s.ID, s.Name, s.Driver, Redacted)
}

// LogValue implements slog.LogValuer under the rule of String.
func (s Settings) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", s.ID), slog.String("name", s.Name), slog.String("driver", s.Driver))
}

// ParseSettings reads Settings from JSON as strictly as drivers read their Config: an unknown field is an error that
// names it and the nearest valid one.
func ParseSettings(data []byte) (Settings, error) {
	var s Settings
	if err := decodeStrict(data, &s); err != nil {
		return Settings{}, &Error{Op: "settings", Kind: ErrConfig, Err: fmt.Errorf("settings: %w", err)}
	}
	if s.Driver == "" {
		return Settings{}, &Error{Op: "settings", Kind: ErrConfig, Err: errors.New("settings: driver: missing")}
	}
	return s, nil
}

// A DialFunc makes a network connection, like net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A TokenRequest says for what a driver needs an OAuth 2.0 access token.
type TokenRequest struct {
	Mailbox string   // the person whose mailbox is opened
	Scopes  []string // what the token must permit
	Renew   bool     // the token given before was refused: a source that keeps tokens must get a new one
}

// An Env is what a host lends to its connections. A nil *Env and every zero field work.
type Env struct {
	// Logger receives what drivers have to say; nil discards it. At [LevelTrace] it receives the protocol, redacted.
	Logger *slog.Logger
	// Dial makes network connections instead of a net.Dialer.
	Dial DialFunc
	// HTTPClient is used by drivers that speak HTTP. They keep its transport and bring their own redirect policy.
	HTTPClient *http.Client
	// TLS is the base of every TLS configuration; a driver's settings are put on top. It is cloned, never changed.
	TLS *tls.Config
	// Token returns an OAuth 2.0 access token, for drivers whose settings hold no password.
	Token func(ctx context.Context, req TokenRequest) (Secret, error)
	// Observe receives events. It is called from several goroutines and must be quick.
	Observe func(Event)
}

// LevelTrace is the slog level of protocol traces.
const LevelTrace = slog.Level(-8)

// Log returns e's Logger, or one that discards. e may be nil.
func (e *Env) Log() *slog.Logger {
	if e == nil || e.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Logger
}

// For returns a copy of e for one connection: all that its Logger receives carries the attributes driver, and connection,
// which is the ID of the Settings or, without one, the driver's name. e may be nil.
func (e *Env) For(driver, id string) *Env {
	own := new(Env)
	if e != nil {
		*own = *e
	}
	if id == "" {
		id = driver
	}
	if own.Logger != nil {
		own.Logger = own.Logger.With("driver", driver, "connection", id)
	}
	return own
}

// Emit hands ev to e's Observe, if there is one, with the time filled in. e may be nil.
func (e *Env) Emit(ev Event) {
	if e == nil || e.Observe == nil {
		return
	}
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	e.Observe(ev)
}

// A Config is a driver's settings: a struct of plain data with json tags. Besides json, its fields may carry the tags
// label, help, default, enum (choices separated by commas), min and max, from which [Driver.Fields] describes a form
// and which reading from JSON obeys: default fills a field that is not given, min and max bound one that is. The tags
// recommended (a value) and when (other=value,value: the field matters only if the field other has one of the values)
// are for the form alone, and form:"false" leaves a field out of it.
type Config interface {
	// Validate returns an error that names the JSON field at fault: "server: missing". A zero field means its default.
	Validate() error
}

// A Driver opens connections of one kind. Make one with [NewDriver].
type Driver struct {
	name   string
	config reflect.Type
	open   func(Settings, *Env) (Connection, error)
}

// An Identified Config learns the ID and Name of the Settings it came in, for Info. Drivers embed [Identity].
type Identified interface{ Identify(id, name string) }

// Identity is embedded in a Config to carry the host's ID and Name of the connection into Info. It is not part of the JSON.
type Identity struct {
	ID   string `json:"-"`
	Name string `json:"-"`
}

// Identify implements [Identified].
func (i *Identity) Identify(id, name string) { i.ID, i.Name = id, name }

// NewDriver makes a Driver from a package's Open function. Its Config is read from Settings.Config strictly: unknown,
// repeated and mistyped fields are errors; then defaults and bounds hold as the field tags say; then C.Validate runs.
func NewDriver[C Config, T Connection](name string, open func(C, *Env) (T, error)) Driver {
	return Driver{name: name, config: reflect.TypeFor[C](), open: func(s Settings, env *Env) (Connection, error) {
		bad := func(err error) error {
			return &Error{Op: "open", Driver: name, Kind: ErrConfig, Err: fmt.Errorf("config: %w", err)}
		}
		var c C
		if err := decodeStrict(s.Config, &c); err != nil {
			return nil, bad(err)
		}
		if id, ok := any(&c).(Identified); ok {
			id.Identify(s.ID, s.Name)
		}
		if err := c.Validate(); err != nil {
			return nil, bad(err)
		}
		t, err := open(c, env)
		if err != nil {
			return nil, err // not t: a nil *Conn in an interface is not nil
		}
		return t, nil
	}}
}

// Name returns the driver's name in Settings.
func (d Driver) Name() string { return d.name }

// Alias returns the same driver under another name that Settings may use.
func (d Driver) Alias(name string) Driver {
	d.name = name
	return d
}

// Fields describes the driver's Config, in order, so that a host can draw a form.
func (d Driver) Fields() []Field { return fieldsOf(d.config) }

// A Registry knows drivers by name. It is immutable and safe for concurrent use.
type Registry struct{ drivers map[string]Driver }

// NewRegistry returns a Registry of the drivers given. Two drivers of one name are a programming error: it panics.
func NewRegistry(drivers ...Driver) *Registry {
	r := &Registry{drivers: make(map[string]Driver, len(drivers))}
	for _, d := range drivers {
		if _, ok := r.drivers[d.name]; ok {
			panic("connection: two drivers named " + d.name)
		}
		r.drivers[d.name] = d
	}
	return r
}

// Drivers returns the drivers, sorted by name.
func (r *Registry) Drivers() []Driver {
	all := make([]Driver, 0, len(r.drivers))
	for _, d := range r.drivers {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Driver) int { return strings.Compare(a.name, b.name) })
	return all
}

// Open opens the connection that s describes, without I/O. A setting that is unknown, mistyped or invalid is ErrConfig,
// with the field's JSON name and the remedy. env may be nil.
func (r *Registry) Open(s Settings, env *Env) (Connection, error) {
	d, ok := r.drivers[s.Driver]
	if !ok {
		names := make([]string, 0, len(r.drivers))
		for _, d := range r.Drivers() {
			names = append(names, d.name)
		}
		err := fmt.Errorf("settings: driver: %q: this program has %s", s.Driver, strings.Join(names, ", "))
		if s.Driver == "" {
			err = fmt.Errorf("settings: driver: missing: this program has %s", strings.Join(names, ", "))
		} else if near := nearest(s.Driver, names); near != "" {
			err = fmt.Errorf("settings: driver: %q: did you mean %q? This program has %s", s.Driver, near, strings.Join(names, ", "))
		}
		return nil, &Error{Op: "open", Kind: ErrConfig, Err: err}
	}
	return d.open(s, env)
}
