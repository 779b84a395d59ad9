package ewshttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
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

func (c *Client) doAt(ctx context.Context, r *Request, u *url.URL) (*Response, error) {
	x := &exchange{c: c, r: r, url: u, endpoint: endpointOf(u), limit: c.opts.NoDataTimeout}
	if r.NoData != 0 {
		x.limit = max(r.NoData, 0)
	}
	if err := x.prepare(); err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !r.Anonymous {
		c.insecure(ctx, u)
	}
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
	if l.body != nil && l.header["Content-Type"] == nil {
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

// scheme returns what to authenticate with. With auth auto a server that is not known yet is asked, without a body.
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
	t, err := x.send(ctx, c.wire(x.url, true), &leg{safe: true})
	if err != nil {
		return schemeNone, err
	}
	defer t.done()
	t.text()
	if t.resp.StatusCode != http.StatusUnauthorized {
		return schemeNone, nil // the request itself will show what that means
	}
	return c.choose(offers(t.resp.Header), x.endpoint)
}

// permitted refuses to send a credential in the clear.
func (x *exchange) permitted(sch scheme) error {
	if sch == schemeNone || x.url.Scheme == "https" || x.c.opts.AllowPlaintextAuth {
		return nil
	}
	return x.c.fail(connection.ErrTLS, x.endpoint, "mode: set it to tls; or, if nobody can listen on the way, set allow_plaintext_auth", "the connection has no TLS, and %s would show the credential", sch)
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

// again returns nil when the credential may be sent once more.
func (x *exchange) again(ctx context.Context, tick *ticket, r refusal) error {
	delayed, err := tick.refused(ctx, r)
	if err != nil || !delayed {
		return err
	}
	d := max(backoff.Policy{Min: 2 * time.Second}.Delay(0, 0), minPause)
	x.c.env.Emit(connection.Event{Kind: connection.EventRetry, Connection: x.c.opts.ID, Mailbox: x.r.Mailbox, Detail: "login refused", Until: x.c.now().Add(d), Err: r.why})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.c.life, cancel)()
	if backoff.Wait(ctx, d) != nil {
		return x.c.ended(ctx, x.endpoint)
	}
	return nil
}

// refusal reads a 401 and says what it may mean.
func (x *exchange) refusal(t *trip, sch scheme) refusal {
	list, diagnosis := offers(t.resp.Header), t.resp.Header.Get("X-Ms-Diagnostics")
	text := x.c.pageText(t.text())
	t.done()
	x.c.jars.drop(x.r.jar())
	if diagnosis != "" {
		text = x.c.clean(diagnosis)
	}
	if text == "" {
		text = "the server refuses the login"
	}
	locked := strings.Contains(strings.ToLower(text), "locked out")
	e := x.c.fail(connection.ErrAuth, x.endpoint, x.authHint(sch, list, text, locked), "%s: %s", sch, text)
	e.Code = strconv.Itoa(http.StatusUnauthorized)
	if online(x.url) {
		e = x.retired(text)
	}
	return refusal{why: e, hopeless: locked, tentative: x.r.Tentative}
}

// maxSkew is the difference of clocks from which on Kerberos, NTLM and tokens are refused.
const maxSkew = 5 * time.Minute

func (x *exchange) authHint(sch scheme, list []offer, text string, locked bool) string {
	hint := "username, password: wrong, expired, or to be changed at the next logon, or the account is locked or may not use EWS; as username the server may want user@domain, domain\\user or the bare name"
	switch {
	case locked:
		return "username: the account is locked out; have it unlocked before anything tries it again"
	case sch == schemeNone:
		hint = "auth: the server takes requests without a login only if they are empty; set auth to the scheme that it wants"
	case sch == schemeBearer:
		hint = "oauth2: the server refuses the token; check tenant, client_id, the application's role (full_access_as_app) or the person's consent (EWS.AccessAsUser.All)"
	case len(list) == 0:
		hint = "auth: the server does not say which scheme it wants; set auth to basic or ntlm. " + hint
	case !offered(list, sch):
		hint = fmt.Sprintf("auth: the server offers %s. ", x.c.clean(names(list))) + hint
	case sch.ntlm() && !x.c.opts.ChannelBinding:
		hint += "; a server that demands Extended Protection wants channel_binding"
	case sch.ntlm():
		hint += "; channel_binding does not fit a server whose TLS ends at a balancer"
	}
	if d, known := x.c.Skew(); known && d.Abs() > maxSkew {
		hint = fmt.Sprintf("the clocks of this machine and of the server differ by %s: set them right. ", d.Abs().Round(time.Second)) + hint
	} else if sch == schemeBearer && (strings.Contains(text, "nbf") || strings.Contains(text, "not yet valid") || strings.Contains(text, "lifetime")) {
		hint = "check the clock of this machine. " + hint
	}
	return hint
}

// unchallenged is the outcome of an NTLM login to a server that gives no challenge.
func (x *exchange) unchallenged(sch scheme, list []offer) error {
	c := x.c
	switch {
	case sch == schemeNTLM && offered(list, schemeNegotiate) && !offered(list, schemeNTLM):
		return switchTo{schemeNegotiate}
	case sch == schemeNegotiate && offered(list, schemeNTLM):
		return switchTo{schemeNTLM}
	case c.opts.Auth == AuthAuto && offered(list, schemeBasic):
		return switchTo{schemeBasic}
	}
	e := c.fail(connection.ErrAuth, x.endpoint, "auth: the server does not offer NTLM; set auth to basic or oauth, whichever it takes", "the server gives no NTLM challenge; it offers %s", c.clean(names(list)))
	e.Code = strconv.Itoa(http.StatusUnauthorized)
	if !x.r.Tentative {
		c.login.impossible(x.endpoint, e)
	}
	return e
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
