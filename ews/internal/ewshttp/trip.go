package ewshttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// How much of an answer that nobody wants is read so that its connection can be used again, and for how long.
const (
	maxDrain  = 256 << 10
	drainTime = 250 * time.Millisecond
)

// A leg is what goes into one HTTP request.
type leg struct {
	method string
	url    *url.URL
	op     string
	header http.Header
	body   Body // nil = none
	auth   string
	scheme scheme        // of auth, for the trace
	pinned bool          // it may only go over the connection that the one before went over
	safe   bool          // it may be carried out twice
	once   bool          // it is not made again on another connection
	limit  time.Duration // the no-data timeout; 0 = none
}

// A trip is one HTTP request under way, and its answer. It is used by one goroutine.
type trip struct {
	c        *Client
	wire     *wire
	leg      *leg
	endpoint string
	parent   context.Context // the caller's; its end is to be told apart from that of ctx
	ctx      context.Context
	cancel   context.CancelCauseFunc
	release  func() bool // lets go of the Client's life
	clock    *clock

	connected atomic.Bool // there was a connection to send on
	reused    atomic.Bool // which had carried a request before
	answered  atomic.Bool // the first octet of an answer came
	whole     atomic.Bool // the request went out whole, as far as can be known

	resp *http.Response
	eof  bool
}

// send makes one HTTP request and returns with the header of its answer.
func (c *Client) send(ctx context.Context, w *wire, l *leg) (*trip, error) {
	t := &trip{c: c, wire: w, leg: l, endpoint: endpointOf(l.url), parent: ctx}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.release = context.AfterFunc(c.life, func() { t.cancel(context.Cause(c.life)) })
	t.clock = newClock(l.limit, func() {
		t.cancel(c.fail(connection.ErrTimeout, t.endpoint, "", "nothing moved for %s (no_data_timeout)", l.limit))
	})
	req, err := t.request()
	if err != nil {
		t.end()
		return nil, err
	}
	began := c.now()
	resp, err := w.RoundTrip(req) //nolint:bodyclose // done closes it
	t.clock.answer()
	if err == nil && t.ctx.Err() != nil { // a server may answer to the end of the connection
		_ = resp.Body.Close()
		err = t.ctx.Err()
	}
	if err != nil {
		err = t.explain(err)
		t.end()
		t.trace(began, 0, err)
		if !t.stale(err) {
			return nil, err
		}
		if l.pinned {
			return nil, errMoved
		}
		again := *l
		again.once = true
		return c.send(ctx, w, &again)
	}
	t.resp = resp
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		d := date.Sub(c.now())
		c.skew.Store(&d)
	}
	t.trace(began, resp.StatusCode, nil)
	return t, nil
}

// request builds the http.Request, which tells t how far it got.
func (t *trip) request() (*http.Request, error) {
	l := t.leg
	ctx := httptrace.WithClientTrace(t.ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: t.clock.touch,
		GotConn: func(info httptrace.GotConnInfo) {
			t.connected.Store(true)
			t.reused.Store(info.Reused)
			t.clock.touch()
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				t.whole.Store(true)
			}
			t.clock.touch()
		},
		GotFirstResponseByte: func() { t.answered.Store(true) },
	})
	if l.pinned {
		ctx = context.WithValue(ctx, pinned{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, l.method, l.url.String(), nil)
	if err != nil {
		return nil, t.c.fail(connection.ErrInvalid, t.endpoint, "", "%w", err)
	}
	for name, values := range l.header {
		req.Header[name] = values
	}
	if l.auth != "" {
		req.Header.Set("Authorization", l.auth)
	}
	if l.body != nil && l.body.Len() > 0 {
		req.ContentLength = l.body.Len()
		req.GetBody = func() (io.ReadCloser, error) { return &upload{t: t, r: l.body.Open(), left: l.body.Len()}, nil }
		req.Body, _ = req.GetBody()
	}
	return req, nil
}

// upload is a request's body on its way.
type upload struct {
	t    *trip
	r    io.Reader
	left int64
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.left -= int64(n)
	if u.left <= 0 {
		u.t.whole.Store(true) // what the transport holds may reach the server yet
	}
	if n > 0 {
		u.t.clock.touch()
	}
	return n, err
}

// Close implements io.Closer. What is below belongs to the request.
func (u *upload) Close() error { return nil }

// Read reads the answer's body. Its errors are explained; io.EOF stays io.EOF.
func (t *trip) Read(p []byte) (int, error) {
	if t.eof {
		return 0, io.EOF
	}
	t.clock.run()
	n, err := t.resp.Body.Read(p)
	t.clock.rest()
	if err == nil {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // only a bare io.EOF is the end
		if t.resp.ContentLength < 0 && t.ctx.Err() != nil { // a server that sees us leave may end what it has not said whole
			return n, t.explain(t.ctx.Err())
		}
		t.eof = true
		return n, io.EOF
	}
	return n, t.explain(err)
}

// text reads the answer's body to its end, if that is near, and returns its beginning.
func (t *trip) text() []byte {
	var b bytes.Buffer
	_, _ = io.Copy(&b, io.LimitReader(t, 64<<10)) // what came before it broke off is as good
	_, _ = io.Copy(io.Discard, io.LimitReader(t, maxDrain))
	return t.hide(b.Bytes())
}

// hide removes the request's own credential from a page that echoes it.
func (t *trip) hide(page []byte) []byte {
	if _, credential, ok := strings.Cut(t.leg.auth, " "); ok {
		return bytes.ReplaceAll(page, []byte(credential), []byte(connection.Redacted))
	}
	return page
}

// done ends the trip, and reports whether its connection can be used again: whether the answer was read to its end, which done
// does if only little is left.
func (t *trip) done() bool {
	if !t.eof {
		soon := time.AfterFunc(drainTime, func() { t.cancel(errLeft) })
		_, _ = io.Copy(io.Discard, io.LimitReader(t, maxDrain)) // eof tells
		soon.Stop()
	}
	_ = t.resp.Body.Close() // what was wanted of it was read
	t.end()
	return t.eof && !t.resp.Close
}

var errLeft = errors.New("the answer was left unread")

func (t *trip) end() {
	t.clock.stop()
	t.release()
	t.cancel(nil)
	if t.c.life.Err() != nil {
		t.wire.close() // its connection may have become idle since Close looked
	}
}

// explain says what became of the request.
func (t *trip) explain(err error) error {
	if errors.Is(err, errMoved) {
		return errMoved
	}
	e := &connection.Error{Driver: t.c.opts.Driver, Endpoint: t.endpoint, Kind: connection.KindOf(err), Err: err}
	var told *connection.Error
	if errors.As(err, &told) {
		e.Kind, e.Code, e.Hint, e.RetryAfter, e.Err = told.Kind, told.Code, told.Hint, told.RetryAfter, told.Err
	}
	cause := context.Cause(t.ctx)
	switch ended := t.c.ended(t.parent, t.endpoint); {
	case errors.As(ended, &told), errors.As(cause, &told):
		*e = *told
		e.Endpoint = t.endpoint
	case e.Kind == connection.ErrUncertain, e.Kind == connection.ErrUnknown:
		e.Kind = connection.ErrNetwork
	}
	if t.whole.Load() && !t.leg.safe && e.Kind != connection.ErrTLS {
		was := &connection.Error{Kind: e.Kind, Err: e.Err}
		e = &connection.Error{Driver: e.Driver, Endpoint: e.Endpoint, Kind: connection.ErrUncertain, Err: was}
	}
	return e
}

// stale reports whether the request failed since the server was about to close a connection that nobody used, and may be made
// once more.
func (t *trip) stale(err error) bool {
	return t.reused.Load() && !t.answered.Load() && t.leg.safe && !t.leg.once && connection.KindOf(err) == connection.ErrNetwork
}

// mediaType returns the type of an answer without what may stand behind it: servers echo.
func mediaType(h http.Header) string {
	text, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	text = strings.TrimSpace(text)
	if len(text) > 40 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "other"
	}
	return text
}

// trace logs the request and its answer, without credentials, cookies and bodies.
func (t *trip) trace(began time.Time, status int, err error) {
	log := t.c.env.Log()
	if !log.Enabled(t.ctx, connection.LevelTrace) {
		return
	}
	u := *t.leg.url
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	attrs := []slog.Attr{slog.String("method", t.leg.method), slog.String("url", u.String()), slog.String("operation", t.leg.op)}
	if t.leg.body != nil {
		attrs = append(attrs, slog.Int64("request_octets", t.leg.body.Len()))
	}
	if t.leg.auth != "" {
		attrs = append(attrs, slog.String("auth", t.leg.scheme.String()))
	}
	attrs = append(attrs, slog.Bool("connection_reused", t.reused.Load()), slog.Duration("elapsed", t.c.now().Sub(began)))
	if err != nil {
		attrs = append(attrs, slog.String("error", t.c.clean(err.Error())))
	} else {
		attrs = append(attrs, slog.Int("status", status), slog.String("content_type", mediaType(t.resp.Header)), slog.Int64("response_octets", t.resp.ContentLength))
	}
	log.LogAttrs(t.ctx, connection.LevelTrace, "http", attrs...)
}
