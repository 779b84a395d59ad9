package ewshttp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

// What a server wants may change, and may differ between a request with a body and one without.
func TestSchemesChange(t *testing.T) {
	bodiesOnly := func(w http.ResponseWriter, _ *http.Request, v *visit) bool {
		if v.length == 0 && v.scheme == "" {
			_, _ = io.WriteString(w, reply)
			return true
		}
		return false
	}
	for name, test := range map[string]struct {
		set   func(*server)
		later []string // offered from the second request on
		auth  string
		steps string
	}{
		"Basic, then NTLM":              {basic, []string{"NTLM"}, "auto", "- Basic+body Basic+body NTLM NTLM+body"},
		"NTLM, then Basic":              {ntlm, []string{"Basic"}, "auto", "- NTLM NTLM+body -+body NTLM Basic+body"},
		"NTLM, then Negotiate":          {func(s *server) { s.offers = []string{"NTLM"} }, []string{"Negotiate"}, "ntlm", "NTLM NTLM+body -+body NTLM Negotiate Negotiate+body"},
		"Negotiate, then NTLM":          {func(s *server) { s.offers = []string{"Negotiate"} }, []string{"NTLM"}, "auto", "- Negotiate Negotiate+body -+body Negotiate NTLM NTLM+body"},
		"nothing, then Basic":           {nil, []string{"Basic"}, "auto", "- -+body -+body Basic+body"},
		"a login for bodies, no scheme": {func(s *server) { basic(s); s.before = bodiesOnly }, nil, "auto", "- -+body Basic+body Basic+body"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, test.set, func(t *testing.T, s *server, c *ewshttp.Client) {
				get(t, c, s.request())
				if test.later != nil {
					s.note(func() { s.offers = test.later })
					s.forget()
				}
				get(t, c, s.request())
				if got := s.steps(); got != test.steps {
					t.Errorf("got %q, want %q", got, test.steps)
				}
				if s.refused() != 0 {
					t.Errorf("%d logins refused", s.refused())
				}
			}, auth(test.auth))
		})
	}
}

// A server wants what the settings do not have.
func TestNothingToLogInWith(t *testing.T) {
	s := newServer(t, ntlm)
	c := s.client(nil, func(o *ewshttp.Options) { o.Username, o.Password = "", connection.Secret{} })
	fails(t, c, s.request(), connection.ErrAuth, "password: missing")
	s = newServer(t, func(s *server) { s.offers = []string{"Digest", "Bearer"} })
	fails(t, s.client(nil), s.request(), connection.ErrUnsupported, "Digest, Bearer", "auth: ")
	s = newServer(t, basic)
	fails(t, s.client(nil, auth("ntlm")), s.request(), connection.ErrAuth, "auth: ", "Basic")

	// It takes empty requests from anybody, and others from nobody.
	s = newServer(t, func(s *server) {
		s.before = func(w http.ResponseWriter, _ *http.Request, v *visit) bool {
			if v.length > 0 {
				w.WriteHeader(http.StatusUnauthorized)
			}
			return true
		}
	})
	fails(t, s.client(nil, auth("ntlm")), s.request(), connection.ErrAuth, "auth: ")
}

// While one request finds out whether the credential is good, the others wait, and each of them ends with its own context.
func TestWaitingForTheFirstLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s, env := newPipeServer(t, func(s *server) { basic(s); s.answer = g.answer })
		c := s.client(env, clear, auth("basic"))
		g.close()
		first, second, third := make(chan error), make(chan error), make(chan error)
		do := func(ctx context.Context, failed chan error) {
			resp, err := c.Do(ctx, s.request(func(r *ewshttp.Request) { r.Safe = true }))
			if err == nil {
				closeIt(t, resp.Body)
			}
			failed <- err
		}
		go do(t.Context(), first)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go do(ctx, second)
		go do(t.Context(), third)
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		closeIt(t, c)
		wantError(t, <-first, connection.ErrClosed)
		wantError(t, <-third, connection.ErrClosed)
		if got := s.steps(); got != "Basic+body" {
			t.Errorf("got %q", got)
		}
		g.open()
	})
}

// The pause before the last try ends with the context.
func TestCanceledBeforeTheLastTry(t *testing.T) {
	for _, byClose := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, env := newPipeServer(t, basic)
			c := s.client(env, clear, auth("basic"))
			get(t, c, s.request())
			s.basic = func(string, string) bool { return false }
			ctx, cancel := context.WithCancel(t.Context())
			kind := connection.ErrCanceled
			go func() {
				<-time.After(100 * time.Millisecond)
				if byClose {
					closeIt(t, c)
				}
				cancel()
			}()
			if byClose {
				kind = connection.ErrClosed
			}
			began := time.Now()
			_, err := c.Do(ctx, s.request()) //nolint:bodyclose // there is none
			wantError(t, err, kind)
			if d := time.Since(began); d != 100*time.Millisecond {
				t.Errorf("after %s", d)
			}
		})
	}
}

// Many requests meet a credential that is no longer good: besides those under way, it is tried once more.
func TestPasswordChangesMeanwhile(t *testing.T) {
	for _, scheme := range []string{"basic", "ntlm"} {
		synctest.Test(t, func(t *testing.T) {
			s, env := newPipeServer(t, func(s *server) { s.offers = []string{"NTLM", "Basic"} })
			c := s.client(env, clear, auth(scheme))
			get(t, c, s.request())
			s.note(func() { s.users = nil })
			s.forget()
			var wg sync.WaitGroup
			const many = 40
			for range many {
				wg.Go(func() {
					_, err := c.Do(t.Context(), s.request()) //nolint:bodyclose // there is none
					wantError(t, err, connection.ErrAuth)
				})
			}
			wg.Wait()
			if n := s.refused(); n > 5 { // four at once are under way to begin with
				t.Errorf("%s: %d logins", scheme, n)
			}
		})
	}
}

// Budgets that nobody uses are forgotten, and jars as well: a server with many mailboxes costs no memory for ever.
func TestManyMailboxes(t *testing.T) {
	s := newServer(t, nil)
	s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, reply)
	}
	c := s.client(nil, auth("basic"))
	for i := range 1100 {
		mailbox := fmt.Sprintf("m%d@corp.test", i)
		get(t, c, s.request(func(r *ewshttp.Request) { r.Mailbox, r.Owner = mailbox, mailbox }))
	}
	if n := s.connections(); n > 100 {
		t.Errorf("%d connections", n)
	}
}

// The host program's transport keeps its own ways to dial.
func TestHostTransportDials(t *testing.T) {
	s := newServer(t, ntlm)
	for name, set := range map[string]func(*http.Transport, *int){
		"DialContext": func(tr *http.Transport, n *int) {
			tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				*n++
				return new(net.Dialer).DialContext(ctx, network, address)
			}
		},
		"Dial": func(tr *http.Transport, n *int) {
			tr.Dial = func(network, address string) (net.Conn, error) { //nolint:staticcheck // programs have it
				*n++
				return net.Dial(network, address)
			}
		},
		"DialTLSContext": func(tr *http.Transport, n *int) {
			tr.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				*n++
				return (&tls.Dialer{Config: trusting(s.ca)}).DialContext(ctx, network, address)
			}
		},
		"none": func(_ *http.Transport, n *int) { *n++ },
	} {
		t.Run(name, func(t *testing.T) {
			tr, n := &http.Transport{TLSClientConfig: trusting(s.ca)}, 0
			set(tr, &n)
			c := s.client(&connection.Env{HTTPClient: &http.Client{Transport: tr}}, auth("ntlm"), func(o *ewshttp.Options) { o.TLS = nil })
			for range 2 {
				get(t, c, s.request())
			}
			if n < 1 {
				t.Error("the transport's own dialling was not used")
			}
		})
	}
}
