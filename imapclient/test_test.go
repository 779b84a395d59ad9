package imapclient_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func names(r *connection.Report) []string {
	var all []string
	for _, s := range r.Steps {
		all = append(all, s.Name+" "+string(s.Status))
	}
	return all
}

func TestReportOfAGoodServer(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	var told []string
	report, err := open(t, emptying(srv.Config()), srv.Env()).Test(t.Context(), &connection.TestOptions{
		Write: true, Progress: func(s connection.Step) { told = append(told, s.Name+" "+string(s.Status)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"resolve ok", "connect ok", "tls ok", "greeting ok", "auth ok", "open ok", "extensions ok", "folders ok", "read ok", "write ok", "remove ok"} {
		if !slices.Contains(names(report), want) {
			t.Errorf("no %q in %v", want, names(report))
		}
	}
	if !slices.Equal(told, names(report)) {
		t.Errorf("Progress was told %v", told)
	}
	text := report.String()
	for _, want := range []string{"3 messages", "read-write", "TLS 1.3", "valid until", "PLAIN over TLS", "passed over: login-command", "UIDPLUS, MOVE, IDLE", "1 of 1 folders", "came back as they were"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the report:\n%s", want, text)
		}
	}
	for _, m := range srv.Messages() {
		if len(m.Flags) != 0 {
			t.Errorf("a message has the flags %v", m.Flags)
		}
	}
	if left := srv.Messages(); len(left) != 3 {
		t.Errorf("%d messages are left, want 3", len(left))
	}
	if n := len(srv.Transcript("EXPUNGE")); n != 1 || len(srv.Transcript("UID EXPUNGE 4")) != 1 {
		t.Error("more was expunged than the message of the test")
	}
}

func TestReportChangesNothing(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	report, err := open(t, emptying(srv.Config()), srv.Env()).Test(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(srv.Transcript("STORE", "EXPUNGE", "APPEND", "CLOSE")) != 0 || slices.Contains(names(report), "write skipped") {
		t.Errorf("Test has changed something: %v", names(report))
	}
}

// What Test writes it removes again, alone, on every kind of server; where it cannot, it says so.
func TestReportWrite(t *testing.T) {
	for _, test := range []struct {
		name   string
		opts   imaptest.Options
		mode   string
		fail   [2]string
		marked bool // somebody else has marked a message
		want   string
		hint   string
		left   int
	}{
		{name: "nothing is deleted", mode: imapclient.DeleteNone, want: "remove ok", left: 2},
		{name: "no UIDPLUS", opts: imaptest.Options{Without: []string{"UIDPLUS"}}, want: "remove ok", left: 2},
		{name: "no UIDPLUS, and others mark", opts: imaptest.Options{Without: []string{"UIDPLUS"}}, marked: true, want: "remove warned", hint: "allow_plain_expunge", left: 3},
		{name: "APPEND refused", fail: [2]string{"APPEND", "NO [NOPERM] no"}, want: "write failed", hint: "folders", left: 2},
		{name: "STORE refused", fail: [2]string{"STORE", "NO [NOPERM] no"}, want: "remove failed", hint: "username", left: 3},
		{name: "EXPUNGE does nothing", fail: [2]string{"EXPUNGE", "OK done"}, want: "remove warned", hint: "delete_mode", left: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &test.opts)
			srv.Deliver(letters(2)...)
			if test.marked {
				srv.SetFlags("INBOX", 1, connection.FlagDeleted)
			}
			if test.fail[0] != "" {
				srv.Fail(test.fail[0], test.fail[1])
			}
			cfg := srv.Config()
			cfg.DeleteMode = test.mode
			report, err := open(t, cfg, srv.Env()).Test(t.Context(), &connection.TestOptions{Write: true})
			if strings.HasSuffix(test.want, "failed") != (err != nil) {
				t.Errorf("got %v", err)
			}
			i := slices.Index(names(report), test.want)
			if i < 0 {
				t.Fatalf("no %q in %v", test.want, report)
			}
			if hint := report.Steps[i].Hint; !strings.Contains(hint, test.hint) {
				t.Errorf("got the hint %q, want %q in it", hint, test.hint)
			}
			if n := len(srv.Messages()); n != test.left {
				t.Errorf("%d messages are left, want %d", n, test.left)
			}
		})
	}
}

func TestReportHints(t *testing.T) {
	for _, test := range []struct {
		name string
		opts imaptest.Options
		cfg  func(*imapclient.Config)
		step string
		hint string
	}{
		{"a folder that is missing", imaptest.Options{Folders: []imaptest.Folder{{Name: "Journal"}}}, func(c *imapclient.Config) { c.Folders = []string{"INBOX", "Journel"} }, "open failed", "the server has INBOX, Journal"},
		{"no UIDPLUS", imaptest.Options{Without: []string{"UIDPLUS"}}, nil, "open warned", "UIDPLUS"},
		{"no UIDPLUS, allowed", imaptest.Options{Without: []string{"UIDPLUS"}}, func(c *imapclient.Config) { c.AllowPlainExpunge = true }, "open warned", "allow_plain_expunge"},
		{"no UIDVALIDITY", imaptest.Options{Quirks: imaptest.Quirks{NoUIDValidity: true}}, nil, "open warned", "UIDVALIDITY"},
		{"no IDLE", imaptest.Options{Without: []string{"IDLE"}}, func(c *imapclient.Config) { c.Idle = true }, "extensions warned", "idle"},
		{"nowhere to move", imaptest.Options{Folders: []imaptest.Folder{{Name: "Archive"}}}, func(c *imapclient.Config) { c.DeleteMode, c.MoveTo = imapclient.DeleteMove, "Archives" }, "target failed", "move_to"},
		{"no trash", imaptest.Options{}, func(c *imapclient.Config) { c.DeleteMode = imapclient.DeleteTrash }, "target failed", "move_to"},
		{"wrong password", imaptest.Options{}, func(c *imapclient.Config) { c.Password = connection.NewSecret("wrong") }, "auth failed", "password"},
		{"wrong authority", imaptest.Options{}, func(c *imapclient.Config) { c.CAPEM = "" }, "tls failed", "ca_pem"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &test.opts)
			cfg := emptying(srv.Config())
			if test.cfg != nil {
				test.cfg(&cfg)
			}
			report, err := open(t, cfg, nil).Test(t.Context(), nil)
			if failed := strings.HasSuffix(test.step, "failed"); (err != nil) != failed {
				t.Errorf("got %v", err)
			}
			i := slices.Index(names(report), test.step)
			if i < 0 {
				t.Fatalf("no %q in %v", test.step, names(report))
			}
			if hint := report.Steps[i].Hint; !strings.Contains(hint, test.hint) {
				t.Errorf("got the hint %q, want %q in it", hint, test.hint)
			}
		})
	}
}

// 26: names that hurt are usable or skipped, never the end.
func TestFolders(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Delimiter: ".", Folders: []imaptest.Folder{
		{Name: "Sent", Attributes: []string{`\Sent`}},
		{Name: "Müller & Söhne"},
		{Name: "a.b"},
		{Name: "only a level", Attributes: []string{`\Noselect`}},
		{Name: "trailing "},
		{Name: `quo"te\`},
		{Name: "brack]et"},
	}})
	srv.DeliverTo("a.b", imaptest.Message{Raw: []byte("in a/b")})
	c := open(t, srv.Config(), srv.Env())
	var got []string
	for folder, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, folder.Name)
		if folder.Name == "Sent" && folder.Special != `\Sent` {
			t.Errorf("special use %q", folder.Special)
		}
		for _, f := range collect(t, c, &connection.FetchOptions{Folders: []string{folder.Name}}) {
			if f.Err != nil {
				t.Errorf("%q cannot be fetched: %v", folder.Name, f.Err)
			}
		}
	}
	for _, want := range []string{"INBOX", "Sent", "Müller & Söhne", "a/b", "trailing ", `quo"te\`, "brack]et"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if slices.Contains(got, "only a level") {
		t.Error("a folder that cannot be opened is listed")
	}
	wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Folders: []string{"a/b"}})), "in a/b")
}

// 26: the last space of a name that comes as a literal is the name's own, however the line around it is repaired.
func TestLiteralFolderName(t *testing.T) {
	srv := imaptest.NewScript(t, nil, imaptest.Script{
		imaptest.Welcome(caps),
		imaptest.Expect("LIST"), imaptest.SendRaw("* LIST () \"\" {4}\r\nOld  \r\n"), imaptest.Send("$TAG OK done"),
		imaptest.ExpectRegexp(`^EXAMINE "Old "$`), imaptest.Send("* 0 EXISTS", "* OK [UIDVALIDITY 7] x", "$TAG OK done"),
	})
	c := open(t, srv.Config(), srv.Env())
	var got []string
	for folder, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, folder.Name)
	}
	if !slices.Equal(got, []string{"INBOX", "Old "}) {
		t.Errorf("got %q", got)
	}
	if all := collect(t, c, &connection.FetchOptions{Folders: []string{"Old "}}); len(all) != 0 {
		t.Errorf("got %v", all)
	}
}
