package gmail

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
)

func labelsOf(names map[string]string) []*gapi.Label {
	all := []*gapi.Label{{Id: "INBOX", Name: "INBOX", Type: "system"}, {Id: "CATEGORY_SOCIAL", Name: "CATEGORY_SOCIAL", Type: "system"}}
	for id, name := range names {
		all = append(all, &gapi.Label{Id: id, Name: name, Type: "user"})
	}
	return all
}

func TestSortLabels(t *testing.T) {
	set := newLabelSet(labelsOf(map[string]string{"Label_1": "Zeta", "Label_2": "Alpha/Beta"}), "/")
	for _, test := range []struct {
		ids    string
		labels string // the folder first
		flags  string
		known  bool
	}{
		{"", "Archive", `\Seen`, true},
		{"INBOX UNREAD", "INBOX", "", true},
		{"UNREAD INBOX", "INBOX", "", true},
		{"INBOX SENT", "INBOX SENT", `\Seen`, true},
		{"SENT Label_1 INBOX Label_2", "Alpha/Beta Zeta INBOX SENT", `\Seen`, true},
		{"Label_1 TRASH INBOX", "TRASH Zeta INBOX", `\Seen`, true},
		{"DRAFT SPAM TRASH", "TRASH SPAM DRAFT", `\Seen \Draft`, true},
		{"DRAFT", "DRAFT", `\Seen \Draft`, true},
		{"CHAT", "CHAT", `\Seen`, true},
		{"STARRED IMPORTANT CATEGORY_SOCIAL CATEGORY_FORUMS", "Archive", `\Seen \Flagged $Important CATEGORY_FORUMS CATEGORY_SOCIAL`, true},
		{"INBOX INBOX Label_1 Label_1", "Zeta INBOX", `\Seen`, true},
		{"INBOX Label_99", "Label_99 INBOX", `\Seen`, false},
		{"x/../y", "x%2F..%2Fy", `\Seen`, false},
	} {
		folder, labels, flags, known := set.sort(strings.Fields(test.ids))
		var words []string
		for _, f := range flags {
			words = append(words, string(f))
		}
		if got := strings.Join(labels, " "); got != test.labels || folder != labels[0] || strings.Join(words, " ") != test.flags || known != test.known {
			t.Errorf("%q: got %q, %q, %v, known %v; want %q, %q, known %v", test.ids, folder, got, words, known, test.labels, test.flags, test.known)
		}
	}
}

// undo returns the label's name of a path that was not told apart from another.
func undo(t *testing.T, path, delimiter string) string {
	t.Helper()
	parts := strings.Split(path, delimiter)
	for i, p := range parts {
		for at := strings.IndexByte(p, '%'); at >= 0; {
			octet, err := hex.DecodeString(p[at+1 : at+3])
			if err != nil {
				t.Fatalf("path %q: %v", path, err)
			}
			p = p[:at] + string(octet) + p[at+3:]
			next := strings.IndexByte(p[at+1:], '%')
			if next < 0 {
				break
			}
			at += 1 + next
		}
		parts[i] = p
	}
	return strings.Join(parts, "/")
}

// Whatever a label is called, its name can be had back from its folder, which is safe as a path, and two labels share none.
func TestG33StrangeLabels(t *testing.T) {
	names := []string{
		"a", "a/b", "a//b", "/a", "a/", "/", "//", "a/ b /c", " a", "a ", "..", ".", "../../etc/passwd", "a/../b", "a/./b", `C:\x`, "a\x00b", "a\r\nb",
		"100%", "%2F", "~", "a~Label_1", "a.b", "a_b", "INBOX ", "\u202egnp.exe", "a\u2028b", "日本/語", "\xff\xfe", "a%", strings.Repeat("x/", 112) + "y",
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var b strings.Builder
		for range 1 + rnd.IntN(8) {
			b.WriteString([]string{"/", "/", ".", "%", "~", " ", "a", "A", "_", "\\", "\x7f", "é", "\xc3"}[rnd.IntN(13)])
		}
		names = append(names, b.String())
	}
	for _, delimiter := range []string{"/", ".", "_", "|"} {
		paths := make(map[string]string)
		for _, name := range names {
			path := encodePath(name, delimiter)
			if got := undo(t, path, delimiter); got != name {
				t.Fatalf("%q by %q: %q means %q", name, delimiter, path, got)
			}
			if was, taken := paths[path]; taken && was != name {
				t.Fatalf("%q and %q are both %q", was, name, path)
			}
			paths[path] = name
			for _, part := range strings.Split(path, delimiter) {
				if part == "" || part == "." || part == ".." || part != strings.TrimSpace(part) || strings.ContainsAny(part, "\\/~\x00\r\n\u202e\u2028") {
					t.Fatalf("%q by %q: %q has the level %q", name, delimiter, path, part)
				}
			}
		}
	}
}

// More labels than Gmail permits, many of which differ in nothing but case, have a folder each; the older keeps its plain
// name, in whatever order the server lists them.
func TestG33ManyLabels(t *testing.T) {
	names := make(map[string]string)
	for i := range 12_000 {
		name := fmt.Sprintf("Projects/%d", i/2)
		if i%2 == 1 {
			name = strings.ToUpper(name)
		}
		names[fmt.Sprintf("Label_%d", i+1)] = name
	}
	names["Label_20000"], names["Label_20001"] = "inbox", "Archive"
	first, second := newLabelSet(labelsOf(names), "/"), newLabelSet(labelsOf(names), "/") // a map's order is never the same
	met := make(map[string]bool)
	for id, path := range first.paths() {
		if second.paths()[id] != path {
			t.Fatalf("%s is %q and %q", id, path, second.paths()[id])
		}
		if met[foldPath(path)] || slices.Contains([]string{"INBOX", "ARCHIVE"}, strings.ToUpper(path)) {
			t.Fatalf("two folders %q", path)
		}
		met[foldPath(path)] = true
		if got, ok := first.id(path); !ok || got != id {
			t.Fatalf("folder %q: got %q, %v, want %q", path, got, ok, id)
		}
	}
	if got := first.paths()["Label_1"]; got != "Projects/0" {
		t.Errorf("the older: got %q", got)
	}
	if got := first.paths()["Label_2"]; got != "PROJECTS/0~Label_2" {
		t.Errorf("the younger: got %q", got)
	}
	if n := len(first.folders("")); n != 12_002+len(systemFolders)+1 {
		t.Errorf("got %d folders", n)
	}
}

func TestLabelByName(t *testing.T) {
	set := newLabelSet(labelsOf(map[string]string{"Label_1": "Work/a.b", "Label_2": "work", "Label_3": "Archive"}), ".")
	for name, want := range map[string]string{
		"Work.a%2Eb": "Label_1", "Work/a.b": "Label_1", "Label_1": "Label_1", "WORK": "Label_2", "Work": "Label_2", "Inbox": "INBOX", `\Sent`: "SENT", `\junk`: "SPAM",
		"Archive": "", "archive": "", "Archive~Label_3": "Label_3", "STARRED": "STARRED",
	} {
		if got, ok := set.id(name); !ok || got != want {
			t.Errorf("%q: got %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "nothing", "~Label_1"} {
		if got, ok := set.id(name); ok {
			t.Errorf("%q: got %q, want nothing", name, got)
		}
	}
	if got := set.path("Label_2"); got != "work" {
		t.Errorf("path: got %q", got)
	}
}

func TestDiffLabels(t *testing.T) {
	old := map[string]string{"1": "a", "2": "b", "3": "c", "4": "d"}
	now := map[string]string{"1": "a", "2": "bee", "4": "c", "5": "e", "6": "d"}
	var got []string
	for _, ch := range diffLabels(old, now) {
		got = append(got, fmt.Sprintf("%s %s %s<%s", ch.Op, ch.Folder.ID, ch.Folder.Name, ch.Folder.Previous))
	}
	want := []string{
		connection.FolderRemoved.String() + " 3 c<",
		connection.FolderRenamed.String() + " 2 bee<b", connection.FolderRenamed.String() + " 4 c<d",
		connection.FolderAdded.String() + " 6 d<", connection.FolderAdded.String() + " 5 e<",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
