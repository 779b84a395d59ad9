package gmail_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// bubble runs a test against a server in memory, within a bubble of testing/synctest: waits take no time.
func bubble(t *testing.T, o gmailtest.Options, run func(t *testing.T, srv *gmailtest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Memory = true
		srv := gmailtest.NewServer(t, &o)
		srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
		run(t, srv)
	})
}

// Whatever a server answers becomes an error of a kind, short and without the token that it echoes; what may pass is asked for
// again, as often as the settings say, and no other call is made twice.
func TestG31OddAnswers(t *testing.T) {
	long := strings.Repeat("lorem ipsum ", 10_000)
	const page = "<!DOCTYPE html><html><body>Welcome to the hotel. Token: %TOKEN%</body></html>"
	for _, test := range []struct {
		name  string
		fault []gmailtest.Fault
		want  connection.Kind
		text  string
		calls int
	}{
		{"captive portal", []gmailtest.Fault{gmailtest.Status(200, page), gmailtest.Header("Content-Type", "text/html; charset=utf-8")}, connection.ErrProtocol, "http status 200", 1},
		{"gateway", []gmailtest.Fault{gmailtest.Status(502, page), gmailtest.Header("Content-Type", "text/html")}, connection.ErrUnavailable, "", 3},
		{"busy", []gmailtest.Fault{gmailtest.Status(503, "")}, connection.ErrUnavailable, "", 3},
		{"late", []gmailtest.Fault{gmailtest.Status(504, long+"%TOKEN%")}, connection.ErrUnavailable, "", 3},
		{"broken", []gmailtest.Fault{gmailtest.Refuse(500, "backendError", "Backend Error "+long)}, connection.ErrUnavailable, "", 3},
		{"no JSON", []gmailtest.Fault{gmailtest.Status(200, "hello"), gmailtest.Header("Content-Type", "application/json")}, connection.ErrProtocol, "labels.list is no JSON", 1},
		{"half of JSON", []gmailtest.Fault{gmailtest.Status(200, `{"labels":[`)}, connection.ErrProtocol, "labels.list is no JSON", 1},
		{"nothing", []gmailtest.Fault{gmailtest.Status(200, ""), gmailtest.Header("Content-Type", "application/json")}, connection.ErrProtocol, "labels.list is no JSON", 1},
		{"another shape", []gmailtest.Fault{gmailtest.Status(200, `{"labels":"many"}`)}, connection.ErrProtocol, "labels.list has string where labels should be a list", 1},
		{"cut", []gmailtest.Fault{gmailtest.Cut(5)}, connection.ErrNetwork, "", 3},
		{"no answer", []gmailtest.Fault{gmailtest.Lose()}, connection.ErrNetwork, "", 3},
		{"silence", []gmailtest.Fault{gmailtest.Stall()}, connection.ErrTimeout, "the answer has not begun", 3},
		{"silence in the middle", []gmailtest.Fault{gmailtest.StallAfter(5)}, connection.ErrTimeout, "has sent nothing", 3},
		{"not implemented", []gmailtest.Fault{gmailtest.Status(404, `{"message":"no such route","token":"%TOKEN%"}`)}, connection.ErrNotFound, "", 1},
		{"teapot", []gmailtest.Fault{gmailtest.Status(418, "%TOKEN%")}, connection.ErrRejected, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, gmailtest.Options{AllowBadRequests: true}, func(t *testing.T, srv *gmailtest.Server) {
				token := srv.Token("ann@corp.example")
				cfg := gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true, Retries: 3, ResponseTimeout: connection.Duration(time.Minute), NoDataTimeout: connection.Duration(time.Minute)}
				c := openConn(t, srv, cfg, func(_ *gmail.Config, env *connection.Env) {
					env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
						return connection.NewSecret(token), nil
					}
				})
				faults := append(test.fault, gmailtest.Rewrite(func(body []byte) []byte { return bytes.ReplaceAll(body, []byte("%TOKEN%"), []byte(token)) }))
				srv.Fail(gmailtest.On("labels.list"), faults...)
				_, err := folderNames(t.Context(), c, "")
				var e *connection.Error
				if !errors.As(err, &e) || e.Kind != test.want || e.Op != "folders" || e.Driver != "gmail" || e.Endpoint == "" {
					t.Fatalf("got %#v, want %v", err, test.want)
				}
				if !strings.Contains(err.Error(), test.text) || len(err.Error()) > 900 || strings.Contains(err.Error(), token) || strings.ContainsAny(err.Error(), "\r\n") {
					t.Errorf("got %d octets: %s\nwant %q", len(err.Error()), err, test.text)
				}
				if n := srv.Calls("labels.list"); n != test.calls {
					t.Errorf("asked %d times, want %d", n, test.calls)
				}
				srv.Heal()
				if _, err := folderNames(t.Context(), c, ""); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// What passes is not noticed, but for an event.
func TestRetries(t *testing.T) {
	bubble(t, gmailtest.Options{}, func(t *testing.T, srv *gmailtest.Server) {
		var retries atomic.Int32
		c := openConn(t, srv, srv.Config(), func(_ *gmail.Config, env *connection.Env) {
			env.Observe = func(ev connection.Event) {
				if ev.Kind == connection.EventRetry && ev.Detail == "labels.list" && ev.Err != nil {
					retries.Add(1)
				}
			}
		})
		srv.Fail(gmailtest.On("labels.list").Times(1), gmailtest.Status(503, ""))
		srv.Fail(gmailtest.On("labels.list").Nth(2).Times(1), gmailtest.TooManyConcurrent())
		srv.Fail(gmailtest.On("labels.list").Nth(3).Times(1), gmailtest.Cut(3))
		if _, err := folderNames(t.Context(), c, "ann@corp.example"); err != nil || retries.Load() != 3 {
			t.Errorf("got %v after %d retries", err, retries.Load())
		}
	})
}

// The end of the context ends a wait, an answer that stalls and a request for a token, as does Close.
func TestEndOfACall(t *testing.T) {
	for name, fault := range map[string]struct {
		on    string
		fault gmailtest.Fault
	}{
		"token":   {"token", gmailtest.Stall()},
		"answer":  {"labels.list", gmailtest.Stall()},
		"body":    {"labels.list", gmailtest.StallAfter(5)},
		"backoff": {"labels.list", gmailtest.Status(503, "")},
	} {
		for _, byClose := range []bool{false, true} {
			t.Run(fmt.Sprint(name, byClose), func(t *testing.T) {
				bubble(t, gmailtest.Options{}, func(t *testing.T, srv *gmailtest.Server) {
					cfg := srv.Config()
					cfg.Retries = 20
					c := openConn(t, srv, cfg, nil)
					srv.Fail(gmailtest.On(fault.on), fault.fault)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					done := make(chan error, 1)
					go func() {
						_, err := folderNames(ctx, c, "ann@corp.example")
						done <- err
					}()
					synctest.Wait()
					want := error(context.Canceled)
					if byClose {
						want = connection.ErrClosed
						if err := c.Close(); err != nil {
							t.Error(err)
						}
					} else {
						cancel()
					}
					synctest.Wait()
					select {
					case err := <-done:
						if !errors.Is(err, want) {
							t.Errorf("got %v, want %v", err, want)
						}
					default:
						t.Error("it goes on")
						cancel()
						t.Log(<-done)
					}
				})
			})
		}
	}
}

// A connection of HTTP/2 that is told to go away, or that is dead, costs nothing but another one.
func TestG32DeadConnections(t *testing.T) {
	for name, kill := range map[string]func(*gmailtest.Server){
		"GOAWAY": func(srv *gmailtest.Server) {
			srv.Fail(gmailtest.On("labels.list").Times(1), gmailtest.Header("Connection", "close"))
		},
		"dropped": func(srv *gmailtest.Server) { srv.DropConnections() },
		"frozen":  func(srv *gmailtest.Server) { srv.Freeze() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gmailtest.Options{Protocol: gmailtest.HTTP2}, func(t *testing.T, srv *gmailtest.Server) {
				c := openConn(t, srv, srv.Config(), nil)
				if _, err := folderNames(t.Context(), c, "ann@corp.example"); err != nil {
					t.Fatal(err)
				}
				before := srv.Connections()
				kill(srv)
				for range 3 {
					if _, err := folderNames(t.Context(), c, "ann@corp.example"); err != nil {
						t.Fatal(err)
					}
				}
				if n := srv.Connections(); n != before+1 {
					t.Errorf("%d connections, want one more than %d", n, before)
				}
				for _, r := range srv.Requests() {
					if r.Proto != "HTTP/2.0" {
						t.Errorf("%s by %s", r.Method, r.Proto)
					}
				}
			})
		})
	}
}

// A token goes to no other host than the settings name: a redirect is not followed, and a session of an upload elsewhere is not used.
func TestG58OtherHosts(t *testing.T) {
	var reached atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer evil.Close()
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openConn(t, srv, srv.Config(), nil)
	for _, status := range []int{301, 302, 307, 308} {
		srv.Fail(gmailtest.On("labels.list"), gmailtest.Status(status, ""), gmailtest.Header("Location", evil.URL+"/"))
		if _, err := folderNames(t.Context(), c, "ann@corp.example"); !errors.Is(err, connection.ErrProtocol) {
			t.Errorf("%d: got %v", status, err)
		}
		srv.Heal()
	}
	lying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.URL.Path, "/upload/") || strings.HasPrefix(r.URL.Path, "/resumable/") {
			w.Header().Set("Location", evil.URL+"/session")
			return
		}
		_, _ = io.WriteString(w, `{}`)
	}))
	defer lying.Close()
	env := withToken()
	conn, err := gmail.Open(gmail.Config{Endpoint: lying.URL, CustomEndpoints: true, Verbs: []string{"append"}, Upload: gmail.UploadMedia}, env)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := "Message-ID: <a@b.example>\r\n\r\n" + strings.Repeat("x", 6<<20)
	if _, err := conn.Append(t.Context(), "Archive", strings.NewReader(body), nil); err == nil {
		t.Error("an upload elsewhere succeeds")
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

// An answer without end is given up.
func TestAnswerWithoutEnd(t *testing.T) {
	var blanks bytes.Buffer
	z := gzip.NewWriter(&blanks)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		for err := error(nil); err == nil; {
			_, err = w.Write(blanks.Bytes()) // RFC 1952, 2.2: members follow each other
		}
	}))
	defer srv.Close()
	c, err := gmail.Open(gmail.Config{Endpoint: srv.URL, CustomEndpoints: true}, withToken())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := folderNames(t.Context(), c, ""); !errors.Is(err, connection.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// Every request of a mailbox says on whose account it goes, and that gzip is welcome.
func TestWhoIsCharged(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openConn(t, srv, srv.Config(), nil)
	if _, err := folderNames(t.Context(), c, "ann@corp.example"); err != nil {
		t.Fatal(err)
	}
	for _, r := range srv.Requests() {
		if want := map[string]string{"labels.list": id}[r.Method]; r.QuotaUser != want {
			t.Errorf("%s: quotaUser %q, want %q", r.Method, r.QuotaUser, want)
		}
		if !strings.Contains(r.Header.Get("User-Agent"), "gzip") || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Errorf("%s: %v", r.Method, r.Header)
		}
	}
	if u := c.Usage(); u.Users[id] != srv.Units("ann@corp.example") || u.Users[id] == 0 {
		t.Errorf("counted %v, the server has %d", u.Users, srv.Units("ann@corp.example"))
	}
}

// Neither the key nor a token is in what is logged, at any level, or in an error.
func TestNoSecretIsShown(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	var log bytes.Buffer
	var tokens []string
	c := openConn(t, srv, srv.Config(), func(cfg *gmail.Config, env *connection.Env) {
		cfg.Retries = 1
		env.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))
	})
	for _, fault := range []gmailtest.Fault{gmailtest.Status(500, "no"), gmailtest.HangUp(), gmailtest.Refuse(401, "authError", "Invalid Credentials"), gmailtest.Policy()} {
		srv.Heal()
		srv.Fail(gmailtest.On("labels.list"), fault)
		_, err := folderNames(t.Context(), c, "ann@corp.example")
		if err == nil {
			t.Error("no error")
		}
		fmt.Fprintln(&log, err)
		fmt.Fprintf(&log, "%v %+v %#v\n", c.Info(), errors.Unwrap(err), c.Usage())
	}
	r, _ := c.Test(t.Context(), nil)
	fmt.Fprintln(&log, r)
	for _, request := range srv.Requests() {
		if token, ok := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer "); ok {
			tokens = append(tokens, token)
		}
	}
	if len(tokens) == 0 {
		t.Fatal("no token was used")
	}
	for _, secret := range append(tokens, "PRIVATE KEY", "assertion") {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%.12s… is shown", secret)
		}
	}
}
