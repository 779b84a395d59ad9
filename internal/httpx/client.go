// Package httpx is HTTP for drivers: a transport with the shared settings, whose errors say what became of a request.
// It retries nothing and follows no redirect.
package httpx

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Options describe a server.
type Options struct {
	Driver         string // for errors: "s3"
	ID             string // of the connection, for events; "" = Driver
	Base           *url.URL
	Field          string // the setting that holds Base, for hints; "" = "location"
	TLS            *connection.TLSSettings
	ConnectTimeout time.Duration // of dialling, and again of the TLS handshake; 0 = none
	MaxIdle        int           // connections kept for each host; 0 = 16

	HeaderTimeout time.Duration // an answer begins so soon after the request was sent; 0 = none
	NoDataTimeout time.Duration // bodies, of requests and answers, stand still for so long at most; 0 = none
	HTTP2         bool          // over TLS, with pings that find dead connections. A host's own transport is used as it is
	Compress      bool          // ask for gzip, and undo it
}

// A connection of HTTP/2 on which nothing comes for pingAfter is asked whether it lives, and closed when it does not answer.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// A Client holds the connections to a server. It may be used by several goroutines.
type Client struct {
	opts  Options
	env   *connection.Env
	inner http.RoundTripper
	own   *http.Transport // nil: the host's
	skew  atomic.Pointer[time.Duration]
}

// New returns a Client. It does no I/O. If Env.HTTPClient has a transport that is used, a clone of it if TLS settings are to be
// put on top; a transport of another type than *http.Transport leaves them no place, which is an error.
func New(o Options, env *connection.Env) (*Client, error) {
	if o.Field == "" {
		o.Field = "location"
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = 16
	}
	c := &Client{opts: o, env: env}
	if env != nil && env.HTTPClient != nil && env.HTTPClient.Transport != nil {
		return c, c.adopt(env.HTTPClient.Transport)
	}
	var base *tls.Config
	dial := (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext
	if env != nil {
		base = env.TLS
		if env.Dial != nil {
			dial = limited(env.Dial, o.ConnectTimeout)
		}
	}
	conf, err := o.TLS.Client("", base) // the name is each request's own host
	if err != nil {
		return nil, err
	}
	c.own = &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    o.ConnectTimeout,
		MaxIdleConnsPerHost:    o.MaxIdle,
		IdleConnTimeout:        time.Minute,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
		Protocols:              new(http.Protocols),
	}
	c.own.Protocols.SetHTTP1(true)
	c.own.DisableCompression = !o.Compress // without it what is stored is what is read
	if o.HTTP2 {
		c.own.Protocols.SetHTTP2(true)
		c.own.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	}
	c.inner = c.own
	return c, nil
}

// adopt uses the transport of the host program.
func (c *Client) adopt(transport http.RoundTripper) error {
	c.inner = transport
	if zero(c.opts.TLS) {
		return nil
	}
	std, ok := transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("ca_pem, server_name, pin_sha256, accept_any_certificate, client_cert_pem and min_tls cannot be obeyed: Env.HTTPClient has a transport of its own (%T)", transport)
	}
	clone := std.Clone()
	conf, err := c.opts.TLS.Client("", clone.TLSClientConfig)
	if err != nil {
		return err
	}
	clone.TLSClientConfig = conf
	c.inner, c.own = clone, clone
	return nil
}

func zero(t *connection.TLSSettings) bool {
	return t == nil || t.CAPEM == "" && t.ServerName == "" && len(t.PinSHA256) == 0 && !t.AcceptAnyCertificate &&
		t.ClientCertPEM == "" && (t.MinTLS == "" || t.MinTLS == "1.2")
}

// limited gives dial a timeout.
func limited(dial connection.DialFunc, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if timeout <= 0 {
		return dial
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// HTTP returns a client with the transport that follows no redirect.
func (c *Client) HTTP() *http.Client {
	return &http.Client{
		Transport:     c.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Skew returns the server's clock minus ours, by the Date of the newest reply. It is precise to a second or two.
func (c *Client) Skew() (d time.Duration, known bool) {
	if p := c.skew.Load(); p != nil {
		return *p, true
	}
	return 0, false
}

// Close closes the idle connections of a transport that is not the host's.
func (c *Client) Close() error {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
	return nil
}
