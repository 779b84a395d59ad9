package azureblob

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// How much of an answer is read: of one that holds no object, and of one that is an error.
const (
	maxAnswer = 32 << 20 // a page of pageSize entries, each with as much metadata as the service takes
	maxError  = 64 << 10 // as httpx.ReadLimited
)

// apiVersion is the version of the service's protocol that is spoken: the first with all that is used here, the Cold tier
// last of all. The library's own is its newest, which emulators, private clouds and other regions learn years later.
const apiVersion = "2021-12-02"

// oldVersion asks for apiVersion, before requests are signed.
type oldVersion struct{}

// Do implements policy.Policy.
func (oldVersion) Do(req *policy.Request) (*http.Response, error) {
	for name := range req.Raw().Header {
		if strings.EqualFold(name, "x-ms-version") {
			req.Raw().Header[name] = []string{apiVersion} // the library writes the name in lower case
		}
	}
	return req.Next()
}

// limited is the transport that the library uses: it reads whole answers into memory, so they must have an end.
type limited struct{ client *http.Client }

// Do implements policy.Transporter.
func (l *limited) Do(req *http.Request) (*http.Response, error) {
	// A transport that the host lends would ask for gzip by itself, and unpack what was stored packed.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		resp.Body = refusal(&answer{body: resp.Body, req: req, r: io.LimitReader(resp.Body, maxError)})
	case req.Method != http.MethodGet:
		resp.Body = &answer{body: resp.Body, req: req, r: &capped{resp.Body, maxError}}
	case req.URL.Query().Get("comp") != "":
		r := bufio.NewReader(&capped{resp.Body, maxAnswer})
		if err := document(r); err != nil {
			return nil, errors.Join(err, resp.Body.Close())
		}
		resp.Body = &answer{body: resp.Body, req: req, r: r}
	}
	return resp, nil
}

// refusal reads the body of an error, and returns it if it can be the service's XML. Of JSON the library would make a text
// with a line for each bracket, which a nested one of 64 KiB blows up to 100 MB.
func refusal(body io.ReadCloser) io.ReadCloser {
	text := bytes.TrimLeft(httpx.ReadLimited(body), "\ufeff \t\r\n")
	_ = body.Close() // the status is the news, not the text
	if !bytes.HasPrefix(text, []byte("<")) {
		text = nil
	}
	return io.NopCloser(bytes.NewReader(text))
}

// document makes sure that a document of the service begins in r: proxies and other servers have pages of their own, of any
// length.
func document(r *bufio.Reader) error {
	head, err := r.Peek(512)
	if err == nil || err == io.EOF { //nolint:errorlint // only the bare one is the end
		if bytes.Contains(head, []byte("<EnumerationResults")) || bytes.Contains(head, []byte("<BlockList")) {
			return nil
		}
		err = fmt.Errorf("an answer that begins with %.40q", head)
	}
	if connection.KindOf(err) == connection.ErrNetwork {
		return err
	}
	return &connection.Error{Kind: connection.ErrProtocol, Hint: "location: the server does not answer as Azure's blob service does", Err: err}
}

// An answer is a body that the library reads to its end. The Store's watchdog is told that it moves.
type answer struct {
	body io.Closer
	req  *http.Request
	r    io.Reader
	told time.Time
}

// tellEvery is how often the watchdog is told: octets may come one by one.
const tellEvery = 50 * time.Millisecond

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if n > 0 && time.Since(a.told) > tellEvery {
		a.told = time.Now()
		objectstore.Progress(a.req.Context())
	}
	return n, err
}

// Close implements io.Closer.
func (a *answer) Close() error { return a.body.Close() }

// capped fails when there is more than the limit.
type capped struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the answer is too large")}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// A lent body is the Store's, which must not be touched when the request is over: net/http may still read then.
type lent struct {
	mu    sync.Mutex
	r     io.ReadSeeker
	err   error // of r
	ended bool
}

var errEnded = errors.New("the request is over")

// Read implements io.Reader.
func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errEnded
	}
	n, err := l.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare one is the end
		l.err = err
	}
	return n, err
}

// Seek implements io.Seeker.
func (l *lent) Seek(offset int64, whence int) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errEnded
	}
	n, err := l.r.Seek(offset, whence)
	if err != nil {
		l.err = err
	}
	return n, err
}

// Close implements io.Closer: the library closes what it has sent.
func (l *lent) Close() error { return nil }

// end takes the body back and returns its own error.
func (l *lent) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	return l.err
}
