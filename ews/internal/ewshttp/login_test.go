package ewshttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

func basic(s *server) { s.offers = []string{`Basic realm="corp, test"`} }

// A server knows the credential in another charset.
func TestE34BasicCharsets(t *testing.T) {
	latin1 := func(text string) string {
		var b []byte
		for _, r := range text {
			b = append(b, byte(r))
		}
		return string(b)
	}
	for name, test := range map[string]struct {
		username string
		want     func(string) string
		refused  int
	}{
		"UTF-8":   {"jörg@corp.test", func(s string) string { return s }, 0},
		"Latin-1": {"jörg@corp.test", latin1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, basic)
			s.basic = func(u, p string) bool { return u == test.want(test.username) && p == test.want(password) }
			c := s.client(nil, auth("basic"), func(o *ewshttp.Options) { o.Username = test.username })
			for range 2 { // the form that worked is remembered
				get(t, c, s.request())
			}
			if s.refused() != test.refused {
				t.Errorf("%d refused, want %d", s.refused(), test.refused)
			}
		})
	}
}

func TestBasicOldNames(t *testing.T) {
	for _, old := range []bool{false, true} {
		s := newServer(t, basic)
		s.users = map[string]string{"joe": "plain"}
		c := s.client(nil, func(o *ewshttp.Options) { o.OldNames, o.Password = old, connection.NewSecret("plain") })
		if old {
			get(t, c, s.request())
		} else {
			fails(t, c, s.request(), connection.ErrAuth, "bare name")
		}
		want := "- Basic+body"
		if old {
			want += " Basic+body"
		}
		if got := s.steps(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Nobody hammers a server with a wrong password.
func TestE62Storm(t *testing.T) {
	for name, set := range map[string]func(*server){"basic": basic, "ntlm": ntlm} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, set)
			s.users = nil
			c := s.client(nil)
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					mailbox := fmt.Sprintf("m%d@corp.test", i)
					resp, err := c.Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Owner, r.Mailbox = mailbox, mailbox }))
					if err == nil {
						read(t, resp)
					}
					wantError(t, err, connection.ErrAuth, "username, password: ")
				})
			}
			wg.Wait()
			if n := s.refused(); n < 1 || n > 2 {
				t.Errorf("%d logins, want at most 2", n)
			}
			before := len(s.seen())
			if before > 5 { // the schemes, and two messages for each login
				t.Errorf("%d requests: %s", before, s.steps())
			}
			fails(t, c, s.request(), connection.ErrAuth, "not tried again")
			if got := len(s.seen()); got != before {
				t.Errorf("%d requests after the final refusal", got-before)
			}
			s.note(func() { s.users = map[string]string{user: password} })
			c.Reset()
			get(t, c, s.request())
		})
	}
}

func TestLockedAccountIsTriedOnce(t *testing.T) {
	s := newServer(t, ntlm)
	s.users, s.page = nil, "<html><body>"+strings.Repeat("<p>Access is denied.</p>", 50)+"The referenced account is currently\n locked out and may not be logged on to.</body></html>"
	c := s.client(nil, auth("ntlm"))
	fails(t, c, s.request(), connection.ErrAuth, "locked out", "unlocked")
	if s.refused() != 1 {
		t.Errorf("%d logins, want 1", s.refused())
	}
}

// A 401 without a challenge: what is configured is tried once.
func TestE14NoChallenge(t *testing.T) {
	for name, want := range map[string]string{"auto": "- NTLM", "ntlm": "NTLM", "basic": "Basic+body"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.before = func(w http.ResponseWriter, _ *http.Request, _ *visit) bool {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			c := s.client(nil, auth(name), func(o *ewshttp.Options) { o.Username, o.Password = "joe", connection.NewSecret("ascii") })
			fails(t, c, s.request(), connection.ErrAuth, "auth: ")
			fails(t, c, s.request(), connection.ErrAuth, "not tried again")
			if got := s.steps(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A 401 after a success may be a busy server: one more try after a pause, then the end.
func TestRefusedAfterSuccess(t *testing.T) {
	for _, test := range []struct {
		times int
		steps string
		fails bool
	}{
		{1, "Basic+body Basic+body Basic+body", false},
		{2, "Basic+body Basic+body Basic+body", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, env := newPipeServer(t, basic)
			var events []connection.Event
			env.Observe = func(e connection.Event) { events = append(events, e) }
			c := s.client(env, clear, auth("basic"))
			get(t, c, s.request())
			left := test.times
			s.basic = func(string, string) bool { left--; return left < 0 }
			began := time.Now()
			if test.fails {
				fails(t, c, s.request(), connection.ErrAuth)
			} else {
				get(t, c, s.request())
			}
			if d := time.Since(began); d < time.Second || d > time.Minute {
				t.Errorf("it took %s", d)
			}
			if got := s.steps(); got != test.steps {
				t.Errorf("got %q, want %q", got, test.steps)
			}
			retries := 0
			for _, e := range events {
				if e.Kind == connection.EventRetry {
					retries++
				}
			}
			if retries != 1 {
				t.Errorf("events: %v", events)
			}
		})
	}
}

// Another candidate may accept what one refuses; two refusals end it.
func TestTentative(t *testing.T) {
	wrong, right := newServer(t, basic), newServer(t, basic)
	wrong.users = nil
	tentative := func(r *ewshttp.Request) { r.Tentative = true }
	c := right.client(nil, auth("basic"), func(o *ewshttp.Options) {
		o.TLS = &connection.TLSSettings{CAPEM: wrong.ca + right.ca}
	})
	fails(t, c, wrong.request(tentative), connection.ErrAuth)
	get(t, c, right.request())
	fails(t, c, wrong.request(tentative), connection.ErrAuth)
	get(t, c, right.request()) // a server that knows us does not suffer
	fails(t, c, wrong.request(tentative), connection.ErrAuth)
	get(t, c, right.request())

	never := newServer(t, basic)
	never.users = nil
	c = never.client(nil, auth("basic"), func(o *ewshttp.Options) {
		o.TLS = &connection.TLSSettings{CAPEM: wrong.ca + right.ca + never.ca}
	})
	fails(t, c, never.request(tentative), connection.ErrAuth)
	fails(t, c, wrong.request(tentative), connection.ErrAuth)
	fails(t, c, right.request(), connection.ErrAuth, "not tried again")
}

// tokens is a source that counts.
type tokenSource struct {
	mu   sync.Mutex
	list []string // what it gives, one for each time that it must renew; the last for ever
	asks []connection.TokenRequest
}

func (s *tokenSource) give(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, r)
	if r.Renew && len(s.list) > 1 {
		s.list = s.list[1:]
	}
	return connection.NewSecret(s.list[0]), nil
}

func oauth(source *tokenSource) func(*ewshttp.Options) {
	return func(o *ewshttp.Options) {
		o.Password, o.Tokens, o.Scopes = connection.Secret{}, source.give, []string{"scope"}
	}
}

func TestOAuthRenewsOnce(t *testing.T) {
	for name, test := range map[string]struct {
		list  []string
		good  string
		steps string
		asks  int
		fails bool
	}{
		"good":         {[]string{"a-token"}, "a-token", "Bearer+body Bearer+body", 1, false},
		"expired":      {[]string{"a-token", "b-token"}, "b-token", "Bearer+body Bearer+body Bearer+body", 2, false},
		"never good":   {[]string{"a-token", "b-token", "c-token"}, "", "Bearer+body Bearer+body", 3, true},
		"no other":     {[]string{"a-token"}, "", "Bearer+body", 2, true},
		"only a third": {[]string{"a-token", "b-token", "c-token"}, "c-token", "Bearer+body Bearer+body", 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(s *server) { s.offers, s.tokens = []string{"Bearer", "NTLM"}, map[string]bool{test.good: true} })
			source := &tokenSource{list: test.list}
			c := s.client(nil, oauth(source))
			for range 2 {
				if test.fails {
					e := fails(t, c, s.request(), connection.ErrAuth, "oauth2: ")
					for _, token := range test.list {
						if strings.Contains(e.text, token) {
							t.Errorf("the token is in %q", e.text)
						}
					}
					continue
				}
				get(t, c, s.request())
			}
			if got := s.steps(); got != test.steps {
				t.Errorf("got %q, want %q", got, test.steps)
			}
			if len(source.asks) != test.asks {
				t.Errorf("asked %v, want %d times", source.asks, test.asks)
			}
			if r := source.asks[0]; r.Mailbox != user || r.Renew || fmt.Sprint(r.Scopes) != "[scope]" {
				t.Errorf("asked with %+v", r)
			}
		})
	}
}

// Many requests meet the end of one token: it is renewed once.
func TestOAuthRenewsOnceForAll(t *testing.T) {
	s := newServer(t, func(s *server) { s.offers, s.tokens = []string{"Bearer"}, map[string]bool{"a-token": true} })
	source := &tokenSource{list: []string{"a-token", "b-token"}}
	c := s.client(nil, oauth(source))
	get(t, c, s.request())
	s.note(func() { s.tokens = map[string]bool{"b-token": true} })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			resp, err := c.Do(t.Context(), s.request())
			if err != nil {
				t.Error(err)
				return
			}
			read(t, resp)
		})
	}
	wg.Wait()
	renewed := 0
	for _, r := range source.asks {
		if r.Renew {
			renewed++
		}
	}
	if renewed != 1 {
		t.Errorf("renewed %d times", renewed)
	}
}

func TestTokenSourceFails(t *testing.T) {
	s := newServer(t, func(s *server) { s.offers = []string{"Bearer"} })
	for name, test := range map[string]struct {
		token string
		err   error
		kind  connection.Kind
	}{
		"empty":         {"", nil, connection.ErrAuth},
		"with its name": {"Bearer a-token", nil, connection.ErrAuth},
		"line end":      {"a-token\r\nX: y", nil, connection.ErrAuth},
		"told":          {"", &connection.Error{Kind: connection.ErrThrottled, RetryAfter: time.Minute}, connection.ErrThrottled},
		"unknown":       {"", errors.New("some text"), connection.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.client(nil, func(o *ewshttp.Options) {
				o.Tokens = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
					return connection.NewSecret(test.token), test.err
				}
			})
			e := fails(t, c, s.request(), test.kind, "oauth2: ")
			if connection.RetryAfter(test.err) != e.retryAfter {
				t.Errorf("wait %s", e.retryAfter)
			}
		})
	}
}

// A source that heeds nothing is left behind.
func TestTokenSourceHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := newServer(t, nil)
	c := s.client(nil, func(o *ewshttp.Options) {
		o.Tokens = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			<-release
			return connection.Secret{}, nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := c.Do(ctx, s.request()); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is none
		t.Errorf("got %v", err)
	}
	closeIt(t, c)
	fails(t, c, s.request(), connection.ErrClosed)
}

// The clocks differ: the hint says so.
func TestE33ClockSkew(t *testing.T) {
	for name, test := range map[string]struct {
		off  time.Duration
		set  func(*server)
		diag string
		part string
	}{
		"NTLM":        {time.Hour, ntlm, "", "clocks"},
		"by its Date": {-time.Hour, func(s *server) { s.offers = []string{"Bearer"} }, "", "clocks"},
		"diagnosis":   {0, func(s *server) { s.offers = []string{"Bearer"} }, `2000008;reason="The token is not yet valid (nbf)";error_category="invalid_lifetime"`, "check the clock"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, test.set)
			s.users = nil
			s.before = func(w http.ResponseWriter, _ *http.Request, _ *visit) bool {
				w.Header().Set("Date", time.Now().Add(test.off).UTC().Format(http.TimeFormat))
				if test.diag != "" {
					w.Header().Set("x-ms-diagnostics", test.diag)
				}
				return false
			}
			c := s.client(nil, func(o *ewshttp.Options) {
				if name != "NTLM" {
					o.Tokens = (&tokenSource{list: []string{"a-token"}}).give
				}
			})
			fails(t, c, s.request(), connection.ErrAuth, test.part)
		})
	}
}

// Two accounts of one process, which share the host program's transport, are never taken for each other.
func TestE54TwoAccounts(t *testing.T) {
	for _, scheme := range []string{"ntlm", "auto"} {
		t.Run(scheme, func(t *testing.T) {
			s := newServer(t, ntlm)
			s.users = map[string]string{"ann@corp.test": "a", "bob@corp.test": "b"}
			s.answer = func(w http.ResponseWriter, _ *http.Request, v *visit) {
				w.Header().Set("Content-Type", "text/xml")
				_, _ = fmt.Fprintf(w, "<as>%s</as>", v.as)
			}
			shared := &connection.Env{HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: trusting(s.ca)}}}
			var wg sync.WaitGroup
			for name, pass := range map[string]string{"ann@corp.test": "a", "bob@corp.test": "b", "eve@corp.test": "b"} {
				c := s.client(shared, auth(scheme), func(o *ewshttp.Options) {
					o.Username, o.Password, o.TLS = name, connection.NewSecret(pass), nil
				})
				for range 4 {
					wg.Go(func() {
						for range 5 {
							resp, err := c.Do(t.Context(), s.request())
							if name == "eve@corp.test" {
								if err == nil {
									t.Errorf("eve got %q", read(t, resp))
								}
								continue
							}
							if err != nil {
								t.Error(err)
								return
							}
							if got := read(t, resp); got != "<as>"+name+"</as>" {
								t.Errorf("%s got %q", name, got)
							}
						}
					})
				}
			}
			wg.Wait()
		})
	}
}
