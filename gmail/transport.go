package gmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"

	directory "google.golang.org/api/admin/directory/v1"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
	"github.com/mailconn/mailconn/internal/httpx"
)

// What is read of an answer at most: an error, a page of a list or of a history.
const (
	maxErrorBody = 64 << 10
	maxPage      = 32 << 20
	maxShown     = 256
)

// The hosts of Google.
const (
	gmailURL     = "https://gmail.googleapis.com"
	directoryURL = "https://admin.googleapis.com"
	auditURL     = "https://apps-apis.google.com"
)

// sites are the base URLs of the three services, without a path.
type sites struct{ gmail, directory, audit *url.URL }

// transport makes what speaks HTTP.
func (c *Conn) transport() error {
	var err error
	c.inner, err = httpx.New(httpx.Options{
		Driver: DriverName, ID: c.cfg.ID, Base: c.sites.gmail, Field: "endpoint", TLS: &c.cfg.TLSSettings,
		ConnectTimeout: c.cfg.ConnectTimeout.D(), HeaderTimeout: c.cfg.ResponseTimeout.D(), NoDataTimeout: c.cfg.NoDataTimeout.D(),
		HTTP2: true, Compress: true,
	}, c.env)
	if err != nil {
		return err
	}
	if err := c.credentials(); err != nil {
		return err
	}
	c.client = c.inner.HTTP()
	c.client.Transport = bearer{c, c.client.Transport}
	// What the library would log is whole answers, and so messages.
	quiet := option.WithLogger(slog.New(slog.DiscardHandler))
	ctx := context.Background() // not used, as the client is given
	if c.gmail, err = gapi.NewService(ctx, option.WithHTTPClient(c.client), option.WithEndpoint(c.sites.gmail.String()+"/"), quiet); err != nil {
		return err
	}
	c.directory, err = directory.NewService(ctx, option.WithHTTPClient(c.client), option.WithEndpoint(c.sites.directory.String()+"/"), quiet)
	return err
}

// credentials makes the source of tokens.
func (c *Conn) credentials() error {
	client := c.inner.HTTP()
	client.Transport = agent{c.cfg.userAgent(), client.Transport}
	o := token.Options{Client: client, CustomHosts: c.cfg.CustomEndpoints, Now: c.opts.Now, Admin: c.cfg.Admin, Common: c.common}
	switch {
	case !c.cfg.Credentials.IsZero():
		o.ServiceAccount = []byte(c.cfg.Credentials.Reveal())
	case c.cfg.Keyless != nil:
		o.Keyless = c.cfg.Keyless
	case c.cfg.OAuth2 != nil:
		o.Refresh = c.cfg.OAuth2
	default:
		o.Hook = c.env.Token
	}
	var err error
	c.tokens, err = token.New(o)
	return err
}

// common tells once of a failure that concerns all mailboxes.
func (c *Conn) common(err error) {
	c.env.Log().Error("no mailbox can be opened", "error", err)
	c.emit(connection.Event{Kind: connection.EventNotice, Detail: "no mailbox can be opened: " + err.Error(), Err: err})
}

// agent says who asks.
type agent struct {
	name string
	next http.RoundTripper
}

func (a agent) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", a.name)
	return a.next.RoundTrip(req)
}

// bearer makes the requests of calls: see [Conn.do].
type bearer struct {
	conn *Conn
	next http.RoundTripper
}

// RoundTrip puts the token of the call under way and the user who is charged on the request. An answer is bounded, and an
// error is kept for do, whatever the library makes of it.
func (t bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.send(req)
	if err != nil && req.Body != nil {
		_ = req.Body.Close() // a RoundTripper closes the body in any case; what came of it is err
	}
	return resp, err
}

func (t bearer) send(req *http.Request) (*http.Response, error) {
	c := t.conn
	x := exchangeOf(req.Context())
	if x == nil {
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrUnknown, Err: errors.New("a request outside of a call")}
	}
	if !c.sites.holds(req.URL) {
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: fmt.Errorf("the server names %s, where no token may be sent", req.URL.Host)}
	}
	secret, err := c.tokens.Token(req.Context(), x.key)
	if err != nil {
		x.tokenless = true
		return nil, err
	}
	x.token = secret
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("User-Agent", c.cfg.userAgent())
	if x.user != "" { // a mailbox of a domain; calls in the administrator's name have none
		// Without it Google may charge the service account for everybody's calls.
		q := req.URL.Query()
		q.Set("quotaUser", x.user)
		req.URL.RawQuery = q.Encode()
	}
	x.sent = true
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return x.answer(resp)
}

// holds reports whether u is at one of the services.
func (s sites) holds(u *url.URL) bool {
	return sameHost(u, s.gmail) || sameHost(u, s.directory) || sameHost(u, s.audit)
}

func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(authority(a), authority(b))
}

// answer looks at the head of an answer and bounds its body.
func (x *exchange) answer(resp *http.Response) (*http.Response, error) {
	x.answered, x.refused = true, false
	switch {
	case resp.StatusCode/100 != 2:
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		_ = resp.Body.Close() // the status is the news
		if err != nil && len(body) == 0 && x.ctx.Err() != nil {
			return nil, x.ctx.Err()
		}
		x.refused, x.status = true, resp.StatusCode
		x.verdict = x.conn.read(resp.StatusCode, resp.Header, body).Hide(x.token)
		resp.Body = io.NopCloser(bytes.NewReader(body))
	case isPage(resp.Header) && !x.pages:
		head, _ := io.ReadAll(io.LimitReader(resp.Body, maxShown)) // the type is the news, not the text
		_ = resp.Body.Close()
		return nil, &connection.Error{
			Driver: DriverName, Endpoint: resp.Request.URL.Host, Kind: connection.ErrProtocol, Code: fmt.Sprint(resp.StatusCode),
			Err:  fmt.Errorf("a web page answers, with http status %d: %s", resp.StatusCode, x.clean(string(head))),
			Hint: "endpoint: a proxy or a captive portal is in the way; check what this machine's requests pass through",
		}
	case !x.streams:
		resp.Body = &bounded{body: resp.Body, left: maxPage, method: x.call.method}
	}
	return resp, nil
}

// clean makes a server's text fit for an error: short, and without the token, which servers echo.
func (x *exchange) clean(text string) string {
	if x.token != "" {
		text = strings.ReplaceAll(text, x.token, connection.Redacted)
	}
	return httpx.Clean(text)
}

// isPage reports whether an answer is HTML, which no call of this driver gives.
func isPage(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "text/html" || kind == "application/xhtml+xml")
}

// A bounded body is one that the library reads whole.
type bounded struct {
	body   io.ReadCloser
	left   int64
	method string
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &connection.Error{Driver: DriverName, Kind: connection.ErrTooLarge, Err: fmt.Errorf("the answer to %s is longer than %d octets", b.method, maxPage)}
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *bounded) Close() error { return b.body.Close() }

// get makes a GET request to the Gmail endpoint, within do. Any other status than 2xx is an error. The body is not bounded,
// and gives up when nothing moves for no_data_timeout; the caller closes it, before fn returns.
func (c *Conn) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	return c.send(ctx, http.MethodGet, path, query, "", nil)
}

// send is get with another method and a body.
func (c *Conn) send(ctx context.Context, method, path string, query url.Values, contentType string, body []byte) (*http.Response, error) {
	u := c.sites.gmail.String() + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, r)
	if err != nil {
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrInvalid, Err: errors.New("an id that no URL can hold")}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if x := exchangeOf(ctx); x != nil {
		x.streams = true
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	_ = resp.Body.Close() // it was read
	return nil, &statusError{resp.StatusCode, exchangeOf(ctx).verdict.Text}
}
