package swift

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

var (
	_ objectstore.Backend          = (*backend)(nil)
	_ objectstore.PartPutter       = (*backend)(nil)
	_ objectstore.BulkDeleter      = (*backend)(nil)
	_ objectstore.Copier           = (*backend)(nil)
	_ objectstore.Presigner        = (*backend)(nil)
	_ objectstore.IncompleteLister = (*backend)(nil)
)

// A backend makes the requests, one attempt each.
type backend struct {
	place      *place
	account    *account
	env        *connection.Env
	tempURLKey connection.Secret
	workers    int
	skew       func() (d time.Duration, known bool) // the server's clock minus ours
	large      largeObjects
	noBulk     atomic.Bool // the server has no bulk delete
	ignorant   atomic.Bool // it ignores conditions
}

// anyType is the content type of what has none: without one servers guess.
const anyType = "application/octet-stream"

// Put implements objectstore.Backend. The server checks the MD5.
func (b *backend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	h := headersOf(req)
	h["ETag"] = hex.EncodeToString(req.Wire)
	return b.overwrite(ctx, key, h, func() (connection.ObjectInfo, error) {
		return b.write(ctx, &request{method: http.MethodPut, container: b.place.container, object: key, header: h, body: body, size: req.Size})
	})
}

// headersOf returns what is kept with an object.
func headersOf(req *objectstore.PutRequest) swift.Headers {
	h := swift.Headers{"Content-Type": req.ContentType}
	if req.ContentType == "" {
		h["Content-Type"] = anyType
	}
	if req.SHA256 != "" {
		h[metaPrefix+shaName] = req.SHA256
	}
	if req.IfAbsent {
		h["If-None-Match"] = "*"
	}
	writeMeta(h, req.Meta)
	return h
}

// write makes a request that makes an object visible.
func (b *backend) write(ctx context.Context, r *request) (info connection.ObjectInfo, err error) {
	r.decides = true
	a, err := b.send(ctx, r)
	if err != nil {
		// A conflict is a writer whose clock is ahead of the server's that answers: repeated, it gets a later time.
		err = kindFor(kindFor(err, "412", connection.ErrExists), "409", connection.ErrUnavailable)
		if err = b.missing(ctx, err); connection.KindOf(err) == connection.ErrNotFound {
			err = kindFor(err, "404", connection.ErrUnavailable) // the container is just being made
		}
		return info, err
	}
	defer a.discard()
	return connection.ObjectInfo{ETag: etagOf(a.header), Modified: modifiedOf(a.header)}, created(a, r)
}

// created returns an error for a success that is none of Swift's making: a page of something on the way, or the 202 that
// says that a newer write has won. A store that has the object says 201 with its ETag, or names the MD5 that was sent.
func created(a *answer, r *request) error {
	etag := etagOf(a.header)
	if etag != "" && (a.status == http.StatusCreated || etag == r.header["ETag"]) {
		return nil
	}
	return &connection.Error{Kind: connection.ErrUncertain, Code: strconv.Itoa(a.status), Err: errors.New("the answer to a put is not that of a store: no 201 with an etag")}
}

// Get implements objectstore.Backend.
func (b *backend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	h := swift.Headers{}
	switch {
	case req.Length > 0 && req.Length <= math.MaxInt64-req.Offset:
		h["Range"] = fmt.Sprintf("bytes=%d-%d", req.Offset, req.Offset+req.Length-1)
	case req.Offset > 0 || req.Length > 0:
		h["Range"] = fmt.Sprintf("bytes=%d-", req.Offset)
	}
	if req.IfMatch != "" {
		h["If-Match"] = strconv.Quote(req.IfMatch)
	}
	r := &request{method: http.MethodGet, container: b.place.container, object: key, header: h}
	a, err := b.send(ctx, r)
	if code(err) == "404" {
		// An object server that is just replacing the object may have it neither way for a moment.
		a, err = b.send(ctx, r)
	}
	switch code(err) {
	case "416":
		return nil, objectstore.ErrRange
	case "409":
		// The middleware slo: a segment is missing or is not what it was.
		return nil, kindFor(err, "409", connection.ErrCorrupt)
	}
	if err != nil {
		return nil, b.missing(ctx, err) // 412 is ErrChanged
	}
	reply := &objectstore.Reply{ObjectInfo: describe(a.header), Body: a.body}
	if a.status != http.StatusPartialContent {
		return reply, nil
	}
	if reply.Offset, reply.Size, err = contentRange(a.header.Get("Content-Range")); err != nil {
		a.discard()
		return nil, err
	}
	return reply, nil
}

// contentRange reads "bytes 5-9/20": the first octet's offset and the object's size.
func contentRange(text string) (offset, size int64, err error) {
	span, whole, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, ok2 := strings.Cut(span, "-")
	if ok && ok2 {
		offset, err = strconv.ParseInt(first, 10, 64)
		if size = -1; err == nil && whole != "*" {
			size, err = strconv.ParseInt(whole, 10, 64)
		}
	}
	if !ok || !ok2 || err != nil {
		return 0, 0, &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("content range %q", text)}
	}
	return offset, size, nil
}

// Stat implements objectstore.Backend.
func (b *backend) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	h, err := b.head(ctx, key, nil)
	if err != nil {
		return connection.ObjectInfo{}, b.missing(ctx, err)
	}
	return describe(h), nil
}

// newest asks all copies of an object and believes the latest.
func newest() swift.Headers { return swift.Headers{"X-Newest": "true"} }

func (b *backend) head(ctx context.Context, key string, h swift.Headers) (http.Header, error) {
	a, err := b.send(ctx, &request{method: http.MethodHead, container: b.place.container, object: key, header: h})
	if err != nil {
		return nil, err
	}
	a.discard()
	return a.header, nil
}

// describe reads what the headers of an object say.
func describe(h http.Header) connection.ObjectInfo {
	info := connection.ObjectInfo{Size: -1, ETag: etagOf(h), Modified: modifiedOf(h), ContentType: h.Get("Content-Type")}
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		info.Size = n
	}
	info.Meta, info.SHA256, _ = readMeta(h)
	return info
}

// etagOf returns the ETag without its quotes, which only large objects have.
func etagOf(h http.Header) string { return strings.Trim(h.Get("ETag"), `"`) }

// modifiedOf returns Last-Modified: the time in whole seconds, rounded up.
func modifiedOf(h http.Header) time.Time {
	t, _ := http.ParseTime(h.Get("Last-Modified")) // zero: not told
	return t
}

const (
	// maxLimit is up to where a page's length is asked for: a server refuses one above its own limit (10,000, usually).
	maxLimit   = 250
	maxPage    = 48 << 20 // octets
	maxEntries = 100_000  // of a page
	// lastRune follows every character in byte order: behind a common prefix it ends what is folded into it.
	lastRune = "\U0010ffff"
)

// A listed is one entry of a listing.
type listed struct {
	Name         string
	Subdir       string
	Bytes        int64
	Hash         string
	SLOETag      string `json:"slo_etag"`
	ContentType  string `json:"content_type"`
	LastModified string `json:"last_modified"`
}

// List implements objectstore.Backend. A page that is empty is the last; a short one need not be.
func (b *backend) List(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
	after := req.Token
	if after == "" {
		after = req.After
	}
	all, err := b.listing(ctx, b.place.container, req.Prefix, req.Delimiter, after, req.Limit)
	if err != nil {
		if connection.KindOf(err) == connection.ErrNotFound {
			err = b.noContainer(err)
		}
		return nil, kindFor(err, "412", connection.ErrUnsupported) // "Bad delimiter" of old servers
	}
	page := &objectstore.Page{Entries: make([]connection.ObjectInfo, len(all))}
	for i, e := range all {
		if e.Subdir != "" {
			page.Entries[i] = connection.ObjectInfo{Key: e.Subdir, Prefix: true}
			page.Token = e.Subdir + lastRune
			continue
		}
		info := connection.ObjectInfo{Key: e.Name, Size: e.Bytes, ETag: e.Hash, ContentType: e.ContentType, Modified: listedTime(e.LastModified)}
		if e.SLOETag != "" {
			info.ETag = strings.Trim(e.SLOETag, `"`)
		}
		page.Entries[i] = info
		page.Token = e.Name
	}
	return page, nil
}

// listing asks for one page of a container's listing. limit is a hint; 0 = as long as the server likes.
func (b *backend) listing(ctx context.Context, container, prefix, delimiter, marker string, limit int) ([]listed, error) {
	q := url.Values{"format": {"json"}}
	if limit > 0 && limit <= maxLimit {
		q.Set("limit", strconv.Itoa(limit))
	}
	for name, value := range map[string]string{"prefix": prefix, "delimiter": delimiter, "marker": marker} {
		if value != "" {
			q.Set(name, value)
		}
	}
	a, err := b.send(ctx, &request{method: http.MethodGet, container: container, query: q})
	if err != nil {
		return nil, err
	}
	defer a.discard()
	if a.status == http.StatusNoContent {
		return nil, nil
	}
	return decodeArray[listed](ctx, a.body, maxPage, maxEntries)
}

// decodeArray reads a JSON array of at most so many octets and entries, and tells the watchdog that they come.
func decodeArray[T any](ctx context.Context, r io.Reader, octets int64, entries int) (all []T, err error) {
	lr := &io.LimitedReader{R: moving{ctx, r}, N: octets}
	d := json.NewDecoder(lr)
	broken := func(err error) error {
		if lr.N <= 0 {
			err = fmt.Errorf("an answer of more than %d octets", octets)
		}
		return unreadable(err)
	}
	switch start, err := d.Token(); {
	case err != nil:
		return nil, broken(err)
	case start != json.Delim('['):
		return nil, unreadable(errors.New("an answer that is no list"))
	}
	for d.More() {
		var one T
		if err := d.Decode(&one); err != nil {
			return nil, broken(err)
		}
		if all = append(all, one); len(all) > entries {
			return nil, &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("an answer of more than %d entries", entries)}
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, broken(err)
	}
	return all, nil
}

// decode reads one JSON value of at most so many octets, and tells the watchdog that they come.
func decode(ctx context.Context, r io.Reader, limit int64, into any) error {
	data, err := io.ReadAll(io.LimitReader(moving{ctx, r}, limit+1))
	switch {
	case err != nil:
		return unreadable(err)
	case int64(len(data)) > limit:
		return unreadable(fmt.Errorf("an answer of more than %d octets", limit))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return unreadable(err)
	}
	return nil
}

// unreadable makes the error of an answer that broke off, or that is not what it should be.
func unreadable(err error) error {
	kind := connection.KindOf(err)
	switch {
	case errors.Is(err, io.EOF):
		kind = connection.ErrNetwork
	case kind == connection.ErrUnknown:
		kind = connection.ErrProtocol
	}
	return &connection.Error{Kind: kind, Err: err}
}

// moving tells the watchdog of what is read.
type moving struct {
	ctx context.Context //nolint:containedctx // of one answer
	r   io.Reader
}

func (m moving) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		objectstore.Progress(m.ctx)
	}
	return n, err
}

// listedTime reads a listing's time and rounds it up to whole seconds, as Last-Modified is.
func listedTime(text string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05.999999", strings.TrimSuffix(text, "Z"))
	if err != nil {
		return time.Time{}
	}
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}
