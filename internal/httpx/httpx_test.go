package httpx_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/probe"
)

func newClient(t *testing.T, base string, settings *connection.TLSSettings, env *connection.Env) *httpx.Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if settings == nil {
		settings = &connection.TLSSettings{}
	}
	c, err := httpx.New(httpx.Options{Driver: "test", Base: u, TLS: settings, ConnectTimeout: 5 * time.Second}, env)
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

func do(t *testing.T, c *httpx.Client, method, target, body string) (status int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.HTTP().Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func authority(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestWhomToTrust(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secure.Config.ErrorLog = nil
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	asPlain := strings.Replace(secure.URL, "https:", "http:", 1)
	asSecure := strings.Replace(plain.URL, "http:", "https:", 1)
	for _, tc := range []struct {
		name, target string
		settings     connection.TLSSettings
		want         connection.Kind
		hint         string
	}{
		{name: "unknown authority", target: secure.URL, want: connection.ErrTLS, hint: "ca_pem: "},
		{name: "known authority", target: secure.URL, settings: connection.TLSSettings{CAPEM: authority(secure)}},
		{name: "another name", target: secure.URL, settings: connection.TLSSettings{CAPEM: authority(secure), ServerName: "mail.invalid"}, want: connection.ErrTLS, hint: "server_name: "},
		{name: "a pin", target: secure.URL, settings: connection.TLSSettings{PinSHA256: []string{strings.Repeat("ab", 32)}}, want: connection.ErrTLS, hint: "pin_sha256: "},
		{name: "anybody", target: secure.URL, settings: connection.TLSSettings{AcceptAnyCertificate: true}},
		{name: "https to http", target: asSecure, want: connection.ErrTLS, hint: "location: "},
		{name: "http to https", target: asPlain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := do(t, newClient(t, tc.target, &tc.settings, nil), http.MethodPut, tc.target, "x")
			if connection.KindOf(err) != tc.want {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			var e *connection.Error
			if tc.want != 0 && (!errors.As(err, &e) || !strings.Contains(e.Hint, tc.hint)) {
				t.Errorf("got %v, want a hint at %q", err, tc.hint)
			}
		})
	}
}

// silent reads whole requests and hangs up.
func silent(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// deaf accepts connections, reads the beginning of a request, and hangs up.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, conn, 100)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	return "http://" + l.Addr().String() + "/"
}

func TestWhatBecameOfARequest(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	body := strings.Repeat("x", 8<<20)
	for _, tc := range []struct {
		name, method, target, body string
		want                       connection.Kind
	}{
		{"refused", http.MethodPut, closed.URL, "x", connection.ErrNetwork},
		{"cut while it was sent", http.MethodPut, deaf(t), body, connection.ErrNetwork},
		{"sent whole, no answer", http.MethodPut, silent(t), "x", connection.ErrUncertain},
		{"asked, no answer", http.MethodGet, silent(t), "", connection.ErrNetwork},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, record := httpx.WithRecord(t.Context())
			req, err := http.NewRequestWithContext(ctx, tc.method, tc.target, io.NopCloser(strings.NewReader(tc.body)))
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = int64(len(tc.body))
			resp, err := newClient(t, tc.target, nil, nil).HTTP().Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if connection.KindOf(err) != tc.want {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if _, _, last := record.Last(); record.Requests() != 1 || !errors.Is(err, last) {
				t.Errorf("recorded %d requests and %v, want one and %v", record.Requests(), last, err)
			}
		})
	}
}

func TestContextEndsARequestByItsOwnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancelCause(t.Context())
	target := "http://" + l.Addr().String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("the reason")) })
	resp, err := newClient(t, target, nil, nil).Transport().RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if err != context.Canceled { //nolint:errorlint // some libraries compare it so
		t.Errorf("got %v, want context.Canceled itself", err)
	}
}

func TestAnswers(t *testing.T) {
	ahead := time.Now().Add(20 * time.Minute)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", ahead.UTC().Format(http.TimeFormat))
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	c := newClient(t, s.URL, nil, nil)
	if _, known := c.Skew(); known {
		t.Error("knows a clock that it has not seen")
	}
	status, err := do(t, c, http.MethodGet, s.URL, "")
	if err != nil || status != http.StatusTemporaryRedirect {
		t.Fatalf("got %d, %v, want the redirect itself", status, err)
	}
	if d, known := c.Skew(); !known || d < 19*time.Minute || d > 21*time.Minute {
		t.Errorf("skew %s, %t, want 20m", d, known)
	}
}

func TestStatusError(t *testing.T) {
	h := http.Header{"Retry-After": {"7"}}
	for status, want := range map[int]connection.Kind{
		401: connection.ErrAuth, 403: connection.ErrPermission, 404: connection.ErrNotFound, 408: connection.ErrTimeout,
		412: connection.ErrChanged, 413: connection.ErrTooLarge, 422: connection.ErrCorrupt, 429: connection.ErrThrottled,
		500: connection.ErrUnavailable, 501: connection.ErrUnsupported, 503: connection.ErrUnavailable, 507: connection.ErrQuota,
		302: connection.ErrProtocol, 418: connection.ErrRejected,
	} {
		if e := httpx.StatusError(status, h, "", "some\ntext\x00"); e.Kind != want || e.RetryAfter != 7*time.Second || e.Err.Error() != "some text" {
			t.Errorf("%d: got %v, RetryAfter %s, want %v", status, e, e.RetryAfter, want)
		}
	}
	if long := httpx.StatusError(500, nil, "Code", strings.Repeat("é", 1<<20)).Err.Error(); len(long) > 310 {
		t.Errorf("%d octets of text", len(long))
	}
}

func TestHostTransport(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	std := &http.Transport{TLSClientConfig: &tls.Config{}}
	env := &connection.Env{HTTPClient: &http.Client{Transport: std}}
	c := newClient(t, s.URL, &connection.TLSSettings{CAPEM: authority(s)}, env)
	if _, err := do(t, c, http.MethodGet, s.URL, ""); err != nil {
		t.Errorf("settings on top of the host's transport: %v", err)
	}
	if std.TLSClientConfig.RootCAs != nil {
		t.Error("the host's transport was changed")
	}
	env.HTTPClient.Transport = http.NewFileTransport(http.Dir(t.TempDir()))
	if _, err := httpx.New(httpx.Options{Base: u, TLS: &connection.TLSSettings{CAPEM: authority(s)}}, env); err == nil || !strings.Contains(err.Error(), "ca_pem") {
		t.Errorf("got %v, want an error that names the settings", err)
	}
	if _, err := httpx.New(httpx.Options{Base: u, TLS: &connection.TLSSettings{}}, env); err != nil {
		t.Errorf("a transport of another type without settings: %v", err)
	}
}

func TestProbe(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tc := range []struct {
		name, target string
		settings     connection.TLSSettings
		want         string // statuses
		hint         string
	}{
		{"trusted", s.URL, connection.TLSSettings{CAPEM: authority(s)}, "ok ok ok", ""},
		{"unknown", s.URL, connection.TLSSettings{}, "ok ok failed", "ca_pem: "},
		{"anybody", s.URL, connection.TLSSettings{AcceptAnyCertificate: true}, "ok ok warned", "accept_any_certificate: "},
		{"in the clear, here", plain.URL, connection.TLSSettings{}, "ok ok ok", ""},
		{"no tls there", strings.Replace(plain.URL, "http:", "https:", 1), connection.TLSSettings{}, "ok ok failed", "location: "},
		{"nobody there", "https://127.0.0.1:1", connection.TLSSettings{}, "ok failed skipped", "location: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := probe.New(connection.Info{Driver: "test"}, nil)
			newClient(t, tc.target, &tc.settings, nil).Probe(t.Context(), p, "as written")
			report, _ := p.Report()
			var got []string
			hint := ""
			for _, step := range report.Steps {
				got = append(got, string(step.Status))
				hint += step.Hint
			}
			if strings.Join(got, " ") != tc.want || !strings.HasPrefix(hint, tc.hint) {
				t.Errorf("got\n%s want %s and a hint at %q", report, tc.want, tc.hint)
			}
		})
	}
}

func TestDoubtful(t *testing.T) {
	for status, want := range map[int]bool{200: false, 404: false, 409: false, 500: true, 501: false, 502: true, 503: false, 504: true, 507: false} {
		if got := httpx.Doubtful(status); got != want {
			t.Errorf("%d: got %t, want %t", status, got, want)
		}
	}
}
