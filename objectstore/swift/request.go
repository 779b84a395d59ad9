package swift

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// expectFrom is the size from which on a body waits until the server says that it wants it. Smaller ones are sent at
// once, which saves a round trip.
const expectFrom = 1 << 20

// A request is one request for the storage. An empty container is the account itself.
type request struct {
	method    string
	container string
	object    string
	url       string // instead of the three above
	query     url.Values
	header    swift.Headers
	body      io.ReadSeeker // nil: none
	size      int64
	decides   bool // it makes an object visible: a failure of the server behind its last octet leaves that in doubt
}

// An answer is what the server said, with a 2xx status. The caller closes body.
type answer struct {
	status int
	header http.Header
	body   io.ReadCloser
}

// discard ends an answer of which nothing more is of interest. A short rest is read, so that the connection can be used
// again.
func (a *answer) discard() {
	_ = httpx.ReadLimited(a.body)
	_ = a.body.Close() // what it says changes nothing
}

// send makes one attempt. A token that has expired is healed: that costs a login and a second request.
func (b *backend) send(ctx context.Context, r *request) (*answer, error) {
	s, err := b.account.session(ctx)
	if err != nil {
		return nil, err
	}
	a, err := b.sendWith(ctx, s, r)
	if connection.KindOf(err) != connection.ErrAuth {
		return a, err
	}
	if s, err = b.account.renew(ctx, s); err != nil {
		return nil, err
	}
	return b.sendWith(ctx, s, r)
}

func (b *backend) sendWith(ctx context.Context, s *session, r *request) (*answer, error) {
	header := swift.Headers{}
	maps.Copy(header, r.header)
	opts := swift.RequestOpts{Operation: r.method, Container: r.container, ObjectName: r.object, Parameters: r.query, Headers: header}
	whole := func() bool { return true }
	if r.body != nil && r.size > 0 {
		if _, err := r.body.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		// The transport may go on reading when the answer is there already.
		body := &leash{r: r.body}
		defer body.cut()
		opts.Body = body
		whole = func() bool { return body.taken() >= r.size }
	}
	if opts.Body != nil || r.method == http.MethodPut || r.method == http.MethodPost {
		header["Content-Length"] = strconv.FormatInt(r.size, 10)
	}
	target := r.url
	if target == "" {
		target = s.library.StorageUrl
	}
	ctx, met := withMeeting(ctx)
	met.secrets = []string{s.library.AuthToken, b.place.credential.Reveal()}
	_, _, err := s.library.Call(ctx, target, opts) //nolint:bodyclose // met has it: the library's reader starts a goroutine for each Read
	if err != nil {
		err = met.cause(err)
		if r.decides && whole() {
			err = inDoubt(err)
		}
		return nil, err
	}
	return met.answer, nil
}

// A leash holds a body back from those who still read it when its owner wants it for itself.
type leash struct {
	mu  sync.Mutex
	r   io.Reader
	n   int64 // octets taken
	off bool
}

var errOff = errors.New("the request is over")

// Read implements io.Reader.
func (l *leash) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off {
		return 0, errOff
	}
	n, err := l.r.Read(p)
	l.n += int64(n)
	return n, err
}

func (l *leash) taken() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

func (l *leash) cut() {
	l.mu.Lock()
	l.off = true
	l.mu.Unlock()
}

// A meeting is what the guard saw of the requests under one context. The library flattens it.
type meeting struct {
	identity bool     // the identity service is asked
	secrets  []string // what a server may repeat and nobody may see
	answer   *answer
	err      error
}

type meetingKey struct{}

func withMeeting(ctx context.Context) (context.Context, *meeting) {
	m := new(meeting)
	return context.WithValue(ctx, meetingKey{}, m), m
}

// cause returns what was met, or err if the library has more to say.
func (m *meeting) cause(err error) error {
	var own *connection.Error
	switch {
	case m.err != nil:
		return m.err
	case errors.As(err, &own):
		return own
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &connection.Error{Kind: connection.ErrProtocol, Err: err}
}

// discreet returns text, or nothing if it holds a secret.
func (m *meeting) discreet(text []byte) []byte {
	for _, secret := range m.secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if bytes.Contains(text, []byte(form)) {
				return nil
			}
		}
	}
	return text
}

// A guard stands between the library and the network: it follows no redirect, bounds what is read of a refusal, and keeps
// what the library does not hand on.
type guard struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	again := *req
	again.Header = req.Header.Clone()
	again.Header.Set("Accept-Encoding", "identity") // else a transport that a host lends may unpack what is packed
	if req.ContentLength < expectFrom {
		again.Header.Del("Expect")
	}
	req = &again
	m, ok := req.Context().Value(meetingKey{}).(*meeting)
	if !ok {
		return nil, errors.New("a request that nobody waits for")
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		m.err = err
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		if m.identity {
			// The library would read what is left of it, without end.
			if m.err = keepCatalogue(resp); m.err != nil {
				return nil, m.err
			}
			return resp, nil
		}
		m.answer, m.err = &answer{resp.StatusCode, resp.Header, resp.Body}, nil
		return resp, nil
	}
	text := httpx.ReadLimited(resp.Body)
	_ = resp.Body.Close() // the rest is of no interest
	m.err = refusal(req, resp, m.discreet(text))
	if resp.StatusCode/100 == 3 {
		return nil, m.err // the library would follow it, with the token
	}
	resp.Body = http.NoBody
	return resp, nil
}

// maxCatalogue is how much of an identity service's answer is read.
const maxCatalogue = 4 << 20

// keepCatalogue reads an identity service's answer.
func keepCatalogue(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxCatalogue+1))
	_ = resp.Body.Close() // the rest is of no interest
	switch {
	case err != nil:
		return unreadable(err)
	case len(data) > maxCatalogue:
		return unreadable(fmt.Errorf("the identity service's answer has more than %d octets", maxCatalogue))
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return nil
}

// refusal makes the error of an answer that is not 2xx.
func refusal(req *http.Request, resp *http.Response, text []byte) error {
	if resp.StatusCode/100 == 3 {
		return &connection.Error{
			Kind: connection.ErrConfig, Code: strconv.Itoa(resp.StatusCode),
			Err:  fmt.Errorf("%s redirects to another address", req.URL.Host),
			Hint: "location: give the address that the server redirects to, if it is the right one; the credential does not follow by itself",
		}
	}
	e := statusError(resp.StatusCode, resp.Header, string(text))
	e.Err = &refusedError{e.Err, text}
	return e
}

// A refusedError keeps the body of an answer that is not 2xx for those who can read more out of it.
type refusedError struct {
	err  error
	body []byte
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }
