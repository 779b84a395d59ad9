package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// dialer connects everything to one server, and notes where it was to go.
type dialer struct {
	srv *objecttest.S3
	mu  sync.Mutex
	to  []string
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.to = append(d.to, addr)
	d.mu.Unlock()
	return d.srv.Dial(ctx, network, addr)
}

// TestAddressing is E38: the bucket in the host or in the path, over TLS with a certificate for it; and E81: a proxy of the
// environment is not asked.
func TestAddressing(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
	for name, tt := range map[string]struct{ bucket, style, host, path string }{
		"in the path": {"archive", "auto", "s3.example", "/archive/k"},
		"in the host": {"archive", "off", "archive.s3.example", "/k"},
		"with a dot":  {"mail.archive", "auto", "s3.example", "/mail.archive/k"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &objecttest.S3Options{Bucket: tt.bucket, ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood, Hosts: []string{"s3.example"}}})
			d := &dialer{srv: srv}
			c := open(t, srv.Settings(), &connection.Env{Dial: d.dial}, map[string]any{"location": "https://s3.example", "path_style": tt.style})
			put(t, c, "k", []byte("mail"), nil)
			if got := get(t, c, "k"); string(got) != "mail" {
				t.Errorf("got %q", got)
			}
			for info, err := range c.List(t.Context(), nil) {
				if err != nil || info.Key != "k" {
					t.Errorf("got %s, error %v", info.Key, err)
				}
			}
			if r := srv.Requests("PutObject")[0]; r.Host != tt.host || r.Path != tt.path {
				t.Errorf("the request went to %s%s, want %s%s", r.Host, r.Path, tt.host, tt.path)
			}
			for _, to := range d.to {
				if to != tt.host+":443" {
					t.Errorf("connected to %s", to)
				}
			}
		})
	}
}

// TestEnvironmentIsNotRead: the variables of Amazon's programs are other people's business (E82).
func TestEnvironmentIsNotRead(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDFROMENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "secretfromenvironment", "AWS_SESSION_TOKEN": "tokenfromenvironment",
		"AWS_REGION": "mars-north-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_CA_BUNDLE": "/nowhere", "AWS_PROFILE": "none", "AWS_MAX_ATTEMPTS": "7",
		"AWS_NEW_RETRIES_2026": "true", "AWS_RETRY_MODE": "adaptive", "AWS_EXECUTION_ENV": "executionfromenvironment", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
		"AWS_CONFIG_FILE": "/nowhere", "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH": "false",
	} {
		t.Setenv(name, value)
	}
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1})
	put(t, c, "k", []byte("mail"), nil)
	srv.ForgetRequests()
	srv.Fail("GetObject", -1, objecttest.Status(503, ""))
	_, err := c.Get(t.Context(), "k", nil)
	wantKind(t, "get", err, connection.ErrThrottled)
	if n := counted(srv); n != 1 {
		t.Errorf("%d requests, want 1: the library repeats by itself", n)
	}
	if got := fmt.Sprint(srv.Requests()[0].Header); strings.Contains(got, "fromenvironment") {
		t.Errorf("a header has it from the environment: %s", got)
	}
}

// TestSecretsDoNotPrint looks for keys in all that errors, logs, events and reports say (E82).
func TestSecretsDoNotPrint(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&out, format+"\n", args...)
	}
	const secret, token = "CanaryOfTheSecretKey", "CanaryOfTheSessionToken"
	srv := objecttest.NewS3(t, &objecttest.S3Options{SecretKey: secret, SessionToken: token})
	env := &connection.Env{
		Logger:  slog.New(slog.NewTextHandler(writerFunc(func(p []byte) { say("%s", p) }), &slog.HandlerOptions{Level: connection.LevelTrace})),
		Observe: func(ev connection.Event) { say("%+v %v", ev, ev.Err) },
	}
	c := open(t, srv.Settings(), env, map[string]any{"max_attempts": 1, "single_put_limit": 1 << 20})
	for range 2 {
		for verb, err := range verbs(t, c) {
			say("%s: %v %+v %#v", verb, err, err, err)
		}
		report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
		say("%v %v %+v", err, report, report)
		url, err := c.Presign(t.Context(), "GET", "k", 1e12)
		say("%v %+v %#v %v", url, url, url, err)
		say("%v %+v %#v", c.Info(), c, c)
		srv.Fail("", -1, objecttest.Status(403, "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><StringToSign>x</StringToSign></Error>"))
	}
	srv.Close()
	for verb, err := range verbs(t, c) {
		say("%s: %v %+v", verb, err, err)
	}
	if !strings.Contains(out.String(), "SignatureDoesNotMatch") {
		t.Error("nothing was said at all")
	}
	for _, canary := range []string{secret, token, "X-Amz-Signature"} {
		if i := strings.Index(out.String(), canary); i >= 0 {
			t.Errorf("%s is printed: …%s", canary, out.String()[max(0, i-200):i])
		}
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// TestHugeAnswers is E83.
func TestHugeAnswers(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1})
	srv.Fail("ListObjectsV2", 1, objecttest.Status(200, "<ListBucketResult>"+strings.Repeat("<Contents><Key>k</Key></Contents>", 600_000)+"</ListBucketResult>"))
	for _, err := range c.List(t.Context(), nil) {
		wantKind(t, "a page of 19 MB", err, connection.ErrProtocol)
	}
	srv.Fail("GetObject", 1, objecttest.Status(500, "<Error><Code>"+strings.Repeat("x", 1<<20)+"</Code></Error>"))
	_, err := c.Get(t.Context(), "k", nil)
	if e := mustKind(t, "an error of 1 MB", err, connection.ErrUnavailable); len(e.Error()) > 2000 {
		t.Errorf("the error's text has %d octets", len(e.Error()))
	}
}
