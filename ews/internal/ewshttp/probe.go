package ewshttp

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Probe asks u with GET, as nobody. An error is one of the connection; any answer is a Liveness. It takes no slot, and a refused
// login does not matter to it.
func (c *Client) Probe(ctx context.Context, u *url.URL) (Liveness, error) {
	r := &Request{Method: http.MethodGet, URL: u, Op: "probe", Safe: true, Anonymous: true, AnyStatus: true, Stream: true, Patient: true}
	x := &exchange{c: c, r: r, url: u, endpoint: endpointOf(u), limit: c.opts.NoDataTimeout}
	if err := x.prepare(); err != nil {
		return Liveness{}, err
	}
	t, _, err := x.run(ctx)
	if err != nil {
		return Liveness{}, err
	}
	defer t.done()
	h := t.resp.Header
	l := Liveness{Status: t.resp.StatusCode, Server: c.clean(h.Get("Server"))}
	if state := t.resp.TLS; state != nil {
		l.TLS = tls.VersionName(state.Version)
	}
	for _, o := range offers(h) {
		if name := c.clean(o.name); !slices.Contains(l.Schemes, name) {
			l.Schemes = append(l.Schemes, name)
		}
	}
	page := t.text()
	switch l.Status {
	case http.StatusUnauthorized, http.StatusMethodNotAllowed, http.StatusInternalServerError:
		l.Alive = true
	case http.StatusOK:
		l.HTML = isHTML(page)
		l.Alive = !l.HTML || service(page)
	default:
		l.HTML = isHTML(page) || l.Status >= 300 && l.Status < 400
	}
	if err := c.ended(ctx, x.endpoint); err != nil {
		return Liveness{}, err
	}
	return l, nil
}

// service reports whether a page is the one that a web service of ASP.NET shows to browsers.
func service(page []byte) bool {
	text := strings.ToLower(string(page))
	return strings.Contains(text, "?wsdl") || strings.Contains(text, "svcutil")
}
