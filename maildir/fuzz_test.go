package maildir

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

func FuzzNames(f *testing.F) {
	for _, s := range []string{"1.a:2,S", "1.a", ":2,", "a;2,S", "a!2,FS", "a:1,x", "a:2,S:2,F", "\xff%FF%25", "x,S=12,W=13:2,Sab,tail"} {
		f.Add(s, "T")
	}
	f.Fuzz(func(t *testing.T, name, letters string) {
		if name == "" {
			return // no file has this name
		}
		unique, info := splitName(name)
		if unique+info != name || unique == "" {
			t.Fatalf("%q was split into %q and %q", name, unique, info)
		}
		if !isFlagLetters(letters) {
			return
		}
		flagged := withLetters(info, letters)
		for i := range len(letters) {
			if !strings.Contains(flagLetters(flagged), letters[i:i+1]) {
				t.Fatalf("%q with %q is %q", info, letters, flagged)
			}
		}
		if withLetters(flagged, letters) != flagged {
			t.Fatalf("adding %q to %q twice differs", letters, info)
		}
		if again, _ := splitName(unique + flagged); again != unique && info == "" && !strings.ContainsAny(unique, ":;!") {
			t.Fatalf("%q with flags is %q of unique part %q", unique, unique+flagged, again)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add("latin\xe9", "latin%E9")
	f.Add("%25E9", "%E9")
	f.Add("%\xff", "%%FF")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(escape(a)) {
			t.Fatalf("%q is escaped as %q, which is no UTF-8", a, escape(a))
		}
		if a != b && escape(a) == escape(b) {
			t.Fatalf("%q and %q both are escaped as %q", a, b, escape(a))
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	s := &state{mailbox: "a", folders: map[string]*folderState{}}
	st := &folderState{stamp: "x"}
	st.pack(map[string]*entry{"1.a": {sub: "new"}, "1.b": {sub: "cur", info: ":2,S"}})
	s.folders["INBOX"] = st
	f.Add(string(s.encode()), "1.a", "2.b", ":2,S")
	f.Add("maildir1.AAAA", "", "\x00", "")
	f.Fuzz(func(t *testing.T, cp, a, b, info string) {
		if _, err := decodeState(connection.Checkpoint(cp), "a"); err != nil && connection.KindOf(err) != connection.ErrStale {
			t.Fatalf("got %v, want ErrStale", err)
		}
		want := map[string]*entry{a: {sub: "new", info: info}, b: {sub: "cur"}}
		st := &folderState{stamp: info}
		st.pack(want)
		s := &state{mailbox: a, folders: map[string]*folderState{b: st}}
		back, err := decodeState(s.encode(), a)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := back.folders[b].unpack()
		if err != nil || len(entries) != len(want) || back.folders[b].stamp != info {
			t.Fatalf("got %v and %v, want %v", entries, err, want)
		}
		for id, e := range want {
			if got := entries[id]; got == nil || got.sub != e.sub || got.info != e.info {
				t.Fatalf("%q: got %v, want %v", id, got, e)
			}
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("/home/{user}/Maildir", "{user}", "bob")
	f.Add("/a/x*[ab]?/../", "1", "xab")
	f.Add("/a/../b/*", "3", "c")
	f.Fuzz(func(t *testing.T, path, naming, name string) {
		p, err := parsePattern(path, naming)
		if err != nil || name == "" {
			return
		}
		elems := make([]string, len(p.elems))
		for i, e := range p.elems {
			elems[i] = name
			if _, ok := e.match(name); !ok {
				return
			}
		}
		p.nameOf(elems)
	})
}
