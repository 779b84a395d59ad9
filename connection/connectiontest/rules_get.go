package connectiontest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func checkRanges(x *exam) {
	s := x.store()
	raw := x.large(1, 200<<10)
	size := int64(len(raw))
	x.put(s, "ranges", raw, nil)
	x.put(s, "nothing", nil, nil)
	for _, r := range [][2]int64{{0, 1}, {0, size}, {0, size + 1}, {1, 0}, {7, 13}, {size - 1, 0}, {size - 1, 1}, {size - 1, 10}, {size, 0}, {size, 1}, {size + 1, 0}, {size * 10, 100}, {65_536, 65_536}} {
		want := raw[min(r[0], size):]
		if r[1] > 0 {
			want = want[:min(r[1], int64(len(want)))]
		}
		x.within(x.h.patience(), "Get of a range", func() {
			got, _, err := x.tryGet(x.ctx, s, "ranges", &connection.GetOptions{Offset: r[0], Length: r[1]})
			if err != nil {
				x.fail("Get with Offset %d and Length %d of %d octets: %v", r[0], r[1], size, err)
			} else if !bytes.Equal(got, want) {
				x.fail("Get with Offset %d and Length %d of %d octets: %s", r[0], r[1], size, compare(got, want))
			}
		})
	}
	for _, r := range [][2]int64{{0, 0}, {0, 10}, {5, 0}, {5, 5}} {
		if got, _, err := x.tryGet(x.ctx, s, "nothing", &connection.GetOptions{Offset: r[0], Length: r[1]}); err != nil || len(got) > 0 {
			x.fail("Get with Offset %d and Length %d of an empty object: %d octets, error %v; want none", r[0], r[1], len(got), err)
		}
	}
	for _, r := range [][2]int64{{-1, 0}, {0, -1}} {
		if got, _, err := x.tryGet(x.ctx, s, "ranges", &connection.GetOptions{Offset: r[0], Length: r[1]}); err == nil {
			x.fail("Get with Offset %d and Length %d gives %d octets, want an error", r[0], r[1], len(got))
		}
	}
	// Closing early must not need the rest.
	o, err := s.Get(x.ctx, "ranges", nil)
	x.ok("get", err)
	x.within(x.h.soon(), "closing an object that was not read", func() { x.ok("get (closing a body)", o.Body.Close()) })
}

func checkGetMissing(x *exam) {
	s := x.store()
	x.put(s, "there/is", letter(0), nil)
	for _, key := range []string{"missing", "there", "there/is/not", "there/i", "there/is2", "There/is"} {
		_, _, err := x.tryGet(x.ctx, s, key, nil)
		x.wantKind(fmt.Sprintf("get of %q", key), err, connection.ErrNotFound)
		_, err = s.Stat(x.ctx, key)
		x.wantKind(fmt.Sprintf("stat of %q", key), err, connection.ErrNotFound)
	}
	first, err := s.Stat(x.ctx, "there/is")
	x.ok("stat", err)
	if first.ETag == "" {
		x.fail("Stat gives no ETag")
		return
	}
	if _, _, err := x.tryGet(x.ctx, s, "there/is", &connection.GetOptions{IfMatch: first.ETag}); err != nil {
		x.fail("Get with IfMatch of what is there: %v", err)
	}
	x.put(s, "there/is", letter(1), nil)
	_, _, err = x.tryGet(x.ctx, s, "there/is", &connection.GetOptions{IfMatch: first.ETag})
	x.wantKind("get with IfMatch of what was replaced", err, connection.ErrChanged)
}

// weirdKeys are valid and easily mangled; in byte order of their keys after sorting.
var weirdKeys = []string{
	"a", "A", "a.b", "a-b", "a b", "a+b", "a%b", "a%2Fb", "a%2fb", "a%20b", "a&b", "a=b", "a?b", "a#b", "a;b", "a:b", "a,b", "a'b", `a"b`, "a*b", "a<b>", "a|b", "a~", "a$", "a@b", "a!b", "a(b)", "a[b]", "a{b}", "a^b", "a`b",
	".hidden", "trailing.", "trailing ", " leading", "...", "-", "~", "con", "NUL", "aux.txt", "com1", "é", "e\u0301", "日本/語", "🙂", "ß", "SS", "ı", "I", "i",
	"dir/file", "dir/.tmp", "dir/file.meta", ".tmp/x", "dir/x.tmp", "%", "%41", "A%", "_", "__meta__",
}

func (x *exam) list(s connection.ObjectStore, opts *connection.ListOptions) (all []connection.ObjectInfo) {
	x.within(3*x.h.patience(), "List", func() {
		for info, err := range s.List(x.ctx, opts) {
			x.ok("list", err)
			all = append(all, info)
			if len(all) > 100_000 {
				x.stop("List does not end")
			}
		}
	})
	return all
}

func keysOf(all []connection.ObjectInfo) []string {
	keys := make([]string, len(all))
	for i, info := range all {
		keys[i] = info.Key
		if info.Prefix {
			keys[i] += " (prefix)"
		}
	}
	return keys
}

// listed waits until List gives want, and fails the rule if it does not.
func (x *exam) listed(s connection.ObjectStore, opts connection.ListOptions, want []string) {
	var got []string
	same := func() bool {
		got = keysOf(x.list(s, &opts))
		return slices.Equal(got, want)
	}
	if poll(x.h.Eventual, same) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			x.fail("List with %+v: got %d entries, want %d; from number %d on got %q, want %q", opts, len(got), len(want), i, got[i:min(len(got), i+6)], want[i:min(len(want), i+6)])
			return
		}
	}
}

// orderKeys sort differently by name of directory and by key: '-' and '.' come before '/', '0' behind it.
var orderKeys = []string{"a-b", "a.b", "a/b", "a/b-c/d", "a/b.c", "a0b", "aa/b", "b!/x", "b-/x", "b/1", "b/10", "b/2", "b/c/d", "b/c-d", "b0", "B", "Z/a", "é/1", "~"}

func checkListOrder(x *exam) {
	s := x.store()
	keys := slices.Clone(orderKeys)
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("many/%d/%d", i%7, i))
	}
	for i := range keys {
		x.put(s, keys[(i*17)%len(keys)], letter(i), nil) // 17 and the count have no common factor
	}
	slices.Sort(keys)
	x.listed(s, connection.ListOptions{}, keys)
	x.listed(x.store(), connection.ListOptions{}, keys)
	for info, err := range s.List(x.ctx, nil) {
		x.ok("list", err)
		// Other verbs may be used in the loop, since List holds no request open.
		stat, err := s.Stat(x.ctx, info.Key)
		x.ok("stat within List", err)
		if stat.Size != info.Size {
			x.fail("List says %q has %d octets, Stat %d", info.Key, info.Size, stat.Size)
		}
	}
}

func checkListOptions(x *exam) {
	s := x.store()
	for i, key := range orderKeys {
		x.put(s, key, letter(i), nil)
	}
	for _, o := range []connection.ListOptions{
		{Prefix: "a"},
		{Prefix: "a/"},
		{Prefix: "a/b"},
		{Prefix: "b/c"},
		{Prefix: "b/c/"},
		{Prefix: "nothing"},
		{Prefix: "é"},
		{Prefix: "a/b-c/d"},
		{Delimiter: "/"},
		{Prefix: "a/", Delimiter: "/"},
		{Prefix: "b", Delimiter: "/"},
		{Prefix: "b/", Delimiter: "/"},
		{Prefix: "b/c", Delimiter: "/"},
		{Delimiter: "-"},
		{Delimiter: "b/"},
		{After: "a/b"},
		{After: "a/"},
		{After: "a/b-"},
		{After: "zzz"},
		{After: "~"},
		{After: "!"},
		{Prefix: "b/", After: "b/1"},
		{Prefix: "b/", After: "a"},
		{Prefix: "b/", After: "c"},
		{Delimiter: "/", After: "a/"},
		{Delimiter: "/", After: "a/a"},
		{Delimiter: "/", After: "b"},
		{Prefix: "b/", Delimiter: "/", After: "b/c"},
		{Limit: 1},
		{Limit: 5},
		{Limit: 1000},
		{Prefix: "b/", Limit: 2},
		{Delimiter: "/", Limit: 3},
		{After: "a/b", Limit: 2},
	} {
		x.listed(s, o, listing(orderKeys, o))
	}
	// A page after the other, as a host does that shows them.
	var pages []string
	after := ""
	for range orderKeys {
		page := keysOf(x.list(s, &connection.ListOptions{After: after, Limit: 3}))
		pages = append(pages, page...)
		if len(page) < 3 {
			break
		}
		after = page[len(page)-1]
	}
	if want := slices.Sorted(slices.Values(orderKeys)); !slices.Equal(pages, want) {
		x.fail("pages of three by After and Limit give %q, want %q", pages, want)
	}
}

// listing is what List must give: the specification in a few lines.
func listing(keys []string, o connection.ListOptions) []string {
	var out []string
	for _, key := range slices.Sorted(slices.Values(keys)) {
		rest, ok := strings.CutPrefix(key, o.Prefix)
		if !ok {
			continue
		}
		entry, shown := key, key
		if o.Delimiter != "" {
			if folded, _, ok := strings.Cut(rest, o.Delimiter); ok {
				entry = o.Prefix + folded + o.Delimiter
				shown = entry + " (prefix)"
			}
		}
		if entry > o.After && (len(out) == 0 || out[len(out)-1] != shown) {
			out = append(out, shown)
		}
	}
	// Entries with a prefix sort as their own keys do, which need not be in the order of the keys folded.
	slices.SortFunc(out, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, " (prefix)"), strings.TrimSuffix(b, " (prefix)"))
	})
	out = slices.Compact(out)
	if o.Limit > 0 {
		out = out[:min(o.Limit, len(out))]
	}
	return out
}

func checkKeysKept(x *exam) {
	s := x.store()
	keys := append(slices.Clone(weirdKeys), strings.Repeat("k", 255), strings.Repeat("0123456789/", 93)+"k", strings.Repeat("d", 200)+"/"+strings.Repeat("é", 100))
	for i, key := range keys {
		x.put(s, key, letter(i), nil)
	}
	for _, s := range []connection.ObjectStore{s, x.store()} {
		for i, key := range keys {
			if got := x.get(s, key); !bytes.Equal(got, letter(i)) {
				x.fail("key %q holds what another key was given: %s", key, describe(got))
			}
		}
	}
	x.listed(s, connection.ListOptions{}, slices.Sorted(slices.Values(keys)))
	for i, key := range keys {
		if i%2 == 0 {
			x.ok("delete objects", s.Delete(x.ctx, key))
		}
	}
	for i, key := range keys {
		if i%2 == 0 {
			x.holdsObject(s, "after Delete of every second key", key, nil)
		} else {
			x.holdsObject(s, "after Delete of every second key", key, letter(i))
		}
	}
}

func checkKeysNested(x *exam) {
	for _, keys := range [][]string{{"n", "n/m", "n/m/o"}, {"p/q/r", "p/q", "p"}} {
		s := x.store()
		for i, key := range keys {
			x.put(s, key, letter(i), nil)
		}
		for i, key := range keys {
			x.holdsObject(s, "with keys that begin alike", key, letter(i))
		}
		x.listed(s, connection.ListOptions{Prefix: keys[0][:1]}, slices.Sorted(slices.Values(keys)))
		x.ok("delete objects", s.Delete(x.ctx, keys[1]))
		x.holdsObject(s, "after Delete", keys[0], letter(0))
		x.holdsObject(s, "after Delete", keys[1], nil)
		x.holdsObject(s, "after Delete", keys[2], letter(2))
	}
}

func checkKeysRefused(x *exam) {
	s := x.store()
	x.put(s, "w", letter(0), nil)
	x.put(s, "q/w", letter(1), nil)
	before := x.world()
	for _, key := range []string{
		"", "/", "/w", "../w", "..", ".", "./w", "q/../w", "q/./w", "q/..", "q/.", "q/../../w", "../../../../etc/passwd", "q//w", "w/", "q/", "\x00", "w\x00", "w\nx", "w\rx", "w\x1b", "w\x7f", "w\tx", "\xff\xfe", "q/\xc0\xae\xc0\xae/w",
		strings.Repeat("k", 256), strings.Repeat("0123456/", 128) + "k", strings.Repeat("k", 1025),
	} {
		x.within(x.h.patience(), fmt.Sprintf("verbs with the key %.40q", key), func() {
			_, err := s.Put(x.ctx, key, bytes.NewReader(letter(2)), nil)
			x.noteError("put", err)
			if err == nil {
				x.fail("Put took the key %.60q (%d octets)", key, len(key))
			}
			if raw, _, err := x.tryGet(x.ctx, s, key, nil); err == nil {
				x.fail("Get with the key %.60q gives %s", key, describe(raw))
			}
			_, err = s.Stat(x.ctx, key)
			x.noteError("stat", err)
			if err == nil {
				x.fail("Stat found the key %.60q", key)
			}
			// Delete may say that nothing is there or that the key is no key.
			x.noteError("delete objects", s.Delete(x.ctx, key))
		})
	}
	x.unchanged("after verbs with keys that are none", before)
}

func checkObjectsDelete(x *exam) {
	s := x.store()
	for i, key := range []string{"d/1", "d/10", "d/2", "d/3", "e"} {
		x.put(s, key, letter(i), nil)
	}
	x.ok("delete objects", s.Delete(x.ctx))
	x.ok("delete objects", s.Delete(x.ctx, "d/1"))
	x.listed(s, connection.ListOptions{}, []string{"d/10", "d/2", "d/3", "e"})
	x.ok("delete of a missing object", s.Delete(x.ctx, "d/1", "d", "never/was"))
	x.ok("delete objects", x.store().Delete(x.ctx, "d/2", "missing", "d/3", "d/2"))
	x.listed(s, connection.ListOptions{}, []string{"d/10", "e"})
	x.ok("delete objects", s.Delete(x.ctx, "d/10", "e"))
	x.listed(s, connection.ListOptions{}, nil)
	x.put(s, "d/1", letter(9), nil)
	x.holdsObject(s, "put again after Delete", "d/1", letter(9))
}

func checkLock(x *exam) {
	s := x.store()
	l := s.(connection.Locker)
	x.put(s, "held", letter(0), nil)
	x.put(s, "kept", letter(1), nil)
	x.put(s, "free", letter(2), nil)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	lock := func(key string, k connection.Lock) error {
		err := l.Lock(x.ctx, key, k)
		x.noteError("lock", err)
		return err
	}
	x.ok("lock", lock("held", connection.Lock{LegalHold: true}))
	x.ok("lock", lock("kept", connection.Lock{RetainUntil: until}))
	for key, raw := range map[string][]byte{"held": letter(0), "kept": letter(1)} {
		for _, s := range []connection.ObjectStore{s, x.store()} {
			x.wantKind("delete of a locked object", s.Delete(x.ctx, "free", key), connection.ErrLocked)
			_, err := s.Put(x.ctx, key, bytes.NewReader(letter(9)), nil)
			x.wantKind("put over a locked object", err, connection.ErrLocked)
			x.holdsObject(s, "under lock", key, raw)
		}
	}
	x.holdsObject(s, "deleted together with a locked one", "free", nil)
	x.wantKind("lock that shortens a retention", lock("kept", connection.Lock{RetainUntil: until.Add(-time.Minute)}), connection.ErrLocked)
	x.ok("lock that prolongs a retention", lock("kept", connection.Lock{RetainUntil: until.Add(time.Minute)}))
	if info, err := s.Stat(x.ctx, "kept"); err != nil || !info.Lock.RetainUntil.Equal(until.Add(time.Minute)) {
		x.fail("after the retention was prolonged Stat says %v (error %v), want %v", info.Lock.RetainUntil, err, until.Add(time.Minute))
	}
	x.ok("lock that ends a legal hold", lock("held", connection.Lock{}))
	x.ok("delete after the legal hold", s.Delete(x.ctx, "held"))
	x.wantKind("lock of a missing object", lock("missing", connection.Lock{LegalHold: true}), connection.ErrNotFound)
}

func checkCopy(x *exam) {
	s := x.store()
	c := s.(connection.Copier)
	x.put(s, "src", letter(0), nil)
	x.put(s, "taken", letter(1), nil)
	_, err := c.Copy(x.ctx, "new/dst", "src", nil)
	x.ok("copy", err)
	x.holdsObject(s, "after Copy", "new/dst", letter(0))
	_, err = c.Copy(x.ctx, "taken", "src", &connection.PutOptions{IfAbsent: true})
	x.noteError("copy", err)
	if !errors.Is(err, connection.ErrExists) && !errors.Is(err, connection.ErrUnsupported) {
		x.fail("Copy with IfAbsent onto a key that is taken: got error %v, want %q", err, connection.ErrExists)
	}
	x.holdsObject(s, "after Copy with IfAbsent", "taken", letter(1))
	_, err = c.Copy(x.ctx, "taken", "missing", nil)
	x.wantKind("copy of a missing object", err, connection.ErrNotFound)
	x.holdsObject(s, "after Copy of a missing object", "taken", letter(1))
	_, err = c.Copy(x.ctx, "../out", "src", nil)
	x.noteError("copy", err)
	if err == nil {
		x.fail("Copy took the key ../out")
	}
}
