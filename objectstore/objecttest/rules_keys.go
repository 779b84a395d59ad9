package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// escapedKeys need escaping in URLs, headers or XML.
var escapedKeys = []string{
	"plus+sign", "percent%41", "percent%2Fslash", "space in it", "question?x=y", "hash#part", "amp&lt;", `quote"'`, "semi;colon", "eq=uals",
	"é/ü", "e\u0301", "日本語/ファイル", "🙂/🙃", "<tag>", "comma,brace{}", "colon:at@", "star*", "pipe|", "tilde~", "caret^", "back`tick", "dollar$", "trail. ", "=?UTF-8?q?x?=",
}

func checkEscaped(x *exam) {
	s := x.store()
	x.each(len(escapedKeys), func(i int) { x.put(s, escapedKeys[i], octets(uint64(i), 40+int64(i))) })
	for i, key := range escapedKeys {
		x.holds(s, "after Put", key, octets(uint64(i), 40+int64(i)))
		if _, folded, ok := strings.Cut(key, "/"); ok && folded != "" {
			prefix := strings.TrimSuffix(key, folded)
			x.listed(s, "with Delimiter and Prefix of "+key, &connection.ListOptions{Prefix: prefix[:len(prefix)-1], Delimiter: "/"}, []string{prefix + " (prefix)"})
		}
	}
	sorted := slices.Sorted(slices.Values(escapedKeys))
	for i, key := range sorted {
		x.listed(s, fmt.Sprintf("with After %q", key), &connection.ListOptions{After: key}, sorted[i+1:])
	}
	c, ok := s.(connection.Copier)
	if !ok {
		return
	}
	for i, key := range escapedKeys {
		_, err := c.Copy(x.ctx, "copy/"+key, key, nil)
		x.note("copy", err)
		if errors.Is(err, connection.ErrUnsupported) {
			return
		}
		if err != nil {
			x.fail("copy of %q: %v", key, err)
			continue
		}
		x.holds(s, "after Copy", "copy/"+key, octets(uint64(i), 40+int64(i)))
	}
}

// alwaysBad are keys that no setting permits, laxKeys those that allow_any_key does.
var (
	alwaysBad = []string{
		"", "/", "/lead", ".", "..", "a/../b", "a/./b", "../a", "a/..", "a\nb", "a\rb", "a\x00b", "a\x1fb", "a\x7fb", "a\u0085b", "a\xffb", "\xc0\xaf",
		strings.Repeat("s", objectstore.MaxSegment+1), "a/" + strings.Repeat("é", 128), strings.Repeat("0123456789/", 94)[:objectstore.MaxKey+1],
	}
	laxKeys = []string{"a//b", "a/", "dir/sub/", `a\b`, `back\\slash`}
)

func checkBadKeys(x *exam) {
	s, l := x.open(nil)
	x.put(s, "good", octets(1, 10))
	l.repair()
	refused := func(verb, key string, err error) {
		x.note(verb, err)
		var e *connection.Error
		for cause := err; errors.As(cause, &e) && e.Code == ""; cause = e.Err {
		}
		if e == nil || e.Kind != connection.ErrUnsupported || e.Code != objectstore.InvalidKey {
			x.fail("%s with the key %.40q: got error %v, want %v with Code %s", verb, key, err, connection.ErrUnsupported, objectstore.InvalidKey)
		}
	}
	for _, key := range slices.Concat(alwaysBad, laxKeys) {
		for _, v := range verbs(key) {
			if v.name != "list" {
				refused(v.name, key, v.do(x.ctx, s))
			}
		}
		if c, ok := s.(connection.Copier); ok {
			for _, pair := range [][2]string{{key, "good"}, {"good", key}} {
				if _, err := c.Copy(x.ctx, pair[0], pair[1], nil); connection.KindOf(err) != connection.ErrUnsupported {
					x.fail("copy of %.40q to %.40q: got error %v, want %v", pair[1], pair[0], err, connection.ErrUnsupported)
				}
			}
		}
		if locker, ok := s.(connection.Locker); ok {
			if err := locker.Lock(x.ctx, key, connection.Lock{LegalHold: true}); connection.KindOf(err) != connection.ErrUnsupported {
				x.fail("lock of %.40q: got error %v, want %v", key, err, connection.ErrUnsupported)
			}
		}
		if p, ok := s.(connection.Presigner); ok {
			if _, err := p.Presign(x.ctx, "GET", key, time.Minute); connection.KindOf(err) != connection.ErrUnsupported {
				x.fail("presign of %.40q: got error %v, want %v", key, err, connection.ErrUnsupported)
			}
		}
	}
	if n := len(l.passed()); n > 0 {
		x.fail("%d requests were made for keys that cannot be", n)
	}
}

func checkAnyKey(x *exam) {
	x.needTuned()
	s, _ := x.open(func(t *objectstore.Tuning) { t.AllowAnyKey = true })
	for _, key := range alwaysBad {
		if err := x.tryPut(x.ctx, s, key, bytes.NewReader(octets(1, 10)), nil); connection.KindOf(err) != connection.ErrUnsupported {
			x.fail("put with the key %.40q: got error %v, want %v", key, err, connection.ErrUnsupported)
		}
	}
	var kept []string
	for i, key := range laxKeys {
		if x.tryPut(x.ctx, s, key, bytes.NewReader(octets(uint64(i), 50)), nil) == nil {
			kept = append(kept, key)
		}
	}
	for i, key := range laxKeys {
		if !slices.Contains(kept, key) {
			continue
		}
		if got, _, err := x.tryGet(s, key, nil); err != nil || !bytes.Equal(got, octets(uint64(i), 50)) {
			x.fail("get of %q: %s, error %v", key, differ(got, octets(uint64(i), 50)), err)
		}
	}
	x.listed(s, "after Puts with allow_any_key", nil, slices.Sorted(slices.Values(kept)))
	x.ok("delete", s.Delete(x.ctx, kept...))
	x.listed(s, "after Delete with allow_any_key", nil, nil)
}

func checkLongKeys(x *exam) {
	s := x.store()
	segment := func(text string, n int) string { return strings.Repeat(text, n/len(text)) }
	long := func(text string) string {
		key := strings.Repeat(segment(text, 200)+"/", 5)
		return key + strings.Repeat("k", objectstore.MaxKey-len(key))
	}
	keys := []string{long("a"), long(" +"), long("é"), long("🙂"), long("%"), segment("x", objectstore.MaxSegment), segment("é", objectstore.MaxSegment), strings.Repeat("s/", 511) + "zz"}
	for i, key := range keys {
		x.put(s, key, octets(uint64(i), 60))
	}
	for i, key := range keys {
		x.holds(s, "after Put", key, octets(uint64(i), 60))
	}
	x.listed(s, "of long keys", nil, slices.Sorted(slices.Values(keys)))
	x.ok("delete", s.Delete(x.ctx, keys...))
	x.listed(s, "after Delete of long keys", nil, nil)
}

func checkForeignKeys(x *exam) {
	if x.h.Plant == nil {
		x.skip("the harness has no Plant")
	}
	s := x.store()
	x.put(s, "own", octets(1, 10))
	all := []string{"own"}
	for _, key := range slices.Concat([]string{"/lead", "a/../b", "new\nline", "tab\there", "esc\x1b[0m"}, laxKeys) {
		if x.h.Plant(x.t, key, octets(2, 10)) {
			all = append(all, key)
		}
	}
	if len(all) == 1 {
		x.skip("the fixture holds no such keys")
	}
	x.listed(s, "with keys of others", nil, slices.Sorted(slices.Values(all)))
	for _, key := range all[1:] {
		if err := s.Delete(x.ctx, key); err == nil {
			x.fail("Delete took the key %q", key)
		}
	}
	x.holds(s, "beside keys of others", "own", octets(1, 10))
}
