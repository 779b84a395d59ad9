package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// folderNames lists the folders of a mailbox.
func folderNames(ctx context.Context, c *gmail.Conn, mailbox string) (map[string]*connection.Folder, error) {
	all := make(map[string]*connection.Folder)
	for f, err := range c.Folders(ctx, mailbox) {
		if err != nil {
			return nil, err
		}
		all[f.Name] = f
	}
	return all, nil
}

func TestFolders(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a.lee@corp.example"}})
	label := srv.AddLabel("ann@corp.example", "Work/Größe.1")
	for _, delimiter := range []string{"", "."} {
		c := openConn(t, srv, srv.Config(), func(cfg *gmail.Config, _ *connection.Env) { cfg.FolderDelimiter = delimiter })
		for _, name := range []string{"ann@corp.example", "A.Lee@corp.example", id} {
			all, err := folderNames(t.Context(), c, name)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"INBOX": "", "SENT": `\Sent`, "DRAFT": `\Drafts`, "TRASH": `\Trash`, "SPAM": `\Junk`, "STARRED": `\Flagged`, "Archive": `\Archive`}
			if delimiter == "" {
				want["Work/Größe.1"] = ""
			} else {
				want["Work.Größe%2E1"] = ""
			}
			for folder, special := range want {
				if f := all[folder]; f == nil || f.Special != special || f.Mailbox != id {
					t.Errorf("%s by %q: got %+v", folder, name, f)
				}
			}
			if f := all["Work/Größe.1"]; delimiter == "" && (f == nil || f.ID != label) {
				t.Errorf("got %+v, want the id %s", f, label)
			}
			for _, flag := range []string{"UNREAD", "CATEGORY_SOCIAL"} {
				if all[flag] != nil {
					t.Errorf("%s is a folder", flag)
				}
			}
		}
		if n := srv.Calls("users.get"); n > 2 {
			t.Errorf("the directory was asked %d times for one user", n)
		}
		srv.ResetLog()
	}
}

// A user who is renamed keeps her mailbox: it goes on under the new address without anybody doing anything.
func TestG23RenamedUser(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openConn(t, srv, srv.Config(), nil)
	if _, err := folderNames(t.Context(), c, id); err != nil {
		t.Fatal(err)
	}
	srv.RenameUser("ann@corp.example", "ann.lee@corp.example")
	srv.RevokeTokens("ann.lee@corp.example")
	for _, name := range []string{id, "ann@corp.example", "ann.lee@corp.example"} {
		all, err := folderNames(t.Context(), c, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if all["INBOX"].Mailbox != id {
			t.Errorf("%s is mailbox %s, want %s", name, all["INBOX"].Mailbox, id)
		}
	}
}

// Gmail answers oddly for users who are suspended: the directory says what is the matter.
func TestG22SuspendedUser(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	fresh := openConn(t, srv, srv.Config(), nil)
	for name, fault := range map[string]gmailtest.Fault{
		"no token":     gmailtest.TokenError(400, "invalid_grant", "Invalid email or User ID"),
		"403":          gmailtest.Refuse(403, "forbidden", "Forbidden"),
		"backendError": gmailtest.Refuse(500, "backendError", "Backend Error"),
	} {
		c := openConn(t, srv, srv.Config(), nil)
		if _, err := folderNames(t.Context(), c, id); err != nil {
			t.Fatal(err)
		}
		srv.Suspend(id, true)
		srv.Fail(gmailtest.On("labels.list"), fault)
		if name == "no token" {
			srv.Heal()
			srv.RevokeTokens(id)
		}
		srv.ResetLog()
		_, err := folderNames(t.Context(), c, id)
		if !errors.Is(err, gmail.ErrNoMailbox) || !errors.Is(err, connection.ErrNotFound) || !strings.Contains(err.Error(), "suspended") {
			t.Errorf("%s: got %v", name, err)
		}
		if n := srv.Calls("labels.list"); n > 2 {
			t.Errorf("%s: asked %d times", name, n)
		}
		srv.Heal()
		srv.Suspend(id, false)
		if _, err := folderNames(t.Context(), c, id); err != nil {
			t.Errorf("%s: after the suspension: %v", name, err)
		}
	}
	srv.Suspend(id, true)
	if _, err := folderNames(t.Context(), fresh, id); !errors.Is(err, gmail.ErrNoMailbox) || srv.Calls("labels.list", id) > 20 {
		t.Errorf("from the beginning: got %v", err)
	}
}

// A user who is deleted is said to be gone, and that what is known should be kept.
func TestG24DeletedUser(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openConn(t, srv, srv.Config(), nil)
	if _, err := folderNames(t.Context(), c, id); err != nil {
		t.Fatal(err)
	}
	srv.RemoveUser(id)
	srv.RevokeTokens(id)
	for _, conn := range []*gmail.Conn{c, openConn(t, srv, srv.Config(), nil)} {
		_, err := folderNames(t.Context(), conn, id)
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrNotFound || !strings.Contains(e.Hint, "20 days") {
			t.Errorf("got %v", err)
		}
	}
	srv.RestoreUser(id)
	if _, err := folderNames(t.Context(), c, id); err != nil {
		t.Errorf("restored: %v", err)
	}
}

// What the settings exclude is not opened for those who name it either, and costs no request to Gmail.
func TestExcludedIsNeverOpened(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ceo@corp.example", OrgUnit: "/Board"})
	srv.AddGroup("board@corp.example", "ceo@corp.example")
	for name, change := range map[string]func(*gmail.Config){
		"exclude":           func(c *gmail.Config) { c.Exclude = []string{"ceo@*"} },
		"exclude_org_units": func(c *gmail.Config) { c.ExcludeOrgUnits = []string{"/Board"} },
		"exclude_groups":    func(c *gmail.Config) { c.ExcludeGroups = []string{"board@corp.example"} },
	} {
		c := openConn(t, srv, srv.Config(), func(cfg *gmail.Config, _ *connection.Env) { change(cfg) })
		if _, err := folderNames(t.Context(), c, "ceo@corp.example"); !errors.Is(err, connection.ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := srv.Calls("labels.list"); n != 0 {
		t.Errorf("%d requests to Gmail", n)
	}
}

// The destination of monitors is the connection's own mailbox, also if it is excluded as a source.
func TestDestinationIsOpened(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "journal@corp.example"})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	for _, destination := range []string{"journal", "Journal@corp.example"} {
		c := openConn(t, srv, srv.Config(), func(cfg *gmail.Config, _ *connection.Env) {
			cfg.Retrieval, cfg.Monitors.Destination, cfg.Exclude = gmail.RetrieveMonitors, destination, []string{"journal@corp.example", "ann@*"}
		})
		for _, mailbox := range []string{"", id} {
			all, err := folderNames(t.Context(), c, mailbox)
			if err != nil || all["INBOX"].Mailbox != id {
				t.Errorf("%s as %q: got %v, %v", destination, mailbox, all["INBOX"], err)
			}
		}
		if _, err := folderNames(t.Context(), c, "ann@corp.example"); !errors.Is(err, connection.ErrConfig) {
			t.Errorf("an excluded source: got %v", err)
		}
	}
}

func TestMailboxMissing(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	c := openConn(t, srv, srv.Config(), nil)
	for mailbox, want := range map[string]connection.Kind{"": connection.ErrConfig, "zoe@corp.example": connection.ErrNotFound, "a\nb": connection.ErrInvalid} {
		_, err := folderNames(t.Context(), c, mailbox)
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != want || e.Op != "folders" || e.Driver != "gmail" || e.Ref != (connection.Ref{}) {
			t.Errorf("%q: got %#v", mailbox, err)
		}
	}
}

// A mailbox that Gmail does not have is left alone for a day, but for Test.
func TestMailboxThatRests(t *testing.T) {
	bubble(t, gmailtest.Options{}, func(t *testing.T, srv *gmailtest.Server) {
		c := openConn(t, srv, srv.Config(), nil)
		srv.Disable("ann@corp.example")
		for range 3 {
			_, err := folderNames(t.Context(), c, "ann@corp.example")
			if !errors.Is(err, gmail.ErrNoMailbox) || !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		if n := srv.Calls("labels.list"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		<-time.After(25 * time.Hour)
		srv.Enable("ann@corp.example")
		if _, err := folderNames(t.Context(), c, "ann@corp.example"); err != nil {
			t.Errorf("a day later: %v", err)
		}
		srv.Disable("ann@corp.example")
		if _, err := folderNames(t.Context(), c, "ann@corp.example"); !errors.Is(err, gmail.ErrNoMailbox) {
			t.Errorf("got %v", err)
		}
		srv.Enable("ann@corp.example")
		if r, err := c.Test(t.Context(), nil); err != nil {
			t.Errorf("Test: %v\n%s", err, r)
		}
		if _, err := folderNames(t.Context(), c, "ann@corp.example"); err != nil {
			t.Errorf("after Test: %v", err)
		}
	})
}

// A server whose ids are longer than quotaUser may be is not sent more than it takes.
func TestLongUserID(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	var charged []string
	for i := range 2 {
		id := srv.AddUser(gmailtest.User{ID: strings.Repeat("1", 60) + fmt.Sprint(i), Email: fmt.Sprintf("u%d@corp.example", i)})
		c := openConn(t, srv, srv.Config(), nil)
		if _, err := folderNames(t.Context(), c, id); err != nil {
			t.Fatal(err)
		}
		all := srv.Requests()
		charged = append(charged, all[len(all)-1].QuotaUser)
	}
	if charged[0] == charged[1] || len(charged[0]) != 40 || len(charged[1]) != 40 {
		t.Errorf("got %q", charged)
	}
}

// A directory that does not say who has a mailbox is believed to list those who have. One that says nothing of somebody's
// address, or whose pages lead nowhere, is not believed.
func TestOddDirectories(t *testing.T) {
	const users = `{"users":[{"id":"1","primaryEmail":"ann@corp.example"},{"id":"2","primaryEmail":"bob@corp.example","isMailboxSetup":false},{"id":"3"},null,{"id":"1","primaryEmail":"again@corp.example"}]`
	for name, test := range map[string]struct {
		answer string
		want   string
		kind   connection.Kind
	}{
		"sparse":           {users + "}", "ann@corp.example", 0},
		"in circles":       {users + `,"nextPageToken":"x"}`, "", connection.ErrProtocol},
		"another shape":    {`{"users":{"id":"1"}}`, "", connection.ErrProtocol},
		"a list of a list": {`[]`, "", connection.ErrProtocol},
	} {
		srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true})
		srv.Fail(gmailtest.On("users.list"), gmailtest.Status(200, test.answer), gmailtest.Header("Content-Type", "application/json"))
		c := openConn(t, srv, srv.Config(), nil)
		var got []string
		var last error
		for m, err := range c.Mailboxes(t.Context(), nil) {
			if last = err; err == nil {
				got = append(got, m.Aliases[0])
			}
		}
		if test.kind == 0 && (last != nil || strings.Join(got, " ") != test.want) || test.kind != 0 && !errors.Is(last, test.kind) {
			t.Errorf("%s: got %q, %v", name, got, last)
		}
	}
}
