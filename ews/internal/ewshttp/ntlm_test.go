package ewshttp_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

func ntlm(s *server) { s.offers = []string{"Negotiate", "NTLM"} }

func TestNTLMSendsTheBodyOnce(t *testing.T) {
	inBubble(t, ntlm, func(t *testing.T, s *server, c *ewshttp.Client) {
		for range 3 {
			if got := get(t, c, s.request()); got != reply {
				t.Errorf("got %q", got)
			}
		}
		if got, want := s.steps(), "NTLM NTLM+body -+body -+body"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		for i, v := range s.seen() {
			if v.conn != 1 {
				t.Errorf("request %d went over connection %d", i, v.conn)
			}
		}
	}, auth("ntlm"))
}

func TestNTLMManyAtOnce(t *testing.T) {
	s := newServer(t, ntlm)
	c := s.client(nil, auth("auto"))
	const workers, each = 10, 10
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for j := range each {
				mailbox := fmt.Sprintf("m%d@corp.test", i)
				resp, err := c.Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Mailbox, r.Owner = mailbox, mailbox }))
				if err != nil {
					t.Errorf("worker %d, request %d: %v", i, j, err)
					return
				}
				read(t, resp)
			}
		})
	}
	wg.Wait()
	bodies, logins := 0, 0
	conns := map[int]bool{}
	for _, v := range s.seen() {
		if v.length > 0 {
			bodies++
		}
		if v.scheme != "" {
			logins++
		}
		if v.scheme != "" || v.length > 0 {
			conns[v.conn] = true
		}
	}
	if bodies != workers*each || len(conns) > 2*workers || // net/http gives a connection up whose end of writing it does not learn in time
		logins > 2*len(conns) || s.refused() != 0 {
		t.Errorf("%d bodies, %d connections, %d messages of logins, %d refused", bodies, len(conns), logins, s.refused())
	}
}

// The server forgets a session: one more handshake, and the request once more.
func TestE13LostSession(t *testing.T) {
	for _, test := range []struct {
		name    string
		page    string
		persist bool
	}{{"with a page", "<html>401 - Unauthorized</html>", true}, {"without", "", false}} {
		t.Run(test.name, func(t *testing.T) {
			lost := false
			inBubble(t, func(s *server) {
				ntlm(s)
				s.page, s.noPersist = test.page, !test.persist
				s.before = func(_ http.ResponseWriter, r *http.Request, v *visit) bool {
					if v.scheme == "" && !lost {
						lost = true
						r.Context().Value(peerKey{}).(*peer).as = ""
					}
					return false
				}
			}, func(t *testing.T, s *server, c *ewshttp.Client) {
				for range 3 {
					get(t, c, s.request())
				}
				if got, want := s.steps(), "NTLM NTLM+body -+body NTLM NTLM+body -+body"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if s.refused() != 0 {
					t.Errorf("%d logins refused", s.refused())
				}
			}, auth("ntlm"))
		})
	}
}

// The server closes the idle connection: the body is not sent over one that nobody has authenticated.
func TestE13ClosedSession(t *testing.T) {
	inBubble(t, func(s *server) {
		ntlm(s)
		s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
			w.Header().Set("Connection", "close")
			_, _ = w.Write([]byte(reply))
		}
	}, func(t *testing.T, s *server, c *ewshttp.Client) {
		get(t, c, s.request())
		get(t, c, s.request())
		if got, want := s.steps(), "NTLM NTLM+body NTLM NTLM+body"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}, auth("ntlm"))
}

func TestNTLMConnectionClosedWithinTheLogin(t *testing.T) {
	for _, times := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			left := times
			inBubble(t, func(s *server) {
				ntlm(s)
				s.before = func(w http.ResponseWriter, _ *http.Request, v *visit) bool {
					if v.scheme != "" && v.length == 0 && left > 0 {
						left--
						w.Header().Set("Connection", "close")
					}
					return false
				}
			}, func(t *testing.T, s *server, c *ewshttp.Client) {
				if times <= 2 {
					get(t, c, s.request())
				} else {
					fails(t, c, s.request(), connection.ErrNetwork, "auth: ", "closed between")
				}
				if got, want := s.steps(), strings.Repeat("NTLM ", times)+"NTLM NTLM+body"; times <= 2 && got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if s.refused() != 0 {
					t.Errorf("%d logins refused", s.refused())
				}
			}, auth("ntlm"))
		})
	}
}

func TestNTLMUnderNegotiate(t *testing.T) {
	for _, scheme := range []string{"auto", "ntlm"} {
		t.Run(scheme, func(t *testing.T) {
			s := newServer(t, func(s *server) { s.offers = []string{"Negotiate, Basic realm=\"a, b\""} })
			get(t, s.client(nil, auth(scheme)), s.request())
			if got := s.seen()[len(s.seen())-1]; got.as != user || got.scheme != "Negotiate" {
				t.Errorf("as %q with %q", got.as, got.scheme)
			}
		})
	}
}

func TestNTLMNames(t *testing.T) {
	for name, test := range map[string]struct {
		username, known string // in the settings; to the server
		refused         int
	}{
		"address":                  {"joe@corp.test", "joe@corp.test", 0},
		"address, only user known": {"joe@corp.test", "joe", 1},
		"domain":                   {`CORP\joe`, `CORP\joe`, 0},
		"mailbox of its own":       {`CORP\joe\J.Other`, `CORP\joe`, 0},
		"slash":                    {`CORP/joe`, `CORP\joe`, 0},
		"bare":                     {"joe", "joe", 0},
		"Latin-1":                  {"jörg@corp.test", "jörg@corp.test", 0},
		"beyond":                   {`CORP\日本\other`, `CORP\日本`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, ntlm)
			s.users = map[string]string{test.known: password}
			c := s.client(nil, auth("ntlm"), func(o *ewshttp.Options) { o.Username = test.username })
			for range 2 {
				get(t, c, s.request())
			}
			if got := s.seen()[len(s.seen())-1].as; got != test.known || s.refused() != test.refused {
				t.Errorf("as %q after %d refusals, want %q after %d", got, s.refused(), test.known, test.refused)
			}
		})
	}
}

func TestNTLMChallenges(t *testing.T) {
	for name, test := range map[string]struct {
		o    saslserver.Options
		kind connection.Kind
		part string
	}{
		"no target information": {o: saslserver.Options{TargetInfo: []byte{}}},
		"KEY_EXCH":              {saslserver.Options{NTLMFlags: 1 << 30}, connection.ErrUnsupported, "key exchange"},
		"LM_KEY":                {saslserver.Options{NTLMFlags: 1 << 7}, connection.ErrUnsupported, "LM_KEY"},
		"garbage":               {saslserver.Options{Tamper: func(int, []byte) []byte { return []byte("garbage") }}, connection.ErrProtocol, "no NTLM message"},
		"cut":                   {saslserver.Options{Tamper: func(_ int, c []byte) []byte { return c[:30] }}, connection.ErrProtocol, "cannot be answered"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, ntlm)
			s.ntlm = test.o
			c := s.client(nil, auth("ntlm"))
			if test.part == "" {
				get(t, c, s.request())
				return
			}
			fails(t, c, s.request(), test.kind, test.part, "auth: ")
		})
	}
}

// Without a body on the first leg, a server that wants no login answers the empty request.
func TestNTLMToAServerThatWantsNoLogin(t *testing.T) {
	s := newServer(t, nil)
	if got := get(t, s.client(nil, auth("ntlm")), s.request()); got != reply {
		t.Errorf("got %q", got)
	}
	if got, want := s.steps(), "NTLM -+body"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// With channel_binding the login is bound to the server's certificate: the binding is under the proof that the server checks.
func TestNTLMChannelBinding(t *testing.T) {
	for _, on := range []bool{false, true} {
		s := newServer(t, ntlm)
		s.ntlm.TargetInfo = []byte{}
		c := s.client(nil, auth("ntlm"), func(o *ewshttp.Options) { o.ChannelBinding = on })
		get(t, c, s.request())
		_, token, _ := strings.Cut(s.seen()[len(s.seen())-1].header.Get("Authorization"), " ")
		message, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(message, []byte{0x0a, 0, 16, 0}); got != on {
			t.Errorf("a binding in the message: %v, want %v", got, on)
		}
	}
}
