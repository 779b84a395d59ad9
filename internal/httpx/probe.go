package httpx

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/netx"
	"github.com/mailconn/mailconn/internal/probe"
)

// Probe adds Test's steps connect and tls for the server, on a connection of their own, and resolve before them. detail
// is what the driver has to say of how it came to the server.
func (c *Client) Probe(ctx context.Context, p *probe.Probe, detail string) {
	base := c.opts.Base
	port := map[string]int{"http": 80}[base.Scheme]
	if port == 0 {
		port = 443
	}
	if n, err := strconv.Atoi(base.Port()); err == nil {
		port = n
	}
	settings := &connection.NetworkSettings{Server: base.Host, ConnectTimeout: connection.Duration(c.opts.ConnectTimeout)}
	if c.opts.TLS != nil {
		settings.TLSSettings = *c.opts.TLS
	}
	peer := &netx.Peer{
		Driver: c.opts.Driver, ID: c.opts.ID, Host: base.Hostname(), Port: port, Ports: "443 for https, 80 for http",
		Settings: settings, Env: c.env,
	}
	ctx, cancel := peer.WithConnectTimeout(ctx)
	defer cancel()
	var addrs []string
	p.Step("resolve", func() (string, string, error) {
		var err error
		addrs, err = peer.Addresses(ctx)
		return strings.TrimSpace(detail + "\n" + strings.Join(addrs, ", ")), "", c.ours(err)
	})
	var conn *netx.Conn
	p.Step("connect", func() (string, string, error) {
		var err error
		if conn, err = peer.Dial(ctx, addrs); err != nil {
			return "", "", c.ours(err)
		}
		return conn.RemoteAddr().String(), "", nil
	})
	if conn != nil {
		defer func() { _ = conn.Close() }() // nothing was sent that could be lost
	}
	if base.Scheme != "https" {
		host := net.ParseIP(base.Hostname())
		p.Step("tls", func() (string, string, error) {
			if host != nil && host.IsLoopback() || base.Hostname() == "localhost" {
				return "none: http on this machine", "", nil
			}
			return "none", fmt.Sprintf("%s: what is stored and read passes the network in the clear; write https:// if the server has it", c.opts.Field), nil
		})
		return
	}
	p.Step("tls", func() (string, string, error) {
		secured, err := conn.Handshake(ctx)
		if err != nil {
			return "", "", c.ours(err)
		}
		defer func() { _ = secured.Close() }()
		if !secured.Trusted {
			return secured.Describe(), "accept_any_certificate: anybody on the path can read and change everything; set pin_sha256 to " + netx.Pin(secured.State.PeerCertificates) + " instead", nil
		}
		return secured.Describe(), "", nil
	})
}

// ours words the hints of netx, which are for mail servers, for a server that is given by a URL.
func (c *Client) ours(err error) error {
	e, ok := err.(*connection.Error) //nolint:errorlint // netx wraps none of its own
	if !ok {
		return err
	}
	again := *e
	for _, field := range []string{"server and mode: ", "server: ", "mode: "} {
		if rest, ok := strings.CutPrefix(again.Hint, field); ok {
			again.Hint = c.opts.Field + ": " + rest
		}
	}
	again.Op = "test"
	return &again
}
