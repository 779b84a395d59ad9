package maildir_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

func open(t testing.TB, cfg maildir.Config) *maildir.Conn {
	t.Helper()
	return openEnv(t, cfg, nil)
}

func openEnv(t testing.TB, cfg maildir.Config, env *connection.Env) *maildir.Conn {
	t.Helper()
	c, err := maildir.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// got is a message after its loop step.
type got struct {
	connection.Message
	raw string
}

// fetch returns what Fetch yields, by ID, and the item errors. A message that comes twice fails the test.
func fetch(t testing.TB, c *maildir.Conn, opts *connection.FetchOptions) (map[string]got, []*connection.Error) {
	t.Helper()
	all := map[string]got{}
	var errs []*connection.Error
	for m, err := range c.Fetch(t.Context(), opts) {
		if err != nil {
			e, ok := errors.AsType[*connection.Error](err)
			if !ok {
				t.Fatalf("error is a %T, want an *Error: %v", err, err)
			}
			errs = append(errs, e)
			continue
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatalf("body of %s: %v", m.Ref, err)
		}
		key := m.Ref.ID
		if m.Ref.Folder != "INBOX" || m.Ref.Mailbox != "" {
			key = m.Ref.String()
		}
		if _, ok := all[key]; ok {
			t.Errorf("%s came twice", m.Ref)
		}
		g := got{*m, string(raw)}
		g.Body = nil
		all[key] = g
	}
	return all, errs
}

func keys[V any](m map[string]V) []string {
	var k []string
	for key := range m {
		k = append(k, key)
	}
	slices.Sort(k)
	return k
}

func wantKeys[V any](t testing.TB, m map[string]V, want ...string) {
	t.Helper()
	slices.Sort(want)
	if k := keys(m); !slices.Equal(k, want) {
		t.Errorf("got %q, want %q", k, want)
	}
}

func noErrors(t testing.TB, errs []*connection.Error) {
	t.Helper()
	for _, e := range errs {
		t.Errorf("unexpected: %v", e)
	}
}

func TestFetchNamesAndFlags(t *testing.T) {
	tree := maildirtest.New(t)
	long := "1700000009." + strings.Repeat("x", 240)
	files := []struct {
		sub, name, id string
		flags         []connection.Flag
	}{
		{"new", "1700000001.a.host", "1700000001.a.host", nil},
		{"cur", "1700000002.b.host:2,", "1700000002.b.host", nil},
		{"cur", "1700000003.c.host:2,DFPRST", "1700000003.c.host", []connection.Flag{`\Draft`, `\Flagged`, "$Forwarded", `\Answered`, `\Seen`, `\Deleted`}},
		{"cur", "1700000004.d.host:2,Sab", "1700000004.d.host", []connection.Flag{`\Seen`, "$Junk", "Later"}},
		{"cur", "1700000005.e.host:2,Sz", "1700000005.e.host", []connection.Flag{`\Seen`}},
		{"cur", "1700000006.f.host;2,S", "1700000006.f.host", []connection.Flag{`\Seen`}},
		{"cur", "1700000007.g.host!2,F", "1700000007.g.host", []connection.Flag{`\Flagged`}},
		{"cur", "1700000008.h.host:1,whatever", "1700000008.h.host", nil},
		{"cur", "no-info-in-cur", "no-info-in-cur", nil},
		{"cur", long, long, nil},
		{"cur", "-rf:2,S", "-rf", []connection.Flag{`\Seen`}},
		{"cur", "a\nb:2,S", "a\nb", []connection.Flag{`\Seen`}},
		{"cur", "latin\xe9:2,S", "latin%E9", []connection.Flag{`\Seen`}},
		{"cur", "latin%E9:2,S", "latin%25E9", []connection.Flag{`\Seen`}},
		{"cur", ":2,S", ":2,S", nil},
	}
	for _, f := range files {
		tree.Put("INBOX", f.sub, f.name, []byte("raw of "+f.id+"\n"))
	}
	for _, name := range []string{".hidden", "dovecot.index", "dovecot-uidlist", "courierimapuiddb", "maildirfolder", "subscriptions"} {
		tree.Put("INBOX", "cur", name, []byte("no message"))
	}
	if err := os.Mkdir(filepath.Join(tree.Path, "cur", "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree.Path, "dovecot-keywords"), []byte("0 $Junk\n1 Later\n99 Far\nx y\n2 bad keyword\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree.Names("INBOX")
	all, errs := fetch(t, open(t, tree.Config()), nil)
	noErrors(t, errs)
	if len(all) != len(files) {
		t.Errorf("got %d messages, want %d: %q", len(all), len(files), keys(all))
	}
	for _, f := range files {
		m := all[f.id]
		if want := "raw of " + f.id + "\n"; m.raw != want || m.Size != int64(len(want)) {
			t.Errorf("%q: got %q (size %d), want %q", f.name, m.raw, m.Size, want)
		}
		if !slices.Equal(m.Flags, f.flags) {
			t.Errorf("%q: got flags %q, want %q", f.name, m.Flags, f.flags)
		}
	}
	if after := tree.Names("INBOX"); !slices.Equal(before, after) {
		t.Errorf("fetch renamed: got %q, want %q", after, before)
	}
}

func TestFetchReceived(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1700000001.a.host", nil)
	tree.Put("INBOX", "new", "1700000002.b.host", nil)
	tree.Put("INBOX", "new", "junk", nil)
	for name, when := range map[string]time.Time{"1700000001.a.host": time.Unix(1600000000, 5000), "1700000002.b.host": time.Unix(0, 0), "junk": time.Unix(0, 0)} {
		if err := os.Chtimes(filepath.Join(tree.Path, "new", name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, tree.Config())
	all, errs := fetch(t, c, nil)
	noErrors(t, errs)
	for id, want := range map[string]time.Time{"1700000001.a.host": time.Unix(1600000000, 5000), "1700000002.b.host": time.Unix(1700000002, 0), "junk": {}} {
		if got := all[id].Received; !got.Equal(want) {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
	}
	all, errs = fetch(t, c, &connection.FetchOptions{Since: time.Unix(1650000000, 0)})
	noErrors(t, errs)
	wantKeys(t, all, "1700000002.b.host")
}

func TestFetchOptions(t *testing.T) {
	tree := maildirtest.New(t)
	tree.AddFolder("Sent/2024")
	tree.AddFolder("Spam")
	tree.Put("INBOX", "new", "1.new", nil)
	tree.Put("INBOX", "cur", "2.seen:2,S", nil)
	tree.Put("INBOX", "cur", "3.unseen:2,F", nil)
	tree.Put("Sent/2024", "cur", "4.sent:2,S", nil)
	tree.Put("Spam", "cur", "5.spam:2,", nil)
	tests := []struct {
		name   string
		config func(*maildir.Config)
		opts   connection.FetchOptions
		want   []string
		errs   int
	}{
		{name: "all", want: []string{"1.new", "2.seen", "3.unseen", "Sent/2024/4.sent", "Spam/5.spam"}},
		{name: "unseen", opts: connection.FetchOptions{Unseen: true}, want: []string{"1.new", "3.unseen", "Spam/5.spam"}},
		{name: "folders", opts: connection.FetchOptions{Folders: []string{"Sent/2024"}}, want: []string{"Sent/2024/4.sent"}},
		{name: "folder that is not there", opts: connection.FetchOptions{Folders: []string{"Spam", "None"}}, want: []string{"Spam/5.spam"}, errs: 1},
		{name: "skip", opts: connection.FetchOptions{Skip: func(r connection.Ref) bool { return r.Folder == "INBOX" }}, want: []string{"Sent/2024/4.sent", "Spam/5.spam"}},
		{name: "include", config: func(c *maildir.Config) { c.Include = []string{"S*"} }, want: []string{"Sent/2024/4.sent", "Spam/5.spam"}},
		{name: "exclude wins", config: func(c *maildir.Config) { c.Include, c.Exclude = []string{"S*", "INBOX"}, []string{"S?am", "INBOX"} }, want: []string{"Sent/2024/4.sent"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := tree.Config()
			if test.config != nil {
				test.config(&cfg)
			}
			all, errs := fetch(t, open(t, cfg), &test.opts)
			if len(errs) != test.errs {
				t.Errorf("got errors %v, want %d", errs, test.errs)
			}
			wantKeys(t, all, test.want...)
		})
	}
}

func TestFetchLimit(t *testing.T) {
	tree := maildirtest.New(t)
	for range 40 {
		tree.Deliver("INBOX", []byte("x"))
	}
	for _, limit := range []int{1, 7, 40, 41} {
		all, errs := fetch(t, open(t, tree.Config()), &connection.FetchOptions{Limit: limit})
		noErrors(t, errs)
		if want := min(limit, 40); len(all) != want {
			t.Errorf("limit %d: got %d messages, want %d", limit, len(all), want)
		}
	}
}

func TestFetchMaxMessage(t *testing.T) {
	tree := maildirtest.New(t)
	small := tree.Deliver("INBOX", make([]byte, 100))
	large := tree.Deliver("INBOX", make([]byte, 101))
	cfg := tree.Config()
	cfg.MaxMessage = 100
	all, errs := fetch(t, open(t, cfg), nil)
	wantKeys(t, all, small)
	if len(errs) != 1 || errs[0].Ref.ID != large || !errors.Is(errs[0], connection.ErrTooLarge) || !strings.Contains(errs[0].Hint, "max_message") {
		t.Errorf("got %v, want one ErrTooLarge about %s that names max_message", errs, large)
	}
}

// TestFetchRenamedBetweenScanAndOpen renames each file after it was listed and before it is opened, once and again.
func TestFetchRenamedBetweenScanAndOpen(t *testing.T) {
	tree := maildirtest.New(t)
	var want []string
	for range 30 {
		want = append(want, tree.Deliver("INBOX", []byte("x")))
	}
	vanishing := tree.Deliver("INBOX", []byte("x"))
	times := map[string]int{}
	all, errs := fetch(t, open(t, tree.Config()), &connection.FetchOptions{Skip: func(ref connection.Ref) bool {
		times[ref.ID]++
		switch {
		case ref.ID == vanishing && times[ref.ID] == 1:
			tree.Remove("INBOX", vanishing)
		case ref.ID != vanishing && times[ref.ID] <= 2:
			tree.SetFlags("INBOX", ref.ID, []string{"F", "FS"}[times[ref.ID]-1])
		}
		return false
	}})
	noErrors(t, errs)
	wantKeys(t, all, want...)
}

// TestFetchRenamedAfterYield renames each message while it is in the consumer's hands: none comes twice.
func TestFetchRenamedAfterYield(t *testing.T) {
	tree := maildirtest.New(t)
	for range 700 {
		tree.Deliver("INBOX", []byte("x"))
	}
	seen := map[connection.Ref]bool{}
	for m, err := range open(t, tree.Config()).Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[m.Ref] {
			t.Fatalf("%s came twice", m.Ref)
		}
		seen[m.Ref] = true
		tree.SetFlags("INBOX", m.Ref.ID, "S")
	}
	if len(seen) != 700 {
		t.Errorf("got %d messages, want 700", len(seen))
	}
}

func TestFetchFileGrowsAndShrinks(t *testing.T) {
	tree := maildirtest.New(t)
	raw := strings.Repeat("0123456789abcdef", 64<<10)
	grows := tree.Deliver("INBOX", []byte(raw))
	shrinks := tree.Deliver("INBOX", []byte(raw))
	n := 0
	for m, err := range open(t, tree.Config()).Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		head := make([]byte, 1000)
		if _, err := io.ReadFull(m.Body, head); err != nil {
			t.Fatal(err)
		}
		path := tree.File("INBOX", m.Ref.ID)
		switch m.Ref.ID {
		case grows:
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("appended"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(m.Body)
			if err != nil || string(head)+string(rest) != raw {
				t.Errorf("grows: got %d octets and %v, want the %d at opening", len(head)+len(rest), err, len(raw))
			}
		case shrinks:
			if err := os.Truncate(path, 300_000); err != nil {
				t.Fatal(err)
			}
			_, err := io.Copy(io.Discard, m.Body)
			if e, ok := errors.AsType[*connection.Error](err); !ok || e.Kind != connection.ErrChanged || e.Ref != m.Ref {
				t.Errorf("shrinks: got %v, want ErrChanged about %s", err, m.Ref)
			}
		}
	}
	if n != 2 {
		t.Errorf("got %d messages, want 2", n)
	}
}
