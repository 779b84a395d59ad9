package filestore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// plant makes empty objects without the cost of Put.
func plant(tb testing.TB, root string, keys ...string) {
	tb.Helper()
	for _, key := range keys {
		dirs, name := keyPath(key)
		dir := filepath.Join(append([]string{root}, dirs...)...)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

func openAt(tb testing.TB, dir string) *Conn {
	tb.Helper()
	c, err := Open(Config{Settings: objectstore.Settings{Location: dir}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// modelList is what List must yield, computed from all keys.
func modelList(keys []string, o connection.ListOptions) []string {
	var out []string
	for _, key := range slices.Sorted(slices.Values(keys)) {
		if !strings.HasPrefix(key, o.Prefix) {
			continue
		}
		if o.Delimiter != "" {
			if i := strings.Index(key[len(o.Prefix):], o.Delimiter); i >= 0 {
				key = key[:len(o.Prefix)+i+len(o.Delimiter)]
			}
		}
		if key <= o.After && o.After != "" || len(out) > 0 && out[len(out)-1] == key {
			continue
		}
		if out = append(out, key); len(out) == o.Limit {
			break
		}
	}
	return out
}

func collect(tb testing.TB, c *Conn, o connection.ListOptions) []string {
	tb.Helper()
	var out []string
	for info, err := range c.List(tb.Context(), &o) {
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, info.Key)
	}
	return out
}

func TestListIsInKeyOrder(t *testing.T) {
	x80 := strings.Repeat("x", 80)
	keys := []string{
		"a", "a/b", "a-b", "a.b", "a b", "a/b/c", "a/b.c", "a/b-c", "A", "B/a", "a!", "é", "é/é", "ab", "ab/c", "z",
		x80, x80 + "/a", x80 + "-", x80 + "-/b", x80 + "0", x80[:79], x80[:79] + "/q", x80 + x80 + "/deep/x", x80 + "é", ".tmp/k", "con", "con/x",
	}
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("m/%02x/%d.eml", i%7, i))
	}
	root := t.TempDir()
	plant(t, root, keys...)
	c := openAt(t, root)
	options := []connection.ListOptions{{}, {Limit: 1}, {Limit: 7}, {Delimiter: "/"}, {Delimiter: "-"}, {Delimiter: "."}}
	for _, key := range append([]string{"m/", "m/0", "m/01/", "a/", "x", "xx", x80 + "-/", "no/such", "/", "a//", "A", "\xc3"}, keys...) {
		options = append(options, connection.ListOptions{Prefix: key}, connection.ListOptions{After: key}, connection.ListOptions{Prefix: key, Delimiter: "/"},
			connection.ListOptions{After: key, Delimiter: "/"}, connection.ListOptions{After: key, Delimiter: "/", Limit: 2, Prefix: key[:len(key)/2]})
	}
	for _, o := range options {
		if got, want := collect(t, c, o), modelList(keys, o); !slices.Equal(got, want) {
			t.Errorf("%+v:\n got %q\nwant %q", o, got, want)
		}
	}
}

func TestListSkipsStrangers(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "a/b.eml", "c.eml")
	for _, name := range []string{"README.md", ".hidden", "c.eml%m", "a/UPPER.EML", "%e9%f", "%01.eml"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "dir.eml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "looksasdir"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	plant(t, outside, "secret.eml")
	for _, link := range [][2]string{{outside, "out"}, {filepath.Join(outside, "secret.eml"), "link.eml"}} {
		if err := os.Symlink(link[0], filepath.Join(root, link[1])); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	c := openAt(t, root)
	if got := collect(t, c, connection.ListOptions{}); !slices.Equal(got, []string{"a/b.eml", "c.eml"}) {
		t.Errorf("got %q", got)
	}
	if got := collect(t, c, connection.ListOptions{Delimiter: "/"}); !slices.Equal(got, []string{"a/", "c.eml"}) {
		t.Errorf("with delimiter: got %q", got)
	}
	for _, key := range []string{"out/secret.eml", "link.eml"} {
		if o, err := c.Get(t.Context(), key, nil); err == nil {
			_ = o.Body.Close()
			t.Errorf("%s leads out of the store", key)
		}
	}
}

func TestListOfOneHugeDirectoryIsBounded(t *testing.T) {
	root := t.TempDir()
	var keys []string
	for i := range 3000 {
		keys = append(keys, fmt.Sprintf("d/%05d.eml", i))
	}
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	plant(t, root, keys...)
	c := openAt(t, root)
	tr, err := c.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := tr.get([]string{"d"}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.put(d)
	const memory = 100 * (9 + nameOverhead)
	var got []string
	w := &walker{c: c, ctx: t.Context(), yield: func(info connection.ObjectInfo, _ error) bool {
		got = append(got, info.Key)
		return true
	}}
	batch, more, err := w.names(d.node, "d/", false, nil, memory)
	if err != nil || !more || len(batch) != 100 {
		t.Fatalf("one pass: got %d names, more %v, %v; want 100 and more", len(batch), more, err)
	}
	if err := w.walk(d.node, "d/", false, memory); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	if !slices.Equal(got, keys) {
		t.Errorf("got %d keys, want %d in order", len(got), len(keys))
	}
}
