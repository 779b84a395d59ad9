package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func checkMetadata(x *exam) {
	s, l := x.open(nil)
	if !x.features(s).Meta {
		x.skip("the store has no metadata")
	}
	put := func(key string, o connection.PutOptions) error {
		return x.tryPut(x.ctx, s, key, bytes.NewReader(octets(1, 100)), &o)
	}
	full := map[string]string{"long": strings.Repeat("v", objectstore.MaxMeta-4)}
	many := map[string]string{}
	for i := range 9 {
		many[fmt.Sprintf("name-%d", i)] = "grün " + strings.Repeat("日", i) + " 🙂 =?UTF-8?q?x?= %41 +"
	}
	for name, meta := range map[string]map[string]string{"2 KB": full, "texts": many, "spaces": {"lead": "  two", "trail": "two  ", "only": " "}} {
		x.ok("put with metadata of "+name, put("meta/"+name, connection.PutOptions{Meta: meta, ContentType: "text/plain; charset=utf-8"}))
		info, err := s.Stat(x.ctx, "meta/"+name)
		x.ok("stat", err)
		_, got, err := x.tryGet(s, "meta/"+name, nil)
		x.ok("get", err)
		for verb, info := range map[string]connection.ObjectInfo{"Stat": info, "Get": got} {
			if !maps.Equal(info.Meta, meta) {
				x.fail("of the metadata of %s %s gives %.300q, want %.300q", name, verb, info.Meta, meta)
			}
			if info.ContentType != "text/plain; charset=utf-8" {
				x.fail("%s gives the content type %q", verb, info.ContentType)
			}
		}
	}
	l.repair()
	bad := func(what string, o connection.PutOptions, kind connection.Kind) {
		x.want("put with "+what, put("bad", o), kind)
		if n := len(l.passed()); n > 0 {
			x.fail("put with %s made %d requests", what, n)
		}
	}
	bad("3 KB of metadata", connection.PutOptions{Meta: map[string]string{"long": strings.Repeat("v", 3000)}}, connection.ErrTooLarge)
	bad("one octet of metadata too many", connection.PutOptions{Meta: map[string]string{"long": strings.Repeat("v", objectstore.MaxMeta-3)}}, connection.ErrTooLarge)
	for _, name := range []string{"", "a b", "a:b", "é", "a\r\nb", "a/b", `a"b`, "a\x00"} {
		bad(fmt.Sprintf("the metadata name %q", name), connection.PutOptions{Meta: map[string]string{name: "v"}}, connection.ErrInvalid)
	}
	for _, value := range []string{"a\r\nX-Injected: b", "a\nb", "a\rb", "a\x00b", "\xff"} {
		bad(fmt.Sprintf("the metadata value %q", value), connection.PutOptions{Meta: map[string]string{"a": value}}, connection.ErrInvalid)
		bad(fmt.Sprintf("the content type %q", value), connection.PutOptions{ContentType: value}, connection.ErrInvalid)
	}
	x.holds(s, "after Puts with bad metadata", "bad", nil)
}

func checkStall(x *exam) {
	s, _ := x.wired(nil)
	raw := octets(1, 3*medium)
	x.put(s, "stalled", raw)
	impatient := func(t *objectstore.Tuning) { t.NoDataTimeout = connection.Duration(400 * time.Millisecond) }
	type trial struct {
		name string
		arm  func(l *line)
		do   func(s connection.ObjectStore) error
	}
	get := func(s connection.ObjectStore) error {
		got, _, err := x.tryGet(s, "stalled", nil)
		if err == nil && !bytes.Equal(got, raw) {
			return fmt.Errorf("%s", differ(got, raw))
		}
		return err
	}
	first := func(befalls trouble) func(*line) {
		return func(l *line) { l.onAny(firstOnly(1, befalls)) }
	}
	upload := func(befalls trouble) func(*line) {
		return func(l *line) {
			l.onUpload(func(n int, _ call) trouble {
				if n > 1 {
					return nil
				}
				return befalls
			})
		}
	}
	var trials []trial
	for _, v := range verbs("stalls/other") {
		if v.name == "get" || v.name == "stat" {
			continue // they need what is there
		}
		trials = append(trials, trial{v.name + " whose request is not answered", first(silent), func(s connection.ObjectStore) error { return v.do(x.ctx, s) }})
	}
	put := func(key string, size int64) func(s connection.ObjectStore) error {
		return func(s connection.ObjectStore) error {
			if err := x.tryPut(x.ctx, s, key, bytes.NewReader(octets(2, size)), nil); err != nil {
				return err
			}
			x.holds(s, "after a stall", key, octets(2, size))
			return nil
		}
	}
	trials = append(trials,
		trial{"put that is taken and not answered", upload(silent), put("stalls/silent", medium)},
		trial{"put that is not listened to", upload(deaf), put("stalls/deaf", medium)},
		trial{"get whose request is not answered", first(silent), get},
		trial{"stat whose request is not answered", first(silent), func(s connection.ObjectStore) error { _, err := s.Stat(x.ctx, "stalled"); return err }},
	)
	for _, after := range []int64{0, medium} {
		trials = append(trials, trial{fmt.Sprintf("get whose body stalls behind %d octets", after), func(l *line) {
			l.onDownload(func(n int, resp *http.Response) {
				if n == 1 {
					changeBody(resp, func(body io.Reader) io.Reader { return &muted{resp.Request.Context(), body, after} })
				}
			})
		}, get})
	}
	if part := x.h.Parts; part > 0 {
		trials = append(trials, trial{"put of parts of which one is not listened to", upload(deaf), put("stalls/parts", 2*part+1)})
	}
	x.each(len(trials), func(i int) {
		s, l := x.open(impatient)
		trials[i].arm(l)
		if err := trials[i].do(s); err != nil {
			x.fail("%s: %v", trials[i].name, err)
		}
	})
	all := verbs("stalls/for-ever")
	x.each(len(all), func(i int) {
		s, l := x.open(func(t *objectstore.Tuning) {
			impatient(t)
			t.MaxAttempts = 2
		})
		l.onAny(func(call) trouble { return silent })
		began := time.Now()
		err := all[i].do(x.ctx, s)
		x.note(all[i].name, err)
		if k := connection.KindOf(err); k != connection.ErrTimeout && (k != connection.ErrUncertain || all[i].name != "put") {
			x.fail("%s that is never answered: got error %v, want %v", all[i].name, err, connection.ErrTimeout)
		}
		if d := time.Since(began); d > 5*time.Second+x.h.soon() {
			x.fail("%s that is never answered took %s", all[i].name, d)
		}
	})
}

func checkSlow(x *exam) {
	x.wired(nil)
	raw := octets(1, medium)
	x.each(2, func(i int) {
		s, l := x.open(func(t *objectstore.Tuning) {
			t.MaxAttempts, t.MaxElapsed, t.NoDataTimeout = 1, connection.Duration(time.Second), connection.Duration(time.Second)
		})
		key := fmt.Sprint("slow/", i)
		began := time.Now()
		slowly := func(r *http.Request, body io.Reader) io.Reader {
			return &dripping{r.Context(), body, 4 << 10, 60 * time.Millisecond}
		}
		if i == 0 {
			l.onUpload(func(int, call) trouble { return sends(slowly) })
			x.ok("a put that is slow", x.tryPut(x.ctx, s, key, bytes.NewReader(raw), nil))
		} else {
			x.put(s, key, raw)
			began = time.Now()
			l.onDownload(func(_ int, resp *http.Response) {
				changeBody(resp, func(body io.Reader) io.Reader { return slowly(resp.Request, body) })
			})
		}
		if got, _, err := x.tryGet(s, key, nil); err != nil || !bytes.Equal(got, raw) {
			x.fail("Get that is slow: %s, error %v", differ(got, raw), err)
		}
		if d := time.Since(began); d < 1200*time.Millisecond {
			x.fail("the slow transfer took only %s: nothing is shown", d)
		}
	})
}

func checkEndless(x *exam) {
	x.wired(nil)
	const errorBound, pageBound = 4 << 20, 64 << 20 // a page of 10,000 keys can be long
	texts := [][]byte{[]byte("<a>"), []byte("["), []byte(`{"a":`), []byte("<Error><Code>"), []byte("x"), bytes.Repeat([]byte(" "), 1000), []byte("<ListBucketResult><Contents><Key>k</Key></Contents>")}
	all := verbs("some/key")
	codes := []int{http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusServiceUnavailable, http.StatusOK}
	x.each(len(texts)*len(codes), func(i int) {
		code, text := codes[i%len(codes)], texts[i/len(codes)]
		for _, v := range all {
			if code == http.StatusOK && v.name != "list" {
				continue // there what follows is the object, or is not looked at
			}
			bound := int64(errorBound)
			if code == http.StatusOK {
				bound = pageBound
			}
			s, l := x.open(once)
			var read atomic.Int64
			l.onAny(func(call) trouble {
				return answers(code, &forever{text: text, total: &read, most: bound + 1<<20}, "Content-Type", "application/xml")
			})
			var err error
			x.within(x.patience(), v.name, func() { err = v.do(x.ctx, s) })
			x.note(v.name, err)
			if err == nil || errors.Is(err, io.EOF) && v.name == "get" {
				x.fail("%s with an answer %d of endless %.20q: got error %v", v.name, code, text, err)
			}
			if n := read.Load(); n > bound {
				x.fail("%s with an answer %d of endless %.20q read %d octets of it", v.name, code, text, n)
			}
		}
	})
}

func checkPresigned(x *exam) {
	s, l := x.open(nil)
	p := can[connection.Presigner](x, s)
	raw := octets(1, medium)
	for _, key := range []string{"signed.eml", "signed/a b+c%41é&=?#"} {
		x.put(s, key, raw)
		get, err := p.Presign(x.ctx, http.MethodGet, key, time.Hour)
		x.unsupported(err)
		x.ok("presign", err)
		if text := fmt.Sprintf("%v %+v %#v", get, get, get); strings.Contains(text, "://") {
			x.fail("a presigned URL prints as %s", text)
		}
		ask := func(method, url string, body []byte) (int, []byte) {
			r, err := http.NewRequestWithContext(x.ctx, method, url, bytes.NewReader(body))
			if err != nil {
				x.stop("the presigned URL is none")
			}
			if method == http.MethodPut {
				// Azure Blob Storage wants to know of what kind the blob is to be, and does not sign it.
				r.Header.Set("x-ms-blob-type", "BlockBlob")
			}
			resp, err := (&http.Client{Transport: l.base}).Do(r)
			if err != nil {
				x.stop("a request to a presigned URL failed")
			}
			got, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				x.stop("reading from a presigned URL failed")
			}
			return resp.StatusCode, got
		}
		if code, got := ask(http.MethodGet, get.Reveal(), nil); code != http.StatusOK || !bytes.Equal(got, raw) {
			x.fail("GET of a presigned URL: status %d, %s", code, differ(got, raw))
		}
		if code, _ := ask(http.MethodPut, get.Reveal(), octets(2, 10)); code < 400 {
			x.fail("PUT to a URL presigned for GET: status %d", code)
		}
		x.holds(s, "after PUT to a URL presigned for GET", key, raw)
		if code, _ := ask(http.MethodGet, strings.Replace(get.Reveal(), "signed", "signee", 1), nil); code < 400 {
			x.fail("GET of a presigned URL whose key was changed: status %d", code)
		}
		put, err := p.Presign(x.ctx, http.MethodPut, key, time.Hour)
		x.note("presign", err)
		if errors.Is(err, connection.ErrUnsupported) {
			continue // its URLs can only read
		}
		x.ok("presign", err)
		if code, _ := ask(http.MethodPut, put.Reveal(), octets(3, 10)); code/100 != 2 {
			x.fail("PUT to a presigned URL: status %d", code)
		}
		if got, _, err := x.tryGet(s, key, nil); err != nil || !bytes.Equal(got, octets(3, 10)) {
			x.fail("after PUT to a presigned URL: %s, error %v", differ(got, octets(3, 10)), err)
		}
	}
}
