package ewshttp_test

import (
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
			if before > 12 { // the schemes, and two messages for each login; a handshake may begin anew on a slow machine
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
