// Package autodiscover finds the EWS endpoint of a mailbox: SOAP (GetUserSettings) and POX in the documented order,
// redirects under a policy, and a cache for each mailbox. It speaks no HTTP itself: [Options.Do] does.
//
// Credentials go to https only, and only to hosts that the mailbox's domain, the settings or the policy vouch for. What
// is learnt without TLS (the plain redirect, SRV records) is held against the same policy before it is used.
package autodiscover

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Request is one HTTP request that the search wants made.
type Request struct {
	Method      string // POST, or GET for the plain redirect
	URL         *url.URL
	ContentType string // of Body; "" = no Body
	Body        []byte
	Anonymous   bool   // must go without credentials and cookies; always set for http URLs
	Address     string // of the mailbox that is looked for
}

// A Reply is the answer to a Request, whatever its status. Redirects are not followed.
type Reply struct {
	Status int
	Header http.Header
	Body   io.ReadCloser // may be nil; the search closes it
}

// Options describe a Finder. Only Do must be set.
type Options struct {
	// Do makes one request. Any answer is a Reply, but for a 401 that is final: that is an ErrAuth. Other errors are of
	// kind ErrNetwork, ErrTimeout, ErrTLS and so on; one that ends with ctx holds ctx.Err(). It is called from several
	// goroutines.
	Do func(ctx context.Context, r *Request) (*Reply, error)
	// LookupSRV finds SRV records as [net.Resolver.LookupSRV] does; nil = the system's resolver.
	LookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	// Reachable reports whether something answers at an EWS URL. It is asked when there is a choice of two; nil = the
	// first of them is taken unseen.
	Reachable func(ctx context.Context, u *url.URL) error

	URLs           []*url.URL                    // asked before all others; https only
	Server         string                        // host name of the configured server, "" if there is none
	RedirectAllow  []string                      // further hosts to which credentials may be redirected; "*.example.com" = any below it
	RedirectPolicy func(from, to *url.URL) error // decides instead of the default policy if not nil; nil error = permitted

	Cache   Cache  // nil = one in memory
	CacheID string // of the connection: entries of different connections never mix

	Hide        func(string) string // takes secrets out of what servers say; nil = leaves them
	Driver      string              // for errors; "" = "ews"
	Now         func() time.Time    // nil = time.Now
	StepTimeout time.Duration       // of each try; 0 = 10s
}

// Found is what autodiscover says of a mailbox.
type Found struct {
	URL           *url.URL    // of EWS, https
	Address       string      // the mailbox's primary address as the server tells it, else the one that was asked for
	Group         string      // GroupingInformation: mailboxes of one group may share a notification stream
	Archives      []Alternate // further mailboxes that belong to this one
	PublicFolders string      // address of the public folder mailbox, "" if the server tells none
	Schemas       []string    // EwsSupportedSchemas: request versions that the server knows
	Trail         []Attempt   // what was tried, in the order of the steps; empty if the answer was in the cache
	When          time.Time   // when it was found
}

// An Alternate is a mailbox that belongs to another: its archive, say.
type Alternate struct {
	Type    string `json:"type,omitempty"` // "Archive", "Delegate", "TeamMailbox"
	Display string `json:"display,omitempty"`
	Address string `json:"address,omitempty"` // to ask autodiscover for, "" if the server tells none
	Owner   string `json:"owner,omitempty"`
}

// An Attempt is one thing that the search tried.
type Attempt struct {
	Step    string        // "cached endpoint", "autodiscover_urls", "domain", "autodiscover host", "redirect", "http redirect", "srv"
	URL     string        // what was asked; for a DNS lookup its name
	Address string        // for which mailbox; a redirect may have changed it
	Outcome string        // in a few words, for people
	OK      bool          // it gave the settings
	Elapsed time.Duration //
	Err     error         // nil if OK or if it led on
}

// String returns the attempt in one line.
func (a Attempt) String() string { return fmt.Sprintf("%s %s: %s", a.Step, a.URL, a.Outcome) }

// A RedirectBlockedError says that a redirect to To was not followed, since nothing vouches for that host.
type RedirectBlockedError struct {
	From, To string
}

// Error implements error.
func (e *RedirectBlockedError) Error() string {
	return fmt.Sprintf("redirect from %s to %s is not permitted", e.From, e.To)
}

// A Finder finds EWS endpoints. It may be used by several goroutines.
type Finder struct {
	o Options

	mu      sync.Mutex
	flights map[string]*flight      // searches under way, by key
	paused  map[string]time.Time    // when the next refresh of a key may be tried
	working map[string]endpoint     // by mail domain, for as long as it works
	refused map[string]bool         // hosts that refused the credentials
	alive   map[string]reachability // by EWS URL
	// explored has a channel for each mail domain that is closed when the first search in it has ended.
	explored map[string]chan struct{}
}

// New returns a Finder. It does no I/O.
func New(o Options) *Finder {
	if o.LookupSRV == nil {
		o.LookupSRV = net.DefaultResolver.LookupSRV
	}
	if o.Cache == nil {
		o.Cache = &memory{}
	}
	if o.Driver == "" {
		o.Driver = "ews"
	}
	if o.Hide == nil {
		o.Hide = func(text string) string { return text }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.StepTimeout <= 0 {
		o.StepTimeout = stepTimeout
	}
	return &Finder{
		o: o, flights: make(map[string]*flight), paused: make(map[string]time.Time),
		working: make(map[string]endpoint), refused: make(map[string]bool), alive: make(map[string]reachability),
		explored: make(map[string]chan struct{}),
	}
}

const (
	stepTimeout = 10 * time.Second   // of one try: firewalls that drop packets stall it otherwise for minutes
	keepFor     = 7 * 24 * time.Hour // how long a mailbox's EWS URL is believed
	settleFor   = time.Hour          // a younger entry is not looked for again after a failure
	retryAfter  = 5 * time.Minute    // between two refreshes of a mailbox that fail
	aliveFor    = 10 * time.Minute   // how long it is believed that something answers at an EWS URL
)

// Find returns the endpoint of the mailbox with this address, from the cache if it is no older than a week. Calls for one
// address share one search. The error is a *connection.Error: ErrNotFound if a server says that there is no such
// mailbox, ErrAuth if the credentials are refused wherever somebody answers, ErrConfig with the Code "RedirectBlocked"
// and a *[RedirectBlockedError] inside if only a forbidden redirect led on. It holds a trail of what was tried; see
// [TrailOf]. An old entry is better than a temporary failure: it is returned instead.
func (f *Finder) Find(ctx context.Context, address string) (*Found, error) {
	return f.find(ctx, address, false)
}

// Refresh is to be called when failed, the URL that Find gave for address, cannot be connected or its server says that the
// mailbox moved. If the cached answer is older than an hour it searches anew. It reports whether there now is another
// URL than failed, at which the request may be repeated once. A search that fails leaves the old answer in place and is
// no error, unless ctx ended or nothing is known of address.
func (f *Finder) Refresh(ctx context.Context, address string, failed *url.URL) (*Found, bool, error) {
	return f.refresh(ctx, address, failed)
}

// Search looks for address without the cache, and stores what it finds there. It is what Test shows: the trail is complete
// also if the search fails.
func (f *Finder) Search(ctx context.Context, address string) (*Found, []Attempt, error) {
	found, err := f.find(ctx, address, true)
	if err != nil {
		return nil, TrailOf(err), err
	}
	return found, found.Trail, nil
}

// Reset forgets which hosts refused the credentials, so that they are asked again.
func (f *Finder) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.refused)
}

// fail returns an error of this driver.
func (f *Finder) fail(kind connection.Kind, address string, err error) *connection.Error {
	return &connection.Error{Op: "autodiscover", Driver: f.o.Driver, Ref: connection.Ref{Mailbox: address}, Kind: kind, Err: err}
}

// key returns the cache's key of an address.
func (f *Finder) key(address string) string { return f.o.CacheID + "\n" + strings.ToLower(address) }
