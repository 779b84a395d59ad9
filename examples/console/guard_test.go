package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// newGuarded returns a guarded page that says that one is in, its token and a browser without it.
func newGuarded(t *testing.T) (base string, g *guard, client *http.Client) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	g = newGuard("TOKEN", srv.Listener.Addr().String(), func(string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })
	})
	srv.Config.Handler = g
	srv.Start()
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return srv.URL, g, &http.Client{Jar: jar}
}

func answer(t *testing.T, c *http.Client, r *http.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func TestGuard(t *testing.T) {
	base, g, client := newGuarded(t)
	wants := func(what string, r *http.Request, status int) {
		t.Helper()
		if got, body := answer(t, client, r); got != status || (body == "in") != (status == http.StatusOK) {
			t.Errorf("%s: %d %q, want %d", what, got, body, status)
		}
	}
	wants("without a token", request(t, "GET", base+"/", ""), http.StatusForbidden)
	wants("a wrong token", request(t, "GET", base+"/?token=TOKEm", ""), http.StatusForbidden)
	wants("a token in a POST", request(t, "POST", base+"/?token=TOKEN", "form="+g.form), http.StatusForbidden)
	wants("the token", request(t, "GET", base+"/?token=TOKEN", ""), http.StatusOK)
	wants("the cookie", request(t, "GET", base+"/", ""), http.StatusOK)

	elsewhere := request(t, "GET", base+"/", "")
	elsewhere.Host = "evil.example"
	wants("by another name", elsewhere, http.StatusMisdirectedRequest)
	local := request(t, "GET", base+"/", "")
	local.Host = "localhost:" + strings.Split(base, ":")[2]
	local.AddCookie(&http.Cookie{Name: g.cookie, Value: g.token})
	wants("as localhost", local, http.StatusOK)

	wants("a form", request(t, "POST", base+"/", "form="+g.form), http.StatusOK)
	wants("a form without its token", request(t, "POST", base+"/", "a=b"), http.StatusForbidden)
	wants("a form with the session's token", request(t, "POST", base+"/", "form="+g.token), http.StatusForbidden)
	wants("a form with its token in the address", request(t, "POST", base+"/?form="+g.form, ""), http.StatusForbidden)
	foreign := request(t, "POST", base+"/", "form="+g.form)
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	wants("a form of another site", foreign, http.StatusForbidden)
	foreign = request(t, "POST", base+"/", "form="+g.form)
	foreign.Header.Set("Origin", "http://evil.example")
	wants("a form of another origin", foreign, http.StatusForbidden)
	large := request(t, "POST", base+"/", "x="+strings.Repeat("y", 2<<20)+"&form="+g.form)
	wants("a form that is too large", large, http.StatusRequestEntityTooLarge)

	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if cookies := client.Jar.Cookies(u); len(cookies) != 1 || g.form == g.token || strings.Contains(g.form, g.token) {
		t.Errorf("cookies %v, token of forms %q", cookies, g.form)
	}
}

// Browsers tell the ports of a host apart neither for cookies nor, at port 80, in a request.
func TestGuardsSideBySide(t *testing.T) {
	none := func(string) http.Handler { return http.NotFoundHandler() }
	first, second := newGuard("ONE", "127.0.0.1:8025", none), newGuard("TWO", "127.0.0.1:8026", none)
	if first.cookie == second.cookie {
		t.Errorf("both consoles have the cookie %s: the second one ends the first one's session", first.cookie)
	}
	for address, hosts := range map[string][]string{
		"127.0.0.1:80":   {"127.0.0.1", "localhost", "127.0.0.1:80", "localhost:80"},
		"[::1]:80":       {"[::1]", "localhost"},
		"127.0.0.1:8025": {"127.0.0.1:8025", "localhost:8025"},
	} {
		g := newGuard("ONE", address, none)
		for _, host := range hosts {
			if !g.knows(host) {
				t.Errorf("at %s: %s is not answered", address, host)
			}
		}
		for _, host := range []string{"evil.example", "evil.example:80", "127.0.0.1.evil.example", ""} {
			if g.knows(host) {
				t.Errorf("at %s: %s is answered", address, host)
			}
		}
	}
	if first.knows("127.0.0.1") {
		t.Error("another port's host is answered")
	}
}

// Whatever stands in the address beside the token, the browser goes on at the console.
func TestTokenLeadsNowhereElse(t *testing.T) {
	base, _, client := newGuarded(t)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(request(t, "GET", base+"//evil.example/?token=TOKEN", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if to := resp.Header.Get("Location"); to != "/" {
		t.Errorf("it goes on at %q", to)
	}
}

func TestListensHereOnly(t *testing.T) {
	for address, fine := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false, ":0": false, "192.0.2.1:80": false, "example.org:80": false, "127.0.0.1": false} {
		l, err := listenHere(t.Context(), address)
		if (err == nil) != fine {
			t.Errorf("%s: error %v", address, err)
		}
		if err == nil {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
