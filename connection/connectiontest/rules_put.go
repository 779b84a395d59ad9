package connectiontest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

func (x *exam) store() connection.ObjectStore { return x.open().(connection.ObjectStore) }

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// put puts and ends the rule on an error.
func (x *exam) put(s connection.ObjectStore, key string, raw []byte, opts *connection.PutOptions) (info connection.ObjectInfo) {
	x.within(x.h.patience(), "Put", func() {
		var err error
		info, err = s.Put(x.ctx, key, bytes.NewReader(raw), opts)
		x.ok("put of "+key, err)
	})
	return info
}

// get reads an object whole and ends the rule on an error.
func (x *exam) get(s connection.Getter, key string) (raw []byte) {
	x.within(x.h.patience(), "Get", func() {
		var err error
		raw, _, err = x.tryGet(x.ctx, s, key, nil)
		x.ok("get of "+key, err)
	})
	return raw
}

func (x *exam) tryGet(ctx context.Context, s connection.Getter, key string, opts *connection.GetOptions) ([]byte, connection.ObjectInfo, error) {
	o, err := s.Get(ctx, key, opts)
	x.noteError("get", err)
	if err != nil {
		return nil, connection.ObjectInfo{}, err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, maxRead))
	x.noteError("get (reading)", err)
	closeErr := o.Body.Close()
	x.noteError("get (closing a body)", closeErr)
	return raw, o.ObjectInfo, errors.Join(err, closeErr)
}

// holdsObject fails the rule if key does not hold want; nil means that there is no object.
func (x *exam) holdsObject(s connection.ObjectStore, when, key string, want []byte) {
	var why string
	good := func() bool {
		got, _, err := x.tryGet(x.ctx, s, key, nil)
		_, statErr := s.Stat(x.ctx, key)
		listed := slices.ContainsFunc(x.list(s, &connection.ListOptions{Prefix: key}), func(i connection.ObjectInfo) bool { return i.Key == key })
		switch {
		case want == nil:
			why = fmt.Sprintf("Get gives %d octets and error %v, Stat error %v, listed %t; want nothing there", len(got), err, statErr, listed)
			return errors.Is(err, connection.ErrNotFound) && errors.Is(statErr, connection.ErrNotFound) && !listed
		case err != nil || statErr != nil || !listed:
			why = fmt.Sprintf("Get gives error %v, Stat error %v, listed %t; want an object", err, statErr, listed)
			return false
		}
		why = compare(got, want)
		return bytes.Equal(got, want)
	}
	if !poll(x.h.Eventual, good) {
		x.fail("%s, key %q: %s", when, key, why)
	}
}

func checkPutGet(x *exam) {
	s := x.store()
	samples := corpus(x.h.bigSize())
	for i, sample := range samples {
		opts := []*connection.PutOptions{nil, {Size: int64(len(sample.Raw))}, {SHA256: digest(sample.Raw)}, {Size: int64(len(sample.Raw)), SHA256: digest(sample.Raw)}}[i%4]
		var r io.Reader = bytes.NewReader(sample.Raw)
		if i%3 == 0 {
			r = &canceling{bytes.NewReader(sample.Raw), func() {}} // cannot seek
		}
		info, err := s.Put(x.ctx, "corpus/"+sample.Name, r, opts)
		x.ok("put of "+sample.Name, err)
		if info.Key != "corpus/"+sample.Name || info.Size != int64(len(sample.Raw)) {
			x.fail("Put of %s returns %+v, want its key and %d octets", sample.Name, info, len(sample.Raw))
		}
	}
	for _, s := range []connection.ObjectStore{s, x.store()} {
		for _, sample := range samples {
			key := "corpus/" + sample.Name
			got, info, err := x.tryGet(x.ctx, s, key, nil)
			x.ok("get of "+key, err)
			if !bytes.Equal(got, sample.Raw) {
				x.fail("%s: %s", sample.Name, compare(got, sample.Raw))
			}
			stat, err := s.Stat(x.ctx, key)
			x.ok("stat of "+key, err)
			for verb, info := range map[string]connection.ObjectInfo{"Get": info, "Stat": stat} {
				if info.Key != key || info.Size != int64(len(sample.Raw)) || info.Prefix {
					x.fail("%s of %q describes it as %+v, want %d octets", verb, key, info, len(sample.Raw))
				}
				if info.SHA256 != "" && info.SHA256 != digest(sample.Raw) {
					x.fail("%s of %q says SHA-256 %s, want %s", verb, key, info.SHA256, digest(sample.Raw))
				}
			}
			if stat.ETag != info.ETag {
				x.fail("%q has the ETag %q by Get and %q by Stat", key, info.ETag, stat.ETag)
			}
		}
	}
	// What is open keeps giving what it was, or says that it changed.
	old := x.large(1, 300<<10)
	x.put(s, "twice", old, nil)
	o, err := s.Get(x.ctx, "twice", nil)
	x.ok("get", err)
	x.put(s, "twice", letter(2), nil)
	x.holdsObject(s, "after two Puts", "twice", letter(2))
	got, err := io.ReadAll(o.Body)
	x.noteError("get (reading)", err)
	if err != nil && !errors.Is(err, connection.ErrChanged) || err == nil && !bytes.Equal(got, old) {
		x.fail("an object that is replaced while it is open: %s, error %v", compare(got, old), err)
	}
	x.ok("get (closing a body)", o.Body.Close())
}

func checkPutAll(x *exam) {
	s := x.store()
	old, raw := letter(0), x.large(1, 300<<10)
	attempt := func(when string, r func() io.Reader, opts connection.PutOptions, check func(error)) {
		x.put(s, "taken", old, nil)
		for key, before := range map[string][]byte{"taken": old, "free/key": nil} {
			x.within(x.h.patience(), "Put "+when, func() {
				_, err := s.Put(x.ctx, key, r(), &opts)
				x.noteError("put", err)
				if err == nil {
					x.fail("Put %s returned nil", when)
				} else {
					check(err)
				}
			})
			x.holdsObject(s, "after Put "+when, key, before)
		}
	}
	for _, n := range []int{0, 1, 1000, len(raw) * 5 / 6, len(raw)} {
		attempt(fmt.Sprintf("whose reader fails after %d octets", n), func() io.Reader { return broken(raw, n) }, connection.PutOptions{}, func(err error) {
			if !errors.Is(err, errSource) {
				x.fail("the error of Put does not hold its reader's: %v", err)
			}
		})
	}
	attempt("of less than the size announced", func() io.Reader { return bytes.NewReader(raw) }, connection.PutOptions{Size: int64(len(raw)) + 1}, func(error) {})
	attempt("of more than the size announced", func() io.Reader { return bytes.NewReader(raw) }, connection.PutOptions{Size: int64(len(raw)) - 1}, func(error) {})
	attempt("of octets with another digest", func() io.Reader { return bytes.NewReader(raw) }, connection.PutOptions{SHA256: digest(old)}, func(error) {})
	for key, before := range map[string][]byte{"taken": old, "free/key": nil} {
		ctx, cancel := context.WithCancel(x.ctx)
		x.within(x.h.patience(), "Put whose context ends", func() {
			_, err := s.Put(ctx, key, &canceling{bytes.NewReader(raw), cancel}, nil)
			x.wantCtx("put", err, ctx)
		})
		cancel()
		x.holdsObject(s, "after Put whose context ended", key, before)
	}
	if n := len(x.list(s, nil)); n != 1 {
		x.fail("after Puts that failed %d objects are listed, want 1", n)
	}
	if l, ok := s.(connection.IncompleteLister); ok {
		for left, err := range l.Incomplete(x.ctx) {
			x.ok("incomplete", err)
			x.fail("a Put that failed left the unfinished write %+v", left)
		}
	}
	x.put(s, "free/key", raw, nil)
	x.holdsObject(s, "after a good Put behind failed ones", "free/key", raw)
}

// checkPutNeverTorn has readers look while a key is replaced again and again, from readers that take their time.
func checkPutNeverTorn(x *exam) {
	s := x.store()
	versions := make([][]byte, 6)
	for i := range versions {
		versions[i] = bytes.Repeat(fmt.Appendf(nil, "version %d ", i), 6_000+i)
	}
	x.put(s, "torn", versions[0], nil)
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	var wg sync.WaitGroup
	var reads atomic.Int64
	for range 3 {
		wg.Go(func() {
			defer x.recoverPanic()
			reader := x.store()
			for ctx.Err() == nil {
				raw, info, err := x.tryGet(x.ctx, reader, "torn", nil)
				switch {
				case errors.Is(err, connection.ErrChanged): // it was replaced while we read, and says so
				case err != nil:
					x.fail("Get while the key is replaced: %v", err)
					return
				case !holds(versions, raw):
					x.fail("Get while the key is replaced gives %d octets that are none of the objects put: %s", len(raw), compare(raw, versions[0]))
					return
				case info.Size != int64(len(raw)):
					x.fail("Get while the key is replaced gives %d octets and says %d", len(raw), info.Size)
					return
				}
				reads.Add(1)
			}
		})
	}
	x.within(6*x.h.patience(), "Puts beside Gets", func() {
		for n := range 12 {
			v := versions[(n+1)%len(versions)]
			_, err := s.Put(x.ctx, "torn", &canceling{bytes.NewReader(v), func() {}}, nil)
			x.ok("put", err)
			seen := reads.Load()
			poll(x.h.soon(), func() bool { return reads.Load() > seen })
		}
		cancel()
		wg.Wait()
	})
	if reads.Load() == 0 {
		x.fail("no Get ended while the key was replaced")
	}
}

func checkPutIfAbsent(x *exam) {
	conns := []connection.ObjectStore{x.store(), x.store()}
	for round := range 5 {
		key := fmt.Sprintf("absent/%d", round)
		const players = 16
		var wg sync.WaitGroup
		var wins atomic.Int64
		var winner atomic.Pointer[[]byte]
		start := make(chan struct{})
		for i := range players {
			wg.Go(func() {
				defer x.recoverPanic()
				raw := bytes.Repeat(letter(i), 50)
				<-start
				_, err := conns[i%2].Put(x.ctx, key, bytes.NewReader(raw), &connection.PutOptions{IfAbsent: true})
				x.noteError("put", err)
				switch {
				case err == nil:
					wins.Add(1)
					winner.Store(&raw)
				case !errors.Is(err, connection.ErrExists):
					x.fail("Put of a key that is taken: got error %v, want %q", err, connection.ErrExists)
				}
			})
		}
		close(start)
		x.within(3*x.h.patience(), "16 Puts at once", wg.Wait)
		if wins.Load() != 1 {
			x.fail("%d of %d Puts with IfAbsent returned nil, want exactly 1", wins.Load(), players)
			return
		}
		x.holdsObject(conns[0], "after 16 Puts with IfAbsent", key, *winner.Load())
		_, err := conns[1].Put(x.ctx, key, bytes.NewReader(letter(99)), &connection.PutOptions{IfAbsent: true})
		x.wantKind("put with IfAbsent of a key that is taken", err, connection.ErrExists)
		x.holdsObject(conns[1], "after one more Put with IfAbsent", key, *winner.Load())
	}
}

func checkPutChecks(x *exam) {
	s := x.store()
	raw := letter(0)
	_, err := s.Put(x.ctx, "digest", bytes.NewReader(raw), &connection.PutOptions{SHA256: digest(letter(1))})
	x.wantKind("put with the digest of something else", err, connection.ErrCorrupt)
	x.holdsObject(s, "after Put with the digest of something else", "digest", nil)
	for _, size := range []int64{1, int64(len(raw)) - 1, int64(len(raw)) + 1, 1 << 40} {
		x.within(x.h.patience(), "Put with a wrong Size", func() {
			_, err := s.Put(x.ctx, "size", bytes.NewReader(raw), &connection.PutOptions{Size: size})
			x.noteError("put", err)
			if err == nil {
				x.fail("Put of %d octets with Size %d returned nil", len(raw), size)
			}
		})
		x.holdsObject(s, fmt.Sprintf("after Put with Size %d", size), "size", nil)
	}
	x.put(s, "both", raw, &connection.PutOptions{Size: int64(len(raw)), SHA256: digest(raw)})
	x.holdsObject(s, "after Put with the right size and digest", "both", raw)
}

func checkPutMeta(x *exam) {
	s := x.store()
	meta := map[string]string{"folder": "INBOX/Grüße", "message-id": "<a b@example.org>", "received": "2026-02-13T23:31:30Z", "empty": "", "percent": "100%41 \"quoted\""}
	info, err := s.Put(x.ctx, "meta", bytes.NewReader(letter(0)), &connection.PutOptions{ContentType: "message/rfc822", Meta: meta})
	x.noteError("put", err)
	switch {
	case errors.Is(err, connection.ErrUnsupported):
		x.holdsObject(s, "after Put with metadata that the store says it cannot keep", "meta", nil)
	case err != nil:
		x.fail("Put with metadata: %v", err)
	default:
		stat, err := x.store().Stat(x.ctx, "meta")
		x.ok("stat", err)
		_, got, err := x.tryGet(x.ctx, s, "meta", nil)
		x.ok("get", err)
		for verb, info := range map[string]connection.ObjectInfo{"Stat": stat, "Get": got} {
			if info.ContentType != "message/rfc822" {
				x.fail("%s says the content type is %q, want message/rfc822", verb, info.ContentType)
			}
			if !maps.Equal(info.Meta, meta) {
				x.fail("%s gives the metadata %q, want %q", verb, info.Meta, meta)
			}
		}
		if info.Size != int64(len(letter(0))) {
			x.fail("Put with metadata returned the size %d", info.Size)
		}
		x.put(s, "meta", letter(1), nil)
		if again, err := s.Stat(x.ctx, "meta"); err != nil || len(again.Meta) != 0 {
			x.fail("an object replaced without metadata has %q (error %v), want none", again.Meta, err)
		}
	}
	// An option is obeyed or refused.
	_, err = s.Put(x.ctx, "class", bytes.NewReader(letter(0)), &connection.PutOptions{Class: "no such storage class"})
	x.noteError("put", err)
	if err == nil {
		x.fail("Put with a storage class that nobody has returned nil")
	}
	x.holdsObject(s, "after Put with a storage class that nobody has", "class", nil)
}
