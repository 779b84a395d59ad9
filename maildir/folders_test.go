package maildir_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

func mkMaildir(t testing.TB, path string) {
	t.Helper()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func folderNames(t testing.TB, c *maildir.Conn, mailbox string) []string {
	t.Helper()
	var names []string
	for f, err := range c.Folders(t.Context(), mailbox) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, connection.Ref{Mailbox: f.Mailbox, Folder: f.Name}.String())
	}
	return names
}

func mailboxNames(t testing.TB, c *maildir.Conn, opts *connection.MailboxOptions) []string {
	t.Helper()
	var names []string
	for m, err := range c.Mailboxes(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

func TestFolderLayouts(t *testing.T) {
	tests := []struct {
		name   string
		layout string
		dirs   []string
		want   []string
	}{
		{"maildir++", "auto", []string{".", ".Sent", ".Sent.2024", ".Entw&APw-rfe", ".Gelöscht", ".R&-D"}, []string{"INBOX", "Entwürfe", "Gelöscht", "R&D", "Sent", "Sent/2024"}},
		{"fs", "auto", []string{".", "Sent", "Sent/2024", "a.b", "New"}, []string{"INBOX", "New", "Sent", "Sent/2024", "a.b"}},
		{"fs without a root", "auto", []string{"INBOX", "lists/go"}, []string{"INBOX", "lists/go"}},
		{"both", "auto", []string{".", ".Sent", "Old", "Old/.Sub"}, []string{"INBOX", "Old", "Old/Sub", "Sent"}},
		{"maildir++ only", "maildir++", []string{".", ".Sent", "Old"}, []string{"INBOX", "Sent"}},
		{"fs only", "fs", []string{".", ".Sent", "Old"}, []string{"INBOX", "Old"}},
		{"same name twice", "auto", []string{".", ".Entw&APw-rfe", ".Entwürfe"}, []string{"INBOX", ".Entwürfe", "Entwürfe"}},
		{"bad modified UTF-7 stays", "auto", []string{".", ".a&b", ".c&AC8-d", ".e&AGE-f"}, []string{"INBOX", "a&b", "c&AC8-d", "e&AGE-f"}},
		{"not UTF-8", "auto", []string{".", ".caf\xe9"}, []string{"INBOX", "caf%E9"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for _, d := range test.dirs {
				mkMaildir(t, filepath.Join(root, d))
			}
			if err := os.MkdirAll(filepath.Join(root, ".git", "objects"), 0o700); err != nil {
				t.Fatal(err)
			}
			got := folderNames(t, open(t, maildir.Config{Path: root, Layout: test.layout}), "")
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFolderWithoutTmpOrNew(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"cur", ".A/new", ".B/tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := folderNames(t, open(t, maildir.Config{Path: root}), ""); !slices.Equal(got, []string{"INBOX", "A"}) {
		t.Errorf("got %q, want INBOX and A", got)
	}
}

func TestFolderLinksInsideTheTree(t *testing.T) {
	root := t.TempDir()
	mkMaildir(t, root)
	mkMaildir(t, filepath.Join(root, "real"))
	mkMaildir(t, filepath.Join(root, ".hidden", "shared"))
	for name, to := range map[string]string{"again": "real", "real/up": "..", "real/loop": ".", "shared": ".hidden/shared", "out": os.TempDir()} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	if got := folderNames(t, open(t, maildir.Config{Path: root}), ""); !slices.Equal(got, []string{"INBOX", "real"}) {
		t.Errorf("links off: got %q", got)
	}
	if got := folderNames(t, open(t, maildir.Config{Path: root, FollowSymlinks: true}), ""); !slices.Equal(got, []string{"INBOX", "real", "shared"}) {
		t.Errorf("links on: got %q, want each folder once, and none outside", got)
	}
}

func TestMailboxNaming(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"example.org/alice/Maildir", "example.org/bob/Maildir", "example.net/alice/Maildir", "example.org/.hidden/Maildir", "example.org/lost+found"} {
		if strings.HasSuffix(p, "Maildir") {
			mkMaildir(t, filepath.Join(root, p))
		} else if err := os.MkdirAll(filepath.Join(root, p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		path, name string
		want       []string
	}{
		{"*/*/Maildir", "", []string{"example.net/alice", "example.org/alice", "example.org/bob"}},
		{"{domain}/{user}/Maildir", "{user}@{domain}", []string{"alice@example.net", "alice@example.org", "bob@example.org"}},
		{"example.org/*/Maildir", "", []string{"alice", "bob"}},
		{"example.org/*/Maildir", "2", []string{"alice", "bob"}},
		{"example.{tld}/alice/Maildir", "", []string{"net", "org"}},
		{"example.???/bob/Maildir", "3", []string{"example.org"}},
		{"example.org/alice/Maildir", "", []string{""}},
		{"example.org/alice/Maildir", "2", []string{"alice"}},
		{`example.org/[a]lice/Maildir`, "", []string{"alice"}},
	}
	for _, test := range tests {
		c := open(t, maildir.Config{Path: filepath.Join(root, filepath.FromSlash(test.path)), MailboxName: test.name})
		if got := mailboxNames(t, c, nil); !slices.Equal(got, test.want) {
			t.Errorf("%s %s: got %q, want %q", test.path, test.name, got, test.want)
		}
		for _, name := range test.want {
			if got := folderNames(t, c, name); len(got) != 1 {
				t.Errorf("%s %s: folders of %q: got %q, want INBOX", test.path, test.name, name, got)
			}
		}
	}
	c := open(t, maildir.Config{Path: filepath.Join(root, "*/*/Maildir")})
	if got := mailboxNames(t, c, &connection.MailboxOptions{Match: "example.org/a*"}); !slices.Equal(got, []string{"example.org/alice"}) {
		t.Errorf("match: got %q", got)
	}
	ambiguous := open(t, maildir.Config{Path: filepath.Join(root, "*/*/Maildir"), MailboxName: "2"})
	var last error
	for _, err := range ambiguous.Mailboxes(t.Context(), nil) {
		last = err
	}
	if connection.KindOf(last) != connection.ErrConfig || !strings.Contains(last.Error(), "mailbox_name") {
		t.Errorf("two mailboxes of one name: got %v, want ErrConfig that names mailbox_name", last)
	}
}

func TestSweepOfManyMailboxes(t *testing.T) {
	home := t.TempDir()
	want := []string{}
	for _, user := range []string{"alice", "bob", "carol"} {
		tree := maildirtest.At(t, filepath.Join(home, user, "Maildir"))
		tree.AddFolder("Sent")
		tree.Put("INBOX", "new", "1.same", []byte(user))
		tree.Put("Sent", "cur", "1.same:2,S", []byte(user))
		want = append(want, user+"/INBOX/1.same", user+"/Sent/1.same")
	}
	c := open(t, maildir.Config{Path: filepath.Join(home, "{user}", "Maildir"), DeleteMode: maildir.DeleteRemove})
	all, errs := fetch(t, c, nil)
	noErrors(t, errs)
	wantKeys(t, all, want...)
	all, errs = fetch(t, c, &connection.FetchOptions{Mailbox: "bob"})
	noErrors(t, errs)
	wantKeys(t, all, "bob/INBOX/1.same", "bob/Sent/1.same")
	if err := c.Delete(t.Context(), connection.Ref{Mailbox: "bob", Folder: "Sent", ID: "1.same"}); err != nil {
		t.Error(err)
	}
	all, errs = fetch(t, c, nil)
	noErrors(t, errs)
	wantKeys(t, all, slices.DeleteFunc(want, func(s string) bool { return s == "bob/Sent/1.same" })...)
	if _, errs := fetch(t, c, &connection.FetchOptions{Mailbox: "nobody"}); len(errs) != 1 || errs[0].Kind != connection.ErrNotFound {
		t.Errorf("unknown mailbox: got %v, want ErrNotFound", errs)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	tests := map[string]string{
		`{}`:                                                   "path: missing",
		`{"path":"/a/[","layout":"auto"}`:                      "path:",
		`{"path":"/a/{user}-*"}`:                               "path:",
		`{"path":"/a/*/../b"}`:                                 "path:",
		`{"path":"/a","layout":"mbox"}`:                        "layout:",
		`{"path":"/a","delete_mode":"expunge"}`:                "delete_mode:",
		`{"path":"/a","delete_mode":"move"}`:                   "move_to: missing",
		`{"path":"/a","move_to":"X"}`:                          "move_to:",
		`{"path":"/a","delete_mode":"move","move_to":"INBOX"}`: "move_to:",
		`{"path":"/a","mailbox_name":"3"}`:                     "mailbox_name:",
		`{"path":"/a/{user}","mailbox_name":"{usr}"}`:          "mailbox_name:",
		`{"path":"/a","mailbox_name":"fixed"}`:                 "mailbox_name:",
		`{"path":"/a","include":[""]}`:                         "include:",
		`{"path":"/a","exclude":["["]}`:                        "exclude:",
		`{"path":"/a","poll_interval":"1ms"}`:                  "poll_interval:",
		`{"path":"/a","max_message":-1}`:                       "max_message:",
		`{"path":"/a","folow_symlinks":true}`:                  `"follow_symlinks"`,
	}
	reg := connection.NewRegistry(maildir.Driver())
	for config, want := range tests {
		_, err := reg.Open(connection.Settings{Driver: "maildir", Config: []byte(config)}, nil)
		if connection.KindOf(err) != connection.ErrConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want ErrConfig with %s", config, err, want)
		}
	}
	if _, err := maildir.Open(maildir.Config{Path: "/a", PollInterval: 1}, nil); err == nil || !strings.Contains(err.Error(), "poll_interval:") {
		t.Errorf("a poll interval that keeps a core busy: got %v, want an error", err)
	}
	c, err := reg.Open(connection.Settings{ID: "7", Name: "home", Driver: "maildir", Config: []byte(`{"path":"/no/such/path"}`)}, nil)
	if err != nil {
		t.Fatalf("opening does no I/O, and yet: %v", err)
	}
	if got, want := c.Info(), (connection.Info{ID: "7", Name: "home", Driver: "maildir", Endpoint: "/no/such/path"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, f := range maildir.Driver().Fields() {
		if f.Help == "" || f.Label == f.Name {
			t.Errorf("field %s has no label or no help", f.Name)
		}
	}
}
