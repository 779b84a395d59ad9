package objecttest

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// substance is the size from which on a body is taken for an object's or a part's, and not for a message of the protocol.
const substance = 4 << 10

// A line is the network of one connection under test: a transport whose requests can meet trouble.
type line struct {
	base  *http.Transport
	dials atomic.Int64

	mu        sync.Mutex
	calls     []call
	uploads   int
	downloads int
	any       func(c call) trouble
	upload    func(n int, c call) trouble // n counts from 1
	download  func(n int, resp *http.Response)
}

// A call is a request that passed a line.
type call struct {
	method string
	length int64 // of the body; -1 = not told
	header http.Header
}

// A trouble befalls a request; nil is none.
type trouble func(next http.RoundTripper, r *http.Request) (*http.Response, error)

func newLine() *line {
	l := &line{}
	l.base = &http.Transport{DialContext: l.dial, DisableCompression: true, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: false}
	return l
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.dials.Add(1)
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// onAny has f asked about every request from now on, and forgets those so far. nil ends it, as with the two below.
func (l *line) onAny(f func(c call) trouble) { l.set(func() { l.any = f }) }

// onUpload has f asked about each request whose body is the octets of an object or a part.
func (l *line) onUpload(f func(n int, c call) trouble) { l.set(func() { l.upload = f }) }

// onDownload shows f each answer whose body is the octets of an object: it may change it.
func (l *line) onDownload(f func(n int, resp *http.Response)) { l.set(func() { l.download = f }) }

func (l *line) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.calls, l.uploads, l.downloads = nil, 0, 0
}

// repair ends all trouble.
func (l *line) repair() {
	l.set(func() { l.any, l.upload, l.download = nil, nil, nil })
}

// passed returns the requests since the last change of the line.
func (l *line) passed() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]call(nil), l.calls...)
}

// uploaded returns those of passed that carry octets of an object or a part.
func (l *line) uploaded() []call {
	var all []call
	for _, c := range l.passed() {
		if c.isUpload() {
			all = append(all, c)
		}
	}
	return all
}

func (c call) isUpload() bool {
	return (c.method == http.MethodPut || c.method == http.MethodPost) && (c.length < 0 || c.length >= substance)
}

// RoundTrip implements http.RoundTripper.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	c := call{r.Method, r.ContentLength, r.Header.Clone()}
	if r.ContentLength == 0 && r.Body != nil && r.Body != http.NoBody {
		c.length = -1
	}
	l.mu.Lock()
	l.calls = append(l.calls, c)
	if c.isUpload() {
		l.uploads++
	}
	n, ask, upload := l.uploads, l.any, l.upload
	l.mu.Unlock()
	var befalls trouble
	if ask != nil {
		befalls = ask(c)
	}
	if befalls == nil && upload != nil && c.isUpload() {
		befalls = upload(n, c)
	}
	if befalls == nil {
		befalls = pass
	}
	resp, err := befalls(l.base, r)
	if err == nil && r.Method == http.MethodGet && resp.StatusCode/100 == 2 && (resp.ContentLength < 0 || resp.ContentLength >= substance) {
		l.mu.Lock()
		l.downloads++
		n, f := l.downloads, l.download
		l.mu.Unlock()
		if f != nil {
			f(n, resp)
		}
	}
	return resp, err
}

func pass(next http.RoundTripper, r *http.Request) (*http.Response, error) { return next.RoundTrip(r) }

// reset is what a program sees of a connection that breaks.
func reset(op string) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, syscall.ECONNRESET)}
}

// answers is a server that does not obey, and says so.
func answers(code int, body io.Reader, headers ...string) trouble {
	return func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body) // the server does not care
			_ = r.Body.Close()                 // nor whether it is there
		}
		resp := &http.Response{
			Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: http.NoBody, Request: r,
		}
		if body != nil && r.Method != http.MethodHead {
			resp.Body, resp.ContentLength = io.NopCloser(body), -1
		}
		for i := 0; i+1 < len(headers); i += 2 {
			resp.Header.Set(headers[i], headers[i+1])
		}
		return resp, nil
	}
}

// fails is a request that finds no server.
func fails(err error) trouble {
	return func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_ = r.Body.Close() // it was not sent
		}
		return nil, err
	}
}

// losesReply is a server that obeys, and cannot be heard.
func losesReply(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
	_ = resp.Body.Close()                 // nobody is to hear it
	return nil, reset("read")
}

// silent is a server that takes the request, does not obey, and never answers.
func silent(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body) // whether it ends or not
		_ = r.Body.Close()                 // as above
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// deaf is a server that does not even take the request's body.
func deaf(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	if r.Body != nil {
		_ = r.Body.Close() // nobody reads it any more
	}
	return nil, r.Context().Err()
}

// sends changes the body of the request on its way.
func sends(change func(r *http.Request, body io.Reader) io.Reader) trouble {
	return func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		body := r.Body
		r = r.Clone(r.Context())
		r.Body = &struct {
			io.Reader
			io.Closer
		}{change(r, body), body}
		r.GetBody = nil
		return next.RoundTrip(r)
	}
}

// cutUpload breaks the connection when so many octets of the request's body have gone.
func cutUpload(after int64) trouble {
	return sends(func(_ *http.Request, body io.Reader) io.Reader {
		return &breaking{r: body, left: after, err: reset("write")}
	})
}

// flipUpload inverts a bit of the request's body.
func flipUpload(at int64) trouble {
	return sends(func(_ *http.Request, body io.Reader) io.Reader { return &flipping{r: body, flip: flip{true, at}} })
}

// changeBody changes the body of an answer on its way.
func changeBody(resp *http.Response, change func(body io.Reader) io.Reader) {
	body := resp.Body
	resp.Body = &struct {
		io.Reader
		io.Closer
	}{change(body), body}
}

// A breaking reader ends in err after so many octets.
type breaking struct {
	r    io.Reader
	left int64
	err  error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A flipping reader inverts one bit. It never changes what it reads from.
type flipping struct {
	r    io.Reader
	n    int64
	flip flip
}

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.flip.invert(p[:n], f.n)
	f.n += int64(n)
	return n, err
}

// A dripping reader gives its octets in pieces, and waits before each, unless ctx ends.
type dripping struct {
	ctx  context.Context //nolint:containedctx // of one request
	r    io.Reader
	size int
	wait time.Duration
}

func (d *dripping) Read(p []byte) (int, error) {
	if !(pace{1, d.wait}).step(d.ctx.Done()) {
		return 0, d.ctx.Err()
	}
	return d.r.Read(p[:min(len(p), d.size)])
}

// A muted reader falls silent behind so many octets, until ctx ends.
type muted struct {
	ctx  context.Context //nolint:containedctx // of one request
	r    io.Reader
	left int64
}

func (m *muted) Read(p []byte) (int, error) {
	if m.left <= 0 {
		<-m.ctx.Done()
		return 0, m.ctx.Err()
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

// forever repeats a text without end, but for an end where nobody should come.
type forever struct {
	text  []byte
	at    int
	total *atomic.Int64 // octets read of all answers
	most  int64
}

func (f *forever) Read(p []byte) (int, error) {
	if f.total.Load() > f.most {
		return 0, io.ErrUnexpectedEOF
	}
	n := 0
	for n < len(p) {
		m := copy(p[n:], f.text[f.at:])
		n += m
		f.at = (f.at + m) % len(f.text)
	}
	f.total.Add(int64(n))
	return n, nil
}
