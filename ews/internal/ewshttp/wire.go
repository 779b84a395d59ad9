package ewshttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// A wire is a transport whose errors are explained.
type wire struct {
	http.RoundTripper
	std *http.Transport // below it; nil if it is the host program's own kind
}

func (w *wire) close() {
	if w != nil && w.std != nil {
		w.std.CloseIdleConnections()
	}
}

// wires make transports, and hold those that requests share. Requests with and without a credential never share one: a server
// may take whoever speaks on a connection for the one who has authenticated on it.
type wires struct {
	model  *http.Transport   // nil with foreign
	custom http.RoundTripper // the host program's, if it is no *http.Transport

	server, others *tls.Config // server_name and accept_any_certificate hold for the settings' server alone

	anonymous, known [2]*wire // [0] to the settings' server, [1] to others
}

func (c *Client) newWires() (wires, error) {
	var w wires
	var base *tls.Config
	env := c.env
	switch {
	case env != nil && env.HTTPClient != nil && env.HTTPClient.Transport != nil:
		std, ok := env.HTTPClient.Transport.(*http.Transport)
		if !ok {
			if !plainTLS(c.opts.TLS) {
				return w, fmt.Errorf("ca_pem, server_name, pin_sha256, accept_any_certificate, client_cert_pem and min_tls cannot be obeyed: Env.HTTPClient has a transport of its own (%T)", env.HTTPClient.Transport)
			}
			if c.opts.Auth == AuthNTLM {
				return w, fmt.Errorf("auth: ntlm needs connections of its own, and Env.HTTPClient has a transport (%T) that cannot be cloned", env.HTTPClient.Transport)
			}
			w.custom = env.HTTPClient.Transport
			break
		}
		w.model = std.Clone()
		base = w.model.TLSClientConfig
	default:
		w.model = &http.Transport{DialContext: (&net.Dialer{}).DialContext}
		if env != nil {
			base = env.TLS
			if env.Dial != nil {
				w.model.DialContext = env.Dial
			}
		}
	}
	if w.model != nil {
		c.shape(w.model)
		var err error
		if w.server, err = clientTLS(*c.opts.TLS, base); err != nil {
			return w, err
		}
		others := *c.opts.TLS
		others.ServerName = ""
		others.AcceptAnyCertificate = false // a host that autodiscover has named must prove its name before it gets a login
		if w.others, err = clientTLS(others, base); err != nil {
			return w, err
		}
	}
	for _, of := range []*[2]*wire{&w.anonymous, &w.known} {
		for i := range of {
			var err error
			if of[i], err = w.make(c, i == 0); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// clientTLS returns the settings' TLS configuration. The name to verify is each request's own host, unless server_name is set.
func clientTLS(settings connection.TLSSettings, base *tls.Config) (*tls.Config, error) {
	conf, err := settings.Client("", base)
	if err != nil {
		return nil, err
	}
	conf.NextProtos = nil // IIS answers NTLM over HTTP/2 with HTTP_1_1_REQUIRED
	return conf, nil
}

func plainTLS(t *connection.TLSSettings) bool {
	return t.CAPEM == "" && t.ServerName == "" && len(t.PinSHA256) == 0 && !t.AcceptAnyCertificate && t.ClientCertPEM == "" &&
		(t.MinTLS == "" || t.MinTLS == "1.2")
}

// shape makes a transport, perhaps the host program's, into one for EWS.
func (c *Client) shape(t *http.Transport) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2, t.HTTP2, t.TLSNextProto = false, nil, map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.DisableCompression = true // Accept-Encoding is each request's own
	t.DisableKeepAlives = false
	t.MaxConnsPerHost = 0
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = c.opts.MaxConnections
	t.IdleConnTimeout = time.Minute
	t.MaxResponseHeaderBytes = 256 << 10
	t.ReadBufferSize, t.WriteBufferSize = 64<<10, 64<<10
	t.ResponseHeaderTimeout = 0
	if c.opts.ConnectTimeout > 0 || t.TLSHandshakeTimeout == 0 {
		t.TLSHandshakeTimeout = c.opts.ConnectTimeout
	}
	dial := t.DialContext
	if dial == nil && t.Dial != nil { //nolint:staticcheck // a host program's transport may still have it
		plain := t.Dial //nolint:staticcheck // as above
		dial = func(_ context.Context, network, address string) (net.Conn, error) { return plain(network, address) }
	}
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	t.Dial = nil //nolint:staticcheck // as above
	t.DialContext = held(dial, c.opts.ConnectTimeout)
	if t.DialTLSContext != nil {
		t.DialTLSContext = held(t.DialTLSContext, c.opts.ConnectTimeout)
	}
}

// pinned is the context key of requests that must go over the connection that is there already.
type pinned struct{}

// errMoved says that the connection that a request is pinned to is gone. Nothing was sent.
var errMoved = errors.New("the connection that was authenticated is gone")

// held gives dial a timeout, and no pinned request.
func held(dial connection.DialFunc, timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if ctx.Value(pinned{}) != nil {
			return nil, errMoved
		}
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return dial(ctx, network, address)
	}
}

// make returns a new transport, or the host program's if it cannot be cloned.
func (w *wires) make(c *Client, server bool) (*wire, error) {
	out := &wire{RoundTripper: w.custom}
	if w.model != nil {
		out.std = w.model.Clone()
		out.std.TLSClientConfig = w.others.Clone()
		if server {
			out.std.TLSClientConfig = w.server.Clone()
		}
		out.RoundTripper = out.std
	}
	explained, err := httpx.New(httpx.Options{Driver: c.opts.Driver, ID: c.opts.ID, Field: "server"}, &connection.Env{HTTPClient: &http.Client{Transport: out.RoundTripper}})
	if err != nil {
		return nil, err
	}
	out.RoundTripper = explained.Transport()
	return out, nil
}

// wire returns the shared transport for u.
func (c *Client) wire(u *url.URL, anonymous bool) *wire {
	of := &c.wires.known
	if anonymous {
		of = &c.wires.anonymous
	}
	if c.isServer(u) {
		return of[0]
	}
	return of[1]
}

func (c *Client) isServer(u *url.URL) bool { return strings.EqualFold(u.Hostname(), c.opts.Server) }

func (w *wires) close() {
	for _, wire := range slices.Concat(w.anonymous[:], w.known[:]) {
		wire.close()
	}
}
