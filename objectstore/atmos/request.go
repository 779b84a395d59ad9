package atmos

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// A backend does one attempt of each verb; see objectstore.Backend.
type backend struct {
	web    *httpx.Client
	signer signer
	base   *url.URL
	bucket string
	seen   atomic.Bool // the bucket was there once
}

// A request is one to be signed and sent.
type request struct {
	method string
	path   string // "/rest/…", of unreserved characters and slashes
	query  string
	header http.Header
	body   io.Reader
	size   int64
}

// namespace returns the path of a file below the bucket, of the bucket itself if rel is "". Directories end in a slash.
func (b *backend) namespace(rel string) string { return "/rest/namespace/" + b.bucket + "/" + rel }

// do sends q and returns the answer, whose Body the caller closes. A refusal is an error.
func (b *backend) do(ctx context.Context, q request) (*http.Response, error) {
	u := url.URL{Scheme: b.base.Scheme, Host: b.base.Host, Path: q.path, RawQuery: q.query}
	body := &loan{r: q.body}
	defer body.end()
	r, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: err}
	}
	if q.size > 0 {
		r.Body, r.ContentLength = body, q.size
	}
	if q.header != nil {
		r.Header = q.header
	}
	r.Header.Set("Accept-Encoding", "identity") // else a transport of the host may ask for gzip, and unpack it
	b.signer.sign(r, time.Now())
	resp, err := b.web.Transport().RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer func() { _ = resp.Body.Close() }() // it has said what it had to say
		return nil, b.refusal(q.method, resp)
	}
	return resp, nil
}

// call is do for answers of which only the headers matter.
func (b *backend) call(ctx context.Context, q request) (http.Header, error) {
	resp, err := b.do(ctx, q)
	if err != nil {
		return nil, err
	}
	text := httpx.ReadLimited(resp.Body)
	_ = resp.Body.Close() // nothing more is wanted
	if q.method != http.MethodGet && bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		return nil, &connection.Error{Kind: connection.ErrUncertain, Err: errors.New("a success with a page, which Atmos has not: something else has answered")}
	}
	return resp.Header, nil
}

// noObject is the error for a success that does not name the object.
func noObject() error {
	return &connection.Error{
		Kind: connection.ErrProtocol, Err: errors.New("the answer does not tell an object's ID"),
		Hint: "location: what answers there is no Atmos",
	}
}

// A loan is a body that is the transport's until end: the transport may go on reading when it has an answer already.
type loan struct {
	mu sync.Mutex
	r  io.Reader // nil: taken back
}

var errTakenBack = errors.New("the request has ended")

func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, errTakenBack
	}
	return l.r.Read(p)
}

// Close implements io.Closer, for net/http; end is what takes the body back.
func (l *loan) Close() error { return nil }

func (l *loan) end() {
	l.mu.Lock()
	l.r = nil
	l.mu.Unlock()
}

// The server's codes that mean more than their HTTP status, by the Programmer's Guide and EMC's clients.
const (
	codeNotFound  = "1003"
	codeRange     = "1004"
	codeConflict  = "1006" // another operation on the object is under way
	codeExists    = "1016"
	codeNotEmpty  = "1023"
	codeTime      = "1031" // the request's time is outside the window
	codeSignature = "1032" // or the clock
	codeUID       = "1033"
	codeBusy      = "1040" // with HTTP 500
	codeRetention = "2003" // ECS
)

// skewWorthAHint is how far off a clock may be before it is suspected. The server's own window is 15 minutes or so.
const skewWorthAHint = 5 * time.Minute

// refusal turns an answer to a request of that method into an error.
func (b *backend) refusal(method string, resp *http.Response) error {
	var said struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	text := httpx.ReadLimited(resp.Body)
	if err := xml.Unmarshal(text, &said); err != nil {
		said.Code, said.Message = "", "" // no Atmos speaks: a proxy, say
	}
	e := httpx.StatusError(resp.StatusCode, resp.Header, strings.TrimSpace(said.Code), said.Message)
	if httpx.Doubtful(resp.StatusCode) && method != http.MethodGet && method != http.MethodHead {
		e.Kind = connection.ErrUncertain // unless its code tells
	}
	if resp.StatusCode == http.StatusBadRequest && strings.Contains(strings.ToLower(said.Message), "checksum") {
		e.Kind = connection.ErrCorrupt // whatever its code is: no document names it
	}
	switch e.Code {
	case codeNotFound:
		e.Kind = connection.ErrNotFound
	case codeConflict:
		e.Kind = connection.ErrUnavailable
	case codeExists:
		e.Kind = connection.ErrExists
	case codeNotEmpty:
		e.Kind = connection.ErrRejected
	case codeBusy:
		e.Kind = connection.ErrThrottled
		e.RetryAfter = max(e.RetryAfter, 300*time.Millisecond) // as EMC's own client waits
	case codeRetention:
		e.Kind = connection.ErrLocked
	case codeTime, codeSignature, codeUID:
		e.Kind = connection.ErrAuth
	}
	if e.Kind == connection.ErrAuth {
		e.Hint = b.authHint(e.Code)
	}
	return e
}

// hasCode reports whether err is a refusal with that code.
func hasCode(err error, code string) bool {
	var e *connection.Error
	return errors.As(err, &e) && e.Code == code
}

func (b *backend) authHint(code string) string {
	skew, known := b.web.Skew()
	switch {
	case code != codeUID && known && skew.Abs() > skewWorthAHint:
		return "the server's clock differs from this machine's by " + skew.Round(time.Second).String() + ": set the clock"
	case code == codeUID:
		return "identity: the server does not know this UID; it is mostly \"subtenant/user\""
	default:
		return "credential: it is not the shared secret of identity"
	}
}

// missing decides what ErrNotFound means: the object, or the whole bucket.
func (b *backend) missing(ctx context.Context, err error) error {
	if connection.KindOf(err) != connection.ErrNotFound {
		return err
	}
	if bucket := b.lookAtBucket(ctx); bucket != nil {
		return bucket
	}
	return err
}

// lookAtBucket returns nil if the bucket is there.
func (b *backend) lookAtBucket(ctx context.Context) error {
	_, err := b.call(ctx, request{method: http.MethodGet, path: b.namespace(""), header: http.Header{"X-Emc-Limit": {"1"}}})
	if err == nil {
		b.seen.Store(true)
		return nil
	}
	b.seen.Store(false)
	return b.bucketError(err)
}

// bucketError says of a directory at the top that is not there that a setting is at fault.
func (b *backend) bucketError(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrNotFound {
		return err
	}
	return &connection.Error{
		Kind: connection.ErrConfig, Code: e.Code, Err: errors.New("bucket: there is no directory " + b.bucket + " at the top of the namespace"),
		Hint: "bucket: create the directory " + b.bucket + ", or correct Bucket UID; it is never created by itself",
	}
}

// needBucket makes sure that the bucket is there before something is written: the server would make it.
func (b *backend) needBucket(ctx context.Context) error {
	if b.seen.Load() {
		return nil
	}
	return b.lookAtBucket(ctx)
}
