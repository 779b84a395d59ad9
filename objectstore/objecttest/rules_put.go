package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func checkEmpty(x *exam) {
	s, l := x.open(nil)
	requests := func(what string, r io.Reader, opts *connection.PutOptions) int {
		l.repair()
		info, err := s.Put(x.ctx, what, r, opts)
		x.ok("put of "+what, err)
		if what != "one" && info.Size != 0 {
			x.fail("Put of nothing returns the size %d", info.Size)
		}
		return len(l.passed())
	}
	x.put(s, "first", octets(1, 1)) // whoever must log in has done so
	one := requests("one", bytes.NewReader([]byte{1}), nil)
	for what, r := range map[string]io.Reader{"seekable": bytes.NewReader(nil), "unseekable": plain{bytes.NewReader(nil)}} {
		if n := requests("empty/"+what, r, nil); n > one {
			x.fail("an empty object takes %d requests, one of an octet %d", n, one)
		}
	}
	requests("empty/digest", bytes.NewReader(nil), &connection.PutOptions{SHA256: digestOf(nil)})
	for _, key := range []string{"empty/seekable", "empty/unseekable", "empty/digest"} {
		x.holds(s, "after Put", key, []byte{})
		for _, o := range []connection.GetOptions{{Offset: 1}, {Length: 1}, {Offset: 7, Length: 9}, {Offset: 1 << 40}} {
			if got, _, err := x.tryGet(s, key, &o); err != nil || len(got) > 0 {
				x.fail("Get of an empty object with Offset %d and Length %d: %d octets, error %v; want io.EOF", o.Offset, o.Length, len(got), err)
			}
		}
	}
	x.put(s, "first", nil)
	x.holds(s, "after an object was replaced by an empty one", "first", []byte{})
}

// sizes are those around the limits of the tuning.
func (x *exam) sizes() []int64 {
	single := x.tuning().SinglePutLimit
	all := []int64{1, single - 1, single, single + 1}
	if part := x.h.Parts; part > 0 {
		all = append(all, part-1, part, part+1, 2*part, 2*part+1, 3*part-1)
	}
	return all
}

func checkSizes(x *exam) {
	s, l := x.open(nil)
	limit := x.tuning().SinglePutLimit
	one := 0 // requests for one octet, once whoever must log in has done so
	x.put(s, "size/0", nil)
	for i, size := range x.sizes() {
		raw := octets(uint64(i), size)
		key := fmt.Sprintf("size/%d", size)
		l.repair()
		x.put(s, key, raw)
		requests, uploads := len(l.passed()), len(l.uploaded())
		if size == 1 {
			one = requests
		}
		if got, info, err := x.tryGet(s, key, nil); err != nil || !bytes.Equal(got, raw) || info.Size != size {
			x.fail("of %d octets put Get gives %s, error %v", size, differ(got, raw), err)
		}
		if info, err := s.Stat(x.ctx, key); err != nil || info.Size != size || info.SHA256 != "" && info.SHA256 != digestOf(raw) {
			x.fail("Stat of %d octets says %+v, error %v", size, info, err)
		}
		if requests == 0 || !x.h.Tuned {
			continue // it goes over no network
		}
		if size <= limit && requests > one {
			x.fail("%d octets take %d requests, one octet %d", size, requests, one)
		}
		want := 1
		if x.h.Parts > 0 && size > limit {
			want = int((size + x.h.Parts - 1) / x.h.Parts)
		}
		if last := size % max(x.h.Parts, 1); size < substance || want > 1 && last > 0 && last < substance {
			want-- // too small a body to be told from a message
		}
		if uploads != want {
			x.fail("%d octets take %d requests with octets of the object, want %d", size, uploads, want)
		}
	}
	x.clean(s, "after Puts that succeeded")
}

// zeros64 is a source of zeros that can seek.
type zeros64 struct{ at, size int64 }

func (z *zeros64) Read(p []byte) (int, error) {
	if z.at >= z.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.size-z.at)
	clear(p[:n])
	z.at += n
	return int(n), nil
}

func (z *zeros64) Seek(offset int64, whence int) (int64, error) {
	z.at = offset + map[int]int64{io.SeekCurrent: z.at, io.SeekEnd: z.size}[whence]
	return z.at, nil
}

func checkHuge(x *exam) {
	if x.h.Huge == 0 {
		x.skip("the harness has no Huge")
	}
	s, l := x.open(func(t *objectstore.Tuning) { t.PartSize = max(t.PartSize, x.h.Huge/64) })
	info, err := s.Put(x.ctx, "huge", &zeros64{size: x.h.Huge}, &connection.PutOptions{Size: x.h.Huge})
	x.ok("put of a huge object", err)
	if n := len(l.uploaded()); n < 2 {
		x.fail("%d octets took %d requests", x.h.Huge, n)
	}
	if info.Size != x.h.Huge {
		x.fail("Put returns the size %d, want %d", info.Size, x.h.Huge)
	}
	for _, offset := range []int64{0, x.h.Huge / 2, x.h.Huge - 1000} {
		got, info, err := x.tryGet(s, "huge", &connection.GetOptions{Offset: offset, Length: 1000})
		if err != nil || !bytes.Equal(got, make([]byte, 1000)) || info.Size != x.h.Huge {
			x.fail("Get at %d of %d: %d octets of %d, error %v", offset, x.h.Huge, len(got), info.Size, err)
		}
	}
	x.clean(s, "after a Put that succeeded")
}

func checkUnknownSize(x *exam) {
	s := x.store()
	for i, size := range append(x.sizes(), 0) {
		key := fmt.Sprintf("unknown/%d", size)
		raw := octets(uint64(i), size)
		if err := x.tryPut(x.ctx, s, key, plain{bytes.NewReader(raw)}, nil); err != nil {
			x.fail("put of %d octets of a size that was not told: %v", size, err)
			continue
		}
		if got, _, err := x.tryGet(s, key, nil); err != nil || !bytes.Equal(got, raw) {
			x.fail("of %d octets put Get gives %s, error %v", size, differ(got, raw), err)
		}
	}
}

// large returns an object that goes in parts if the store has them.
func (x *exam) large(seed uint64) []byte {
	if x.h.Parts > 0 {
		return octets(seed, 2*x.h.Parts+medium)
	}
	return octets(seed, 3*medium)
}

func checkWrongSize(x *exam) {
	s := x.store()
	old, raw := octets(1, medium), x.large(2)
	for name, size := range map[string]int64{"one octet too few": int64(len(raw)) + 1, "one octet too many": int64(len(raw)) - 1, "ten times too few": 10 * int64(len(raw))} {
		for kind, r := range map[string]io.Reader{"seekable": bytes.NewReader(raw), "unseekable": plain{bytes.NewReader(raw)}} {
			x.put(s, "taken", old)
			for key, before := range map[string][]byte{"taken": old, "free": nil} {
				if err := x.tryPut(x.ctx, s, key, r, &connection.PutOptions{Size: size}); err == nil {
					x.fail("Put of a %s source with %s for its Size returned nil", kind, name)
				}
				x.holds(s, "after Put of a wrong Size", key, before)
				if seeker, ok := r.(io.Seeker); ok {
					_, _ = seeker.Seek(0, io.SeekStart) // of memory: never fails
				}
			}
		}
	}
	x.clean(s, "after Put of a wrong Size")
}

// A fickle source can be read once; the second time it fails behind so many octets.
type fickle struct {
	r      *bytes.Reader
	after  int64
	rounds int
}

var errFickle = errors.New("the source has gone")

func (f *fickle) Read(p []byte) (int, error) {
	at := f.r.Size() - int64(f.r.Len())
	if f.rounds > 0 && at < f.r.Size() {
		if at >= f.after {
			return 0, errFickle
		}
		p = p[:min(int64(len(p)), f.after-at)]
	}
	n, err := f.r.Read(p)
	if f.r.Len() == 0 {
		f.rounds++
	}
	return n, err
}

func (f *fickle) Seek(offset int64, whence int) (int64, error) { return f.r.Seek(offset, whence) }

func checkSourceFails(x *exam) {
	s := x.store()
	old, raw := octets(1, medium), x.large(2)
	for _, after := range []int64{0, 1, medium, int64(len(raw)) / 2, int64(len(raw)) - 1} {
		for kind, r := range map[string]func() io.Reader{
			"fails the second time": func() io.Reader { return &fickle{r: bytes.NewReader(raw), after: after} },
			"fails at once":         func() io.Reader { return &breaking{bytes.NewReader(raw), after, errFickle} },
		} {
			x.put(s, "taken", old)
			for key, before := range map[string][]byte{"taken": old, "free": nil} {
				err := x.tryPut(x.ctx, s, key, r(), nil)
				if err == nil {
					// Who reads a source once only does not meet the second time.
					x.holds(s, "after a Put that read its source once", key, raw)
					x.ok("delete", s.Delete(x.ctx, key))
					if key == "taken" {
						x.put(s, key, old)
					}
					continue
				}
				if !errors.Is(err, errFickle) {
					x.fail("a source that %s behind %d octets: the error does not hold its own: %v", kind, after, err)
				}
				x.holds(s, fmt.Sprintf("after Put of a source that %s behind %d octets", kind, after), key, before)
			}
		}
	}
	x.clean(s, "after Puts of sources that failed")
}

func checkProgress(x *exam) {
	s := x.store()
	for _, raw := range [][]byte{octets(1, medium), x.large(2)} {
		var last, calls atomic.Int64
		err := x.tryPut(x.ctx, s, "progress", bytes.NewReader(raw), &connection.PutOptions{Progress: func(n int64) {
			if before := last.Swap(n); n < before || n > int64(len(raw)) {
				x.fail("Progress is told %d octets behind %d, of %d", n, before, len(raw))
			}
			calls.Add(1)
		}})
		x.ok("put", err)
		if last.Load() != int64(len(raw)) || calls.Load() == 0 {
			x.fail("at the end of %d octets Progress was told %d, by %d calls", len(raw), last.Load(), calls.Load())
		}
	}
}
