package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A gifted is a memory that can do everything.
type gifted struct {
	*memory
	left []connection.Incomplete
}

func (g *gifted) Copy(ctx context.Context, dst, src string, req *objectstore.CopyRequest) (connection.ObjectInfo, error) {
	f, err := g.begin(ctx, "copy", dst, src)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	from, err := g.get(src)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	if _, err := g.get(dst); err == nil && req.IfAbsent {
		return connection.ObjectInfo{}, kind(connection.ErrExists, "PreconditionFailed")
	}
	put := &objectstore.PutRequest{SHA256: from.info.SHA256, ContentType: from.info.ContentType, Meta: from.info.Meta}
	if req.Replace {
		put.ContentType, put.Meta = req.ContentType, req.Meta
	}
	return g.set(dst, string(from.data), put), f.err
}

func (g *gifted) Lock(ctx context.Context, key string, lock connection.Lock) error {
	_, err := g.begin(ctx, "lock", key, fmt.Sprint(lock.LegalHold))
	return err
}

func (g *gifted) Restore(ctx context.Context, key string, keep time.Duration) error {
	_, err := g.begin(ctx, "restore", key, keep.String())
	return err
}

func (g *gifted) Presign(ctx context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	_, err := g.begin(ctx, "presign", key, method)
	return connection.NewSecret("https://store/" + key + "?for=" + expires.String()), err
}

func (g *gifted) Incomplete(ctx context.Context, token string) ([]connection.Incomplete, string, error) {
	if _, err := g.begin(ctx, "incomplete", token, ""); err != nil {
		return nil, "", err
	}
	if token == "" && len(g.left) > 1 {
		return g.left[:1], "rest", nil
	}
	return g.left[min(1, len(g.left)):], "", nil
}

func (g *gifted) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	_, err := g.begin(ctx, "abort", one.ID, "")
	return err
}

func newGifted() (*gifted, *objectstore.Store) {
	g := &gifted{memory: newMemory()}
	return g, objectstore.New(g, objectstore.Options{Driver: "mem", Features: objectstore.Features{IfAbsent: true, Meta: true, Lock: true}}, nil)
}

func TestVerbsAStoreLacks(t *testing.T) {
	s := newStore(newMemory(), nil)
	_, err := s.Copy(t.Context(), "b", "a", nil)
	_, presign := s.Presign(t.Context(), "GET", "a", time.Hour)
	_, abort := s.AbortIncomplete(t.Context(), time.Now())
	for name, err := range map[string]error{
		"copy": err, "presign": presign, "abort": abort,
		"lock": s.Lock(t.Context(), "a", connection.Lock{LegalHold: true}), "restore": s.Restore(t.Context(), "a", time.Hour),
	} {
		if !errors.Is(err, connection.ErrUnsupported) {
			t.Errorf("%s: got %v, want ErrUnsupported", name, err)
		}
	}
	if got, want := s.Capabilities(), (objectstore.Capabilities{Features: objectstore.Features{IfAbsent: true, Meta: true}}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, s = newGifted()
	if got := s.Capabilities(); !got.Copy || !got.Lock || !got.Restore || !got.Presign || !got.Incomplete || got.Parts || got.BulkDelete {
		t.Errorf("got %+v", got)
	}
	s.Learn(func(f *objectstore.Features) { f.Lock = false })
	if err := s.Lock(t.Context(), "a", connection.Lock{LegalHold: true}); !errors.Is(err, connection.ErrUnsupported) || s.Capabilities().Lock {
		t.Errorf("got %v of a bucket without locks, want ErrUnsupported", err)
	}
}

func TestCopy(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults []fault
		opts   connection.PutOptions
		taken  bool
		want   connection.Kind
	}{
		{name: "at once"},
		{name: "third attempt", faults: []fault{network, throttled}},
		{name: "lost reply, if absent", faults: []fault{lostReply}, opts: connection.PutOptions{IfAbsent: true}},
		{name: "taken", taken: true, opts: connection.PutOptions{IfAbsent: true}, want: connection.ErrExists},
		{name: "overwritten", taken: true},
		{name: "another digest", opts: connection.PutOptions{SHA256: sum("else")}, want: connection.ErrCorrupt},
		{name: "another size", opts: connection.PutOptions{Size: 99}, want: connection.ErrInvalid},
		{name: "other metadata", opts: connection.PutOptions{Meta: map[string]string{"a": "2"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, s := newGifted()
				g.set("src", "content", &objectstore.PutRequest{SHA256: sum("content"), Meta: map[string]string{"a": "1"}})
				if tc.taken {
					g.set("dst", "before", &objectstore.PutRequest{SHA256: sum("before")})
				}
				g.fail("copy", tc.faults...)
				info, err := s.Copy(t.Context(), "dst", "src", &tc.opts)
				if connection.KindOf(err) != tc.want {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				if tc.want != 0 {
					return
				}
				want := "1"
				if tc.opts.Meta != nil {
					want = "2"
				}
				held := g.objects["dst"]
				if string(held.data) != "content" || info.SHA256 != sum("content") || info.Key != "dst" || held.info.Meta["a"] != want {
					t.Errorf("got %+v, holds %+v", info, held)
				}
			})
		})
	}
	_, s := newGifted()
	if _, err := s.Copy(t.Context(), "dst", "missing", nil); !errors.Is(err, connection.ErrNotFound) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v, want ErrNotFound that names the source", err)
	}
}

func TestVerbsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newGifted()
		for _, op := range []string{"lock", "restore", "presign", "incomplete"} {
			g.fail(op, network, throttled)
		}
		if err := s.Lock(t.Context(), "k", connection.Lock{LegalHold: true}); err != nil {
			t.Error(err)
		}
		if err := s.Restore(t.Context(), "k", 24*time.Hour); err != nil {
			t.Error(err)
		}
		url, err := s.Presign(t.Context(), "PUT", "k", time.Hour)
		if err != nil || !strings.HasPrefix(url.Reveal(), "https://store/k") {
			t.Errorf("got %q, %v", url.Reveal(), err)
		}
		began := time.Now().Add(-time.Hour)
		g.left = []connection.Incomplete{{ID: "old", Started: began}, {ID: "new", Started: time.Now()}, {ID: "unknown"}, {ID: "old too", Started: began}}
		g.fail("abort", network)
		if n, err := s.AbortIncomplete(t.Context(), time.Now().Add(-time.Minute)); n != 2 || err != nil {
			t.Errorf("removed %d, %v, want the two old ones", n, err)
		}
		var listed []string
		for one, err := range s.Incomplete(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, one.ID)
		}
		if got := strings.Join(listed, ","); got != "old,new,unknown,old too" {
			t.Errorf("listed %s", got)
		}
		for _, method := range []string{"DELETE", "get", ""} {
			if _, err := s.Presign(t.Context(), method, "k", time.Hour); !errors.Is(err, connection.ErrInvalid) {
				t.Errorf("%q: got %v, want ErrInvalid", method, err)
			}
		}
	})
}

func TestEmulateIfAbsent(t *testing.T) {
	m := newMemory()
	m.set("taken", "x", nil)
	opts := objectstore.Options{Driver: "mem"}
	ifAbsent := &connection.PutOptions{IfAbsent: true}
	if _, err := objectstore.New(m, opts, nil).Put(t.Context(), "free", strings.NewReader("y"), ifAbsent); !errors.Is(err, connection.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
	opts.Tuning.EmulateIfAbsent = true
	s := objectstore.New(m, opts, nil)
	if _, err := s.Put(t.Context(), "taken", strings.NewReader("y"), ifAbsent); !errors.Is(err, connection.ErrExists) || string(m.objects["taken"].data) != "x" {
		t.Errorf("got %v, want ErrExists", err)
	}
	if _, err := s.Put(t.Context(), "free", strings.NewReader("y"), ifAbsent); err != nil || string(m.objects["free"].data) != "y" {
		t.Errorf("got %v, want it stored", err)
	}
	m.fail("stat", fault{err: kind(connection.ErrPermission, "Denied")})
	if _, err := s.Put(t.Context(), "other", strings.NewReader("y"), ifAbsent); !errors.Is(err, connection.ErrPermission) {
		t.Errorf("got %v, want that looking failed", err)
	}
}

func TestAnyKey(t *testing.T) {
	m := newMemory()
	strict, lax := objectstore.New(m, objectstore.Options{}, nil), objectstore.New(m, objectstore.Options{Tuning: objectstore.Tuning{AllowAnyKey: true}}, nil)
	for _, key := range []string{"a//b", "a/", `a\b`} {
		if _, err := strict.Put(t.Context(), key, strings.NewReader("x"), nil); !errors.Is(err, connection.ErrUnsupported) {
			t.Errorf("%q: got %v, want ErrUnsupported", key, err)
		}
		if _, err := lax.Put(t.Context(), key, strings.NewReader("x"), nil); err != nil {
			t.Errorf("%q with allow_any_key: %v", key, err)
		}
		if _, err := lax.Stat(t.Context(), key); err != nil {
			t.Errorf("%q with allow_any_key: %v", key, err)
		}
	}
	for _, key := range []string{"", "/a", "a/../b", ".", "a\nb", "\xff", strings.Repeat("k", 256), strings.Repeat("k/", 600)} {
		if _, err := lax.Put(t.Context(), key, strings.NewReader("x"), nil); !errors.Is(err, connection.ErrUnsupported) {
			t.Errorf("%q with allow_any_key: got %v, want ErrUnsupported", key, err)
		}
	}
}
