package ewshttp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"github.com/mailconn/mailconn/connection"
)

// do is Do, with http instead of https where mode tls-when-available permits it.
func (c *Client) do(ctx context.Context, r *Request) (*Response, error) {
	resp, err := c.doAt(ctx, r, r.URL)
	if err == nil || c.opts.Mode.Or() != connection.ModeTLSWhenAvailable || !c.isServer(r.URL) || r.URL.Scheme != "https" || !refused(err) {
		return resp, err
	}
	if port := r.URL.Port(); port != "" && port != "443" {
		return nil, err
	}
	u := *r.URL
	u.Scheme, u.Host = "http", strings.TrimSuffix(u.Host, ":443")
	return c.doAt(ctx, r, &u)
}

// refused reports whether nothing listens: not a firewall, and not a certificate that is not trusted.
func refused(err error) bool {
	if connection.KindOf(err) != connection.ErrNetwork {
		return false
	}
	var op *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &op) && op.Op == "dial" && strings.Contains(op.Error(), "refused") // Windows words it otherwise
}

// permitted refuses to send a credential in the clear.
func (x *exchange) permitted(sch scheme) error {
	if sch == schemeNone || x.url.Scheme == "https" || x.c.opts.AllowPlaintextAuth {
		return nil
	}
	return x.c.fail(connection.ErrTLS, x.endpoint, "mode: set it to tls; or, if nobody can listen on the way, set allow_plaintext_auth", "the connection has no TLS, and %s would show the credential", sch)
}

// warned remembers the servers that somebody was warned of.
type warned struct {
	mu    sync.Mutex
	hosts map[string]bool
}

// warn tells the host program, once for each server, that anybody on the path can read and change its mail.
func (c *Client) warn(ctx context.Context, r *Request, u *url.URL) {
	var why, hint string
	switch {
	case r.Anonymous:
		return
	case u.Scheme == "http":
		why, hint = "there is no TLS", "mode: set it to tls"
	case c.opts.TLS.AcceptAnyCertificate && len(c.opts.TLS.PinSHA256) == 0 && c.isServer(u):
		why, hint = "the server's certificate is not verified", "accept_any_certificate: set pin_sha256 or ca_pem instead"
	default:
		return
	}
	endpoint := endpointOf(u)
	c.warned.mu.Lock()
	told := c.warned.hosts[endpoint]
	if c.warned.hosts == nil {
		c.warned.hosts = make(map[string]bool)
	}
	c.warned.hosts[endpoint] = true
	c.warned.mu.Unlock()
	if told {
		return
	}
	c.env.Log().LogAttrs(ctx, slog.LevelWarn, "insecure connection", slog.String("endpoint", endpoint), slog.String("reason", why), slog.String("hint", hint))
	c.env.Emit(connection.Event{Kind: connection.EventInsecure, Connection: c.opts.ID, Detail: why})
}
