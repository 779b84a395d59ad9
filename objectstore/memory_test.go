package objectstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A memory is a Backend whose next requests can be made to fail.
type memory struct {
	mu       sync.Mutex
	objects  map[string]stored
	version  int
	requests []string // "put k", "get k 5-", in order
	faults   map[string][]fault

	pageSize    int
	emptyPages  bool // every second page is empty
	ignoreRange bool
	ignoreMatch bool
	noSize      bool
	noETag      bool
}

type stored struct {
	data []byte
	info connection.ObjectInfo
}

// A fault befalls one request of an op. Its zero value is none.
type fault struct {
	err   error
	acted bool         // the server carries the request out before err
	cut   int          // of get: the body ends after so many octets, with err if that is not nil
	mute  bool         // nothing comes until ctx ends
	hook  func(string) // called first, with the key
}

func newMemory() *memory {
	return &memory{objects: map[string]stored{}, faults: map[string][]fault{}, pageSize: 1000}
}

func kind(k connection.Kind, text string) error {
	return &connection.Error{Kind: k, Code: "Code" + text, Err: fmt.Errorf("server said %s", text)}
}

// fail queues faults for the next requests of op.
func (m *memory) fail(op string, faults ...fault) { m.faults[op] = append(m.faults[op], faults...) }

func (m *memory) begin(ctx context.Context, op, key, detail string) (fault, error) {
	m.mu.Lock()
	m.requests = append(m.requests, strings.TrimSpace(op+" "+key+" "+detail))
	var f fault
	if q := m.faults[op]; len(q) > 0 {
		f, m.faults[op] = q[0], q[1:]
	}
	m.mu.Unlock()
	if f.hook != nil {
		f.hook(key)
	}
	if f.mute {
		<-ctx.Done()
		return f, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return f, err
	}
	if f.err != nil && !f.acted && f.cut == 0 {
		return f, f.err
	}
	return f, nil
}

func (m *memory) set(key, data string, req *objectstore.PutRequest) connection.ObjectInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version++
	info := connection.ObjectInfo{Key: key, Size: int64(len(data)), ETag: fmt.Sprint("v", m.version)}
	if m.noETag {
		info.ETag = ""
	}
	if req != nil {
		info.SHA256, info.Meta, info.ContentType = req.SHA256, req.Meta, req.ContentType
	}
	m.objects[key] = stored{[]byte(data), info}
	return info
}

func (m *memory) get(key string) (stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return o, kind(connection.ErrNotFound, "NoSuchKey")
	}
	return o, nil
}

func (m *memory) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	f, err := m.begin(ctx, "put", key, "")
	if err != nil {
		if f.mute {
			_, _ = io.Copy(io.Discard, body)
		}
		return connection.ObjectInfo{}, err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	if _, err := m.get(key); err == nil && req.IfAbsent {
		return connection.ObjectInfo{}, kind(connection.ErrExists, "PreconditionFailed")
	}
	return m.set(key, string(data), req), f.err
}

func (m *memory) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	f, err := m.begin(ctx, "get", key, fmt.Sprintf("%d+%d", req.Offset, req.Length))
	if err != nil {
		return nil, err
	}
	o, err := m.get(key)
	if err != nil {
		return nil, err
	}
	if req.IfMatch != "" && req.IfMatch != o.info.ETag && !m.ignoreMatch {
		return nil, kind(connection.ErrChanged, "PreconditionFailed")
	}
	reply := &objectstore.Reply{ObjectInfo: o.info, Offset: req.Offset}
	data := o.data
	switch {
	case m.ignoreRange:
		reply.Offset = 0
	case req.Offset > 0 && req.Offset >= int64(len(data)):
		return nil, objectstore.ErrRange
	default:
		data = data[req.Offset:]
		if req.Length > 0 {
			data = data[:min(req.Length, int64(len(data)))]
		}
	}
	if m.noSize {
		reply.Size = -1
	}
	r := io.Reader(bytes.NewReader(data))
	if f.cut > 0 {
		tail := io.Reader(strings.NewReader(""))
		switch {
		case f.acted:
			tail = readerFunc(func([]byte) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		case f.err != nil:
			tail = readerFunc(func([]byte) (int, error) { return 0, f.err })
		}
		r = io.MultiReader(bytes.NewReader(data[:min(f.cut, len(data))]), tail)
	}
	reply.Body = io.NopCloser(r)
	return reply, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (m *memory) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	if _, err := m.begin(ctx, "stat", key, ""); err != nil {
		return connection.ObjectInfo{}, err
	}
	o, err := m.get(key)
	return o.info, err
}

func (m *memory) List(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
	f, err := m.begin(ctx, "list", "", req.Token)
	if err != nil {
		return nil, err
	}
	if m.emptyPages && !strings.HasPrefix(req.Token, "e") {
		return &objectstore.Page{Token: "e" + req.Token}, f.err
	}
	after := max(req.After, strings.TrimPrefix(req.Token, "e"))
	m.mu.Lock()
	defer m.mu.Unlock()
	page := &objectstore.Page{}
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if key <= after || !strings.HasPrefix(key, req.Prefix) {
			continue
		}
		info := m.objects[key].info
		if i := strings.Index(key[len(req.Prefix):], req.Delimiter); req.Delimiter != "" && i >= 0 {
			info = connection.ObjectInfo{Key: key[:len(req.Prefix)+i+len(req.Delimiter)], Prefix: true}
		}
		page.Entries = append(page.Entries, info)
		if len(page.Entries) == m.pageSize {
			page.Token = key
			break
		}
	}
	return page, f.err
}

func (m *memory) Delete(ctx context.Context, key string) error {
	f, err := m.begin(ctx, "delete", key, "")
	if err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.objects, key)
	m.mu.Unlock()
	return f.err
}

// bulkMemory also deletes several at once.
type bulkMemory struct{ *memory }

func (bulkMemory) MaxDelete() int { return 10 }

func (b bulkMemory) DeleteMany(ctx context.Context, keys []string) ([]error, error) {
	f, err := b.begin(ctx, "bulk", fmt.Sprint(len(keys)), "")
	if err != nil {
		return nil, err
	}
	each := make([]error, len(keys))
	for i, key := range keys {
		each[i] = b.Delete(ctx, key)
	}
	return each, f.err
}
