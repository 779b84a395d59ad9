package connectiontest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

// An ObjectStore is a connection to a bucket that lives in memory: a double for the tests of programs that store and
// read objects. It keeps the promises of package connection, verifies what it reads, honours locks, and is safe for
// concurrent use. Make one with [NewObjectStore].
type ObjectStore struct {
	double
	state *objectState
}

type objectState struct {
	fault faultFunc

	mu      sync.Mutex
	objects map[string]*object
	puts    int64
}

// object is what a key holds. Only lock changes; a new Put makes a new object.
type object struct {
	info connection.ObjectInfo
	data []byte
}

var (
	_ connection.ObjectStore = (*ObjectStore)(nil)
	_ connection.Copier      = (*ObjectStore)(nil)
	_ connection.Locker      = (*ObjectStore)(nil)
)

// NewObjectStore returns an empty store.
func NewObjectStore() *ObjectStore {
	s := &objectState{objects: map[string]*object{}}
	return &ObjectStore{double: newDouble("bucket", &s.fault), state: s}
}

// Reopen returns a new connection to the same bucket, as a program gets that starts again.
func (o *ObjectStore) Reopen() *ObjectStore {
	return &ObjectStore{double: newDouble("bucket", &o.state.fault), state: o.state}
}

// Objects returns the octets of all objects by their keys.
func (o *ObjectStore) Objects() map[string][]byte {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	all := make(map[string][]byte, len(o.state.objects))
	for key, obj := range o.state.objects {
		all[key] = bytes.Clone(obj.data)
	}
	return all
}

// Damage inverts a bit of the object under key, as a failing disk would; Get notices. It reports whether there was one.
func (o *ObjectStore) Damage(key string) bool {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	obj := o.state.objects[key]
	if obj == nil || len(obj.data) == 0 {
		return false
	}
	bad := *obj
	bad.data = bytes.Clone(obj.data)
	bad.data[len(bad.data)/2] ^= 1
	o.state.objects[key] = &bad
	return true
}

// Inject makes verbs fail: f is asked with the verb ("put", "get", "stat", "list", "delete", "copy", "lock", "test")
// and the key ("" where there is none), and the error it returns becomes the verb's. An error without a
// *connection.Error in its chain is wrapped in one. f may block, and is called by several goroutines at once; nil ends
// it.
func (o *ObjectStore) Inject(f func(op, key string) error) {
	o.state.fault.mu.Lock()
	defer o.state.fault.mu.Unlock()
	o.state.fault.f = f
}

// Test implements connection.Connection.
func (o *ObjectStore) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	o.state.mu.Lock()
	n := len(o.state.objects)
	o.state.mu.Unlock()
	return o.test(ctx, opts, "open", fmt.Sprintf("%d objects", n))
}

// start is what every verb on a key does first.
func (o *ObjectStore) start(ctx context.Context, op, key string) error {
	if err := o.begin(ctx, op); err != nil {
		return err
	}
	if why := badKey(key); why != "" {
		return &connection.Error{Op: op, Driver: doubleDriver, Endpoint: o.kind, Key: key, Kind: connection.ErrUnsupported, Code: "InvalidKey", Err: errors.New(why)}
	}
	if err := o.planned(op, key); err != nil {
		return o.failed(op, connection.Ref{}, key, err)
	}
	return nil
}

// badKey says which rule the key breaks.
func badKey(key string) string {
	switch {
	case key == "":
		return "the key is empty"
	case len(key) > 1024:
		return "the key has more than 1024 octets"
	case !utf8.ValidString(key):
		return "the key is not UTF-8"
	case strings.ContainsFunc(key, unicode.IsControl):
		return "the key holds a control character"
	case strings.Contains(key, `\`):
		return "the key holds a backslash"
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return "the key begins or ends with a slash, or has two in a row"
		case segment == "." || segment == "..":
			return "the key has . or .. as a segment"
		case len(segment) > 255:
			return "a segment of the key has more than 255 octets"
		}
	}
	return ""
}

// Put implements connection.Putter.
func (o *ObjectStore) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	var opt connection.PutOptions
	if opts != nil {
		opt = *opts
	}
	none := connection.ObjectInfo{}
	if err := o.start(ctx, "put", key); err != nil {
		return none, err
	}
	if opt.Class != "" {
		return none, o.error("put", connection.Ref{}, key, connection.ErrUnsupported, errors.New("there are no storage classes here"))
	}
	data, err := o.readAll(ctx, "put", r, opt.Size)
	if err != nil {
		return none, err
	}
	if opt.Progress != nil {
		opt.Progress(int64(len(data)))
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	if opt.SHA256 != "" && opt.SHA256 != digest {
		return none, o.error("put", connection.Ref{}, key, connection.ErrCorrupt, fmt.Errorf("the octets hash to %s", digest))
	}
	info := connection.ObjectInfo{Key: key, SHA256: digest, ContentType: opt.ContentType, Meta: maps.Clone(opt.Meta), Lock: opt.Lock}
	return o.replace("put", info, data, opt.IfAbsent)
}

// replace makes the key hold the object, unless what it holds forbids it.
func (o *ObjectStore) replace(op string, info connection.ObjectInfo, data []byte, ifAbsent bool) (connection.ObjectInfo, error) {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	old := o.state.objects[info.Key]
	switch {
	case old != nil && ifAbsent:
		return connection.ObjectInfo{}, o.error(op, connection.Ref{}, info.Key, connection.ErrExists, nil)
	case old != nil && locked(old.info.Lock):
		return connection.ObjectInfo{}, o.error(op, connection.Ref{}, info.Key, connection.ErrLocked, nil)
	}
	o.state.puts++
	info.Size = int64(len(data))
	info.Modified = time.Now()
	info.ETag = strconv.FormatInt(o.state.puts, 10)
	o.state.objects[info.Key] = &object{info: info, data: data}
	return cloneInfo(info), nil
}

func locked(l connection.Lock) bool { return l.LegalHold || time.Now().Before(l.RetainUntil) }

func cloneInfo(info connection.ObjectInfo) connection.ObjectInfo {
	info.Meta = maps.Clone(info.Meta)
	return info
}

// look returns what key holds now.
func (o *ObjectStore) look(op, key string) (object, error) {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	obj := o.state.objects[key]
	if obj == nil {
		return object{}, o.error(op, connection.Ref{}, key, connection.ErrNotFound, nil)
	}
	return object{cloneInfo(obj.info), obj.data}, nil
}

// Get implements connection.Getter.
func (o *ObjectStore) Get(ctx context.Context, key string, opts *connection.GetOptions) (*connection.Object, error) {
	var opt connection.GetOptions
	if opts != nil {
		opt = *opts
	}
	if err := o.start(ctx, "get", key); err != nil {
		return nil, err
	}
	if opt.Offset < 0 || opt.Length < 0 {
		return nil, o.error("get", connection.Ref{}, key, connection.ErrInvalid, errors.New("a range begins at 0 or later and is not negative"))
	}
	obj, err := o.look("get", key)
	if err != nil {
		return nil, err
	}
	if opt.IfMatch != "" && opt.IfMatch != obj.info.ETag {
		return nil, o.error("get", connection.Ref{}, key, connection.ErrChanged, nil)
	}
	part := obj.data[min(opt.Offset, int64(len(obj.data))):]
	if opt.Length > 0 {
		part = part[:min(opt.Length, int64(len(part)))]
	}
	b := &body{double: &o.double, ctx: ctx, op: "get", r: bytes.NewReader(part)}
	if len(part) == len(obj.data) && !opt.NoVerify {
		b.atEnd = func() error {
			if sum := sha256.Sum256(obj.data); hex.EncodeToString(sum[:]) != obj.info.SHA256 {
				return o.error("get", connection.Ref{}, key, connection.ErrCorrupt, errors.New("the octets do not hash to what was stored"))
			}
			return nil
		}
	}
	return &connection.Object{ObjectInfo: obj.info, Body: b}, nil
}

// Stat implements connection.ObjectStore.
func (o *ObjectStore) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	if err := o.start(ctx, "stat", key); err != nil {
		return connection.ObjectInfo{}, err
	}
	obj, err := o.look("stat", key)
	return obj.info, err
}

// List implements connection.ObjectStore.
func (o *ObjectStore) List(ctx context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	var opt connection.ListOptions
	if opts != nil {
		opt = *opts
	}
	return func(yield func(connection.ObjectInfo, error) bool) {
		after := opt.After
		for n := 0; opt.Limit == 0 || n < opt.Limit; n++ {
			err := o.begin(ctx, "list")
			if err == nil {
				err = o.planned("list", "")
			}
			if err != nil {
				yield(connection.ObjectInfo{}, o.failed("list", connection.Ref{}, "", err))
				return
			}
			info, ok := o.state.next(after, &opt)
			if !ok || !yield(info, nil) {
				return
			}
			after = info.Key
		}
	}
}

// next returns the first entry behind after.
func (s *objectState) next(after string, o *connection.ListOptions) (connection.ObjectInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		rest, ok := strings.CutPrefix(key, o.Prefix)
		if !ok {
			continue
		}
		if o.Delimiter != "" {
			if folded, _, ok := strings.Cut(rest, o.Delimiter); ok {
				if entry := o.Prefix + folded + o.Delimiter; entry > after {
					return connection.ObjectInfo{Key: entry, Prefix: true}, true
				}
				continue
			}
		}
		if key > after {
			return cloneInfo(s.objects[key].info), true
		}
	}
	return connection.ObjectInfo{}, false
}

// Delete implements connection.ObjectStore.
func (o *ObjectStore) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	for _, key := range keys {
		if err := o.start(ctx, "delete", key); err != nil {
			var e *connection.Error
			if errors.As(err, &e) && e.Key == "" {
				err = o.error("delete", connection.Ref{}, key, e.Kind, err)
			}
			errs = append(errs, err)
			continue
		}
		o.state.mu.Lock()
		if obj := o.state.objects[key]; obj != nil && locked(obj.info.Lock) {
			errs = append(errs, o.error("delete", connection.Ref{}, key, connection.ErrLocked, nil))
		} else {
			delete(o.state.objects, key)
		}
		o.state.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Copy implements connection.Copier. Of opts it obeys IfAbsent and Lock; the rest is src's.
func (o *ObjectStore) Copy(ctx context.Context, dst, src string, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	if err := o.start(ctx, "copy", dst); err != nil {
		return connection.ObjectInfo{}, err
	}
	obj, err := o.look("copy", src)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	info := obj.info
	info.Key, info.Lock = dst, connection.Lock{}
	ifAbsent := false
	if opts != nil {
		ifAbsent, info.Lock = opts.IfAbsent, opts.Lock
	}
	return o.replace("copy", info, obj.data, ifAbsent)
}

// Lock implements connection.Locker.
func (o *ObjectStore) Lock(ctx context.Context, key string, lock connection.Lock) error {
	if err := o.start(ctx, "lock", key); err != nil {
		return err
	}
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	obj := o.state.objects[key]
	if obj == nil {
		return o.error("lock", connection.Ref{}, key, connection.ErrNotFound, nil)
	}
	old := obj.info.Lock.RetainUntil
	switch {
	case lock.RetainUntil.IsZero():
		lock.RetainUntil = old
	case time.Now().Before(old) && lock.RetainUntil.Before(old):
		return o.error("lock", connection.Ref{}, key, connection.ErrLocked, errors.New("a retention in force cannot be shortened"))
	}
	held := *obj
	held.info.Lock = lock
	o.state.objects[key] = &held
	return nil
}
