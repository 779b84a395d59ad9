package b2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// How much of an answer is read, except of files. A page of a listing has up to 1,000 entries, of some KiB each.
const (
	maxReply   = 1 << 20
	maxListing = 16 << 20
)

// A fence is the transport below package base.
type fence struct {
	inner  http.RoundTripper
	secure bool // the service was asked by https, and leads to nothing else
}

// An exchange is one call: what the fence is to add to its request, and what came of it.
type exchange struct {
	header http.Header    // added to the request
	fields map[string]any // added to its JSON

	status int
	answer http.Header
	reply  []byte // JSON; nil for a file
	err    error  // why there is no answer, or none that can be read
}

type exchangeKey struct{}

// The header by which package base tells which operation a request is. It is not sent.
const methodHeader = "X-Blazer-Method"

// RoundTrip implements http.RoundTripper. What base would make a text of is kept in the exchange.
func (f *fence) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		x = new(exchange)
	}
	resp, err := f.roundTrip(req, x)
	x.err = err
	return resp, err
}

func (f *fence) roundTrip(req *http.Request, x *exchange) (*http.Response, error) {
	if f.secure && req.URL.Scheme != "https" {
		return nil, &connection.Error{Kind: connection.ErrTLS, Err: fmt.Errorf("the service leads to %s://%s, which has no TLS", req.URL.Scheme, req.URL.Host)}
	}
	out := req.Clone(req.Context())
	op := out.Header.Get(methodHeader)
	out.Header.Del(methodHeader)
	out.Header.Del("X-Blazer-Request-ID")
	out.Header.Set("Accept-Encoding", "identity") // else a transport of the host may ask for gzip, and unpack it
	for name, values := range x.header {
		out.Header[name] = values
	}
	if len(x.fields) > 0 {
		if err := addFields(out, x.fields); err != nil {
			return nil, err
		}
	}
	resp, err := f.inner.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	x.status, x.answer = resp.StatusCode, resp.Header
	if op == opDownload && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent) {
		if resp.Header.Get("Content-Length") == "" {
			resp.Header.Set("Content-Length", "-1") // base insists on one
		}
		return resp, nil
	}
	x.reply, err = readReply(req.Context(), op, resp)
	if err == nil && op == opAuthorize && resp.StatusCode == http.StatusOK {
		_, err = readAccount(x.reply) // base would panic on what is missing
	}
	if err != nil {
		return nil, err
	}
	shown := x.reply
	if resp.StatusCode == http.StatusOK && (op == opAuthorize || op == opUploadURL || op == opPartURL) {
		shown = spaced(shown)
	}
	resp.Body = io.NopCloser(bytes.NewReader(shown))
	return resp, nil
}

// addFields puts fields into a JSON body.
func addFields(req *http.Request, fields map[string]any) error {
	raw, err := io.ReadAll(req.Body) // made by base from a struct
	if err != nil {
		return err
	}
	body := make(map[string]any)
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	for name, value := range fields {
		body[name] = value
	}
	if raw, err = json.Marshal(body); err != nil {
		return err
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	return nil
}

// readReply reads an answer to its end. One that breaks off leaves open what became of the request.
func readReply(ctx context.Context, op string, resp *http.Response) ([]byte, error) {
	defer func() { _ = resp.Body.Close() }() // read whole, or of no use
	if resp.StatusCode != http.StatusOK {
		return httpx.ReadLimited(resp.Body), ctx.Err() // of an error the status is enough
	}
	limit := maxReply
	if op == opNames || op == opVersions || op == opUnfinished {
		limit = maxListing
	}
	body := bufio.NewReader(&progress{ctx, resp.Body})
	if begin, err := body.Peek(64); err == nil && !bytes.HasPrefix(bytes.TrimSpace(begin), []byte("{")) {
		return nil, unreadable(errors.New("the answer is no JSON object"))
	}
	raw, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &connection.Error{Kind: connection.ErrUncertain, Err: err}
	case len(raw) > limit:
		return nil, &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("an answer of more than %d octets", limit)}
	}
	return raw, nil
}

// A progress tells the watchdog of what is read.
type progress struct {
	ctx context.Context //nolint:containedctx // that of one request
	r   io.Reader
}

func (p *progress) Read(buf []byte) (int, error) {
	objectstore.Progress(p.ctx)
	return p.r.Read(buf)
}

// spaced writes JSON that holds a token so that package base's log recognizes it, and leaves it out: it looks for a space
// behind the colon. Without such JSON there is nothing that may be printed.
func spaced(reply []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(reply, &fields) != nil || len(fields) == 0 {
		return nil
	}
	const token = "authorizationToken"
	var b bytes.Buffer
	separator := "{"
	for name, value := range fields {
		if strings.EqualFold(name, token) {
			name = token // to encoding/json that is one name
		}
		quoted, _ := json.Marshal(name) // a string never fails
		b.WriteString(separator)
		b.Write(quoted)
		b.WriteString(": ")
		b.Write(value)
		separator = ","
	}
	b.WriteByte('}')
	return b.Bytes()
}

// An account is the answer of b2_authorize_account.
type account struct {
	AccountID string `json:"accountId"`
	Token     string `json:"authorizationToken"`
	APIInfo   struct {
		Storage struct {
			API          string   `json:"apiUrl"`
			Download     string   `json:"downloadUrl"`
			Capabilities []string `json:"capabilities"`
			BucketID     string   `json:"bucketId"`
			BucketName   string   `json:"bucketName"`
			Prefix       string   `json:"namePrefix"`
		} `json:"storageApi"`
	} `json:"apiInfo"`
}

// readAccount refuses an answer without what all that follows needs.
func readAccount(reply []byte) (*account, error) {
	a := new(account)
	if err := json.Unmarshal(reply, a); err != nil {
		return nil, unreadable(err)
	}
	s := a.APIInfo.Storage
	switch {
	case a.Token == "":
		return nil, unreadable(errors.New("authorizationToken is missing"))
	case !isURL(s.API):
		return nil, unreadable(errors.New("apiUrl is missing"))
	case !isURL(s.Download):
		return nil, unreadable(errors.New("downloadUrl is missing"))
	}
	return a, nil
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func unreadable(err error) error {
	return &connection.Error{Kind: connection.ErrProtocol, Hint: "location: what answers there is no B2 service", Err: errors.New(httpx.Clean(err.Error()))}
}
