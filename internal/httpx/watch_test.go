package httpx_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// trip is an http.RoundTripper in place of a network.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// watched returns a client over a transport, with limits of a minute for bodies and two for the head of an answer.
func watched(t *testing.T, transport http.RoundTripper) *http.Client {
	t.Helper()
	c, err := httpx.New(httpx.Options{
		Driver: "test", Base: &url.URL{Scheme: "http", Host: "example.org"}, TLS: &connection.TLSSettings{},
		NoDataTimeout: time.Minute, HeaderTimeout: 2 * time.Minute, ConnectTimeout: 10 * time.Second,
	}, &connection.Env{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c.HTTP()
}

func told(err error, kind connection.Kind, hint string) bool {
	var e *connection.Error
	return errors.As(err, &e) && e.Kind == kind && strings.HasPrefix(e.Hint, hint)
}

// wait waits in a bubble, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// An answer that does not begin ends the request; what was sent whole to change something is in doubt.
func TestHeadThatDoesNotCome(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		wrote  bool
		want   connection.Kind
	}{
		"reading":           {http.MethodGet, true, connection.ErrTimeout},
		"writing":           {http.MethodPost, true, connection.ErrUncertain},
		"writing, not sent": {http.MethodPost, false, connection.ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := watched(t, trip(func(r *http.Request) (*http.Response, error) {
				trace := httptrace.ContextClientTrace(r.Context())
				trace.GotConn(httptrace.GotConnInfo{})
				if r.Body != nil && test.wrote {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				if test.wrote {
					trace.WroteRequest(httptrace.WroteRequestInfo{})
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			}))
			var body io.Reader
			if test.method == http.MethodPost {
				body = strings.NewReader("x")
			}
			req, err := http.NewRequestWithContext(t.Context(), test.method, "http://example.org/", body)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if !told(err, test.want, "response_header_timeout") {
				t.Errorf("%s: got %v, want %v", name, err, test.want)
			}
			if took := time.Since(began); took < 2*time.Minute || took > 3*time.Minute {
				t.Errorf("%s: it took %s", name, took)
			}
		})
	}
}

// A slow answer is read to its end, by a slow reader too; one that stands still is given up.
func TestBodyThatStandsStill(t *testing.T) {
	for name, test := range map[string]struct {
		pause time.Duration // of the server, between its octets
		rest  time.Duration // of the reader, between its reads
		want  connection.Kind
	}{
		"slow":        {50 * time.Second, 0, 0},
		"slow reader": {time.Second, time.Hour, 0},
		"stalled":     {61 * time.Second, 0, connection.ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := watched(t, trip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(&slow{ctx: r.Context(), text: "abc", pause: test.pause})}, nil
			}))
			resp, err := client.Get("http://example.org/")
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for err == nil {
				var one [1]byte
				var n int
				n, err = resp.Body.Read(one[:])
				got.Write(one[:n])
				_ = wait(t.Context(), test.rest)
			}
			_ = resp.Body.Close()
			if test.want == 0 && (err != io.EOF || got.String() != "abc") || test.want != 0 && !told(err, test.want, "no_data_timeout") { //nolint:errorlint // only a bare io.EOF is an end
				t.Errorf("%s: got %q, %v", name, got.String(), err)
			}
		})
	}
}

// slow gives an octet after each pause, and ends with ctx.
type slow struct {
	ctx   context.Context
	text  string
	pause time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	if err := wait(s.ctx, s.pause); err != nil {
		return 0, err
	}
	if s.text == "" {
		return 0, io.EOF
	}
	p[0], s.text = s.text[0], s.text[1:]
	return 1, nil
}

// A server that stops taking the request is given up; a slow source of the request's body is not its fault.
func TestRequestThatStandsStill(t *testing.T) {
	for name, test := range map[string]struct {
		source, server time.Duration // pauses between octets
		want           connection.Kind
	}{
		"slow source":    {time.Hour, 0, 0},
		"slow server":    {0, 50 * time.Second, 0},
		"stalled server": {0, 2 * time.Minute, connection.ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := watched(t, trip(func(r *http.Request) (*http.Response, error) {
				for {
					var one [1]byte
					_, err := r.Body.Read(one[:])
					if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
						return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: http.NoBody}, nil
					}
					if err == nil {
						err = wait(r.Context(), test.server)
					}
					if err != nil {
						return nil, err
					}
				}
			}))
			resp, err := client.Post("http://example.org/", "text/plain", &slow{ctx: t.Context(), text: "abc", pause: test.source})
			if err == nil {
				_ = resp.Body.Close()
			}
			if test.want == 0 && err != nil || test.want != 0 && !told(err, test.want, "no_data_timeout") {
				t.Errorf("%s: got %v", name, err)
			}
		})
	}
}

// The end of the caller's context is that, and no stall; an answer that breaks off is a failure of the network.
func TestBodyThatEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken := trip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(io.MultiReader(strings.NewReader("ab"), failing{}))}, nil
	})
	for _, cut := range []bool{true, false} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://example.org/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := watched(t, broken).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if !cut {
			cancel()
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if cut && !told(err, connection.ErrNetwork, "") || !cut && !errors.Is(err, context.Canceled) {
			t.Errorf("cut %v: got %v", cut, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// HTTP/2 is spoken where the server has it, and gzip is undone, if the driver asks for both.
func TestHTTP2AndCompression(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			_, _ = io.WriteString(w, "plain")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "packed")
		_ = z.Close()
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	base, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		c, err := httpx.New(httpx.Options{Driver: "test", Base: base, TLS: &connection.TLSSettings{AcceptAnyCertificate: true}, HTTP2: on, Compress: on}, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.HTTP().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want := map[bool]string{true: "packed", false: "plain"}[on]; err != nil || string(text) != want || (resp.ProtoMajor == 2) != on {
			t.Errorf("on %v: got %q by %s, %v", on, text, resp.Proto, err)
		}
		_ = c.Close()
	}
}

// A connection of HTTP/2 that is dead is found by its pings: the requests on it fail, and the next one goes over another.
func TestDeadHTTP2(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	pair := certificate.TLS.Certificates[0]
	certificate.Close()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv := &http.Server{
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hang" {
					<-hang
				}
			}),
		}
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP2(true)
		served := make(chan error, 1)
		go func() { served <- srv.ServeTLS(listener, "", "") }()
		var dead atomic.Bool
		dials := 0
		c, err := httpx.New(httpx.Options{
			Driver: "test", Base: &url.URL{Scheme: "https", Host: "example.org"}, TLS: &connection.TLSSettings{AcceptAnyCertificate: true}, HTTP2: true,
		}, &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			listener.conns <- far
			dials++
			dead.Store(false)
			return &mute{Conn: near, dead: &dead}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		get := func(path string) error {
			resp, err := c.HTTP().Get("https://example.org" + path)
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		}
		if err := get("/"); err != nil {
			t.Fatal(err)
		}
		lost := make(chan error)
		go func() { lost <- get("/hang") }()
		synctest.Wait()
		dead.Store(true)
		if err := <-lost; !told(err, connection.ErrNetwork, "") {
			t.Errorf("on a dead connection: got %v", err)
		}
		if err := get("/"); err != nil || dials != 2 {
			t.Errorf("afterwards: %v, with %d connections", err, dials)
		}
		close(hang)
		_ = c.Close()
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// pipes is a net.Listener of pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// mute loses what is written while it is dead.
type mute struct {
	net.Conn
	dead *atomic.Bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.dead.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}
