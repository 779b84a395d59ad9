package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func checkCutUpload(x *exam) {
	x.wired(nil)
	old := octets(1, medium)
	try := func(name string, raw []byte, upload int, size int64) {
		s, l := x.open(func(t *objectstore.Tuning) {
			if x.h.Tuned {
				t.MaxAttempts = 1
			}
		})
		for key, before := range map[string][]byte{"taken/" + name: old, "free/" + name: nil} {
			if before != nil {
				x.put(s, key, before)
			}
			at := rand.Int64N(size)
			when := fmt.Sprintf("after Put whose upload %d of %d octets was cut at octet %d", upload, size, at)
			l.onUpload(func(n int, _ call) trouble {
				if n < upload {
					return nil
				}
				return cutUpload(at)
			})
			if err := x.tryPut(x.ctx, s, key, bytes.NewReader(raw), nil); err == nil {
				x.fail("%s: it returned nil", when)
			}
			l.repair()
			again, line := x.open(nil) // which looks more than once, where a connection is in disorder
			x.holds(again, when, key, before)
			x.clean(again, when)
			line.onUpload(func(n int, _ call) trouble {
				if n == upload {
					return cutUpload(at)
				}
				return nil
			})
			x.ok("put over a connection that is cut once", x.tryPut(x.ctx, again, key, bytes.NewReader(raw), nil))
			x.holds(again, "after a Put that was cut once", key, raw)
		}
	}
	x.each(x.h.times(25), func(i int) { // each cuts two puts
		raw := octets(uint64(100+i), medium)
		try(fmt.Sprint("single/", i), raw, 1, int64(len(raw)))
	})
	if x.h.Parts > 0 {
		for upload := range 2 {
			try(fmt.Sprint("parts/", upload), x.large(uint64(upload)), upload+1, x.h.Parts)
		}
	}
}

func checkCanceled(x *exam) {
	s, l := x.wired(nil)
	old := octets(1, medium)
	x.put(s, "taken", old)
	soon := func(when string, key string, before []byte, put func(ctx context.Context) error, arm func(cancel func())) {
		ctx, cancel := context.WithCancel(x.ctx)
		defer cancel()
		canceled := make(chan time.Time, 1)
		arm(func() {
			select {
			case canceled <- time.Now():
			default:
			}
			cancel()
		})
		err := put(ctx)
		select {
		case at := <-canceled:
			if d := time.Since(at); d > x.h.soon() {
				x.fail("%s: it returned %s after its context was done", when, d)
			}
		default:
			x.stop("%s: it returned before (error %v)", when, err)
		}
		if !errors.Is(err, context.Canceled) {
			x.fail("%s: got error %v, which does not hold %v", when, err, context.Canceled)
		}
		l.repair()
		x.holds(s, when, key, before)
		x.clean(s, when)
	}
	for name, raw := range map[string][]byte{"one request": octets(2, medium), "large": x.large(3)} {
		for key, before := range map[string][]byte{"taken": old, "free": nil} {
			put := func(ctx context.Context) error { return x.tryPut(ctx, s, key, bytes.NewReader(raw), nil) }
			soon("Put of "+name+" canceled in the middle of an upload", key, before, put, func(cancel func()) {
				l.onUpload(func(n int, c call) trouble {
					if n != 1 && n*int(max(c.length, 1)) < len(raw)/2 {
						return nil
					}
					return sends(func(r *http.Request, body io.Reader) io.Reader {
						return io.MultiReader(io.LimitReader(body, max(c.length, 2)/2), &waiting{r.Context(), cancel})
					})
				})
			})
			soon("Put of "+name+" canceled between two attempts", key, before, put, func(cancel func()) {
				l.onAny(func(call) trouble {
					time.AfterFunc(10*time.Millisecond, cancel)
					return answers(http.StatusServiceUnavailable, nil, "Retry-After", "5")
				})
			})
		}
	}
}

// A waiting reader calls f and gives nothing until ctx ends.
type waiting struct {
	ctx context.Context //nolint:containedctx // of one request
	f   func()
}

func (w *waiting) Read([]byte) (int, error) {
	w.f()
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func checkLeftovers(x *exam) {
	x.needParts()
	s, l := x.wired(func(t *objectstore.Tuning) { t.MaxAttempts, t.PartWorkers = 1, 1 }) // a part after the other
	lister := can[connection.IncompleteLister](x, s)
	for _, err := range lister.Incomplete(x.ctx) {
		x.unsupported(err)
		x.ok("incomplete", err)
		x.stop("an unfinished write is listed in a new bucket")
	}
	x.put(s, "other", x.large(1))
	began := time.Now()
	var dead atomic.Bool
	l.onAny(func(c call) trouble {
		if dead.Load() {
			return fails(reset("dial"))
		}
		return nil
	})
	l.onUpload(func(n int, _ call) trouble {
		if n < 2 {
			return nil
		}
		dead.Store(true)
		return fails(reset("write"))
	})
	if err := x.tryPut(x.ctx, s, "left", bytes.NewReader(x.large(2)), nil); err == nil {
		x.stop("Put over a line that died returned nil")
	}
	again := x.store()
	lister = can[connection.IncompleteLister](x, again)
	var left []connection.Incomplete
	poll(x.h.soon()+x.h.Eventual, func() bool { left = x.incomplete(lister); return len(left) > 0 })
	if len(left) == 0 {
		x.stop("what a dead process left behind is not listed")
	}
	for _, one := range left {
		if one.ID == "" || one.Key != "" && one.Key != "left" {
			x.fail("what a dead process left behind is listed as %+v", one)
		}
		if age := began.Sub(one.Started); age > time.Hour || age < -time.Hour {
			x.fail("what was left behind at %s is listed as begun at %s", began, one.Started)
		}
	}
	n, err := lister.AbortIncomplete(x.ctx, time.Now().Add(-24*time.Hour))
	x.ok("abort incomplete", err)
	if n != 0 || len(x.incomplete(lister)) != len(left) {
		x.fail("AbortIncomplete of what is older than a day removed what is a moment old (%d)", n)
	}
	n, err = lister.AbortIncomplete(x.ctx, time.Now().Add(24*time.Hour))
	x.ok("abort incomplete", err)
	if n != len(left) {
		x.fail("AbortIncomplete of %d unfinished writes returned %d", len(left), n)
	}
	x.clean(again, "after AbortIncomplete")
	x.holds(again, "after AbortIncomplete", "other", x.large(1))
	x.holds(again, "after AbortIncomplete", "left", nil)
}

func checkOverwriteFails(x *exam) {
	s, l := x.wired(func(t *objectstore.Tuning) { t.MaxAttempts = 2 })
	for i, raw := range [][]byte{octets(1, medium), x.large(2)} {
		key := fmt.Sprint("overwritten/", i)
		x.put(s, key, raw)
		for _, with := range [][]byte{octets(3, medium), x.large(4)} {
			l.onUpload(func(n int, _ call) trouble {
				if n == 1 && len(with) > medium && x.h.Parts > 0 {
					return nil // the first part arrives
				}
				return answers(http.StatusInternalServerError, nil)
			})
			if err := x.tryPut(x.ctx, s, key, bytes.NewReader(with), nil); err == nil {
				x.fail("Put of %d octets that the server did not take returned nil", len(with))
			}
			l.repair()
			x.holds(s, fmt.Sprintf("after an overwrite by %d octets failed", len(with)), key, raw)
			x.clean(s, "after an overwrite failed")
		}
		x.put(s, key, octets(5, medium))
		x.holds(s, "after an overwrite that succeeded", key, octets(5, medium))
	}
	x.listed(s, "after overwrites", nil, []string{"overwritten/0", "overwritten/1"})
}

// named returns n keys in ascending order.
func named(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return keys
}

// fill puts a small object under each key.
func (x *exam) fill(s connection.ObjectStore, keys []string) {
	x.each(len(keys), func(i int) { x.put(s, keys[i], []byte(keys[i])) })
}

func (x *exam) needPage() int {
	if x.h.Page == 0 {
		x.skip("the harness has no Page")
	}
	return x.h.Page
}

func checkManyKeys(x *exam) {
	n := 2*x.needPage() + 5
	s := x.store()
	keys := named("many/", n)
	x.fill(s, keys)
	x.listed(s, "of several pages", nil, keys)
	x.listed(s, "of exactly two pages", &connection.ListOptions{Limit: n - 5}, keys[:n-5])
	x.listed(s, "of a page and one", &connection.ListOptions{After: keys[3], Limit: x.h.Page + 1}, keys[4:x.h.Page+5])
	x.listed(x.store(), "of the last ones", &connection.ListOptions{Prefix: "many/", After: keys[n-3]}, keys[n-2:])
}

func checkDelimiterPages(x *exam) {
	page := x.needPage()
	s := x.store()
	x.fill(s, slices.Concat([]string{"a", "q", "z/1", "z/2"}, named("p/", page+page/2+1)))
	want := []string{"a", "p/ (prefix)", "q", "z/ (prefix)"}
	x.listed(s, "with a prefix of more keys than a page", &connection.ListOptions{Delimiter: "/"}, want)
	x.listed(s, "with a prefix of more keys than a page, and a limit", &connection.ListOptions{Delimiter: "/", Limit: 3}, want[:3])
	x.listed(s, "behind a prefix of more keys than a page", &connection.ListOptions{Delimiter: "/", After: "p/"}, want[2:])
}

func checkListInterrupted(x *exam) {
	s := x.store()
	keys := named("k/", max(30, min(x.h.Page+x.h.Page/2, 1500)))
	x.fill(s, keys)
	x.listed(s, "of what was put", nil, keys)
	for _, err := range s.List(x.ctx, nil) {
		x.ok("list", err)
		break
	}
	ctx, cancel := context.WithCancel(x.ctx)
	var last error
	n := 0
	x.within(x.patience(), "List whose context ends", func() {
		for _, err := range s.List(ctx, nil) {
			if last != nil {
				x.fail("List goes on behind its error %v", last)
			}
			last = err
			n++
			cancel()
		}
	})
	if !errors.Is(last, context.Canceled) || n != 2 {
		x.fail("a listing whose context ended in the first step took %d steps and ended with error %v", n, last)
	}
	x.note("list", last)
	var seen []string
	x.within(2*x.patience(), "Delete within List", func() {
		for info, err := range s.List(x.ctx, nil) {
			x.ok("list", err)
			seen = append(seen, info.Key)
			if len(seen)%10 == 1 {
				x.ok("delete within List", s.Delete(x.ctx, info.Key))
			}
		}
	})
	if !slices.Equal(seen, keys) {
		x.fail("a listing whose keys are deleted meanwhile gave %d of %d keys", len(seen), len(keys))
	}
}

func checkLag(x *exam) {
	if x.h.Lag == nil {
		x.skip("the harness has no Lag")
	}
	s := x.store()
	x.put(s, "old", octets(1, 100))
	const lag = 300 * time.Millisecond
	x.h.Lag(x.t, lag)
	began := time.Now()
	x.put(s, "new", octets(2, 100))
	if got, _, err := x.tryGet(s, "new", nil); err != nil || !bytes.Equal(got, octets(2, 100)) {
		x.fail("Get of what was just put: %s, error %v", differ(got, octets(2, 100)), err)
	}
	if _, err := s.Stat(x.ctx, "new"); err != nil {
		x.fail("Stat of what was just put: %v", err)
	}
	if x.features(s).IfAbsent {
		x.want("put with IfAbsent of what was just put", x.tryPut(x.ctx, s, "new", bytes.NewReader(nil), &connection.PutOptions{IfAbsent: true}), connection.ErrExists)
	}
	x.ok("delete", s.Delete(x.ctx, "old"))
	_, err := s.Stat(x.ctx, "old")
	x.want("stat of what was just deleted", err, connection.ErrNotFound)
	if poll(5*lag+x.h.Eventual, func() bool { return slices.Equal(x.list(s, nil), []string{"new"}) }) {
		return
	}
	x.fail("%s after a change, with a lag of %s, %q are listed", time.Since(began), lag, x.list(s, nil))
}

func checkDeleteSome(x *exam) {
	s := x.store()
	x.fill(s, []string{"one", "two", "three", "stays"})
	bad := []string{"a//b", "../up"}
	err := s.Delete(x.ctx, "one", bad[0], "missing", "two", bad[1], "three")
	x.note("delete", err)
	var named []string
	for e := range connection.Errors(err) {
		named = append(named, e.Key)
	}
	if slices.Sort(named); !slices.Equal(named, []string{"../up", "a//b"}) {
		x.fail("Delete of four good and two bad keys names %q as failed, want %q: %v", named, bad, err)
	}
	x.listed(s, "after Delete", nil, []string{"stays"})
}

func checkDeleteMany(x *exam) {
	s, l := x.open(nil)
	keys := named("d/", 2500)
	var there []string
	for i := 0; i < len(keys); i += 83 {
		there = append(there, keys[i])
	}
	x.fill(s, append(slices.Clone(there), "d0", "e/00000"))
	l.repair()
	x.within(3*x.patience(), "Delete of 2,500 keys", func() { x.ok("delete", s.Delete(x.ctx, keys...)) })
	if c, ok := s.(interface {
		Capabilities() objectstore.Capabilities
	}); ok && c.Capabilities().BulkDelete && !c.Capabilities().Lock && len(l.passed()) > 60 { // locks may need a look at each
		x.fail("Delete of 2,500 keys took %d requests from a store that deletes in bulk", len(l.passed()))
	}
	x.listed(s, "after Delete of 2,500 keys", nil, []string{"d0", "e/00000"})
}
