package ews

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

// discovers reports whether autodiscover is used at all. All that it finds is https.
func (c *Config) discovers() bool {
	return !c.DisableAutodiscover && c.Mode != connection.ModeInsecure
}

// discovered reports whether autodiscover says where a mailbox lies.
func (c *Conn) discovered(t target) bool {
	return c.finder != nil && strings.Contains(t.address, "@")
}

// endpointOf returns the EWS URL of a mailbox: what autodiscover says, or the server of the settings.
func (c *Conn) endpointOf(ctx context.Context, t target) (*url.URL, error) {
	if !c.discovered(t) {
		if c.server != nil {
			return c.server, nil
		}
		return nil, &connection.Error{
			Driver: DriverName, Kind: connection.ErrConfig, Err: errors.New("nothing says on which server this mailbox lies"),
			Hint: "server: missing; autodiscover needs the mailbox's address",
		}
	}
	found, err := c.finder.Find(ctx, t.address)
	switch {
	case err == nil:
		return found.URL, nil
	case ctx.Err() != nil:
		return nil, c.ended(ctx, "", connection.Ref{})
	case c.cfg.FallbackToServer && c.server != nil:
		return c.server, nil
	}
	return nil, err
}

// newFinder returns the Finder that the settings describe.
func (c *Conn) newFinder() *autodiscover.Finder {
	o := autodiscover.Options{
		Do:             c.discover,
		Reachable:      c.reachable,
		LookupSRV:      c.cfg.LookupSRV,
		RedirectAllow:  c.cfg.RedirectAllow,
		RedirectPolicy: c.cfg.RedirectPolicy,
		Cache:          c.cfg.Cache,
		CacheID:        c.cfg.ID,
		Hide:           c.http.Hide,
		Driver:         DriverName,
	}
	if c.server != nil {
		o.Server = c.server.Hostname()
	}
	for _, text := range c.cfg.AutodiscoverURLs {
		if u, err := url.Parse(text); err == nil { // Validate has refused others
			o.URLs = append(o.URLs, u)
		}
	}
	return autodiscover.New(o)
}

// discover makes a request of autodiscover.
func (c *Conn) discover(ctx context.Context, r *autodiscover.Request) (*autodiscover.Reply, error) {
	req := &ewshttp.Request{
		Method: r.Method, URL: r.URL, Op: "Autodiscover", ContentType: r.ContentType, Mailbox: r.Address,
		Safe: true, Write: true, AnyStatus: true, Tentative: true, Anonymous: r.Anonymous,
	}
	if r.Body != nil {
		req.Body = octets(r.Body)
	}
	resp, err := c.http.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	return &autodiscover.Reply{Status: resp.Status, Header: resp.Header, Body: resp.Body}, nil
}

func (c *Conn) reachable(ctx context.Context, u *url.URL) error {
	alive, err := c.http.Probe(ctx, u)
	if err == nil && !alive.Alive {
		err = &connection.Error{Driver: DriverName, Endpoint: endpoint(u), Kind: connection.ErrProtocol, Err: errors.New("no EWS answers there")}
	}
	return err
}

// octets is a request body in memory.
type octets string

// Len implements ewshttp.Body.
func (o octets) Len() int64 { return int64(len(o)) }

// Open implements ewshttp.Body.
func (o octets) Open() io.Reader { return strings.NewReader(string(o)) }
