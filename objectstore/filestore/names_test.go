package filestore

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/objectstore"
)

// keyOf is the inverse of keyPath, by way of parseName as a listing uses it.
func keyOf(dirs []string, name string) (string, bool) {
	key, cut := "", false
	for _, d := range dirs {
		piece, kind := parseName(d, cut)
		switch kind {
		case dirName:
			key += piece + "/"
		case cutName:
			key += piece
		default:
			return "", false
		}
		cut = kind == cutName
	}
	piece, kind := parseName(name, cut)
	return key + piece, kind == fileName
}

func TestKeyPath(t *testing.T) {
	long := strings.Repeat("x", 79)
	cases := []struct{ key, want string }{
		{"messages/ab/cd/ef.eml", "messages/ab/cd/ef.eml"},
		{"a", "a%f"},
		{"a/b", "a/b%f"},
		{"a.b/c.d", "a.b%d/c.d"},
		{"Inbox/Re: Hi?", "!inbox/!re%3a !hi%3f%f"},
		{"con/aux.txt", "%63on/%61ux.txt"},
		{"com1", "%63om1%f"},
		{"CON", "!c!o!n%f"},
		{"nul .x", "%6eul .x"},
		{"trailing./dot.", "trailing%2e/dot%2e%f"},
		{"trailing /x ", "trailing%20/x%20%f"},
		{".tmp/x.y", "%2etmp/x.y"},
		{"100%", "100%25%f"},
		{"wow!", "wow%21%f"},
		{"é", "%c3%a9%f"},
		{"a~1", "a%7e1%f"},
		{long, long + "%f"},
		{long + "y", long + "y%c/%f"},
		{long + "yz/a", long + "y%c/z%d/a%f"},
		{long + "y/a", long + "y%c/%d/a%f"},
		{strings.Repeat("É", 40) + "/x", strings.Repeat("%c3%89", 40) + "%c/%d/x%f"},
	}
	for _, tc := range cases {
		dirs, name := keyPath(tc.key)
		if got := path.Join(append(dirs, name)...); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.key, got, tc.want)
		}
		if got, ok := keyOf(dirs, name); !ok || got != tc.key {
			t.Errorf("%q: comes back as %q, %v", tc.key, got, ok)
		}
	}
}

func TestForeignNames(t *testing.T) {
	for _, name := range []string{"README.md", ".tmp", ".hidden", "a%", "a%zz", "%41", "x%f%m", "x%d", "x.y%f", "%f", "", "a!", "a!B", "con", "x.", strings.Repeat("a", 80), "a%c"} {
		if piece, kind := parseName(name, false); kind != foreignName {
			t.Errorf("%q is taken for %q", name, piece)
		}
	}
}

func FuzzKeyPath(f *testing.F) {
	for _, key := range []string{"a", "a/b", "messages/ab/x.eml", "CON/é .", strings.Repeat("Ä.", 120)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if objectstore.CheckKey(key) != nil {
			return
		}
		dirs, name := keyPath(key)
		for _, elem := range append(dirs, name) {
			if len(elem)+len(suffixSidecar) > 255 || elem == "" || elem[0] == '.' || strings.ToLower(elem) != elem || !utf8.ValidString(elem) ||
				strings.ContainsAny(elem, "/\\:<>\"|?*\x00") || strings.HasSuffix(elem, ".") || strings.HasSuffix(elem, " ") || isDevice(elem) {
				t.Errorf("%q: unsafe element %q", key, elem)
			}
		}
		if got, ok := keyOf(dirs, name); !ok || got != key {
			t.Errorf("%q: comes back as %q, %v", key, got, ok)
		}
	})
}
