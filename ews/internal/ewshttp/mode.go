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

// insecure tells the host program, once for each server, that its mail passes the network in the clear.
func (c *Client) insecure(ctx context.Context, u *url.URL) {
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
	const why = "http: anybody on the path can read and change everything"
	c.env.Log().LogAttrs(ctx, slog.LevelWarn, "insecure connection", slog.String("endpoint", endpoint), slog.String("reason", why), slog.String("hint", "mode: set it to tls"))
	c.env.Emit(connection.Event{Kind: connection.EventInsecure, Connection: c.opts.ID, Detail: why})
}
