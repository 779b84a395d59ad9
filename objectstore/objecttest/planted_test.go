package objecttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A planted bug is a store that fails in one edge case. The suite must catch it by the rule of that case.
type planted struct {
	bug     string
	rule    string
	flaws   flaws
	bent    bent
	harness func(h *Harness)
}

// TestPlantedBugsAreCaught runs its rule against every planted bug.
func TestPlantedBugsAreCaught(t *testing.T) {
	var wg sync.WaitGroup
	places := make(chan struct{}, 12) // most of the time all of them wait
	for _, p := range plants {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			h := toyHarness(p.flaws, &p.bent)
			h.Soon = time.Second
			h.Huge = 3 << 20
			h.few, h.limit = true, 20*time.Second
			if p.harness != nil {
				p.harness(&h)
			}
			at := slices.IndexFunc(rules, func(r rule) bool { return r.name == p.rule })
			if at < 0 {
				t.Errorf("%s: there is no rule %q", p.bug, p.rule)
				return
			}
			failures, without := rules[at].run(t, &h)
			switch {
			case without != "":
				t.Errorf("%s: rule %q does not apply: %s", p.bug, p.rule, without)
			case len(failures) == 0:
				t.Errorf("%s: rule %q did not catch it", p.bug, p.rule)
			case strings.HasPrefix(failures[0].text, "did not end within"):
				t.Logf("%s: rule %q ended by its limit only", p.bug, p.rule)
			}
		})
	}
	wg.Wait()
}

// TestEveryRuleCatchesSomething shows that no rule is there for nothing.
func TestEveryRuleCatchesSomething(t *testing.T) {
	caught := map[string]bool{}
	for _, p := range plants {
		caught[p.rule] = true
	}
	for _, r := range Rules() {
		if !caught[r.Name] {
			t.Errorf("no planted bug is there to be caught by %q", r.Name)
		}
	}
}

// A bentBackend does what its functions say, and else what it wraps does.
type bentBackend struct {
	*toyBackend
	put      func(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error)
	get      func(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error)
	stat     func(ctx context.Context, key string) (connection.ObjectInfo, error)
	list     func(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error)
	remove   func(ctx context.Context, key string) error
	many     func(ctx context.Context, keys []string) ([]error, error)
	complete func(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (connection.ObjectInfo, error)
	part     func(ctx context.Context, key, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (string, error)
}

func (b *bentBackend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	if b.put != nil {
		return b.put(ctx, key, body, req)
	}
	return b.toyBackend.Put(ctx, key, body, req)
}

func (b *bentBackend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	if b.get != nil {
		return b.get(ctx, key, req)
	}
	return b.toyBackend.Get(ctx, key, req)
}

func (b *bentBackend) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	if b.stat != nil {
		return b.stat(ctx, key)
	}
	return b.toyBackend.Stat(ctx, key)
}

func (b *bentBackend) List(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
	if b.list != nil {
		return b.list(ctx, req)
	}
	return b.toyBackend.List(ctx, req)
}

func (b *bentBackend) Delete(ctx context.Context, key string) error {
	if b.remove != nil {
		return b.remove(ctx, key)
	}
	return b.toyBackend.Delete(ctx, key)
}

func (b *bentBackend) DeleteMany(ctx context.Context, keys []string) ([]error, error) {
	if b.many != nil {
		return b.many(ctx, keys)
	}
	return b.toyBackend.DeleteMany(ctx, keys)
}

func (b *bentBackend) Complete(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	if b.complete != nil {
		return b.complete(ctx, key, upload, parts, req)
	}
	return b.toyBackend.Complete(ctx, key, upload, parts, req)
}

func (b *bentBackend) PutPart(ctx context.Context, key, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (string, error) {
	if b.part != nil {
		return b.part(ctx, key, upload, body, req)
	}
	return b.toyBackend.PutPart(ctx, key, upload, body, req)
}

// backend bends the Backend.
func backend(bend func(b *bentBackend)) bent {
	return bent{wrap: func(b objectstore.Backend) objectstore.Backend {
		w := &bentBackend{toyBackend: b.(*toyBackend)}
		bend(w)
		return w
	}}
}

// asKind makes errors of one kind another's.
func asKind(from, to connection.Kind) bent {
	return bent{err: func(_ string, err error) error {
		var e *connection.Error
		if errors.As(err, &e) && e.Kind == from {
			e.Kind = to
		}
		return err
	}}
}

// onStore bends the connection itself.
func onStore(bend func(s connection.ObjectStore) connection.ObjectStore) func(h *Harness) {
	return func(h *Harness) {
		open := h.Open
		h.Open = func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			return bend(open(t, env, tuning))
		}
	}
}

// A bentStore puts and reads as its functions say.
type bentStore struct {
	*toyStore
	put func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error)
	get func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error)
}

func (b *bentStore) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	var o connection.PutOptions
	if opts != nil {
		o = *opts
	}
	if b.put == nil {
		return b.toyStore.Put(ctx, key, r, &o)
	}
	return b.put(ctx, key, r, o)
}

func (b *bentStore) Get(ctx context.Context, key string, opts *connection.GetOptions) (*connection.Object, error) {
	var o connection.GetOptions
	if opts != nil {
		o = *opts
	}
	if b.get == nil {
		return b.toyStore.Get(ctx, key, &o)
	}
	return b.get(ctx, key, o)
}

// onPut bends Put by its options.
func onPut(change func(key string, o *connection.PutOptions)) func(h *Harness) {
	return onStore(func(s connection.ObjectStore) connection.ObjectStore {
		b := &bentStore{toyStore: s.(*toyStore)}
		b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
			change(key, &o)
			return b.toyStore.Put(ctx, key, r, &o)
		}
		return b
	})
}

// onGet bends Get by its options.
func onGet(change func(o *connection.GetOptions)) func(h *Harness) {
	return onStore(func(s connection.ObjectStore) connection.ObjectStore {
		b := &bentStore{toyStore: s.(*toyStore)}
		b.get = func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error) {
			change(&o)
			return b.toyStore.Get(ctx, key, &o)
		}
		return b
	})
}

// A careless store calls its Backend without the layers of objectstore.Store: whatever is read is what there is.
func careless(h *Harness) {
	onStore(func(s connection.ObjectStore) connection.ObjectStore {
		b := &bentStore{toyStore: s.(*toyStore)}
		b.get = func(ctx context.Context, key string, o connection.GetOptions) (*connection.Object, error) {
			reply, err := (&toyBackend{b.toyStore}).Get(ctx, key, &objectstore.GetRequest{Offset: o.Offset, Length: o.Length})
			if err != nil {
				return nil, &connection.Error{Op: "get", Driver: "toy", Kind: connection.KindOf(err), Err: err}
			}
			return &connection.Object{ObjectInfo: reply.ObjectInfo, Body: &short{reply.Body}}, nil
		}
		return b
	})(h)
}

// A short body takes every error for its end.
type short struct{ io.ReadCloser }

func (s *short) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// resend is a transport that repeats by itself.
type resend struct {
	next  http.RoundTripper
	again func(resp *http.Response, err error) bool
	times int
}

func (s *resend) RoundTrip(r *http.Request) (*http.Response, error) {
	for i := 0; ; i++ {
		resp, err := s.next.RoundTrip(r)
		if i == s.times || !s.again(resp, err) || r.Body != nil && r.Body != http.NoBody {
			return resp, err
		}
		if resp != nil {
			_ = resp.Body.Close() // the next one counts
		}
	}
}

func repeats(times int, again func(resp *http.Response, err error) bool) bent {
	return bent{transport: func(next http.RoundTripper) http.RoundTripper { return &resend{next, again, times} }}
}

func tuned(change func(*objectstore.Tuning)) bent { return bent{tuning: change} }

func formEscape(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") }
