package swift_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// conn is open with a fake's settings, for the length of a test.
func conn(t *testing.T, srv *objecttest.Swift, more map[string]any) *swift.Conn {
	t.Helper()
	c := open(t, srv.Settings(), srv.Env(), more)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *swift.Conn, key string, data []byte) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, bytes.NewReader(data), nil); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *swift.Conn, key string) []byte {
	t.Helper()
	o, err := c.Get(t.Context(), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(o.Body)
	if err := errors.Join(err, o.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func logins(srv *objecttest.Swift) int { return len(srv.Requests("Authenticate")) }

// E69: every way to log in.
func TestWaysToLogIn(t *testing.T) {
	const long = "0123456789abcdef0123456789abcdef" // as API keys are
	for name, test := range map[string]struct {
		opts   objecttest.SwiftOptions
		more   func(srv *objecttest.Swift) map[string]any
		logins int
	}{
		"v1":                              {opts: objecttest.SwiftOptions{}, logins: 1},
		"v2, short password":              {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV2, Key: "short"}, logins: 1},
		"v2, long password":               {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV2, Key: long}, logins: 2},
		"v2, long password that is named": {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV2, Key: long}, more: with("auth", "v2-password"), logins: 1},
		"v2, API key":                     {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace, Key: long}, more: asSwift, logins: 1},
		"v2, short API key":               {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace, Key: "short"}, more: asSwift, logins: 2},
		"v2, project in a field":          {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV2, Key: "short"}, more: both("identity", "archiver", "project", "mail"), logins: 1},
		"rackspace, API key":              {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace, Key: long}, logins: 1},
		"rackspace, short API key":        {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace, Key: "short"}, logins: 1},
		"rackspace, region in lower case": {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace}, more: with("region", "dfw"), logins: 1},
		"rackspace, the user's region":    {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace}, more: with("region", ""), logins: 1},
		"v3":                              {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3}, logins: 1},
		"v3, domain by id":                {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3, DomainID: "d1"}, logins: 1},
		"v3, domain by name":              {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3, Domain: "Mail", DomainID: "d1"}, more: both("domain", "Mail", "domain_id", ""), logins: 1},
		"v3, domains of both by name":     {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3, Domain: "Mail"}, more: both("domain", "Mail", "project_domain", "Mail"), logins: 1},
		"v3, a colon in the user's name":  {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3, User: "a:b"}, more: both("identity", "a:b", "project", "mail"), logins: 1},
		"v3, application credential": {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3}, more: func(srv *objecttest.Swift) map[string]any {
			id, secret := srv.ApplicationCredential()
			return map[string]any{"identity": id, "credential": secret}
		}, logins: 1},
		"v3, application credential that is named": {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3}, more: func(srv *objecttest.Swift) map[string]any {
			id, secret := srv.ApplicationCredential()
			return map[string]any{"identity": id, "credential": secret, "auth": "v3-application-credential"}
		}, logins: 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewSwift(t, &test.opts)
			var more map[string]any
			if test.more != nil {
				more = test.more(srv)
			}
			settings := srv.Settings()
			if _, ok := more["driver"]; ok {
				settings.Driver = "swift"
				delete(more, "driver")
			}
			c := open(t, settings, nil, more)
			defer func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}()
			put(t, c, "key", []byte("octets"))
			srv.ExpireTokens() // another login must know what worked
			if got := get(t, c, "key"); string(got) != "octets" {
				t.Errorf("got %q", got)
			}
			if got := logins(srv); got != test.logins+1 {
				t.Errorf("%d requests for a token, want %d and one more", got, test.logins)
			}
		})
	}
}

func with(name string, value any) func(*objecttest.Swift) map[string]any {
	return func(*objecttest.Swift) map[string]any { return map[string]any{name: value} }
}

func both(name string, value any, name2 string, value2 any) func(*objecttest.Swift) map[string]any {
	return func(*objecttest.Swift) map[string]any { return map[string]any{name: value, name2: value2} }
}

func asSwift(*objecttest.Swift) map[string]any {
	return map[string]any{"driver": "swift", "identity": "archiver"}
}

// E69: an unknown region names those that there are.
func TestUnknownRegion(t *testing.T) {
	for _, auth := range []string{objecttest.SwiftV2, objecttest.SwiftV3, objecttest.SwiftRackspace} {
		srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{Auth: auth, Regions: []string{"LON", "DFW"}})
		c := conn(t, srv, map[string]any{"region": "NOPE"})
		_, err := c.Stat(t.Context(), "key")
		if connection.KindOf(err) != connection.ErrConfig || !strings.Contains(fmt.Sprint(err), "config: region: region NOPE is not in the catalogue; it has DFW, LON") {
			t.Errorf("%s: got error %v", auth, err)
		}
	}
}

// E70: a refused credential is sent once, by one verb or many, and by Test again.
func TestRefusedCredentialIsSentOnce(t *testing.T) {
	for _, test := range []struct {
		auth string
		want int
	}{
		{objecttest.SwiftV1, 1}, {objecttest.SwiftV3, 1}, {objecttest.SwiftRackspace, 1}, {objecttest.SwiftV2, 2},
	} {
		srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{Auth: test.auth})
		c := conn(t, srv, map[string]any{"credential": "wrong"})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := c.Put(t.Context(), fmt.Sprint("key", i), strings.NewReader("octets"), nil)
				var e *connection.Error
				if !errors.As(err, &e) || e.Kind != connection.ErrAuth || !strings.Contains(e.Hint, "credential") {
					t.Errorf("%s: got error %v", test.auth, err)
				}
			})
		}
		wg.Wait()
		if err := c.Delete(t.Context(), "a", "b", "c"); connection.KindOf(err) != connection.ErrAuth {
			t.Errorf("%s: delete: got error %v", test.auth, err)
		}
		if got := logins(srv); got != test.want {
			t.Errorf("%s: %d requests for a token, want %d", test.auth, got, test.want)
		}
		report, err := c.Test(t.Context(), nil)
		if connection.KindOf(err) != connection.ErrAuth {
			t.Errorf("%s: Test: got error %v\n%s", test.auth, err, report)
		}
		if got := logins(srv); got != 2*test.want {
			t.Errorf("%s: %d requests for a token after Test, want %d", test.auth, got, 2*test.want)
		}
	}
}

// A password that was put right at the server works again after a while, and after Test at once.
func TestRefusalIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := true
		asked := 0
		transport := transportFunc(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			switch {
			case r.URL.Path == "/auth/v1.0":
				asked++
				if refused {
					w.WriteHeader(http.StatusUnauthorized)
					break
				}
				w.Header().Set("X-Auth-Token", "t")
				w.Header().Set("X-Storage-Url", "http://127.0.0.1:1/v1/AUTH_mail")
			default:
				w.Header().Set("Content-Length", "6")
			}
			return w.Result(), nil
		})
		s := connection.Settings{Driver: "swift", Config: []byte(`{"location":"http://127.0.0.1:1/auth/v1.0","identity":"mail:archiver","credential":"canary","bucket":"archive"}`)}
		c := open(t, s, &connection.Env{HTTPClient: &http.Client{Transport: transport}}, nil)
		stat := func() error {
			_, err := c.Stat(t.Context(), "key")
			return err
		}
		if err := errors.Join(stat(), stat()); connection.KindOf(err) != connection.ErrAuth || asked != 1 {
			t.Fatalf("got error %v and %d requests for a token, want 1", err, asked)
		}
		refused = false
		if err := stat(); connection.KindOf(err) != connection.ErrAuth || asked != 1 {
			t.Fatalf("got error %v and %d requests for a token, want 1", err, asked)
		}
		timer := time.NewTimer(10*time.Minute + time.Second)
		<-timer.C
		if err := stat(); err != nil || asked != 2 {
			t.Errorf("after the time: got error %v and %d requests for a token, want none and 2", err, asked)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// E44: a token that expires is healed by one login, also in the middle of many requests, and the body is sent again.
func TestExpiredToken(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, map[string]any{"part_size": 1 << 16, "single_put_limit": 1 << 16})
	put(t, c, "before", []byte("before"))
	before := logins(srv)
	big := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	for i, r := range []io.Reader{bytes.NewReader([]byte("small")), io.MultiReader(strings.NewReader("cannot seek")), bytes.NewReader(big), io.MultiReader(bytes.NewReader(big))} {
		srv.ExpireTokens()
		if _, err := c.Put(t.Context(), fmt.Sprint("key", i), r, nil); err != nil {
			t.Errorf("put %d: %v", i, err)
		}
		if got := logins(srv) - before; got != i+1 {
			t.Errorf("put %d: %d logins, want %d", i, got, i+1)
		}
	}
	if got := get(t, c, "key3"); !bytes.Equal(got, big) {
		t.Errorf("got %d octets, want %d", len(got), len(big))
	}
	srv.ExpireTokens()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := c.Stat(t.Context(), "before"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := logins(srv) - before; got != 5 {
		t.Errorf("%d logins after 16 verbs met an expired token, want 5", got)
	}
	for _, err := range c.List(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		srv.ExpireTokens()
	}
	if err := c.Delete(t.Context(), "key0", "key1", "key2", "key3"); err != nil {
		t.Error(err)
	}
}

// A storage that refuses every token is asked with two of them, and then it is ErrAuth.
func TestTokenThatIsNeverGood(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	put(t, c, "key", nil)
	srv.ForgetRequests()
	for _, op := range []string{"HeadObject", "HeadContainer", "PutObject"} {
		srv.Fail(op, -1, objecttest.Status(http.StatusUnauthorized, "no"))
	}
	_, err := c.Stat(t.Context(), "key")
	if connection.KindOf(err) != connection.ErrAuth || len(srv.Requests("HeadObject")) != 2 || logins(srv) != 1 {
		t.Errorf("got error %v after %q", err, srv.Ops())
	}
	fresh := conn(t, srv, nil)
	if _, err := fresh.Put(t.Context(), "key", strings.NewReader("octets"), nil); connection.KindOf(err) != connection.ErrAuth {
		t.Errorf("put of a new connection: got error %v", err)
	}
	if n := logins(srv); n > 4 {
		t.Errorf("%d logins", n)
	}
}

// A redirect is not followed: the credential and the token stay where they belong.
func TestRedirect(t *testing.T) {
	other := objecttest.NewSwift(t, nil)
	for _, op := range []string{"Authenticate", "HeadObject", "GetObject"} {
		srv := objecttest.NewSwift(t, nil)
		c := conn(t, srv, nil)
		srv.Fail(op, -1, objecttest.Status(http.StatusTemporaryRedirect, "", "Location: "+other.URL()+"/auth/v1.0"))
		var err error
		if op == "GetObject" {
			_, err = c.Get(t.Context(), "key", nil)
		} else {
			_, err = c.Stat(t.Context(), "key")
		}
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrConfig || !strings.Contains(e.Hint, "location") {
			t.Errorf("%s: got error %v", op, err)
		}
	}
	if got := other.Connections(); got != 0 {
		t.Errorf("%d connections to the place that the redirect names", got)
	}
}

// A catalogue that names a storage without TLS on another machine would have the token sent in the clear.
func TestStorageInTheClear(t *testing.T) {
	asked := 0
	transport := transportFunc(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		if r.URL.Host == "swift.example.org" {
			asked++
		}
		w.Header().Set("X-Auth-Token", "t")
		w.Header().Set("X-Storage-Url", "http://swift.example.org/v1/AUTH_mail")
		return w.Result(), nil
	})
	s := connection.Settings{Driver: "swift", Config: []byte(`{"location":"https://keystone.example.org/auth/v1.0","identity":"mail:archiver","credential":"canary","bucket":"archive"}`)}
	env := &connection.Env{HTTPClient: &http.Client{Transport: transport}}
	c := open(t, s, env, nil)
	_, err := c.Stat(t.Context(), "key")
	if connection.KindOf(err) != connection.ErrConfig || !strings.Contains(fmt.Sprint(err), "allow_plaintext_auth") || asked != 0 {
		t.Errorf("got error %v and %d requests", err, asked)
	}
	allowed := open(t, s, env, map[string]any{"allow_plaintext_auth": true})
	if _, err := allowed.Stat(t.Context(), "key"); err != nil || asked == 0 {
		t.Errorf("got error %v and %d requests", err, asked)
	}
	if err := errors.Join(c.Close(), allowed.Close()); err != nil {
		t.Error(err)
	}
}

// E82: a server that repeats what it was told has its words left out.
func TestServerThatRepeatsSecrets(t *testing.T) {
	const credential, token = "canary of the credential", "canary-of-the-token"
	for _, status := range []int{http.StatusForbidden, http.StatusServiceUnavailable, http.StatusBadRequest} {
		known := false
		transport := transportFunc(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			switch {
			case known && r.URL.Path == "/auth/v1.0":
				w.Header().Set("X-Auth-Token", token)
				w.Header().Set("X-Storage-Url", "http://127.0.0.1:1/v1/AUTH_mail")
			default:
				w.WriteHeader(status)
				_, _ = fmt.Fprintf(w, "refused: %q %s", r.Header, url.QueryEscape(r.Header.Get("X-Auth-Key")))
			}
			return w.Result(), nil
		})
		s := connection.Settings{Driver: "swift", Config: []byte(`{"location":"http://127.0.0.1:1/auth/v1.0","identity":"mail:archiver","credential":"` + credential + `","bucket":"archive","max_attempts":1}`)}
		for _, known = range []bool{false, true} {
			c := open(t, s, &connection.Env{HTTPClient: &http.Client{Transport: transport}}, nil)
			_, err := c.Put(t.Context(), "key", strings.NewReader("octets"), nil)
			report, _ := c.Test(t.Context(), nil)
			for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), report.String()} {
				if strings.Contains(text, "canary") {
					t.Errorf("%d: %s", status, text)
				}
			}
			if err == nil {
				t.Error("got no error")
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What answers at location need not be an identity service.
func TestNoIdentityService(t *testing.T) {
	for _, test := range []struct {
		auth  string
		fault objecttest.Fault
		want  connection.Kind
	}{
		{objecttest.SwiftV1, objecttest.Status(http.StatusNotFound, "no such page"), connection.ErrConfig},
		{objecttest.SwiftV3, objecttest.Status(http.StatusMultipleChoices, "{}"), connection.ErrConfig},
		{objecttest.SwiftV1, objecttest.Status(http.StatusOK, "welcome"), connection.ErrProtocol},
		{objecttest.SwiftV2, objecttest.Status(http.StatusOK, "<html>welcome</html>"), connection.ErrProtocol},
		{objecttest.SwiftV3, objecttest.Status(http.StatusOK, `{"token":{"catalog":[]}}`, "X-Subject-Token: t"), connection.ErrConfig},
		{objecttest.SwiftV2, objecttest.Status(http.StatusOK, `{"access":`), connection.ErrProtocol},
		{objecttest.SwiftV1, objecttest.Status(http.StatusOK, "", "X-Auth-Token: t", "X-Storage-Url: ://"), connection.ErrProtocol},
		{objecttest.SwiftV1, objecttest.Status(http.StatusServiceUnavailable, "later"), connection.ErrUnavailable},
		{objecttest.SwiftRackspace, objecttest.Status(http.StatusRequestEntityTooLarge, "OverLimit", "Retry-After: 1"), connection.ErrThrottled},
	} {
		srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{Auth: test.auth})
		c := conn(t, srv, map[string]any{"max_attempts": 1})
		srv.Fail("Authenticate", -1, test.fault)
		if _, err := c.Stat(t.Context(), "key"); connection.KindOf(err) != test.want {
			t.Errorf("%s: got error %v, want %v", test.auth, err, test.want)
		}
		srv.ClearFaults()
		put(t, c, "key", nil) // nothing of it is remembered
	}
}

type transportFunc func(r *http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}
