package imapclient_test

import (
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// moving returns a Config that moves messages to Archive.
func moving(cfg imapclient.Config) imapclient.Config {
	cfg.DeleteMode, cfg.MoveTo = imapclient.DeleteMove, "Archive"
	return cfg
}

func TestMove(t *testing.T) {
	for _, test := range []struct {
		name    string
		without []string
		trash   bool
	}{
		{"MOVE", nil, false},
		{"no MOVE", []string{"MOVE"}, false},
		{"no MOVE, no UIDPLUS", []string{"MOVE", "UIDPLUS"}, false},
		{"trash", nil, true},
		{"trash without MOVE", []string{"MOVE"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{
				Without: test.without,
				Folders: []imaptest.Folder{{Name: "Archive"}, {Name: "Müll", Attributes: []string{`\Trash`}}},
			})
			raw := letters(5)
			srv.Deliver(raw...)
			cfg, target := moving(srv.Config()), "Archive"
			if test.trash {
				cfg.DeleteMode, cfg.MoveTo, target = imapclient.DeleteTrash, "", "Müll"
			}
			c := open(t, cfg, srv.Env())
			all := refs(t, c)
			if err := c.Delete(t.Context(), all[0], all[2], all[4]); err != nil {
				t.Fatal(err)
			}
			wantBodies(t, texts(octets(srv.Messages())), string(raw[1]), string(raw[3]))
			wantBodies(t, texts(octets(srv.MessagesIn(target))), string(raw[0]), string(raw[2]), string(raw[4]))
			for _, m := range srv.MessagesIn(target) {
				if len(m.Flags) > 0 {
					t.Errorf("flags %v were set on what was moved", m.Flags)
				}
			}
			if err := c.Delete(t.Context(), all[0], all[2]); err != nil {
				t.Errorf("the second Delete: %v", err)
			}
			if n := len(srv.MessagesIn(target)); n != 3 {
				t.Errorf("the second Delete moved again: %d messages in the target", n)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// 29: what the server does not copy is never marked, expunged or left without an error.
func TestMoveRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		without []string
		fail    string
		reply   string
		kind    connection.Kind
		hint    string
	}{
		{"COPY over quota", []string{"MOVE"}, "COPY", "NO [OVERQUOTA] full", connection.ErrQuota, ""},
		{"COPY without a reason", []string{"MOVE"}, "COPY", "NO no", connection.ErrRejected, ""},
		{"COPY over quota, no UIDPLUS", []string{"MOVE", "UIDPLUS"}, "COPY", "NO [OVERQUOTA] full", connection.ErrQuota, ""},
		{"COPY says OK and nothing else", []string{"MOVE"}, "COPY", "OK done", connection.ErrRejected, "UIDPLUS"},
		{"COPYUID of others", []string{"MOVE"}, "COPY", "OK [COPYUID 9 77:79 1:3] done", connection.ErrRejected, "UIDPLUS"},
		{"COPYUID that does not add up", []string{"MOVE"}, "COPY", "OK [COPYUID 9 1:3 1:2] done", connection.ErrRejected, "UIDPLUS"},
		{"COPYUID that is none", []string{"MOVE"}, "COPY", "OK [COPYUID 9 1:* 1:3] done", connection.ErrRejected, "UIDPLUS"},
		{"MOVE over quota", nil, "MOVE", "NO [OVERQUOTA] full", connection.ErrQuota, ""},
		{"MOVE says OK and does nothing", nil, "MOVE", "OK done", connection.ErrRejected, ""},
		{"MOVE to nowhere", nil, "MOVE", "NO [TRYCREATE] no such folder", connection.ErrNotFound, "move_to"},
		{"COPY to nowhere", []string{"MOVE"}, "COPY", "NO [TRYCREATE] no such folder", connection.ErrNotFound, "move_to"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Without: test.without, Folders: []imaptest.Folder{{Name: "Archive"}}})
			srv.Deliver(letters(3)...)
			srv.Fail(test.fail, test.reply)
			c := open(t, moving(srv.Config()), srv.Env())
			all := refs(t, c)
			err := c.Delete(t.Context(), all...)
			n := 0
			for e := range connection.Errors(err) {
				if n++; e.Kind != test.kind || e.Ref.ID == "" || !strings.Contains(e.Hint, test.hint) {
					t.Errorf("got %v (hint %q), want %v", e, e.Hint, test.kind)
				}
			}
			if n != len(all) {
				t.Errorf("got %d errors, want one for each of %d messages", n, len(all))
			}
			if left := srv.Messages(); len(left) != 3 || len(flagged(left)) != 0 {
				t.Errorf("%d messages are left, %d of them marked; want 3 unmarked", len(left), len(flagged(left)))
			}
			if sent := srv.Transcript("STORE", "EXPUNGE"); len(sent) != 0 {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

// One message that the server left out of its COPYUID stays, the others go.
func TestMovePartly(t *testing.T) {
	store := imaptest.Do(imaptest.Expect("UID STORE 1,3 +FLAGS.SILENT"), imaptest.Send("$TAG OK done"), imaptest.Expect("UID EXPUNGE 1,3"), imaptest.Send("$TAG OK done"))
	srv := imaptest.NewScript(t, nil, imaptest.Script{
		imaptest.Welcome(caps), imaptest.Select(3, 7, 100),
		imaptest.Expect("UID COPY"), imaptest.Send("$TAG OK [COPYUID 9 1,3 1:2] copied"), store,
		imaptest.Answer("UID SEARCH", "* SEARCH 2", "$TAG OK done"),
	})
	c := open(t, moving(srv.Config()), srv.Env())
	err := c.Delete(t.Context(), ref("7:1"), ref("7:2"), ref("7:3"))
	if e := theError(t, err, connection.ErrRejected); e.Ref != ref("7:2") {
		t.Errorf("got an error for %v, want one for 7:2", e.Ref)
	}
}

func ref(id string) connection.Ref { return connection.Ref{Folder: "INBOX", ID: id} }

// 30: a reply that is lost on the way leaves no message both moved away and forgotten, and none removed uncopied.
func TestMoveLostReply(t *testing.T) {
	for _, test := range []struct {
		name    string
		without []string
		lose    string
		left    int // after the first Delete
		copies  int // at the end
	}{
		{"MOVE", nil, "MOVE", 0, 3},
		{"COPY", []string{"MOVE"}, "COPY", 3, 6}, // the server alone knows what it has copied
		{"STORE", []string{"MOVE"}, "STORE", 3, 3},
		{"EXPUNGE", []string{"MOVE"}, "UID EXPUNGE", 0, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Without: test.without, Folders: []imaptest.Folder{{Name: "Archive"}}})
			raw := letters(3)
			srv.Deliver(raw...)
			srv.LoseReply(test.lose, 1)
			c := open(t, moving(srv.Config()), srv.Env())
			all := refs(t, c)
			wantKind(t, c.Delete(t.Context(), all...), connection.ErrUncertain)
			if left := len(srv.Messages()); left != test.left {
				t.Errorf("%d messages are left, want %d", left, test.left)
			}
			if err := c.Delete(t.Context(), all...); err != nil {
				t.Errorf("the second Delete: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			have := map[string]bool{}
			for _, m := range srv.MessagesIn("Archive") {
				have[string(m.Raw)] = true
			}
			if n := len(srv.MessagesIn("Archive")); len(srv.Messages()) != 0 || len(have) != len(raw) || n != test.copies {
				t.Errorf("%d messages are left, %d of %d in the target, %d copies, want %d", len(srv.Messages()), len(have), len(raw), n, test.copies)
			}
		})
	}
}

func TestMoveNowhere(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(1)...)
	cfg := srv.Config()
	cfg.DeleteMode = imapclient.DeleteTrash
	c := open(t, cfg, srv.Env())
	if e := theError(t, c.Delete(t.Context(), refs(t, c)...), connection.ErrConfig); !strings.Contains(e.Hint, "move_to") {
		t.Errorf("the hint does not name the setting: %q", e.Hint)
	}
	srv = imaptest.NewServer(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Bin", Attributes: []string{`\Trash`}}}})
	srv.DeliverTo("Bin", imaptest.Message{Raw: []byte("x")})
	cfg = srv.Config()
	cfg.DeleteMode, cfg.Folders = imapclient.DeleteTrash, []string{"Bin"}
	c = open(t, cfg, srv.Env())
	wantKind(t, c.Delete(t.Context(), refs(t, c)...), connection.ErrConfig)
	if len(srv.MessagesIn("Bin")) != 1 {
		t.Error("the message is gone")
	}
}

// A message marked as read does not come again with unread_only, and nothing else happens to it.
func TestDeleteSeen(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	cfg := srv.Config()
	cfg.DeleteMode, cfg.UnreadOnly = imapclient.DeleteSeen, true
	c := open(t, cfg, srv.Env())
	all := refs(t, c)
	if err := c.Delete(t.Context(), all[0], all[1]); err != nil {
		t.Fatal(err)
	}
	if left := refs(t, c); len(left) != 1 || left[0] != all[2] {
		t.Errorf("got %v, want the third message", left)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for i, m := range srv.Messages() {
		if want := i < 2; (len(m.Flags) == 1 && m.Flags[0] == connection.FlagSeen) != want {
			t.Errorf("message %d has flags %v", i, m.Flags)
		}
	}
	if n := len(srv.Transcript("EXPUNGE")); n != 0 {
		t.Errorf("%d EXPUNGEs", n)
	}
}
