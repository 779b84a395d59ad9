package ewshttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An exchange is one Request on its way through authentication. It is used by one goroutine.
type exchange struct {
	c        *Client
	r        *Request
	url      *url.URL
	endpoint string
	header   http.Header
	limit    time.Duration
}

func (c *Client) doAt(ctx context.Context, r *Request, u *url.URL) (*Response, error) {
	x := &exchange{c: c, r: r, url: u, endpoint: endpointOf(u), limit: c.opts.NoDataTimeout}
	if r.NoData != 0 {
		x.limit = max(r.NoData, 0)
	}
	if err := x.prepare(); err != nil {
		return nil, err
	}
	c.warn(ctx, r, u)
	slot, err := c.limiter.acquire(ctx, r)
	if err != nil {
		return nil, err
	}
	t, s, err := x.run(ctx)
	if err != nil {
		slot.leave(false)
		return nil, err
	}
	return x.judge(t, s, slot)
}

// prepare checks the request and makes its header.
func (x *exchange) prepare() error {
	c, r, u := x.c, x.r, x.url
	if u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return c.fail(connection.ErrInvalid, x.endpoint, "", "no URL of a server: %q", u.Redacted())
	}
	if u.Scheme == "http" && !r.Anonymous && c.opts.Mode.Or() == connection.ModeTLS {
		return c.fail(connection.ErrTLS, x.endpoint, "mode: it is tls, and the URL is http; if nobody can listen on the way, set mode to insecure", "no request without TLS")
	}
	h := make(http.Header)
	for name, values := range r.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	set := func(name, value string) {
		if value != "" && h[name] == nil {
			h[name] = []string{value}
		}
	}
	if c.opts.UserAgent == "" {
		h["User-Agent"] = []string{""} // net/http has one of its own otherwise
	}
	set("User-Agent", c.opts.UserAgent)
	set("Accept", "text/xml")
	encoding := "identity"
	if r.Gzip {
		encoding = "gzip"
	}
	set("Accept-Encoding", encoding)
	if !r.Anonymous {
		anchor := r.Mailbox
		if person := c.name.Person(); anchor == "" && strings.Contains(person, "@") {
			anchor = person
		}
		set("X-Anchormailbox", anchor)
	}
	for name, values := range h {
		for _, value := range values {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return c.fail(connection.ErrInvalid, x.endpoint, "", "a control character in the header %s", name)
			}
		}
	}
	x.header = h
	return nil
}

// send makes one HTTP request with the exchange's header and cookies.
func (x *exchange) send(ctx context.Context, w *wire, l *leg) (*trip, error) {
	l.method, l.url, l.op, l.limit = x.r.Method, x.url, x.r.Op, x.limit
	if l.method == "" {
		l.method = http.MethodPost
	}
	l.safe = l.safe || x.r.Safe
	l.header = x.header.Clone()
	if (l.body != nil || l.method == http.MethodPost) && l.header["Content-Type"] == nil { // also of an empty POST: servers look
		content := x.r.ContentType
		if content == "" {
			content = "text/xml; charset=utf-8"
		}
		l.header["Content-Type"] = []string{content}
	}
	if !x.r.Anonymous {
		if cookies := x.c.jars.header(x.r.jar(), x.url); cookies != "" {
			l.header["Cookie"] = []string{cookies}
		}
	}
	t, err := x.c.send(ctx, w, l)
	if err == nil && !x.r.Anonymous {
		x.c.jars.keep(x.r.jar(), x.url, t.resp)
	}
	return t, err
}

// switchTo says that another scheme is to be used.
type switchTo struct{ scheme }

func (s switchTo) Error() string { return "the server wants " + s.String() }

// maxSwitches is how often the scheme may change within one request.
const maxSwitches = 3

// run sends the request, as whom it is to be sent, and returns the answer and the session that it came over, if any.
func (x *exchange) run(ctx context.Context) (*trip, *session, error) {
	c := x.c
	if x.r.Anonymous {
		t, err := x.send(ctx, c.wire(x.url, true), &leg{body: x.r.Body})
		return t, nil, err
	}
	if err := c.login.verdict(x.endpoint); err != nil {
		return nil, nil, err
	}
	sch, err := x.scheme(ctx)
	if err != nil {
		return nil, nil, err
	}
	for range maxSwitches {
		if err := x.permitted(sch); err != nil {
			return nil, nil, err
		}
		var (
			t *trip
			s *session
		)
		if sch.ntlm() {
			t, s, err = x.overSession(ctx, sch)
		} else {
			t, err = x.direct(ctx, sch)
		}
		var other switchTo
		if !errors.As(err, &other) {
			if err == nil {
				c.known.set(x.url, sch)
			}
			return t, s, err
		}
		sch = other.scheme
	}
	return nil, nil, c.fail(connection.ErrProtocol, x.endpoint, "auth: set it to the scheme that the server takes", "the server offers other schemes with each answer")
}

// scheme returns what to authenticate with. With auth auto a server that is not known yet is asked, without a body, by one request
// while the others wait.
func (x *exchange) scheme(ctx context.Context) (scheme, error) {
	c := x.c
	switch sch, known := c.known.get(x.url); {
	case known:
		return sch, nil
	case c.opts.Auth == AuthOAuth, c.opts.Auth == AuthAuto && c.opts.Tokens != nil:
		return schemeBearer, nil
	case c.opts.Auth != AuthAuto:
		return c.choose(nil, x.endpoint)
	}
	p := c.known.place(x.url)
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return schemeNone, c.ended(ctx, x.endpoint)
	case <-c.life.Done():
		return schemeNone, c.ended(ctx, x.endpoint)
	}
	defer func() { <-p.turn }()
	if sch, known := c.known.get(x.url); known {
		return sch, nil
	}
	t, err := x.send(ctx, c.wire(x.url, true), &leg{safe: true})
	if err != nil {
		return schemeNone, err
	}
	defer t.done()
	t.text()
	sch := schemeNone // an answer that is no 401: the request itself will show what it means
	if t.resp.StatusCode == http.StatusUnauthorized {
		if sch, err = c.choose(offers(t.resp.Header), x.endpoint); err != nil {
			return schemeNone, err
		}
	}
	if decided(t.resp.StatusCode) {
		c.known.set(x.url, sch)
	}
	return sch, nil
}

// direct sends the request with the credential in its header, or none.
func (x *exchange) direct(ctx context.Context, sch scheme) (*trip, error) {
	c := x.c
	if sch == schemeNone {
		t, err := x.send(ctx, c.wire(x.url, false), &leg{body: x.r.Body})
		if err != nil || t.resp.StatusCode != http.StatusUnauthorized {
			return t, err
		}
		list := offers(t.resp.Header)
		t.text()
		t.done()
		other, err := c.choose(list, x.endpoint)
		if err != nil {
			return nil, err
		}
		return nil, switchTo{other}
	}
	tick, err := c.login.enter(ctx, x.endpoint, sch)
	if err != nil {
		return nil, err
	}
	defer tick.leave()
	forms := c.forms(sch)
	var token connection.Secret
	if sch == schemeBearer {
		if token, err = c.tokens.get(ctx, x.endpoint, token); err != nil {
			return nil, err
		}
	}
	for {
		auth := "Bearer " + token.Reveal()
		if sch == schemeBasic {
			auth = forms[min(tick.form, len(forms)-1)].basic(c.opts.Password)
		}
		t, err := x.send(ctx, c.wire(x.url, false), &leg{body: x.r.Body, auth: auth, scheme: sch})
		if err != nil {
			return nil, err
		}
		if t.resp.StatusCode != http.StatusUnauthorized {
			if decided(t.resp.StatusCode) {
				tick.accepted(sch)
			}
			return t, nil
		}
		if other, ok := x.instead(t, sch); ok {
			return nil, switchTo{other}
		}
		refusal := x.refusal(t, sch)
		refusal.forms = len(forms)
		if sch == schemeBearer {
			next, err := c.tokens.get(ctx, x.endpoint, token)
			if err != nil {
				return nil, err
			}
			refusal.renewed = next.Reveal() != token.Reveal()
			refusal.hopeless = !refusal.renewed
			token = next
		}
		if err := x.again(ctx, tick, refusal); err != nil {
			return nil, err
		}
	}
}

// decided reports whether a status says that whoever answered knows us. Balancers and proxies answer with the others.
func decided(status int) bool {
	switch status {
	case http.StatusProxyAuthRequired, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return status < 300 || status >= 400
}
