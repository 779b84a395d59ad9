package ewshttp_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

func closeIt(t testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// get makes the request and reads its answer.
func get(t testing.TB, c *ewshttp.Client, r *ewshttp.Request) string {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t testing.TB, resp *ewshttp.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, resp.Body)
	return string(b)
}

// A failure is what tests look at in an error.
type failure struct {
	text       string // with the hint
	code       string
	retryAfter time.Duration
}

// fails makes the request, which must fail with the kind.
func fails(t testing.TB, c *ewshttp.Client, r *ewshttp.Request, kind connection.Kind, parts ...string) failure {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err == nil {
		closeIt(t, resp.Body)
		t.Fatalf("got status %d, want %v", resp.Status, kind)
	}
	return wantError(t, err, kind, parts...)
}

// wantError holds err against the rules for errors; parts must be in its text or its hint.
func wantError(t testing.TB, err error, kind connection.Kind, parts ...string) failure {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T %v is no *connection.Error", err, err)
	}
	if connection.KindOf(err) != kind {
		t.Errorf("got kind %v, want %v: %v", connection.KindOf(err), kind, err)
	}
	all := e.Error() + "\n" + e.Hint
	for _, part := range parts {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in %q", part, all)
		}
	}
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(user + ":" + password))} {
		if strings.Contains(all, secret) {
			t.Errorf("the error shows the password: %q", all)
		}
	}
	if e.Driver != "ews" || e.Endpoint == "" && kind != connection.ErrConfig && kind != connection.ErrClosed {
		t.Errorf("driver %q, endpoint %q: %v", e.Driver, e.Endpoint, err)
	}
	return failure{all, e.Code, e.RetryAfter}
}

// goroutines waits until there are no more of them than before, and less long than an idle connection lives.
func goroutines(t testing.TB, before int) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; {
		n := runtime.NumGoroutine()
		if n <= before {
			return
		}
		if time.Now().After(deadline) {
			stack := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", n, before, stack[:runtime.Stack(stack, true)])
		}
		<-time.After(10 * time.Millisecond)
	}
}

func trusting(ca string) *tls.Config {
	conf, err := (&connection.TLSSettings{CAPEM: ca}).Client("", nil)
	if err != nil {
		panic(err)
	}
	return conf
}
