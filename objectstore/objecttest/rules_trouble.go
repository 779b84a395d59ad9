package objecttest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// firstOnly is trouble for the first n requests.
func firstOnly(n int64, befalls trouble) func(call) trouble {
	var count atomic.Int64
	return func(call) trouble {
		if count.Add(1) > n {
			return nil
		}
		return befalls
	}
}

func checkThrottled(x *exam) {
	s, _ := x.wired(nil)
	type trial struct {
		verb
		code  int
		times int64
		wait  string
	}
	var trials []trial
	for _, code := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		for _, times := range []int64{1, 3} {
			for _, v := range verbs(fmt.Sprintf("throttled/%d/%d", code, times)) {
				trials = append(trials, trial{v, code, times, ""})
			}
		}
	}
	for _, v := range verbs("throttled/wait") {
		trials = append(trials, trial{v, http.StatusServiceUnavailable, 1, "1"})
	}
	for _, tr := range trials {
		if tr.name == "put" {
			x.ok("put", tr.do(x.ctx, s)) // so that there is what the others want
		}
	}
	x.each(len(trials), func(i int) {
		tr := trials[i]
		if tr.name == "delete" {
			return // it would take what the others want
		}
		x.throttle(tr.verb, tr.code, tr.times, tr.wait)
	})
	for _, tr := range trials {
		if tr.name == "delete" {
			x.throttle(tr.verb, tr.code, tr.times, tr.wait)
		}
	}
	x.listed(s, "after all was deleted", nil, nil)
}

func (x *exam) throttle(v verb, code int, times int64, wait string) {
	s, l := x.open(nil)
	headers := []string{}
	if wait != "" {
		headers = []string{"Retry-After", wait}
	}
	l.onAny(firstOnly(times, answers(code, nil, headers...)))
	began := time.Now()
	if err := v.do(x.ctx, s); err != nil {
		x.note(v.name, err)
		x.fail("%s of a server that says %d %d times: %v", v.name, code, times, err)
	}
	if d := time.Since(began); wait != "" && d < 900*time.Millisecond {
		x.fail("%s came back after %s to a server that wants to be left alone for %s s", v.name, d, wait)
	}
}

func checkThrottledForEver(x *exam) {
	x.wired(nil)
	all := verbs("some/key")
	x.each(2*len(all), func(i int) {
		v := all[i/2]
		s, l := x.open(func(t *objectstore.Tuning) {
			t.MaxAttempts, t.MaxElapsed = 3, connection.Duration(4*time.Second)
		})
		headers := []string{}
		if i%2 == 1 {
			headers = []string{"Retry-After", "3600"}
		}
		l.onAny(func(call) trouble { return answers(http.StatusServiceUnavailable, nil, headers...) })
		began := time.Now()
		var err error
		x.within(x.patience(), v.name, func() { err = v.do(x.ctx, s) })
		x.want(v.name+" of a server that says 503 for ever", err, connection.ErrThrottled, connection.ErrUnavailable)
		if d := time.Since(began); d > 4*time.Second+x.h.soon() {
			x.fail("%s of a server that says 503 for ever took %s", v.name, d)
		}
		if n := len(l.passed()); n > 12 {
			x.fail("%s of a server that says 503 for ever took %d requests with 3 attempts permitted", v.name, n)
		}
	})
}

// decided checks what a put that met a lost reply came to.
func (x *exam) decided(s connection.ObjectStore, when, key string, err error, before, raw []byte) {
	switch connection.KindOf(err) {
	case connection.ErrUncertain:
		if got, _, err := x.tryGet(s, key, nil); err == nil && !bytes.Equal(got, raw) && !bytes.Equal(got, before) {
			x.fail("%s: the key holds %s", when, differ(got, raw))
		}
	default:
		if err == nil {
			x.holds(s, when+", with a nil error", key, raw)
		} else {
			x.holds(s, fmt.Sprintf("%s, with error %v", when, err), key, before)
		}
	}
}

func checkLostReply(x *exam) {
	s, l := x.wired(nil)
	old := octets(1, medium)
	for name, raw := range map[string][]byte{"single": octets(2, medium), "large": x.large(3)} {
		// At which upload the answer is lost; 0: of the first request behind all uploads, which completes them.
		for _, at := range []int{1, 2, 0} {
			for _, always := range []bool{false, true} {
				key := fmt.Sprintf("lost/%s/%d/%t", name, at, always)
				x.put(s, key, old)
				l.loseAt(at, always, int64(len(raw)))
				err := x.tryPut(x.ctx, s, key, bytes.NewReader(raw), nil)
				l.repair()
				x.decided(s, "after the reply "+key+" was lost", key, err, old, raw)
				if err != nil && !always {
					x.fail("a reply that was lost once, of %s: %v", key, err)
				}
			}
		}
	}
}

// loseAt loses the reply to the upload of that number, or with 0 to the request behind uploads of so many octets.
func (l *line) loseAt(at int, always bool, size int64) {
	var uploaded, lost atomic.Int64
	lose := func() trouble {
		if lost.Add(1) > 1 && !always {
			return nil
		}
		return losesReply
	}
	l.onAny(func(c call) trouble {
		if c.isUpload() {
			uploaded.Add(c.length)
			return nil
		}
		if at == 0 && uploaded.Load() >= size && (c.method == http.MethodPut || c.method == http.MethodPost) {
			return lose()
		}
		return nil
	})
	l.onUpload(func(n int, _ call) trouble {
		if n == at || at > 0 && n > at && always {
			return lose()
		}
		return nil
	})
}

func (x *exam) needIfAbsent(s connection.ObjectStore) {
	if !x.features(s).IfAbsent {
		x.skip("the store has no put if absent")
	}
}

func checkLostIfAbsent(x *exam) {
	s, l := x.wired(nil)
	x.needIfAbsent(s)
	other := x.store()
	for name, raw := range map[string][]byte{"single": octets(2, medium), "large": x.large(3)} {
		ours, theirs := "ours/"+name, "theirs/"+name
		for _, at := range []int{1, 0} {
			x.ok("delete", s.Delete(x.ctx, ours))
			l.loseAt(at, false, int64(len(raw)))
			err := x.tryPut(x.ctx, s, ours, bytes.NewReader(raw), &connection.PutOptions{IfAbsent: true})
			l.repair()
			if err != nil {
				x.fail("put with IfAbsent whose reply was lost once (%s): %v", name, err)
				continue
			}
			x.holds(s, "after a Put with IfAbsent whose reply was lost", ours, raw)
		}
		// The first attempt does not arrive, and another writer is faster than the second.
		rival := octets(9, int64(len(raw)))
		var won atomic.Bool
		l.onUpload(func(n int, _ call) trouble {
			if won.Swap(true) {
				return nil
			}
			x.put(other, theirs, rival)
			return fails(reset("read"))
		})
		err := x.tryPut(x.ctx, s, theirs, bytes.NewReader(raw), &connection.PutOptions{IfAbsent: true})
		l.repair()
		x.want("put with IfAbsent of a key that another writer took meanwhile", err, connection.ErrExists)
		x.holds(s, "after another writer was faster", theirs, rival)
		x.clean(s, "after another writer was faster")
	}
}

func checkIfAbsentLarge(x *exam) {
	x.needParts()
	s := x.store()
	x.needIfAbsent(s)
	const players = 3
	var wins atomic.Int64
	var winner atomic.Int64
	x.each(players, func(i int) {
		err := x.tryPut(x.ctx, x.store(), "prize", bytes.NewReader(x.large(uint64(i))), &connection.PutOptions{IfAbsent: true})
		if err == nil {
			wins.Add(1)
			winner.Store(int64(i))
			return
		}
		x.want("large put with IfAbsent of a key that is taken", err, connection.ErrExists)
	})
	if wins.Load() != 1 {
		x.stop("%d of %d large Puts with IfAbsent returned nil, want exactly 1", wins.Load(), players)
	}
	x.holds(s, "after large Puts with IfAbsent", "prize", x.large(uint64(winner.Load())))
	for name, raw := range map[string][]byte{"large": x.large(8), "small": octets(8, 10)} {
		err := x.tryPut(x.ctx, s, "prize", bytes.NewReader(raw), &connection.PutOptions{IfAbsent: true})
		x.want(name+" put with IfAbsent of a key that is taken", err, connection.ErrExists)
	}
	x.holds(s, "after more Puts with IfAbsent", "prize", x.large(uint64(winner.Load())))
	x.clean(s, "after Puts with IfAbsent")
}

func checkNoIfAbsent(x *exam) {
	s, l := x.open(nil)
	if x.features(s).IfAbsent {
		x.skip("the store has put if absent")
	}
	l.repair()
	err := x.tryPut(x.ctx, s, "key", bytes.NewReader(octets(1, medium)), &connection.PutOptions{IfAbsent: true})
	x.want("put with IfAbsent", err, connection.ErrUnsupported)
	if n := len(l.uploaded()); n > 0 {
		x.fail("octets were sent for a put that cannot be")
	}
	x.holds(s, "after a Put with IfAbsent", "key", nil)
	x.needTuned()
	s, _ = x.open(func(t *objectstore.Tuning) { t.EmulateIfAbsent = true })
	x.ok("put with emulate_if_absent", x.tryPut(x.ctx, s, "key", bytes.NewReader(octets(1, medium)), &connection.PutOptions{IfAbsent: true}))
	x.want("put with emulate_if_absent of a key that is taken", x.tryPut(x.ctx, s, "key", bytes.NewReader(octets(2, medium)), &connection.PutOptions{IfAbsent: true}), connection.ErrExists)
	x.holds(s, "after Puts with emulate_if_absent", "key", octets(1, medium))
}

func checkEarlyRefusal(x *exam) {
	if x.h.Server == nil {
		x.skip("the harness has no Server")
	}
	s := x.store()
	x.put(s, "there", octets(1, medium))
	srv := x.h.Server()
	for round := range x.h.times(20) {
		key := fmt.Sprint("refused/", round)
		srv.ForgetRequests()
		// Each of them: an answer that overtakes the octets may be lost with the connection, and the put is made again.
		srv.failUploads(-1, EarlyStatus(http.StatusForbidden, ""))
		x.want("put that is refused", x.tryPut(x.ctx, s, key, bytes.NewReader(x.large(2)), nil), connection.ErrPermission, connection.ErrAuth)
		srv.ClearFaults()
		for _, r := range srv.Requests() {
			if r.Fault != "" && r.Header.Get("Expect") != "" && r.Size > 0 {
				x.fail("a request that waits for 100 Continue and is refused sends %d octets", r.Size)
			}
		}
		if got, _, err := x.tryGet(s, "there", nil); err != nil || !bytes.Equal(got, octets(1, medium)) {
			x.fail("Get behind a put that was refused: %s, error %v", differ(got, octets(1, medium)), err)
		}
		x.put(s, "next", octets(3, medium))
		_, err := s.Stat(x.ctx, key)
		x.want("stat of what was refused", err, connection.ErrNotFound)
	}
	x.clean(s, "after puts that were refused")
}

func checkLackingOptions(x *exam) {
	s, l := x.open(nil)
	f := x.features(s)
	lacks := map[string]connection.PutOptions{}
	if !f.Class {
		lacks["a storage class"] = connection.PutOptions{Class: "STANDARD"}
	}
	if !f.Lock {
		lacks["a retention"] = connection.PutOptions{Lock: connection.Lock{RetainUntil: time.Now().Add(time.Hour)}}
		lacks["a legal hold"] = connection.PutOptions{Lock: connection.Lock{LegalHold: true}}
	}
	if !f.Meta {
		lacks["metadata"] = connection.PutOptions{Meta: map[string]string{"a": "b"}}
		lacks["a content type"] = connection.PutOptions{ContentType: "message/rfc822"}
	}
	if len(lacks) == 0 {
		x.skip("the store lacks no option")
	}
	l.repair()
	for name, o := range lacks {
		read := &counting{r: bytes.NewReader(octets(1, medium))}
		x.want("put with "+name, x.tryPut(x.ctx, s, "lacking", read, &o), connection.ErrUnsupported)
		if n := len(l.passed()); n > 0 || read.n.Load() > 0 {
			x.fail("put with %s, which the store has not, made %d requests and read %d octets", name, n, read.n.Load())
		}
	}
	x.holds(s, "after Puts with options that the store has not", "lacking", nil)
	if f.Lock {
		return
	}
	if locker, ok := s.(connection.Locker); ok {
		x.put(s, "there", octets(1, 10))
		x.want("lock", locker.Lock(x.ctx, "there", connection.Lock{LegalHold: true}), connection.ErrUnsupported)
	}
}

// A counting reader counts what is read.
type counting struct {
	r io.Reader
	n atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func checkRetained(x *exam) {
	s := x.store()
	if !x.features(s).Lock {
		x.skip("the store has no retention")
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	for name, raw := range map[string][]byte{"single": octets(1, medium), "large": x.large(2)} {
		for hold, lock := range map[string]connection.Lock{"retained": {RetainUntil: until}, "held": {LegalHold: true}} {
			key := name + "/" + hold
			err := x.tryPut(x.ctx, s, key, bytes.NewReader(raw), &connection.PutOptions{Lock: lock})
			x.unsupported(err)
			x.ok("put with a lock", err)
			for _, s := range []connection.ObjectStore{s, x.store()} {
				x.want("delete of what is "+hold, s.Delete(x.ctx, key), connection.ErrLocked)
				for _, with := range [][]byte{octets(3, 10), x.large(4)} {
					x.want("put over what is "+hold, x.tryPut(x.ctx, s, key, bytes.NewReader(with), nil), connection.ErrLocked)
				}
			}
			x.holds(s, "under lock", key, raw)
			info, err := s.Stat(x.ctx, key)
			if err != nil || info.Lock.LegalHold != lock.LegalHold || !info.Lock.RetainUntil.Equal(lock.RetainUntil) {
				x.fail("Stat of what is %s tells the lock %+v, error %v; want %+v", hold, info.Lock, err, lock)
			}
			locker, ok := s.(connection.Locker)
			if !ok {
				continue
			}
			if hold == "retained" {
				x.want("lock that shortens a retention", locker.Lock(x.ctx, key, connection.Lock{RetainUntil: until.Add(-time.Minute)}), connection.ErrLocked)
				continue
			}
			x.ok("lock that ends a legal hold", locker.Lock(x.ctx, key, connection.Lock{}))
			x.ok("delete after the legal hold", s.Delete(x.ctx, key))
			x.holds(s, "after Delete", key, nil)
		}
	}
	x.clean(s, "after Puts that were refused")
}
