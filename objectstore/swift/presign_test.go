package swift_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// visit makes a request without credentials.
func visit(t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestPresign(t *testing.T) {
	const key = "grüße/🙂 a%b+c?d#e"
	for name, test := range map[string]struct {
		opts objecttest.SwiftOptions
		more map[string]any
	}{
		"SHA-256, the account's key":  {opts: objecttest.SwiftOptions{TempURLKey: "key-of-the-account"}},
		"SHA-1, the account's key":    {opts: objecttest.SwiftOptions{TempURLKey: "key-of-the-account", TempURLDigests: []string{"sha1"}}},
		"key of the settings":         {opts: objecttest.SwiftOptions{TempURLKey: "key-of-the-account", Reader: true}, more: map[string]any{"temp_url_key": "key-of-the-account"}},
		"storage of another identity": {opts: objecttest.SwiftOptions{TempURLKey: "key-of-the-account", Auth: objecttest.SwiftV3}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewSwift(t, &test.opts)
			srv.Plant(key, []byte("octets"))
			c := conn(t, srv, test.more)
			u, err := c.Presign(t.Context(), "GET", key, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(fmt.Sprint(u), "temp_url_sig") {
				t.Error("the URL prints")
			}
			if status, text := visit(t, http.MethodGet, u.Reveal(), ""); status != http.StatusOK || text != "octets" {
				t.Errorf("GET: got %d, %q", status, text)
			}
			if status, _ := visit(t, http.MethodPut, u.Reveal(), "other"); status != http.StatusUnauthorized {
				t.Errorf("PUT with a URL for GET: got %d", status)
			}
			if status, _ := visit(t, http.MethodGet, strings.Replace(u.Reveal(), "/archive/", "/archive/x", 1), ""); status != http.StatusUnauthorized {
				t.Errorf("GET of another key: got %d", status)
			}
			u, err = c.Presign(t.Context(), "PUT", "new", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if status, _ := visit(t, http.MethodPut, u.Reveal(), "brought"); status != http.StatusCreated || string(srv.Objects()["new"]) != "brought" {
				t.Errorf("PUT: got %d, stored %q", status, srv.Objects()["new"])
			}
			srv.Skew(2 * time.Hour)
			if early, err := c.Presign(t.Context(), "GET", key, time.Minute); err != nil {
				t.Error(err)
			} else if status, _ := visit(t, http.MethodGet, early.Reveal(), ""); status != http.StatusOK {
				t.Errorf("GET where the server's clock is ahead: got %d", status)
			}
			if status, _ := visit(t, http.MethodPut, u.Reveal(), "late"); status != http.StatusUnauthorized {
				t.Errorf("PUT after the time: got %d", status)
			}
		})
	}
	for name, opts := range map[string]objecttest.SwiftOptions{
		"no key":            {},
		"no temporary URLs": {NoTempURL: true, TempURLKey: "key-of-the-account"},
		"unknown digest":    {TempURLKey: "key-of-the-account", TempURLDigests: []string{"sha3"}},
	} {
		srv := objecttest.NewSwift(t, &opts)
		if _, err := conn(t, srv, nil).Presign(t.Context(), "GET", "key", time.Hour); connection.KindOf(err) != connection.ErrUnsupported {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
