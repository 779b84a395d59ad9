package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Record holds what the requests made under a context met, for libraries that do not say it.
type Record struct {
	mu       sync.Mutex
	requests int
	status   int
	header   http.Header
	err      error
}

type recordKey struct{}

// WithRecord returns a context whose requests are recorded.
func WithRecord(ctx context.Context) (context.Context, *Record) {
	r := new(Record)
	return context.WithValue(ctx, recordKey{}, r), r
}

// Requests returns how many there were.
func (r *Record) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// Last returns the status and the header of the newest answer, or the error that came instead.
func (r *Record) Last() (status int, header http.Header, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, r.header, r.err
}

func (r *Record) note(resp *http.Response, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.status, r.header, r.err = 0, nil, err
	if resp != nil {
		r.status, r.header = resp.StatusCode, resp.Header
	}
}

// Transport returns the transport. An error of it is a *connection.Error: ErrTLS, or ErrNetwork and ErrTimeout for a
// request that has not been carried out, or ErrUncertain for one that was sent whole and has no answer, unless it was GET
// or HEAD. When the request's context is done the error is ctx.Err() itself, as some libraries compare it.
func (c *Client) Transport() http.RoundTripper { return transport{c} }

type transport struct{ c *Client }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var connected, wrote atomic.Bool
	w := t.c.watch(req)
	ctx := httptrace.WithClientTrace(w.ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { connected.Store(false) }, // perhaps another one, behind one that was lost
		GotConn:      func(httptrace.GotConnInfo) { connected.Store(true); w.connected() },
		WroteRequest: func(info httptrace.WroteRequestInfo) { wrote.Store(info.Err == nil) },
	})
	resp, err := t.c.inner.RoundTrip(w.request(ctx))
	switch stalled := w.stalled(); {
	case err == nil:
		t.c.clock(resp.Header)
		w.answer(resp)
	case req.Context().Err() != nil:
		err = req.Context().Err()
	case stalled != nil && wrote.Load() && changes(req):
		stalled.Kind = connection.ErrUncertain
		err = stalled
	case stalled != nil:
		err = stalled
	default:
		err = t.c.explain(req, err, connected.Load(), wrote.Load())
	}
	if err != nil {
		w.end()
	}
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		r.note(resp, err)
	}
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport below.
func (t transport) CloseIdleConnections() {
	if t.c.own != nil {
		t.c.own.CloseIdleConnections()
	}
}

func (c *Client) clock(h http.Header) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		d := time.Until(date)
		c.skew.Store(&d)
	}
}

// explain says what became of a request, and which setting is at fault. connected says that there was a connection, with
// TLS if there is to be any.
func (c *Client) explain(req *http.Request, err error, connected, wrote bool) error {
	e := &connection.Error{Driver: c.opts.Driver, Endpoint: req.URL.Host, Kind: connection.ErrNetwork, Err: err}
	if hint, ok := c.tlsHint(req, err, connected); ok {
		e.Kind, e.Hint = connection.ErrTLS, hint
		return e
	}
	var (
		own     *connection.Error
		op      *net.OpError
		network net.Error
		dns     *net.DNSError
	)
	switch {
	case errors.As(err, &own):
		return err // of Env.Dial, or of a body
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Hint = fmt.Sprintf("%s: check the spelling of %q; the name service knows no such host", c.opts.Field, req.URL.Hostname())
	case errors.As(err, &op) && op.Op == "dial":
		if op.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			e.Kind = connection.ErrTimeout
		}
		e.Hint = c.opts.Field + ": check host and port, and that this machine may reach them"
	case wrote && changes(req):
		e.Kind = connection.ErrUncertain
	case errors.As(err, &network) && network.Timeout():
		e.Kind = connection.ErrTimeout
	}
	return e
}

// changes reports whether a request may change something at the server.
func changes(req *http.Request) bool {
	return req.Method != http.MethodGet && req.Method != http.MethodHead
}

// refusesClient reports whether a server has refused the client's certificate, or the want of one. It says so when the
// client believes TLS to be up: in TLS 1.3 (RFC 8446, section 4.4.2.4), and by a second handshake in older versions.
func refusesClient(text string) bool {
	return strings.Contains(text, "remote error: tls: ") && (strings.Contains(text, "certificate") || strings.Contains(text, "access denied")) ||
		strings.Contains(text, "tls: no renegotiation")
}

// tlsHint reports whether err is for want of a trusted TLS connection. On one that was connected already a failure of TLS
// means damage on the way, as a reset does: octets that were changed, or cut.
func (c *Client) tlsHint(req *http.Request, err error, connected bool) (hint string, ok bool) {
	var (
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		alert    tls.AlertError
	)
	text := err.Error()
	pin := ""
	if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
		digest := connection.SPKI(verify.UnverifiedCertificates)
		pin = fmt.Sprintf(", or pin_sha256 to %x", digest)
	}
	switch {
	case errors.As(err, &hostname):
		return fmt.Sprintf("server_name: the certificate is not for %q; if that is the right server, set server_name to one of its names%s", req.URL.Hostname(), pin), true
	case errors.As(err, &unknown):
		return "ca_pem: the certificate's issuer is not trusted; if it is the right server, put its authority into ca_pem" + pin, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet (check this machine's clock); the server's administrator must renew it", true
	case verify != nil, strings.Contains(text, "pin_sha256:"):
		return "pin_sha256: the server's certificate is refused; check that it is the right server" + pin, true
	case connected && req.URL.Scheme == "https" && !refusesClient(text):
		return "", false
	case strings.Contains(text, "server gave HTTP response to HTTPS client"), errors.As(err, &record):
		return c.opts.Field + ": the server does not speak TLS on this port; write http:// if that is wanted, or give the TLS port", true
	case strings.Contains(text, "malformed HTTP response \"\\x15\\x03"):
		return c.opts.Field + ": the server speaks TLS on this port; write https://", true
	case strings.Contains(text, "protocol version"): // crypto/tls has no type for it
		return "min_tls: the server and these settings have no TLS version in common; an old server needs a lower min_tls", true
	case errors.As(err, &alert), strings.Contains(text, "tls: "):
		return c.opts.Field + ": the TLS handshake failed; check host and port, and client_cert_pem if the server wants a certificate", true
	}
	return "", false
}
