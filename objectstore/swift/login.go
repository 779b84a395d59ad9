package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
)

const (
	// never is how long the library waits: what does not move is ended by the Store.
	never = time.Duration(1<<63 - 1)
	// noRetry switches the library's own repeating off.
	noRetry = -1
	// refusalHolds is how long a refused credential is not sent again: services lock users out who try too often.
	refusalHolds = 10 * time.Minute
)

const userAgent = "mailconn"

// A session is a token and where it is good. It never changes.
type session struct {
	library *swift.Connection
	storage *url.URL
	asker   *asker
}

// An account logs in, when it has to, for all requests of a Conn.
type account struct {
	place *place
	guard http.RoundTripper
	fresh func(ctx context.Context, s *session) error // called after each login
	turn  chan struct{}                               // held by who logs in

	mu      sync.Mutex // guards the rest
	current *session
	form    form // that worked, once current is not nil
	worked  bool
	refusal *connection.Error
	until   time.Time
}

// session returns the session, after a login if there is none.
func (a *account) session(ctx context.Context) (*session, error) { return a.renew(ctx, nil) }

// renew returns a session that is not old, whose token was refused.
func (a *account) renew(ctx context.Context, old *session) (*session, error) {
	if s, err := a.known(old); s != nil || err != nil {
		return s, err
	}
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-a.turn }()
	if s, err := a.known(old); s != nil || err != nil {
		return s, err // somebody else was at it
	}
	s, err := a.login(ctx)
	a.mu.Lock()
	a.current = s
	var refused *connection.Error
	switch {
	case err == nil:
		a.form, a.worked = s.asker.asked, true
	case errors.As(err, &refused) && refused.Kind == connection.ErrAuth:
		a.refusal, a.until = refused, time.Now().Add(refusalHolds)
	}
	a.mu.Unlock()
	if err == nil {
		err = a.fresh(ctx, s)
	}
	return s, err
}

// known returns a session that is not old, or why there cannot be one.
func (a *account) known(old *session) (*session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current != old {
		return a.current, nil
	}
	if a.refusal != nil && time.Now().Before(a.until) {
		again := *a.refusal
		again.Err = fmt.Errorf("refused a moment ago, not asked again before %s: %w", a.until.UTC().Format(time.RFC3339), again.Err)
		return nil, &again
	}
	return nil, nil
}

// forget makes the next request log in, even if the credential was refused before: somebody may have put that right.
func (a *account) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current, a.refusal = nil, nil
}

// login asks the identity service, once for each form of the credential that may be meant.
func (a *account) login(ctx context.Context) (*session, error) {
	forms := a.place.forms
	a.mu.Lock()
	if a.worked {
		forms = []form{a.form}
	}
	a.mu.Unlock()
	ask := &asker{place: a.place, forms: forms}
	ctx, met := withMeeting(ctx)
	met.identity, met.secrets = true, []string{a.place.credential.Reveal()}
	c := &swift.Connection{Auth: ask, Transport: a.guard, UserAgent: userAgent, Retries: noRetry, ConnectTimeout: never, Timeout: never}
	if err := c.Authenticate(ctx); err != nil {
		return nil, a.explain(met.cause(err))
	}
	storage, err := url.Parse(ask.storage)
	if err != nil || storage.Host == "" || storage.User != nil {
		return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the identity service's storage URL is none")}
	}
	storage.Path, storage.RawQuery, storage.Fragment = strings.TrimRight(storage.Path, "/"), "", ""
	if err := a.place.checkPlaintext(storage, "location"); err != nil {
		return nil, &connection.Error{
			Kind: connection.ErrConfig, Err: fmt.Errorf("the identity service names the storage URL %s: %w", storage, err),
			Hint: "allow_plaintext_auth: the storage URL has no TLS, and everybody on the path could read the token; have the catalogue name an https URL, or set this",
		}
	}
	return &session{storage: storage, asker: ask, library: &swift.Connection{
		StorageUrl: storage.String(), AuthToken: ask.token, Auth: ask,
		Transport: a.guard, UserAgent: userAgent, Retries: noRetry, ConnectTimeout: never, Timeout: never,
	}}, nil
}

// explain says which setting a login failed for.
func (a *account) explain(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Code == "" {
		return err
	}
	again := *e
	switch e.Code {
	case "400", "401", "403":
		again.Kind, again.Hint = connection.ErrAuth, a.authHint()
	case "300", "404", "405":
		again.Kind = connection.ErrConfig
		again.Hint = fmt.Sprintf("location: %s does not speak version %d of the identity protocol there; check the path", a.place.identity, a.place.version)
	}
	return &again
}

func (a *account) authHint() string {
	switch {
	case a.place.forms[0] == formApplication:
		return "identity or credential: the identity service refuses this application credential: its id, its secret, or it has expired"
	case a.place.driver == RackspaceName:
		return "identity or credential: the identity service refuses this user name with this API key"
	case a.place.version == 3:
		return "identity, credential, domain or project: the identity service refuses this user with this password"
	case a.place.version == 1:
		return "identity or credential: refused; identity is usually account:user"
	}
	return "identity or credential: the identity service refuses this user with this password or key"
}
