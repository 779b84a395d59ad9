package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A bentStore does what its functions say, and else what the double does.
type bentStore struct {
	*ObjectStore
	put    func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error)
	get    func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error)
	list   func(ctx context.Context, o connection.ListOptions) iter.Seq2[connection.ObjectInfo, error]
	remove func(ctx context.Context, keys ...string) error
	copied func(ctx context.Context, dst, src string, opts *connection.PutOptions) (connection.ObjectInfo, error)
	key    func(key string) string
}

func (b *bentStore) mapped(key string) string {
	if b.key != nil {
		return b.key(key)
	}
	return key
}

func (b *bentStore) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	var o connection.PutOptions
	if opts != nil {
		o = *opts
	}
	key = b.mapped(key)
	if b.put != nil {
		return b.put(ctx, key, r, o)
	}
	return b.ObjectStore.Put(ctx, key, r, &o)
}

func (b *bentStore) Get(ctx context.Context, key string, opts *connection.GetOptions) (*connection.Object, error) {
	var o connection.GetOptions
	if opts != nil {
		o = *opts
	}
	key = b.mapped(key)
	if b.get != nil {
		return b.get(ctx, key, o)
	}
	return b.ObjectStore.Get(ctx, key, &o)
}

func (b *bentStore) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	return b.ObjectStore.Stat(ctx, b.mapped(key))
}

func (b *bentStore) List(ctx context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	var o connection.ListOptions
	if opts != nil {
		o = *opts
	}
	if b.list != nil {
		return b.list(ctx, o)
	}
	return b.ObjectStore.List(ctx, &o)
}

func (b *bentStore) Delete(ctx context.Context, keys ...string) error {
	keys = slices.Clone(keys)
	for i, key := range keys {
		keys[i] = b.mapped(key)
	}
	if b.remove != nil {
		return b.remove(ctx, keys...)
	}
	return b.ObjectStore.Delete(ctx, keys...)
}

func (b *bentStore) Copy(ctx context.Context, dst, src string, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	if b.copied != nil {
		return b.copied(ctx, dst, src, opts)
	}
	return b.ObjectStore.Copy(ctx, dst, src, opts)
}

// store is a harness whose connections are bent.
func store(bend func(b *bentStore)) func() Harness {
	return func() Harness {
		return objectHarness(func(o *ObjectStore) connection.Connection {
			b := &bentStore{ObjectStore: o}
			bend(b)
			return b
		})
	}
}

// onPut bends Put: f may change the options.
func onPut(f func(o *connection.PutOptions)) func() Harness {
	return store(func(b *bentStore) {
		b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
			f(&o)
			return b.ObjectStore.Put(ctx, key, r, &o)
		}
	})
}

// onGet bends Get: f may change the options.
func onGet(f func(o *connection.GetOptions)) func() Harness {
	return store(func(b *bentStore) {
		b.get = func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error) {
			f(&o)
			return b.ObjectStore.Get(ctx, key, &o)
		}
	})
}

// onList bends List: f may change the options.
func onList(f func(o *connection.ListOptions)) func() Harness {
	return store(func(b *bentStore) {
		b.list = func(ctx context.Context, o connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
			f(&o)
			return b.ObjectStore.List(ctx, &o)
		}
	})
}

var plantedStores = []planted{
	{
		bug: "cuts a big object short", rule: PutGet,
		harness: store(func(b *bentStore) {
			b.get = func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error) {
				if o.Offset == 0 && o.Length == 0 {
					o.Length = 60_000
				}
				return b.ObjectStore.Get(ctx, key, &o)
			}
		}),
		also: []string{PutAll, PutNeverTorn, GetRanges, CloseEnds},
	},
	{
		bug: "shows a part of an object that is being put", rule: PutNeverTorn,
		harness: store(func(b *bentStore) {
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				if o.Size > 0 || o.SHA256 != "" || o.IfAbsent || o.Meta != nil || o.Class != "" {
					return b.ObjectStore.Put(ctx, key, r, &o)
				}
				raw, err := io.ReadAll(r)
				if err != nil || ctx.Err() != nil || len(raw) < 40_000 {
					return b.ObjectStore.Put(ctx, key, io.MultiReader(bytes.NewReader(raw), failing{eof(err)}), &o)
				}
				if _, err := b.ObjectStore.Put(ctx, key, bytes.NewReader(raw[:len(raw)/2]), nil); err != nil {
					return connection.ObjectInfo{}, err
				}
				<-time.After(20 * time.Millisecond)
				return b.ObjectStore.Put(ctx, key, bytes.NewReader(raw), &o)
			}
		}),
		also: []string{},
	},
	{
		bug: "keeps the part that it got when the reader fails", rule: PutAll,
		harness: store(func(b *bentStore) {
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				raw, err := io.ReadAll(r)
				if err != nil {
					if _, putErr := b.ObjectStore.Put(ctx, key, bytes.NewReader(raw), nil); putErr != nil {
						return connection.ObjectInfo{}, putErr
					}
					return connection.ObjectInfo{}, b.failed("put", connection.Ref{}, key, err)
				}
				return b.ObjectStore.Put(ctx, key, bytes.NewReader(raw), &o)
			}
		}),
	},
	{
		bug: "stores what it has when its context ends", rule: PutAll,
		harness: store(func(b *bentStore) {
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				before := ctx.Err()
				info, err := b.ObjectStore.Put(context.WithoutCancel(ctx), key, r, &o)
				if before == nil && ctx.Err() != nil && err == nil {
					return info, b.failed("put", connection.Ref{}, key, ctx.Err())
				}
				return info, err
			}
		}),
		also: []string{CanceledAtOnce},
	},
	{bug: "overwrites with IfAbsent", rule: PutIfAbsent, harness: onPut(func(o *connection.PutOptions) { o.IfAbsent = false })},
	{
		bug: "looks first and then puts, instead of at once", rule: PutIfAbsent,
		harness: store(func(b *bentStore) {
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				if o.IfAbsent {
					if _, err := b.ObjectStore.Stat(ctx, key); err == nil {
						return connection.ObjectInfo{}, b.error("put", connection.Ref{}, key, connection.ErrExists, nil)
					}
					<-time.After(time.Millisecond)
					o.IfAbsent = false
				}
				return b.ObjectStore.Put(ctx, key, r, &o)
			}
		}),
	},
	{bug: "does not check the size", rule: PutChecks, harness: onPut(func(o *connection.PutOptions) { o.Size = 0 }), also: []string{PutAll}},
	{bug: "does not check the digest", rule: PutChecks, harness: onPut(func(o *connection.PutOptions) { o.SHA256 = "" }), also: []string{PutAll}},
	{bug: "drops metadata", rule: PutMeta, harness: onPut(func(o *connection.PutOptions) { o.Meta = nil })},
	{bug: "ignores the storage class", rule: PutMeta, harness: onPut(func(o *connection.PutOptions) { o.Class = "" })},
	{bug: "ignores the range", rule: GetRanges, harness: onGet(func(o *connection.GetOptions) { o.Offset, o.Length = 0, 0 })},
	{bug: "ignores IfMatch", rule: GetMissing, harness: onGet(func(o *connection.GetOptions) { o.IfMatch = "" })},
	{
		bug: "gives an empty object for a missing one", rule: GetMissing,
		harness: store(func(b *bentStore) {
			b.get = func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error) {
				obj, err := b.ObjectStore.Get(ctx, key, &o)
				if errors.Is(err, connection.ErrNotFound) {
					return &connection.Object{ObjectInfo: connection.ObjectInfo{Key: key}, Body: io.NopCloser(bytes.NewReader(nil))}, nil
				}
				return obj, err
			}
		}),
		also: []string{PutAll, PutChecks, PutMeta, KeysKept, KeysNested, ObjectsDelete, LockHolds},
	},
	{
		bug: "lists a tree in the order of its names", rule: ListOrder,
		harness: store(func(b *bentStore) {
			b.list = func(ctx context.Context, o connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
				return func(yield func(connection.ObjectInfo, error) bool) {
					var all []connection.ObjectInfo
					for info, err := range b.ObjectStore.List(ctx, &o) {
						if err != nil {
							yield(info, err)
							return
						}
						all = append(all, info)
					}
					slices.SortFunc(all, func(a, b connection.ObjectInfo) int {
						return slices.Compare(strings.Split(a.Key, "/"), strings.Split(b.Key, "/"))
					})
					for _, info := range all {
						if !yield(info, nil) {
							return
						}
					}
				}
			}
		}),
		also: []string{ListOptions, KeysKept},
	},
	{bug: "ignores After", rule: ListOptions, harness: onList(func(o *connection.ListOptions) { o.After = "" })},
	{bug: "ignores Delimiter", rule: ListOptions, harness: onList(func(o *connection.ListOptions) { o.Delimiter = "" })},
	{bug: "takes Prefix for a directory", rule: ListOptions, harness: onList(func(o *connection.ListOptions) { o.Prefix = path.Dir(o.Prefix + "x") }), also: []string{PutAll, PutGet, PutChecks, PutMeta, PutIfAbsent, KeysKept, KeysNested, ListOrder, ObjectsDelete, LockHolds, CopyCopies, CanceledAtOnce, TestChangesNothing, ClosedSaysClosed, KeysRefused, CloseEnds}},
	{bug: "folds the case of keys", rule: KeysKept, harness: store(func(b *bentStore) { b.key = strings.ToLower }), also: []string{ListOrder, ListOptions, GetMissing, KeysRefused}},
	{
		bug: "cleans keys as paths", rule: KeysRefused,
		harness: store(func(b *bentStore) {
			b.key = func(key string) string {
				if key == "" {
					return key
				}
				return strings.TrimPrefix(path.Clean("/"+key), "/")
			}
		}),
		also: []string{},
	},
	{
		bug: "cannot hold a key below another", rule: KeysNested,
		harness: store(func(b *bentStore) {
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				for dir := path.Dir(key); dir != "." && dir != "/"; dir = path.Dir(dir) {
					if _, err := b.ObjectStore.Stat(ctx, dir); err == nil {
						return connection.ObjectInfo{}, b.error("put", connection.Ref{}, key, connection.ErrInvalid, errors.New("not a directory"))
					}
				}
				return b.ObjectStore.Put(ctx, key, r, &o)
			}
		}),
	},
	{
		bug: "deletes by prefix", rule: ObjectsDelete,
		harness: store(func(b *bentStore) {
			b.remove = func(ctx context.Context, keys ...string) error {
				for _, key := range slices.Clone(keys) {
					for info, err := range b.ObjectStore.List(ctx, &connection.ListOptions{Prefix: key}) {
						if err != nil {
							return err
						}
						keys = append(keys, info.Key)
					}
				}
				return b.ObjectStore.Delete(ctx, keys...)
			}
		}),
		also: []string{KeysKept, KeysNested, KeysRefused},
	},
	{
		bug: "replaces what is locked", rule: LockHolds,
		harness: store(func(b *bentStore) {
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				info, err := b.ObjectStore.Put(ctx, key, r, &o)
				if errors.Is(err, connection.ErrLocked) {
					return connection.ObjectInfo{Key: key}, nil
				}
				return info, err
			}
		}),
	},
	{
		bug: "copies over what is there", rule: CopyCopies,
		harness: store(func(b *bentStore) {
			b.copied = func(ctx context.Context, dst, src string, _ *connection.PutOptions) (connection.ObjectInfo, error) {
				return b.ObjectStore.Copy(ctx, dst, src, nil)
			}
		}),
	},
}

// eof is err, or io.EOF for none.
func eof(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}
