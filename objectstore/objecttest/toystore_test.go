package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/probe"
	"github.com/mailconn/mailconn/objectstore"
)

// A toyStore is the driver of the toy.
type toyStore struct {
	*objectstore.Store
	client *httpx.Client
	base   string
	key    string
	bucket string
	bent   *bent
}

// bent is what a driver does wrong; the zero value is nothing.
type bent struct {
	features    func(*objectstore.Features)
	tuning      func(*objectstore.Tuning)
	reply       func(*objectstore.Reply)         // of Get
	err         func(op string, err error) error // of any request
	request     func(op string, r *http.Request) // before it is sent
	noAbort     bool                             // unfinished uploads stay
	unlimited   bool                             // answers are read to their end
	escape      func(string) string              // of keys in URLs
	hint        string                           // of bad settings, instead of the right ones
	closeOpen   bool                             // Close ends nothing
	wrap        func(objectstore.Backend) objectstore.Backend
	transport   func(next http.RoundTripper) http.RoundTripper
	leak        bool // a goroutine stays
	printSecret bool
}

func openToy(base, key, bucket string, env *connection.Env, tuning objectstore.Tuning, b *bent) (*toyStore, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if b.transport != nil {
		lent := *env
		lent.HTTPClient = &http.Client{Transport: b.transport(env.HTTPClient.Transport)}
		env = &lent
	}
	c := &toyStore{base: base, key: key, bucket: bucket, bent: b}
	c.client, err = httpx.New(httpx.Options{Driver: "toy", Base: u, TLS: &connection.TLSSettings{}, ConnectTimeout: 10 * time.Second}, env)
	if err != nil {
		return nil, err
	}
	o := objectstore.Options{Driver: "toy", Endpoint: u.Host, Tuning: tuning, Wire: md5.New}
	o.Features = objectstore.Features{IfAbsent: true, Meta: true, Lock: true}
	if b.features != nil {
		b.features(&o.Features)
	}
	if b.tuning != nil {
		b.tuning(&o.Tuning)
	}
	backend := objectstore.Backend(&toyBackend{c})
	if b.wrap != nil {
		backend = b.wrap(backend)
	}
	if b.leak {
		go func() { <-make(chan struct{}) }()
	}
	if b.printSecret {
		env.Log().Info("opened", "key", key)
	}
	c.Store = objectstore.New(backend, o, env)
	return c, nil
}

// Info implements connection.Connection.
func (c *toyStore) Info() connection.Info {
	return connection.Info{Driver: "toy", Endpoint: c.base}
}

// Test implements connection.Connection.
func (c *toyStore) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	p := probe.New(c.Info(), opts)
	p.Bucket(ctx, c, probe.BucketOptions{Write: opts != nil && opts.Write, IfAbsent: true})
	return p.Report()
}

// Close implements connection.Connection.
func (c *toyStore) Close() error {
	if c.bent.closeOpen {
		return nil
	}
	return c.Store.Close()
}

// Presign implements connection.Presigner.
func (c *toyStore) Presign(ctx context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	return c.Store.Presign(ctx, method, key, expires)
}

type toyBackend struct{ *toyStore }

// ask makes one request, and returns the answer unless it is an error.
func (b *toyBackend) ask(ctx context.Context, op, method, path, key string, query url.Values, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	resp, err := b.tryAsk(ctx, op, method, path, key, query, header, body, size)
	if err != nil && b.bent.err != nil {
		err = b.bent.err(op, err)
	}
	return resp, err
}

func (b *toyBackend) tryAsk(ctx context.Context, op, method, path, key string, query url.Values, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	escape := url.PathEscape
	if b.bent.escape != nil {
		escape = b.bent.escape
	}
	r, err := http.NewRequestWithContext(ctx, method, b.base+"/"+path+"/"+escape(key)+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		lent := &latch{r: body}
		defer lent.close()
		r.Body, r.ContentLength = io.NopCloser(lent), size
		if size == 0 {
			r.Body = http.NoBody
		}
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("X-Key", b.key)
	r.Header.Set("X-Bucket", b.bucket)
	r.Header.Set("Accept-Encoding", "identity")
	if b.bent.request != nil {
		b.bent.request(op, r)
	}
	resp, err := b.client.Transport().RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	var text []byte
	if b.bent.unlimited {
		text, _ = io.ReadAll(resp.Body)
	} else {
		text = httpx.ReadLimited(resp.Body)
	}
	_ = resp.Body.Close() // it has said what it has to say
	e := httpx.StatusError(resp.StatusCode, resp.Header, resp.Header.Get("X-Code"), string(text))
	switch e.Code {
	case "NoSuchBucket":
		e.Kind, e.Hint = connection.ErrConfig, "bucket: there is none of this name"
	case "Locked":
		e.Kind = connection.ErrLocked
	case "Range":
		return nil, objectstore.ErrRange
	case "BadKey":
		e.Hint = "credential: is refused"
	case "NoSuchKey", "NoSuchUpload", "Exists", "Changed", "BadDigest", "AccessDenied":
	case "409", "412", "404":
		e.Kind = connection.ErrRejected // not in the toy's words
	}
	if b.bent.hint != "" && e.Hint != "" {
		e.Hint = b.bent.hint
	}
	return nil, e
}

// A latch keeps net/http from reading a request's body after the answer has come.
type latch struct {
	mu    sync.Mutex
	r     io.Reader
	ended bool
}

func (l *latch) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	return l.r.Read(p)
}

func (l *latch) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// told is ask for an answer of JSON, which is small.
func (b *toyBackend) told(ctx context.Context, op, method, path, key string, query url.Values, header http.Header, body []byte, into any) error {
	resp, err := b.ask(ctx, op, method, path, key, query, header, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	r := io.LimitReader(resp.Body, 1<<20)
	if b.bent.unlimited {
		r = resp.Body
	}
	raw, err := io.ReadAll(r)
	_ = resp.Body.Close() // it is read
	if err == nil && into != nil {
		if err = json.Unmarshal(raw, into); err != nil {
			err = &connection.Error{Kind: connection.ErrProtocol, Err: err}
		}
	}
	return err
}

func putHeader(sha string, wire []byte, ifAbsent bool, contentType string, meta map[string]string, lock connection.Lock) http.Header {
	raw, _ := json.Marshal(about{sha, contentType, meta, lock}) // of strings and times: always encodes
	h := http.Header{"X-About": {base64.StdEncoding.EncodeToString(raw)}}
	if wire != nil {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(wire))
	}
	if ifAbsent {
		h.Set("If-None-Match", "*")
	}
	return h
}

func infoOf(key string, h http.Header) connection.ObjectInfo {
	raw, _ := base64.StdEncoding.DecodeString(h.Get("X-About"))
	var a about
	_ = json.Unmarshal(raw, &a)                          // the toy writes it
	size, _ := strconv.ParseInt(h.Get("X-Size"), 10, 64) // as above
	return connection.ObjectInfo{Key: key, Size: size, ETag: h.Get("ETag"), SHA256: a.SHA256, ContentType: a.ContentType, Meta: a.Meta, Lock: a.Lock}
}

func (b *toyBackend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	h := putHeader(req.SHA256, req.Wire, req.IfAbsent, req.ContentType, req.Meta, req.Lock)
	resp, err := b.ask(ctx, "put", http.MethodPut, "o", key, nil, h, body, req.Size)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return connection.ObjectInfo{ETag: resp.Header.Get("ETag")}, resp.Body.Close()
}

func (b *toyBackend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	h := http.Header{}
	if req.Offset > 0 || req.Length > 0 {
		last := ""
		if req.Length > 0 {
			last = fmt.Sprint(uint64(req.Offset) + uint64(req.Length) - 1)
		}
		h.Set("Range", fmt.Sprintf("bytes=%d-%s", req.Offset, last))
	}
	if req.IfMatch != "" {
		h.Set("If-Match", req.IfMatch)
	}
	resp, err := b.ask(ctx, "get", http.MethodGet, "o", key, nil, h, nil, 0) //nolint:bodyclose // the reader of the Reply closes it
	if err != nil {
		return nil, err
	}
	reply := &objectstore.Reply{ObjectInfo: infoOf(key, resp.Header), Body: resp.Body}
	if resp.StatusCode == http.StatusPartialContent {
		reply.Offset = req.Offset
	}
	if b.bent.reply != nil {
		b.bent.reply(reply)
	}
	return reply, nil
}

func (b *toyBackend) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	resp, err := b.ask(ctx, "stat", http.MethodHead, "o", key, nil, nil, nil, 0)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return infoOf(key, resp.Header), resp.Body.Close()
}

func (b *toyBackend) List(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
	var page toyPage
	q := url.Values{"prefix": {req.Prefix}, "delimiter": {req.Delimiter}, "after": {req.After}, "token": {req.Token}}
	err := b.told(ctx, "list", http.MethodGet, "list", "", q, nil, nil, &page)
	return &objectstore.Page{Entries: page.Entries, Token: page.Token}, err
}

func (b *toyBackend) Delete(ctx context.Context, key string) error {
	return b.told(ctx, "delete", http.MethodDelete, "o", key, nil, nil, nil, nil)
}

func (*toyBackend) MaxDelete() int { return 100 }

func (b *toyBackend) DeleteMany(ctx context.Context, keys []string) ([]error, error) {
	raw, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	var codes []string
	if err := b.told(ctx, "bulk", http.MethodPost, "bulk", "", nil, nil, raw, &codes); err != nil {
		return nil, err
	}
	errs := make([]error, len(codes))
	for i, code := range codes {
		if code != "" {
			errs[i] = &connection.Error{Kind: connection.ErrLocked, Code: code}
		}
	}
	return errs, nil
}

func (*toyBackend) PartLimits() objectstore.PartLimits {
	return objectstore.PartLimits{MaxPut: 5 << 30, MinPart: 100 << 10, MaxPart: 5 << 30, MaxParts: 10_000}
}

func (b *toyBackend) Begin(ctx context.Context, key string, req *objectstore.PutRequest) (upload string, err error) {
	h := putHeader(req.SHA256, nil, false, req.ContentType, req.Meta, req.Lock)
	err = b.told(ctx, "begin", http.MethodPost, "begin", key, nil, h, nil, &upload)
	return upload, err
}

func (b *toyBackend) PutPart(ctx context.Context, _, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (string, error) {
	h := putHeader("", req.Wire, false, "", nil, connection.Lock{})
	resp, err := b.ask(ctx, "part", http.MethodPut, "part", upload, url.Values{"n": {strconv.Itoa(req.Number)}}, h, body, req.Size)
	if err != nil {
		return "", err
	}
	return "tag", resp.Body.Close()
}

func (b *toyBackend) Complete(ctx context.Context, _, upload string, _ []objectstore.Part, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	h := putHeader("", nil, req.IfAbsent, "", nil, connection.Lock{})
	resp, err := b.ask(ctx, "complete", http.MethodPost, "complete", upload, nil, h, nil, 0)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return connection.ObjectInfo{ETag: resp.Header.Get("ETag")}, resp.Body.Close()
}

func (b *toyBackend) Abort(ctx context.Context, _, upload string) error {
	if b.bent.noAbort {
		return nil
	}
	err := b.told(ctx, "abort", http.MethodDelete, "part", upload, nil, nil, nil, nil)
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil
	}
	return err
}

func (b *toyBackend) Copy(ctx context.Context, dst, src string, req *objectstore.CopyRequest) (connection.ObjectInfo, error) {
	h := putHeader("", nil, req.IfAbsent, "", nil, connection.Lock{})
	err := b.told(ctx, "copy", http.MethodPost, "copy", dst, url.Values{"src": {src}}, h, nil, nil)
	return connection.ObjectInfo{}, err
}

func (b *toyBackend) Lock(ctx context.Context, key string, lock connection.Lock) error {
	return b.told(ctx, "lock", http.MethodPost, "lock", key, nil, putHeader("", nil, false, "", nil, lock), nil, nil)
}

func (b *toyBackend) Presign(_ context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	until := time.Now().Add(expires).Format(time.RFC3339)
	q := url.Values{"method": {method}, "until": {until}, "sig": {toySign(method, key, until)}}
	return connection.NewSecret(b.base + "/o/" + url.PathEscape(key) + "?" + q.Encode()), nil
}

func (b *toyBackend) Incomplete(ctx context.Context, _ string) (found []connection.Incomplete, next string, err error) {
	err = b.told(ctx, "uploads", http.MethodGet, "uploads", "", nil, nil, nil, &found)
	return found, "", err
}

func (b *toyBackend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	return b.Abort(ctx, one.Key, one.ID)
}
