// Package token gets the OAuth 2.0 access tokens of the gmail driver: for each mailbox and purpose one of its own, by a service
// account with domain-wide delegation, with or without its key in hand, by a user's refresh token, or from the host.
//
// It is not the jwt package of golang.org/x/oauth2, whose source does not obey a context, cannot be told that a token was
// refused, and leaves the reading of Google's error texts to its caller.
package token

import (
	"container/list"
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// What a refusal means. They are wrapped in a *connection.Error of the Kind ErrAuth; the same call fails again until somebody
// changes something.
var (
	// ErrDelegation says that the domain has not authorised the service account for the scope.
	ErrDelegation = errors.New("domain-wide delegation is not authorised")
	// ErrClockSkew says that this machine's clock is too far from Google's.
	ErrClockSkew = errors.New("the local clock is wrong")
	// ErrKey says that the service account or its key is gone.
	ErrKey = errors.New("the key of the service account is not valid")
	// ErrReauth says that the refresh token is dead: the user has to consent again.
	ErrReauth = errors.New("the refresh token has expired or was revoked")
)

// ErrCommon marks errors that concern the connection and not one mailbox: those of the administrator, and those that three
// mailboxes in a row met. [Options.Common] has been told of them, so they need not be told again for each mailbox.
var ErrCommon = errors.New("concerns all mailboxes")

// A Key says what a token is for.
type Key struct {
	Subject string // the current primary address of the mailbox or of the administrator; "" in single-mailbox use
	Scope   string // one scope, since delegation refuses a token whole for one scope that is missing
}

// A Hook is the type of connection.Env.Token.
type Hook = func(context.Context, connection.TokenRequest) (connection.Secret, error)

// Options describe where tokens come from. Exactly one of ServiceAccount, Keyless, Refresh and Hook is set.
type Options struct {
	ServiceAccount []byte   // a service account's key in JSON; of its URLs only token_uri is used
	Keyless        *Keyless // a service account whose key stays with Google
	Refresh        *Refresh // one user's consent
	Hook           Hook     // the host's own source, asked with TokenRequest{Mailbox: Subject, Scopes: {Scope}}; a token of it is used for a minute

	// Client makes the requests. Its redirect policy is not used: none is followed. Only a Hook needs none.
	Client *http.Client
	// CustomHosts permits token hosts other than Google's, and http on loopback.
	CustomHosts bool
	// Now is the clock, for tests; nil = time.Now.
	Now func() time.Time
	// Cache bounds how many tokens are kept; those used longest ago go first. 0 = 10,000.
	Cache int
	// Admin is the administrator's address, whose failures concern the connection.
	Admin string
	// Common, if not nil, is told once of a failure that concerns the connection: see [ErrCommon]. After a token was given again,
	// the next one is told again. It is called from several goroutines and must be quick.
	Common func(error)
}

const (
	early    = 5 * time.Minute  // so long before its end a token is replaced
	unsaid   = time.Minute      // how long a token is used whose end is not known
	longest  = 24 * time.Hour   // the longest life that is believed
	retryOld = 30 * time.Second // how long the old one is used when it could not be replaced yet
	manyKept = 10_000           // tokens
)

// A Source gives tokens. It may be used by several goroutines. It prints without its secrets.
type Source struct {
	opts   Options
	grant  grant
	client *http.Client // follows no redirect
	now    func() time.Time
	skew   atomic.Pointer[time.Duration]

	mu      sync.Mutex
	kept    map[Key]*list.Element // of *entry
	recent  *list.List            // the newest in front
	flights map[Key]*flight
	streak  streak
}

// A grant is a way to get a token.
type grant interface {
	// fetch gets a new token for k. renew says that the one given before was refused.
	fetch(ctx context.Context, s *Source, k Key, renew bool) (issued, error)
	// key maps k to what the token differs by.
	key(k Key) Key
	account() (email, clientID, project string)
	tokenURL() *url.URL
}

// An issued token. life is how long it lasts from the moment it was asked for, 0 if that is not known, and then it is used for
// a short while only.
type issued struct {
	token connection.Secret
	life  time.Duration
}

// New returns a Source. It does no I/O. The text of an error begins with the setting at fault: "credentials: …".
func New(o Options) (*Source, error) {
	s := &Source{opts: o, now: o.Now, kept: make(map[Key]*list.Element), recent: list.New(), flights: make(map[Key]*flight)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.opts.Cache <= 0 {
		s.opts.Cache = manyKept
	}
	if o.Client != nil {
		c := *o.Client
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // secrets would go along
		s.client = &c
	}
	var err error
	if s.grant, err = newGrant(&o); err != nil {
		return nil, err
	}
	s.opts.ServiceAccount = nil // the key is in the grant, where it does not print
	if s.client == nil && o.Hook == nil {
		return nil, errors.New("token: no HTTP client given")
	}
	return s, nil
}

func newGrant(o *Options) (grant, error) {
	given := 0
	for _, set := range []bool{o.ServiceAccount != nil, o.Keyless != nil, o.Refresh != nil, o.Hook != nil} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, errors.New("credentials, keyless, oauth2: give exactly one (or a Token hook)")
	case o.ServiceAccount != nil:
		return newKeyed(o.ServiceAccount, o.CustomHosts)
	case o.Keyless != nil:
		return newKeyless(o.Keyless, o.CustomHosts)
	case o.Refresh != nil:
		return newRefresh(o.Refresh, o.CustomHosts)
	}
	return hooked{o.Hook}, nil
}

// Token returns an access token for k: one that it keeps, until 5 minutes before its end, or a new one. Of several calls for one
// key one asks, and the others wait for its answer. It ends with ctx; a request that nobody waits for any more is given up.
//
// Errors are *connection.Error. None is retried here. Those of the Kinds that connection.Temporary names may go away by
// themselves; ErrNotFound concerns this mailbox alone (it is suspended, renamed or gone); ErrAuth wraps one of the sentinels where the
// reason is known. A refresh token that was refused is not sent again: every later call fails with ErrReauth.
func (s *Source) Token(ctx context.Context, k Key) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", s.ended(err)
	}
	token, err := s.get(ctx, s.grant.key(k))
	return token.Reveal(), err
}

// Invalidate forgets the token of k after the server has refused it, if it is still that one. The next Token gets a new one.
func (s *Source) Invalidate(k Key, token string) {
	k = s.grant.key(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.kept[k]; at != nil {
		if e := at.Value.(*entry); e.token.Reveal() == token {
			*e = entry{key: k, renew: true}
		}
	}
}

// Skew returns the server's clock minus ours, by the Date of the newest reply to a request for a token. It is precise to a second
// or two. known is false before the first.
func (s *Source) Skew() (d time.Duration, known bool) {
	if p := s.skew.Load(); p != nil {
		return *p, true
	}
	return 0, false
}

// Account returns who asks: the service account's address, its numeric client id, which the administrator needs for delegation,
// and its Google project; or the client id of oauth2. What is not known is "".
func (s *Source) Account() (email, clientID, project string) { return s.grant.account() }

// TokenURL returns where tokens are asked for, nil with a Hook.
func (s *Source) TokenURL() *url.URL { return s.grant.tokenURL() }
