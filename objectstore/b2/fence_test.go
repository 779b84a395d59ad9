package b2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

const logVariable = "B2_LOG_LEVEL"

// E82: blazer reads the environment when the program starts, so the test is a program of its own.
func TestLogOfBlazerHoldsNoToken(t *testing.T) {
	if os.Getenv(logVariable) != "" {
		t.Skip("this is the program whose log is looked at")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=TestVerbsForTheLog$", "-test.v")
	cmd.Env = append(os.Environ(), logVariable+"=2")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("b2_authorize_account")) || !bytes.Contains(out, []byte("[redacted]")) {
		t.Fatalf("blazer logs nothing: the test shows nothing\n%s", out)
	}
	for _, begin := range []string{`"4_`, `"5_`, `"3_`, secret, "Basic "} { // tokens of the fake begin so
		if at := bytes.Index(out, []byte(begin)); at >= 0 && !bytes.HasPrefix(out[at:], []byte(`"4_z`)) {
			t.Errorf("the log holds %q", out[max(0, at-100):min(len(out), at+60)])
		}
	}
}

// TestVerbsForTheLog is run by TestLogOfBlazerHoldsNoToken.
func TestVerbsForTheLog(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{Key: secret})
	c := open(t, srv, &connection.Env{Logger: slog.Default()}, small)
	put(t, c, "k", "content", nil)
	if _, err := c.Put(t.Context(), "large", bytes.NewReader(large(6_000_000)), nil); err != nil {
		t.Fatal(err)
	}
	srv.ExpireTokens()
	srv.ExpireUploads()
	put(t, c, "k", "content", nil)
	if _, err := get(t, c, "k", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Presign(t.Context(), "GET", "k", time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), "k", "large"); err != nil {
		t.Error(err)
	}
}

// An answer of 64 KiB must not become more on its way to package base.
func TestNestedAnswerTakesNoMemory(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nested := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
		_, _ = fmt.Fprintf(w, `{"authorizationToken":"t","x":%s,"apiInfo":{"storageApi":{"apiUrl":"http://%s","downloadUrl":"http://%[2]s"}}}`, nested, r.Host)
	}))
	defer srv.Close()
	c := at(t, srv.URL, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.Stat(t.Context(), "k")
	runtime.ReadMemStats(&after)
	wantKind(t, "a bucket that is not listed", err, connection.ErrConfig)
	if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
		t.Errorf("%d octets were allocated", n)
	}
}

// at opens a connection to a server that is none of the fakes.
func at(t testing.TB, url string, env *connection.Env) *b2.Conn {
	t.Helper()
	c, err := b2.Open(b2.Config{
		Settings: objectstore.Settings{Identity: "005x", Credential: connection.NewSecret(secret), Location: url, Bucket: "archive"},
		Tuning:   objectstore.Tuning{MaxAttempts: 2},
	}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Package base would panic on some of these answers.
func TestAnswersThatAreNone(t *testing.T) {
	for _, reply := range []string{
		``, `null`, `[]`, `{}`, `{"apiInfo":null}`, `{"apiInfo":{"storageApi":null}}`, `<html>`, `{"authorizationToken":"t"}`,
		`{"authorizationToken":"t","apiInfo":{"storageApi":{"apiUrl":"","downloadUrl":"http://x"}}}`,
		`{"authorizationToken":"t","apiInfo":{"storageApi":{"apiUrl":"http://user:x@y","downloadUrl":"http://x"}}}`,
		`{"authorizationToken":"t","apiInfo":{"storageApi":{"apiUrl":"file:///etc","downloadUrl":"http://x"}}}`,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, reply) }))
		_, err := at(t, srv.URL, nil).Stat(t.Context(), "k")
		srv.Close()
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrProtocol || !strings.Contains(e.Hint, "location") {
			t.Errorf("%s: got %v, want ErrProtocol with a hint about location", reply, err)
		}
	}
}

// The service must not lead away from TLS, neither at the beginning nor by an upload URL.
func TestNoWayOutOfTLS(t *testing.T) {
	fake := objecttest.NewB2(t, nil)
	token := `"authorizationToken":"t"`
	for step := range 2 {
		var self *httptest.Server
		self = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next := []string{fake.URL(), self.URL}[step]
			switch r.URL.Path {
			case "/b2api/v3/b2_authorize_account":
				_, _ = fmt.Fprintf(w, `{%s,"apiInfo":{"storageApi":{"apiUrl":%q,"downloadUrl":%q}}}`, token, next, next)
			case "/b2api/v3/b2_list_buckets":
				_, _ = io.WriteString(w, `{"buckets":[{"bucketId":"1","bucketName":"archive"}]}`)
			case "/b2api/v3/b2_get_upload_url":
				_, _ = fmt.Fprintf(w, `{%s,"uploadUrl":%q}`, token, fake.URL()+"/b2api/v3/b2_upload_file/x")
			}
		}))
		_, err := at(t, self.URL, &connection.Env{HTTPClient: self.Client()}).Put(t.Context(), "k", strings.NewReader("x"), nil)
		self.Close()
		wantKind(t, fmt.Sprint("step ", step), err, connection.ErrTLS)
	}
	if n := len(fake.Requests()); n > 0 {
		t.Errorf("%d requests in the clear: %q", n, fake.Ops())
	}
}

// E41: a certificate that is not trusted is told at once, after one connection.
func TestCertificates(t *testing.T) {
	for _, kind := range []objecttest.Certificate{objecttest.CertSelfSigned, objecttest.CertExpired, objecttest.CertWrongName} {
		srv := objecttest.NewB2(t, &objecttest.B2Options{ServerOptions: objecttest.ServerOptions{TLS: kind}})
		c := open(t, srv, nil, map[string]any{"ca_pem": ""})
		_, err := c.Put(t.Context(), "k", strings.NewReader("x"), nil)
		wantKind(t, string(kind), err, connection.ErrTLS)
		if n := srv.Connections(); n != 1 {
			t.Errorf("%s: %d connections, want 1", kind, n)
		}
		put(t, open(t, srv, nil, map[string]any{"ca_pem": "", "pin_sha256": []string{srv.Pin()}}), "k", "x", nil)
	}
}

// E62: a context that ends in any phase ends the verb, with its error.
func TestContextEndsEachPhase(t *testing.T) {
	verbs := map[string]func(ctx context.Context, c *b2.Conn) error{
		"b2_authorize_account": func(ctx context.Context, c *b2.Conn) error { _, err := c.Stat(ctx, "k"); return err },
		"b2_list_buckets":      func(ctx context.Context, c *b2.Conn) error { _, err := c.Stat(ctx, "k"); return err },
		"b2_get_upload_url": func(ctx context.Context, c *b2.Conn) error {
			_, err := c.Put(ctx, "k", strings.NewReader("x"), nil)
			return err
		},
		"b2_upload_file": func(ctx context.Context, c *b2.Conn) error {
			_, err := c.Put(ctx, "k", strings.NewReader("x"), nil)
			return err
		},
		"b2_upload_part": func(ctx context.Context, c *b2.Conn) error {
			_, err := c.Put(ctx, "k", bytes.NewReader(large(6_000_000)), nil)
			return err
		},
		"b2_download_file_by_name": func(ctx context.Context, c *b2.Conn) error { _, err := c.Get(ctx, "k", nil); return err },
		"b2_list_file_versions":    func(ctx context.Context, c *b2.Conn) error { return c.Delete(ctx, "k") },
		"b2_list_file_names": func(ctx context.Context, c *b2.Conn) error {
			for _, err := range c.List(ctx, nil) {
				return err
			}
			return nil
		},
	}
	for op, verb := range verbs {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, map[string]any{"no_data_timeout": "0", "part_size": 5_000_000, "single_put_limit": 5_000_000})
		srv.Fail(op, -1, objecttest.Stall())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- verb(ctx, c) }()
		for !slices.Contains(srv.Ops(), op) {
			select {
			case err := <-done:
				t.Fatalf("%s: ended by itself: %v", op, err)
			default:
			}
		}
		began := time.Now()
		cancel()
		err := <-done
		if took := time.Since(began); took > 10*time.Second || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v after %s", op, err, took)
		}
		if n := srv.Unfinished(); n != 0 {
			t.Errorf("%s: %d unfinished", op, n)
		}
	}
}

func TestReport(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	report, err := open(t, srv, nil, nil).Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	var steps []string
	for _, s := range report.Steps {
		steps = append(steps, s.Name+" "+string(s.Status))
	}
	want := []string{"resolve ok", "connect ok", "tls ok", "auth ok", "capabilities ok", "open ok", "read ok", "write ok", "remove ok"}
	if !slices.Equal(steps, want) {
		t.Errorf("got %q, want %q\n%s", steps, want, report)
	}
	if n := count(srv)["b2_authorize_account"]; n != 1 {
		t.Errorf("%d authorizations, want 1", n)
	}
	if len(srv.Objects()) > 0 {
		t.Error("the probe stays behind")
	}

	for hint, conn := range map[string]*b2.Conn{
		"identity or credential": open(t, srv, nil, map[string]any{"credential": "K005wrong"}),
		"bucket: ":               open(t, srv, nil, map[string]any{"bucket": "none"}),
		"location":               open(t, srv, nil, map[string]any{"location": "http://" + objecttest.DeadAddr(t)}),
	} {
		report, err := conn.Test(t.Context(), nil)
		if err == nil || !strings.Contains(report.String(), "Hint: "+hint) {
			t.Errorf("%s: got %v\n%s", hint, err, report)
		}
	}

	few := objecttest.NewB2(t, &objecttest.B2Options{Capabilities: []string{"listBuckets", "listFiles", "readFiles"}})
	report, err = open(t, few, nil, nil).Test(t.Context(), nil)
	if err != nil || !strings.Contains(report.String(), "lacks writeFiles (Put), deleteFiles") {
		t.Errorf("a key that may only read: %v\n%s", err, report)
	}
	locks := objecttest.NewB2(t, &objecttest.B2Options{FileLock: true, Retention: time.Hour})
	report, err = open(t, locks, nil, nil).Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil || len(locks.Objects()) > 0 || !strings.Contains(report.String(), "locks all that is put") {
		t.Errorf("a bucket that locks by default: %v\n%s", err, report)
	}
}
