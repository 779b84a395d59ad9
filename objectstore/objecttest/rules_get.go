package objecttest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func checkHugeRanges(x *exam) {
	s := x.store()
	raw := octets(1, medium)
	x.put(s, "ranges", raw)
	const most = math.MaxInt64
	for _, o := range []connection.GetOptions{
		{Length: most},
		{Offset: 1, Length: most},
		{Offset: medium - 1, Length: most},
		{Offset: medium, Length: most},
		{Offset: most},
		{Offset: most, Length: most},
		{Offset: most - 1, Length: 1},
		{Offset: most, Length: 1},
		{Offset: 100, Length: most - 100},
	} {
		want := raw[min(o.Offset, medium):]
		got, _, err := x.tryGet(s, "ranges", &o)
		if err != nil || !bytes.Equal(got, want) {
			x.fail("Get with Offset %d and Length %d of %d octets: %s, error %v", o.Offset, o.Length, medium, differ(got, want), err)
		}
	}
}

func checkRangeIgnored(x *exam) {
	s, l := x.wired(nil)
	raw := octets(1, medium)
	x.put(s, "ignored", raw)
	ignored := 0
	whole := func(resp *http.Response) {
		if resp.StatusCode != http.StatusPartialContent {
			return
		}
		ignored++
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		resp.Header.Del("Content-Range")
		resp.Header.Set("Content-Length", strconv.Itoa(len(raw)))
		resp.ContentLength = int64(len(raw))
		changeBody(resp, func(io.Reader) io.Reader { return bytes.NewReader(raw) })
	}
	right := func(o connection.GetOptions, want []byte) {
		got, _, err := x.tryGet(s, "ignored", &o)
		if err == nil && !bytes.Equal(got, want) {
			x.fail("Get with Offset %d and Length %d from a server that ignores it: %s", o.Offset, o.Length, differ(got, want))
		}
	}
	l.onDownload(func(_ int, resp *http.Response) { whole(resp) })
	right(connection.GetOptions{Offset: 30_000, Length: 20_000}, raw[30_000:50_000])
	right(connection.GetOptions{Offset: 30_000}, raw[30_000:])
	right(connection.GetOptions{Length: 20_000}, raw[:20_000])
	if ignored == 0 {
		x.fail("no range was asked for")
	}
	l.onDownload(func(n int, resp *http.Response) {
		whole(resp)
		if n == 1 {
			changeBody(resp, func(body io.Reader) io.Reader { return &breaking{body, 60_000, reset("read")} })
		}
	})
	right(connection.GetOptions{}, raw)
}

func checkCutDownload(x *exam) {
	s, _ := x.wired(nil)
	raw := octets(1, 5*medium)
	x.put(s, "cut", raw)
	x.each(x.h.times(50), func(i int) {
		s, l := x.open(nil)
		at := rand.Int64N(int64(len(raw)))
		if i == 0 {
			at = 0
		}
		l.onDownload(func(n int, resp *http.Response) {
			if n == 1 {
				cut := []error{reset("read"), io.ErrUnexpectedEOF}[i%2]
				changeBody(resp, func(body io.Reader) io.Reader { return &breaking{body, at, cut} })
			}
		})
		if got, _, err := x.tryGet(s, "cut", nil); err != nil || !bytes.Equal(got, raw) {
			x.fail("Get that is cut at octet %d of %d: %s, error %v", at, len(raw), differ(got, raw), err)
		}
		o := connection.GetOptions{Offset: at, Length: medium}
		want := raw[at:min(at+medium, int64(len(raw)))]
		if at = 0; len(want) > 1 {
			at = rand.Int64N(int64(len(want)))
		}
		l.onDownload(func(n int, resp *http.Response) {
			if n == 1 {
				changeBody(resp, func(body io.Reader) io.Reader { return &breaking{body, at, reset("read")} })
			}
		})
		if got, _, err := x.tryGet(s, "cut", &o); err != nil || !bytes.Equal(got, want) {
			x.fail("Get with Offset %d and Length %d that is cut at octet %d: %s, error %v", o.Offset, o.Length, at, differ(got, want), err)
		}
	})
	// Again and again, with progress between.
	s, l := x.open(nil)
	l.onDownload(func(_ int, resp *http.Response) {
		changeBody(resp, func(body io.Reader) io.Reader { return &breaking{body, 90_000, io.ErrUnexpectedEOF} })
	})
	if got, _, err := x.tryGet(s, "cut", nil); err != nil || !bytes.Equal(got, raw) {
		x.fail("Get that is cut each 90,000 octets of %d: %s, error %v", len(raw), differ(got, raw), err)
	}
}

func checkCutForEver(x *exam) {
	s, _ := x.wired(nil)
	raw := octets(1, medium)
	x.put(s, "cut", raw)
	for _, at := range []int64{0, 1, 1000} {
		s, l := x.open(func(t *objectstore.Tuning) { t.MaxAttempts = 3 })
		l.onDownload(func(_ int, resp *http.Response) {
			changeBody(resp, func(body io.Reader) io.Reader { return &breaking{body, at, reset("read")} })
		})
		got, _, err := x.tryGet(s, "cut", nil)
		x.want("get that is always cut", err, connection.ErrNetwork)
		if !bytes.HasPrefix(raw, got) {
			x.fail("Get that is always cut at octet %d gives what is not there: %s", at, differ(got, raw))
		}
		if n := len(l.passed()); n > 8 {
			x.fail("Get that is always cut took %d requests with 3 attempts permitted", n)
		}
	}
}

func checkReplaced(x *exam) {
	s, l := x.wired(nil)
	other := x.store()
	old, next := octets(1, 3*medium), octets(2, 3*medium)
	for _, at := range []int64{0, 1, medium, 3*medium - 1} {
		x.put(s, "replaced", old)
		l.onDownload(func(n int, resp *http.Response) {
			if n > 1 {
				return
			}
			x.put(other, "replaced", next)
			changeBody(resp, func(body io.Reader) io.Reader { return &breaking{body, at, reset("read")} })
		})
		got, _, err := x.tryGet(s, "replaced", nil)
		l.repair()
		switch {
		case errors.Is(err, connection.ErrChanged):
		case err == nil && bytes.Equal(got, old): // a store that keeps what is being read
		case err == nil && at == 0 && bytes.Equal(got, next): // nothing of the old one was seen
		default:
			x.fail("Get that is cut at octet %d, of an object that is replaced meanwhile: %s, error %v; want %v", at, differ(got, old), err, connection.ErrChanged)
		}
	}
}

func checkFlippedDownload(x *exam) {
	s, _ := x.wired(nil)
	raw := octets(1, medium)
	x.put(s, "flipped", raw)
	if info, err := s.Stat(x.ctx, "flipped"); err != nil || info.SHA256 == "" {
		x.skip("the store keeps no digest")
	}
	x.each(x.h.times(50), func(i int) {
		s, l := x.open(nil)
		at := rand.Int64N(int64(len(raw)))
		if i < 2 {
			at = []int64{0, int64(len(raw)) - 1}[i]
		}
		l.onDownload(func(_ int, resp *http.Response) {
			changeBody(resp, func(body io.Reader) io.Reader { return &flipping{r: body, flip: flip{true, at}} })
		})
		_, _, err := x.tryGet(s, "flipped", nil)
		x.want("get with a bit inverted at octet "+strconv.FormatInt(at, 10), err, connection.ErrCorrupt)
	})
}

func checkFlippedUpload(x *exam) {
	x.wired(nil)
	old := octets(1, medium)
	try := func(key string, raw, before []byte, upload int, at int64) {
		s, l := x.open(nil)
		if before != nil {
			x.put(s, key, before)
		}
		l.onUpload(func(n int, _ call) trouble {
			if n != upload {
				return nil
			}
			return flipUpload(at)
		})
		err := x.tryPut(x.ctx, s, key, bytes.NewReader(raw), nil)
		l.repair()
		x.want("put with a bit inverted on its way", err, connection.ErrCorrupt)
		x.holds(s, "after Put with a bit inverted on its way", key, before)
		x.clean(s, "after Put with a bit inverted on its way")
	}
	x.each(x.h.times(50), func(i int) {
		raw := octets(uint64(10+i), medium)
		before := [][]byte{nil, old}[i%2]
		try("flipped/"+strconv.Itoa(i), raw, before, 1, rand.Int64N(int64(len(raw))))
	})
	if x.h.Parts > 0 {
		raw := x.large(3)
		try("flipped/part", raw, old, 2, rand.Int64N(int64(len(raw))%x.h.Parts)) // the second to arrive may be the last, which is short
	}
}

func checkDamaged(x *exam) {
	if x.h.Damage == nil {
		x.skip("the harness has no Damage")
	}
	s := x.store()
	for key, raw := range map[string][]byte{"single": octets(1, medium), "large": x.large(2), "octet": {1}} {
		x.put(s, key, raw)
		x.h.Damage(x.t, key)
		_, _, err := x.tryGet(s, key, nil)
		x.want("get of a damaged object", err, connection.ErrCorrupt)
		if got, _, err := x.tryGet(s, key, &connection.GetOptions{NoVerify: true}); err != nil || len(got) != len(raw) {
			x.fail("Get of a damaged object with NoVerify: %d octets, error %v; want %d", len(got), err, len(raw))
		}
	}
}

func checkGzip(x *exam) {
	s, l := x.wired(nil)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(octets(1, medium))
	if err := errors.Join(err, w.Close()); err != nil {
		x.stop("gzip: %v", err)
	}
	packed := b.Bytes()
	x.put(s, "packed.gz", packed)
	var asked atomic.Pointer[http.Header]
	l.onAny(func(c call) trouble {
		asked.Store(&c.header)
		return nil
	})
	l.onDownload(func(_ int, resp *http.Response) {
		if asked.Load().Get("Accept-Encoding") != "" {
			resp.Header.Set("Content-Encoding", "gzip")
			return
		}
		// A transport of net/http that a host lends asks for gzip by itself, and unpacks it.
		resp.ContentLength, resp.Uncompressed = -1, true
		resp.Header.Del("Content-Length")
		changeBody(resp, func(body io.Reader) io.Reader {
			r, err := gzip.NewReader(body)
			if err != nil {
				return &breaking{err: err}
			}
			return r
		})
	})
	if got, _, err := x.tryGet(s, "packed.gz", nil); err != nil || !bytes.Equal(got, packed) {
		x.fail("Get of an object that is announced as gzip: %s, error %v", differ(got, packed), err)
	}
}
