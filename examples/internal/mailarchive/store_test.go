package mailarchive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// memStore is an object store in memory whose verbs a test can make fail, and whose objects it can damage.
type memStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    []string // keys, in order

	beforePut func(ctx context.Context, key string) error
	beforeGet func(key string) error
}

var _ connection.ObjectStore = (*memStore)(nil)

func newMemStore() *memStore { return &memStore{objects: map[string][]byte{}} }

func (s *memStore) fault(op, key string, kind connection.Kind) error {
	return &connection.Error{Op: op, Driver: "memory", Key: key, Kind: kind}
}

func (s *memStore) Info() connection.Info { return connection.Info{Driver: "memory"} }
func (s *memStore) Close() error          { return nil }

func (s *memStore) Test(context.Context, *connection.TestOptions) (*connection.Report, error) {
	return &connection.Report{Info: s.Info()}, nil
}

func (s *memStore) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	if s.beforePut != nil {
		if err := s.beforePut(ctx, key); err != nil {
			return connection.ObjectInfo{}, err
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	sum := sha256.Sum256(data)
	if opts.SHA256 != "" && opts.SHA256 != hex.EncodeToString(sum[:]) || opts.Size > 0 && opts.Size != int64(len(data)) {
		return connection.ObjectInfo{}, s.fault("put", key, connection.ErrCorrupt)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok && opts.IfAbsent {
		return connection.ObjectInfo{}, s.fault("put", key, connection.ErrExists)
	}
	s.objects[key] = data
	s.puts = append(s.puts, key)
	return connection.ObjectInfo{Key: key, Size: int64(len(data))}, nil
}

func (s *memStore) Get(_ context.Context, key string, _ *connection.GetOptions) (*connection.Object, error) {
	if s.beforeGet != nil {
		if err := s.beforeGet(key); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[key]
	if !ok {
		return nil, s.fault("get", key, connection.ErrNotFound)
	}
	info := connection.ObjectInfo{Key: key, Size: int64(len(data))}
	return &connection.Object{ObjectInfo: info, Body: io.NopCloser(bytes.NewReader(data))}, nil
}

func (s *memStore) Stat(_ context.Context, key string) (connection.ObjectInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[key]
	if !ok {
		return connection.ObjectInfo{}, s.fault("stat", key, connection.ErrNotFound)
	}
	return connection.ObjectInfo{Key: key, Size: int64(len(data))}, nil
}

func (s *memStore) List(_ context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	return func(yield func(connection.ObjectInfo, error) bool) {
		last := ""
		for _, key := range s.keys(opts.Prefix) {
			info := connection.ObjectInfo{Key: key}
			if opts.Delimiter != "" {
				if head, _, ok := strings.Cut(strings.TrimPrefix(key, opts.Prefix), opts.Delimiter); ok {
					info = connection.ObjectInfo{Key: opts.Prefix + head + opts.Delimiter, Prefix: true}
				}
			}
			if info.Key == last {
				continue
			}
			last = info.Key
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *memStore) Delete(_ context.Context, keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.objects, key)
	}
	return nil
}

// keys returns the keys with the prefix, sorted.
func (s *memStore) keys(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Sorted(maps.Keys(s.objects))
	return slices.DeleteFunc(all, func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// change replaces the object under key by what edit makes of it; nil removes it.
func (s *memStore) change(key string, edit func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := edit(bytes.Clone(s.objects[key]))
	if data == nil {
		delete(s.objects, key)
		return
	}
	s.objects[key] = data
}
