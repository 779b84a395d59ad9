package ewshttp

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

const (
	peeked      = 512      // octets that tell XML from a web page
	maxInflated = 64 << 20 // octets of a compressed reply; mail is not asked for compressed
)

// CodeRetired is the Code of ErrUnsupported where Exchange Online refuses EWS.
const CodeRetired = "EWSRetired"

// judge makes a Response of an answer, or the error that it means.
func (x *exchange) judge(t *trip, s *session, slot *slot) (*Response, error) {
	b := &body{x: x, t: t, s: s, slot: slot}
	if err := b.decode(t.resp.Header.Get("Content-Encoding")); err != nil {
		b.finish(false)
		return nil, err
	}
	status := t.resp.StatusCode
	if !x.r.AnyStatus {
		if err := x.refuses(b, status); err != nil {
			b.finish(false)
			return nil, err
		}
	}
	slot.resting()
	return &Response{Status: status, Header: t.resp.Header, URL: x.url, Body: b}, nil
}

// refuses returns the error that an answer means, nil if its content decides.
func (x *exchange) refuses(b *body, status int) error {
	if status != http.StatusOK && status != http.StatusInternalServerError {
		return x.statusError(b, status)
	}
	if x.r.Stream && status == http.StatusOK {
		return nil
	}
	start, err := b.peek()
	if err != nil && len(start) == 0 && err != io.EOF { //nolint:errorlint // only a bare io.EOF is the end
		return err
	}
	if isXML(start) {
		return nil
	}
	if status == http.StatusOK {
		if !isHTML(start) {
			return nil // whoever reads it will say what is wrong
		}
		return x.webPage(b, "")
	}
	return x.serverError(b)
}

// serverError is what a status 500 without XML means.
func (x *exchange) serverError(b *body) error {
	page := x.c.page(b.text())
	text := page.shown
	x.c.jars.drop(x.r.jar())
	if page.says("maximum request length exceeded") {
		return x.status(connection.ErrTooLarge, http.StatusInternalServerError, "the server's maxRequestLength is smaller than the message", text)
	}
	if !x.r.Safe {
		return x.status(connection.ErrUncertain, http.StatusInternalServerError, "", text)
	}
	if page.says("Server Error in '/EWS' Application") {
		return x.wait(connection.ErrThrottled, http.StatusInternalServerError, nil, text)
	}
	return x.status(connection.ErrUnavailable, http.StatusInternalServerError, "", text)
}

// statusError is what a status other than 200 and 500 means.
func (x *exchange) statusError(b *body, status int) error {
	h := b.t.resp.Header
	if location := h.Get("Location"); status >= 300 && status < 400 {
		if strings.Contains(strings.ToLower(location), "/genericerrorpage.htm") {
			return x.wait(connection.ErrThrottled, status, nil, "redirected to the page of general errors")
		}
		return x.webPage(b, location)
	}
	page := x.c.page(b.text())
	text := page.shown
	switch {
	case status == http.StatusUnauthorized: // to somebody who sent no credential
		return x.status(connection.ErrAuth, status, "", text)
	case status == http.StatusForbidden && online(x.url):
		return x.retired(text)
	case status == http.StatusForbidden:
		hint := "username: the server knows the account, and it may not use EWS (EwsEnabled, EwsApplicationAccessPolicy)"
		if x.url.Scheme == "http" {
			hint = "mode: the server may want https; set mode to tls"
		}
		return x.status(connection.ErrPermission, status, hint, text)
	case status == http.StatusRequestEntityTooLarge, status == http.StatusNotFound && page.says("404.13"):
		return x.status(connection.ErrTooLarge, status, "the server's limits (uploadReadAheadSize, maxAllowedContentLength) are smaller than the message", text)
	case status == http.StatusNotFound, status == http.StatusGone, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return x.status(connection.ErrProtocol, status, "server: there is no EWS at "+x.url.Redacted()+"; the URL usually ends with /EWS/Exchange.asmx", text)
	case status == http.StatusProxyAuthRequired:
		return x.status(connection.ErrProtocol, status, "a proxy on the way wants a login of its own; only a program's own HTTP client can give it one", text)
	case status == http.StatusTooManyRequests:
		return x.wait(connection.ErrThrottled, status, h, text)
	case status == http.StatusServiceUnavailable:
		kind := connection.ErrUnavailable
		if h.Get("Retry-After") != "" {
			kind = connection.ErrThrottled
		}
		x.c.jars.drop(x.r.jar())
		return x.wait(kind, status, h, text)
	case status >= 500 && !x.r.Safe: // of a gateway, most of them: the server behind it may be at it
		return x.status(connection.ErrUncertain, status, "", text)
	case status >= 500, status == http.StatusRequestTimeout:
		return x.status(connection.ErrUnavailable, status, "", text)
	}
	return x.status(connection.ErrProtocol, status, "", text)
}

// status is an error for a status.
func (x *exchange) status(kind connection.Kind, status int, hint, text string) *connection.Error {
	e := httpx.StatusError(status, nil, "", text)
	e.Driver, e.Endpoint, e.Kind, e.Hint = x.c.opts.Driver, x.endpoint, kind, hint
	return e
}

// wait makes everybody of the owner wait, as long as the header says if it says so.
func (x *exchange) wait(kind connection.Kind, status int, h http.Header, text string) error {
	e := x.status(kind, status, "", text)
	e.RetryAfter = x.c.limiter.busy(x.c.key(x.r), httpx.RetryAfter(h, x.c.now()), false)
	return e
}

// webPage is the error for a web page where EWS should answer, or for the way to one.
func (x *exchange) webPage(b *body, location string) error {
	text := "redirected to a web page"
	if location == "" {
		text = x.c.page(b.text()).shown
		if text == "" {
			text = "a web page without text"
		}
	} else if to, err := x.url.Parse(location); err == nil {
		to.RawQuery, to.Fragment, to.User = "", "", nil
		text = "redirected to " + x.c.clean(to.String())
	}
	return x.c.fail(connection.ErrProtocol, x.endpoint, "server: the URL answers with a web page, not with EWS: a login form, a proxy, or another site; check server and disable_autodiscover", "%s", text)
}

// online reports whether u is Exchange Online's.
func online(u *url.URL) bool {
	host := "." + strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return strings.HasSuffix(host, ".office365.com") || strings.HasSuffix(host, ".outlook.com")
}

// retired is the error for Exchange Online, which ends EWS.
func (x *exchange) retired(text string) *connection.Error {
	e := x.c.fail(connection.ErrUnsupported, x.endpoint, "Exchange Online switches EWS off: from October 2026 only applications in the tenant's EWSAllowedAppIDs may use it, from April 2027 none; use the driver msgraph", "%s", text)
	e.Code = CodeRetired
	return e
}

// isXML reports whether an answer that begins so may be XML, and isHTML whether it is a web page: its first element decides.
func isXML(start []byte) bool {
	name, markup := firstElement(start)
	return markup && !isPage(name)
}

func isHTML(start []byte) bool {
	name, markup := firstElement(start)
	return markup && isPage(name)
}

// isPage reports whether an element is one that web pages begin with.
func isPage(name string) bool {
	switch name {
	case "html", "!doctype html", "head", "title", "body", "h1", "h2", "p", "div", "form", "script", "center", "pre":
		return true
	}
	return false
}

// firstElement returns the name of a document's first element in lower case and without its prefix, "!doctype html" for the
// declaration of that, or "" if start ends before it. markup says whether it is a document at all.
func firstElement(start []byte) (name string, markup bool) {
	text := strings.ToLower(string(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))))
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if !strings.HasPrefix(text, "<") {
			return "", markup
		}
		markup = true
		end := ""
		switch {
		case strings.HasPrefix(text, "<?"):
			end = "?>"
		case strings.HasPrefix(text, "<!--"):
			end = "-->"
		case strings.HasPrefix(text, "<!doctype html"):
			return "!doctype html", true
		default:
			name, _, _ = strings.Cut(text[1:]+" ", " ")
			if i := strings.IndexAny(name, "\t\r\n/>"); i >= 0 {
				name = name[:i]
			}
			return name[strings.IndexByte(name, ':')+1:], true
		}
		_, rest, found := strings.Cut(text, end)
		if !found {
			return "", true
		}
		text = rest
	}
}

// A body is an answer that is being read. It is used by one goroutine.
type body struct {
	x    *exchange
	t    *trip
	s    *session // nil without one
	slot *slot

	zipped *gzip.Reader
	raw    *bufio.Reader // what zipped reads
	in     io.Reader     // decoded
	start  *bufio.Reader // over in, once somebody has looked at its beginning
	octets int64
	err    error // what ended the reading
	once   sync.Once
}

// decode sets the reader of what the answer says.
func (b *body) decode(encoding string) error {
	b.in = b.t
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
	case "gzip", "x-gzip":
		b.raw = bufio.NewReader(b.t)
		b.in = inflate{b}
	default:
		return b.x.c.fail(connection.ErrProtocol, b.x.endpoint, "", "the answer is encoded in a way that was not asked for: %s", b.x.c.clean(encoding))
	}
	return nil
}

// inflate reads a compressed answer.
type inflate struct{ b *body }

func (f inflate) Read(p []byte) (int, error) {
	b := f.b
	if b.zipped == nil {
		if _, err := b.raw.Peek(1); err != nil {
			return 0, err // an answer without a body
		}
		z, err := gzip.NewReader(b.raw)
		if err != nil {
			return 0, b.spoilt(err)
		}
		b.zipped = z
	}
	n, err := b.zipped.Read(p)
	b.octets += int64(n)
	if b.octets > maxInflated {
		return 0, b.x.c.fail(connection.ErrProtocol, b.x.endpoint, "", "the compressed answer holds more than %d MiB", maxInflated>>20)
	}
	if err == nil || err == io.EOF { //nolint:errorlint // only a bare io.EOF is the end
		return n, err
	}
	return n, b.spoilt(err)
}

// spoilt is an error of the compression, unless the connection is at fault.
func (b *body) spoilt(err error) error {
	var told *connection.Error
	switch {
	case errors.As(err, &told):
		return told
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return b.t.explain(io.ErrUnexpectedEOF)
	}
	return b.x.c.fail(connection.ErrProtocol, b.x.endpoint, "", "the compressed answer is damaged: %w", err)
}

// peek returns the answer's beginning, and leaves it to be read.
func (b *body) peek() ([]byte, error) {
	b.start = bufio.NewReaderSize(b.in, peeked)
	b.in = b.start
	return b.start.Peek(peeked)
}

// text returns the beginning of an answer that is an error.
func (b *body) text() []byte {
	page, _ := io.ReadAll(io.LimitReader(b.in, 64<<10)) // what came before it broke off is as good
	return b.t.hide(page)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.slot.reading()
	n, err := b.in.Read(p)
	b.slot.resting()
	if err != nil {
		b.err = err
		b.finish(err == io.EOF) //nolint:errorlint // only a bare io.EOF is the end
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.finish(b.err == nil)
	if b.err == nil {
		b.err = errLeft // never io.EOF: not all was read
	}
	return nil
}

// finish gives back the slot and the session.
func (b *body) finish(well bool) {
	b.once.Do(func() {
		if b.x.r.Stream {
			b.t.cancel(errLeft) // what may come yet is not waited for
		}
		reusable := b.t.done()
		if b.s != nil {
			b.x.c.put(b.s, reusable)
		}
		b.slot.leave(well)
	})
}
