package atmos

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A node is what is under a path.
type node struct {
	connection.ObjectInfo
	rel string // the path below the bucket
	id  string
	dir bool
}

// head asks what is under a path.
func (b *backend) head(ctx context.Context, rel string) (node, error) {
	h, err := b.call(ctx, request{method: http.MethodHead, path: b.namespace(rel)})
	if err != nil {
		return node{}, b.reason(ctx, err)
	}
	n := nodeOf(h)
	n.rel = rel
	if n.id == "" && !n.dir {
		return n, noObject()
	}
	return n, nil
}

// reason asks again where the answer to HEAD, which has no body, does not tell who is to blame.
func (b *backend) reason(ctx context.Context, err error) error {
	if connection.KindOf(err) != connection.ErrPermission && connection.KindOf(err) != connection.ErrAuth {
		return err
	}
	if why := b.service(ctx); why != nil {
		return why
	}
	return err
}

// service asks for what needs no rights but a good signature.
func (b *backend) service(ctx context.Context) error {
	_, err := b.call(ctx, request{method: http.MethodGet, path: "/rest/service"})
	return err
}

func nodeOf(h http.Header) node {
	all := parseMeta(h.Get("X-Emc-Meta"))
	n := node{id: all["objectid"], dir: all["type"] == "directory"}
	describe(&n.ObjectInfo, all)
	n.ContentType = h.Get("Content-Type")
	if period, err := strconv.ParseInt(h.Get("X-Emc-Retention-Period"), 10, 32); err == nil && period > 0 {
		if began := timeOf(all["itime"]); !began.IsZero() {
			n.Lock.RetainUntil = began.Add(time.Duration(period) * time.Second)
		}
	}
	if until := timeOf(all[retentionEnd]); all[retentionEnable] == "true" && until.After(n.Lock.RetainUntil) {
		n.Lock.RetainUntil = until
	}
	return n
}

// sizeOf returns an object's size from its metadata, -1 if it is not told.
func sizeOf(all map[string]string) int64 {
	n, err := strconv.ParseInt(all["size"], 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// timeOf reads a time as the server writes it; zero if it does not.
func timeOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// etag makes up what the provider lacks. A Put makes a new ID; only others change a file in its place.
func etag(id string, size int64) string {
	if id == "" {
		return ""
	}
	return id + "-" + strconv.FormatInt(size, 10)
}

// find looks for the file of a path, which is beside a directory of that name.
func (b *backend) find(ctx context.Context, rel string) (node, error) {
	n, err := b.head(ctx, rel)
	if err == nil && n.dir || connection.KindOf(err) == connection.ErrNotFound {
		n, err = b.head(ctx, rel+beside)
	}
	return n, b.missing(ctx, err)
}

// Stat implements objectstore.Backend.
func (b *backend) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	n, err := b.find(ctx, pathOf(key))
	return n.ObjectInfo, err
}

// Get implements objectstore.Backend. The server has no conditions: the object is compared by the answer.
func (b *backend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	reply, err := b.open(ctx, pathOf(key), req)
	if connection.KindOf(err) == connection.ErrNotFound {
		reply, err = b.open(ctx, pathOf(key)+beside, req)
	}
	return reply, b.missing(ctx, err)
}

// open begins to read the file of a path.
func (b *backend) open(ctx context.Context, rel string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	h := make(http.Header)
	if req.Offset > 0 || req.Length > 0 {
		last := ""
		if req.Length > 0 && req.Length <= math.MaxInt64-req.Offset {
			last = strconv.FormatInt(req.Offset+req.Length-1, 10)
		}
		h.Set("Range", "bytes="+strconv.FormatInt(req.Offset, 10)+"-"+last)
	}
	resp, err := b.do(ctx, request{method: http.MethodGet, path: b.namespace(rel), header: h})
	switch {
	case hasCode(err, codeRange), hasCode(err, "416"): // the latter without a body
		return nil, objectstore.ErrRange
	case err != nil:
		return nil, err
	}
	n := nodeOf(resp.Header)
	reply := &objectstore.Reply{ObjectInfo: n.ObjectInfo, Body: resp.Body}
	switch {
	case n.dir:
		err = &connection.Error{Kind: connection.ErrNotFound}
	case n.id == "":
		err = noObject()
	case resp.StatusCode == http.StatusPartialContent:
		reply.Offset, reply.Size, err = contentRange(resp.Header.Get("Content-Range"), n.Size)
	case resp.ContentLength >= 0:
		reply.Size = resp.ContentLength
	}
	reply.ETag = etag(n.id, reply.Size)
	if err == nil && req.IfMatch != "" && req.IfMatch != reply.ETag {
		err = &connection.Error{Kind: connection.ErrChanged}
	}
	if err != nil {
		_ = resp.Body.Close() // not wanted
		return nil, err
	}
	return reply, nil
}

// contentRange reads "bytes 5-9/20".
func contentRange(text string, known int64) (offset, size int64, err error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	offset, err = strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil || offset < 0 {
		return 0, 0, &connection.Error{Kind: connection.ErrProtocol, Err: err}
	}
	if size, err = strconv.ParseInt(total, 10, 64); err != nil || size < 0 {
		size = known // "*"
	}
	return offset, size, nil
}
