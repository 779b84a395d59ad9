package objecttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// medium is the size of objects that one request carries.
const medium = 100 << 10

// octets returns n octets that look like nothing else; equal seeds give equal octets.
func octets(seed uint64, n int64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	raw := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(raw) // it never fails
	return raw
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// plain hides all but Read.
type plain struct{ io.Reader }

// wired is open for a rule of the network; it ends the rule if the store makes no requests.
func (x *exam) wired(change func(*objectstore.Tuning)) (connection.ObjectStore, *line) {
	s, l := x.open(change)
	_, err := s.Stat(x.ctx, "is-it-wired")
	x.want("stat of a missing object", err, connection.ErrNotFound)
	if len(l.passed()) == 0 {
		x.skip("the store makes no request through Env.HTTPClient")
	}
	l.repair()
	return s, l
}

func once(t *objectstore.Tuning) { t.MaxAttempts = 1 }

func (x *exam) needTuned() {
	if !x.h.Tuned {
		x.skip("the harness's Open does not obey tuning")
	}
}

func (x *exam) needParts() {
	if x.h.Parts == 0 {
		x.skip("the harness has no Parts")
	}
}

// features returns what s can do.
func (x *exam) features(s connection.ObjectStore) objectstore.Features {
	if c, ok := s.(interface {
		Capabilities() objectstore.Capabilities
	}); ok {
		return c.Capabilities().Features
	}
	return x.h.Features
}

// can returns s as the capability T; it ends the rule if s lacks it.
func can[T any](x *exam, s connection.ObjectStore) T {
	t, err := connection.As[T](s)
	if err != nil {
		x.skip(err.Error())
	}
	return t
}

// unsupported ends the rule if err says that the store cannot.
func (x *exam) unsupported(err error) {
	if errors.Is(err, connection.ErrUnsupported) {
		x.skip(err.Error())
	}
}

// put puts and stops on an error.
func (x *exam) put(s connection.ObjectStore, key string, raw []byte) (info connection.ObjectInfo) {
	x.within(x.patience(), "Put", func() {
		var err error
		info, err = s.Put(x.ctx, key, bytes.NewReader(raw), nil)
		x.ok("put of "+key, err)
	})
	return info
}

// tryPut puts, and gives up if that takes too long.
func (x *exam) tryPut(ctx context.Context, s connection.ObjectStore, key string, r io.Reader, opts *connection.PutOptions) (err error) {
	x.within(x.patience(), "Put", func() {
		_, err = s.Put(ctx, key, r, opts)
		x.note("put", err)
	})
	return err
}

// tryGet reads an object, or what is wanted of it, to its end.
func (x *exam) tryGet(s connection.ObjectStore, key string, opts *connection.GetOptions) (raw []byte, info connection.ObjectInfo, err error) {
	x.within(x.patience(), "Get", func() {
		var o *connection.Object
		if o, err = s.Get(x.ctx, key, opts); err != nil {
			x.note("get", err)
			return
		}
		info = o.ObjectInfo
		raw, err = io.ReadAll(o.Body)
		x.note("get (reading)", err)
		x.note("get (closing a body)", o.Body.Close())
	})
	return raw, info, err
}

// list returns the keys that List yields.
func (x *exam) list(s connection.ObjectStore, opts *connection.ListOptions) (keys []string) {
	x.within(x.patience(), "List", func() {
		for info, err := range s.List(x.ctx, opts) {
			x.ok("list", err)
			if info.Prefix {
				info.Key += " (prefix)"
			}
			keys = append(keys, info.Key)
		}
	})
	return keys
}

// listed waits until List gives the keys, and fails if it does not.
func (x *exam) listed(s connection.ObjectStore, when string, opts *connection.ListOptions, want []string) {
	var got []string
	if poll(x.h.Eventual, func() bool {
		got = x.list(s, opts)
		return slices.Equal(got, want)
	}) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	x.fail("%s: %d entries are listed, want %d; from number %d on got %q, want %q", when, len(got), len(want), at, got[at:min(len(got), at+5)], want[at:min(len(want), at+5)])
}

// holds fails if key does not hold want, by Get, Stat and List; nil means that there is no object.
func (x *exam) holds(s connection.ObjectStore, when, key string, want []byte) {
	got, _, err := x.tryGet(s, key, nil)
	info, statErr := s.Stat(x.ctx, key)
	x.note("stat", statErr)
	if want == nil {
		if !errors.Is(err, connection.ErrNotFound) || !errors.Is(statErr, connection.ErrNotFound) {
			x.fail("%s: under %.60q Get gives %d octets and error %v, Stat error %v; want nothing there", when, key, len(got), err, statErr)
		}
		x.lists(s, when, key, false)
		return
	}
	if err != nil || statErr != nil || !bytes.Equal(got, want) || info.Size != int64(len(want)) {
		x.fail("%s: under %.60q Get gives %s, error %v, and Stat %d octets, error %v; want %d octets", when, key, differ(got, want), err, info.Size, statErr, len(want))
	}
	x.lists(s, when, key, true)
}

// lists waits until key is listed, or is not, and fails if it does not come to that.
func (x *exam) lists(s connection.ObjectStore, when, key string, want bool) {
	if !poll(x.h.Eventual, func() bool {
		return slices.Contains(x.list(s, &connection.ListOptions{Prefix: key}), key) == want
	}) {
		x.fail("%s: listed under %.60q: %t, want %t", when, key, !want, want)
	}
}

// differ says how got is not want.
func differ(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%d octets that differ from octet %d on", len(got), i)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d octets instead of %d", len(got), len(want))
	}
	return "the right octets"
}

// clean fails if an unfinished write is left behind.
func (x *exam) clean(s connection.ObjectStore, when string) {
	l, ok := s.(connection.IncompleteLister)
	if !ok {
		return
	}
	var left []connection.Incomplete
	if !poll(x.h.Eventual, func() bool {
		left = x.incomplete(l)
		return len(left) == 0
	}) {
		x.fail("%s: %d unfinished writes are left behind: %+v", when, len(left), left[0])
	}
}

func (x *exam) incomplete(l connection.IncompleteLister) (left []connection.Incomplete) {
	for one, err := range l.Incomplete(x.ctx) {
		x.note("incomplete", err)
		if err != nil {
			if !errors.Is(err, connection.ErrUnsupported) {
				x.stop("incomplete: %v", err)
			}
			return nil
		}
		left = append(left, one)
	}
	return left
}

// A verb is one of an object store's.
type verb struct {
	name string
	do   func(ctx context.Context, s connection.ObjectStore) error
}

// verbs are those that every store has, each with the key given.
func verbs(key string) []verb {
	return []verb{
		{"put", func(ctx context.Context, s connection.ObjectStore) error {
			_, err := s.Put(ctx, key, bytes.NewReader(octets(1, 100)), nil)
			return err
		}},
		{"get", func(ctx context.Context, s connection.ObjectStore) error {
			o, err := s.Get(ctx, key, nil)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, o.Body)
			return errors.Join(err, o.Body.Close())
		}},
		{"stat", func(ctx context.Context, s connection.ObjectStore) error {
			_, err := s.Stat(ctx, key)
			return err
		}},
		{"delete", func(ctx context.Context, s connection.ObjectStore) error { return s.Delete(ctx, key) }},
		{"list", func(ctx context.Context, s connection.ObjectStore) error {
			for _, err := range s.List(ctx, nil) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	}
}
