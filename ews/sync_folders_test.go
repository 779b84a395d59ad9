package ews

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// settled runs settle over folders "id parent name told" and returns what it tells.
func settled(t *testing.T, gone []string, folders ...string) []string {
	t.Helper()
	var told []string
	s := &syncing{conn: &Conn{}, ctx: t.Context(), history: newHistory("")}
	s.yield = func(c *connection.Change, err error) bool {
		switch {
		case err != nil:
			t.Error(err)
		case c.Op == connection.FolderRenamed:
			told = append(told, fmt.Sprintf("%s > %s", c.Folder.Previous, c.Folder.Name))
		case c.Op != connection.Progressed:
			told = append(told, c.Op.String()+" "+c.Folder.Name)
		}
		return true
	}
	for _, text := range folders {
		f := strings.Split(text, " ")
		s.history.Folders[f[0]] = &folderHistory{Root: "msgfolderroot", Parent: f[1], Name: f[2], Told: f[3]}
	}
	if err := s.settle(gone); err != nil {
		t.Fatal(err)
	}
	for id, f := range s.history.Folders {
		if f.Told != s.paths[id] {
			t.Errorf("folder %s was told as %q, and is %q", id, f.Told, s.paths[id])
		}
	}
	return told
}

// Folders are told in an order in which a mirror that renames what it has never runs into a name that is taken.
func TestFolderChangesInOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		gone    []string
		folders []string
		want    string
	}{
		"new":                     {nil, []string{"1 root a ", "2 1 b ", "3 2 c "}, "folder added a; folder added a/b; folder added a/b/c"},
		"renamed":                 {nil, []string{"1 root b a"}, "a > b"},
		"renamed with all below":  {nil, []string{"1 root b a", "2 1 x a/x", "3 2 y a/x/y"}, "a > b; a/x > b/x; a/x/y > b/x/y"},
		"a chain":                 {nil, []string{"1 root b a", "2 root c b", "3 root d c"}, "c > d; b > c; a > b"},
		"a swap":                  {nil, []string{"1 root b a", "2 root a b"}, "b > a (moving); a > b; a (moving) > a"},
		"moved":                   {nil, []string{"1 root a a", "2 1 b b"}, "b > a/b"},
		"removed":                 {[]string{"1"}, []string{"1 root a a", "2 1 b a/b", "3 2 c a/b/c", "4 root d d"}, "folder removed a/b/c; folder removed a/b; folder removed a"},
		"removed, name used anew": {[]string{"1"}, []string{"1 root a a", "2 root a b", "3 root b "}, "folder removed a; b > a; folder added b"},
		"removed, never told":     {[]string{"1"}, []string{"1 root a "}, ""},
		"nothing":                 {nil, []string{"1 root a a"}, ""},
	} {
		if got := strings.Join(settled(t, tt.gone, tt.folders...), "; "); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// Equal siblings, names with "/" and control characters: each folder has a path of its own, and keeps it.
func TestE24EqualSiblings(t *testing.T) {
	first := settled(t, nil, "1 root a ", "2 root a ", "3 root a/b ", "4 root a\x01 ")
	slices.Sort(first)
	if len(first) != 4 || len(slices.Compact(slices.Clone(first))) != 4 {
		t.Errorf("got %q, want four different paths", first)
	}
	for _, told := range first {
		if strings.Count(told, "/") > 0 || strings.ContainsAny(told, "\x01") {
			t.Errorf("a name was not escaped: %q", told)
		}
	}
}

// Answers that lead nowhere are noticed, whether the states stand still or go in a circle.
func TestGuard(t *testing.T) {
	until := func(g *guard, next func(i int) (string, int)) int {
		for i := range 5000 {
			state, changes := next(i)
			if err := g.next(state, changes); err != nil {
				if connection.KindOf(err) != connection.ErrProtocol {
					t.Errorf("got error %v", err)
				}
				return i
			}
		}
		return -1
	}
	for name, tt := range map[string]struct {
		next func(i int) (string, int)
		want int
	}{
		"the same state":             {func(int) (string, int) { return "s", 0 }, 2},
		"the same state and changes": {func(int) (string, int) { return "s", 9 }, 2},
		"a circle":                   {func(i int) (string, int) { return fmt.Sprint(i % 4), 9 }, 12},
		"no state":                   {func(int) (string, int) { return "", 1 }, 0},
		"nothing but new states":     {func(i int) (string, int) { return fmt.Sprint(i), 0 }, emptyPages},
		"a long history":             {func(i int) (string, int) { return fmt.Sprint(i), 1 }, -1},
	} {
		if got := until(newGuard("s"), tt.next); got != tt.want {
			t.Errorf("%s: ended after %d answers, want %d", name, got, tt.want)
		}
	}
}
