package ewshttp_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

func TestCookies(t *testing.T) {
	s := newServer(t, basic)
	s.answer = func(w http.ResponseWriter, r *http.Request, v *visit) {
		if v.header.Get("Cookie") == "" {
			http.SetCookie(w, &http.Cookie{Name: "X-BackEndCookie", Value: "of " + v.header.Get("X-AnchorMailbox"), Path: "/EWS"})
		}
		if v.header.Get("X-Fail") != "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, reply)
	}
	c := s.client(nil, auth("basic"))
	of := func(mailbox, jar string) *ewshttp.Request {
		return s.request(func(r *ewshttp.Request) { r.Mailbox, r.Jar = mailbox, jar })
	}
	last := func() string { seen := s.seen(); return seen[len(seen)-1].header.Get("Cookie") }
	for _, step := range []struct{ mailbox, jar, want string }{
		{"ann@corp.test", "", ""},
		{"bob@corp.test", "", ""},
		{"Ann@corp.test", "", `X-BackEndCookie="of ann@corp.test"`},
		{"bob@corp.test", "", `X-BackEndCookie="of bob@corp.test"`},
		{"ann@corp.test", "group", ""},
		{"bob@corp.test", "group", `X-BackEndCookie="of ann@corp.test"`},
	} {
		get(t, c, of(step.mailbox, step.jar))
		if got := last(); got != step.want {
			t.Errorf("%s %s: cookie %q, want %q", step.mailbox, step.jar, got, step.want)
		}
	}
	get(t, c, s.request(func(r *ewshttp.Request) { r.URL = s.url("/autodiscover/autodiscover.svc") }))
	if got := last(); got != "" {
		t.Errorf("another path: %q", got)
	}
	fails(t, c, s.request(func(r *ewshttp.Request) { r.Safe, r.Header = true, http.Header{"X-Fail": {"1"}} }), connection.ErrUnavailable)
	get(t, c, of("ann@corp.test", ""))
	if got := last(); got != "" {
		t.Errorf("the cookie survives a failure of the server: %q", got)
	}
	c.Forget(of("bob@corp.test", ""))
	get(t, c, of("bob@corp.test", ""))
	if got := last(); got != "" {
		t.Errorf("the cookie survives Forget: %q", got)
	}
}

// However many cookies a server sends, few are kept.
func TestCookiesAreBounded(t *testing.T) {
	s := newServer(t, nil)
	n := 0
	s.answer = func(w http.ResponseWriter, _ *http.Request, v *visit) {
		if got := len(v.header.Get("Cookie")); got > 64<<10 {
			t.Errorf("%d octets of cookies", got)
		}
		for range 100 {
			n++
			http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", n), Value: strings.Repeat("x", 50)})
		}
		if len(s.seen()) > 60 {
			for i := range 20 {
				http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("big", n, "of", i), Value: strings.Repeat("x", 4000)})
			}
		}
		http.SetCookie(w, &http.Cookie{Name: "long", Value: strings.Repeat("x", 5000)})
		http.SetCookie(w, &http.Cookie{Name: "last", Value: "1"})
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, reply)
	}
	c := s.client(nil, auth("basic"))
	for range 90 {
		get(t, c, s.request())
	}
	seen := s.seen()
	if got := seen[len(seen)-1].header.Get("Cookie"); strings.Contains(got, "long=") || got == "" {
		t.Errorf("cookies %q", got)
	}
}
