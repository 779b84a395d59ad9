package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// mailboxes lists mailboxes by their primary address.
func mailboxes(t *testing.T, c *gmail.Conn, match string) []string {
	t.Helper()
	var all []string
	for m, err := range c.Mailboxes(t.Context(), &connection.MailboxOptions{Match: match}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Aliases[0])
	}
	slices.Sort(all)
	return all
}

func TestMailboxesSelected(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a.lee@corp.example"}, OrgUnit: "/Sales"})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", OrgUnit: "/Sales/Interns"})
	srv.AddUser(gmailtest.User{Email: "cas@corp.example", OrgUnit: "/SalesOps"})
	srv.AddUser(gmailtest.User{Email: "dan@corp.example", Suspended: true})
	srv.AddUser(gmailtest.User{Email: "eve@corp.example", Archived: true})
	srv.AddUser(gmailtest.User{Email: "fay@corp.example", NoMailbox: true})
	srv.AddUser(gmailtest.User{Email: "gus@corp.example", Guest: true})
	srv.AddGroup("team@corp.example", "ann@corp.example", "inner@corp.example", "someone@elsewhere.example")
	srv.AddGroup("inner@corp.example", "cas@corp.example")
	for _, test := range []struct {
		name   string
		change func(*gmail.Config)
		match  string
		want   string
	}{
		{"all", nil, "", "ann bob cas"},
		{"suspended too", func(c *gmail.Config) { c.IncludeSuspended = true }, "", "ann bob cas dan eve"},
		{"by address", func(c *gmail.Config) { c.Include = []string{"Bob@corp.example"} }, "", "bob"},
		{"by alias", func(c *gmail.Config) { c.Include = []string{"a.lee@corp.example"} }, "", "ann"},
		{"by pattern", func(c *gmail.Config) { c.Include = []string{"[ac]*@corp.example"} }, "", "ann cas"},
		{"excluded wins", func(c *gmail.Config) { c.Include = []string{"*@corp.example"}; c.Exclude = []string{"a.lee@*"} }, "", "bob cas"},
		{"by unit", func(c *gmail.Config) { c.OrgUnits = []string{"/sales/"} }, "", "ann bob"},
		{"not by unit", func(c *gmail.Config) { c.ExcludeOrgUnits = []string{"/Sales/Interns"} }, "", "ann cas"},
		{"by group", func(c *gmail.Config) { c.Groups = []string{"team@corp.example"} }, "", "ann cas"},
		{"not by group", func(c *gmail.Config) { c.ExcludeGroups = []string{"inner@corp.example"} }, "", "ann bob"},
		{"by all of these", func(c *gmail.Config) {
			c.Groups, c.OrgUnits = []string{"team@corp.example"}, []string{"/Sales"}
		}, "", "ann"},
		{"by domain", func(c *gmail.Config) { c.Domain = "corp.example" }, "", "ann bob cas"},
		{"matched by alias", nil, "a.lee@*", "ann"},
		{"matched by id", nil, id, "ann"},
		{"matched by nothing", nil, "zoe@*", ""},
	} {
		c := openConn(t, srv, srv.Config(), func(cfg *gmail.Config, _ *connection.Env) {
			if test.change != nil {
				test.change(cfg)
			}
		})
		if got := strings.ReplaceAll(strings.Join(mailboxes(t, c, test.match), " "), "@corp.example", ""); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// A mailbox is named by the user's id. Who is left out is told, with the reason.
func TestMailboxesAreNamedByID(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a.lee@corp.example"}})
	out := map[string]string{
		srv.AddUser(gmailtest.User{Email: "dan@corp.example", Suspended: true}): "dan@corp.example: suspended",
		srv.AddUser(gmailtest.User{Email: "eve@corp.example", Archived: true}):  "eve@corp.example: archived",
		srv.AddUser(gmailtest.User{Email: "fay@corp.example", NoMailbox: true}): "fay@corp.example: no mailbox",
		srv.AddUser(gmailtest.User{Email: "gus@corp.example", Guest: true}):     "gus@corp.example: guest",
	}
	var mu sync.Mutex
	told := make(map[string]string)
	c := openConn(t, srv, srv.Config(), func(_ *gmail.Config, env *connection.Env) {
		env.Observe = func(ev connection.Event) {
			mu.Lock()
			defer mu.Unlock()
			if ev.Kind == connection.EventSkipped {
				told[ev.Mailbox] = ev.Detail
			}
		}
	})
	var got []*connection.Mailbox
	for m, err := range c.Mailboxes(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if len(got) != 1 || got[0].Name != id || !slices.Equal(got[0].Aliases, []string{"ann@corp.example", "a.lee@corp.example"}) {
		t.Errorf("got %+v", got)
	}
	for user, want := range out {
		if told[user] != want {
			t.Errorf("%s: got %q, want %q", user, told[user], want)
		}
	}
}

func TestMailboxesOnce(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	c := openConn(t, srv, srv.Config(), nil)
	all := c.Mailboxes(t.Context(), nil)
	for _, err := range all {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range all {
		if !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("a second time: got %v", err)
		}
	}
	for _, err := range c.Mailboxes(t.Context(), &connection.MailboxOptions{Match: "[a"}) {
		if !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("a bad pattern: got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range c.Mailboxes(ctx, nil) {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, connection.ErrCanceled) {
			t.Errorf("a done context: got %v", err)
		}
	}
}

// More users than a page holds are all there, each once.
func TestMailboxesOfManyPages(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	for i := range 1203 {
		srv.AddUser(gmailtest.User{Email: fmt.Sprintf("u%04d@corp.example", i)})
	}
	c := openConn(t, srv, srv.Config(), nil)
	if got := mailboxes(t, c, ""); len(slices.Compact(got)) != 1203 {
		t.Errorf("got %d mailboxes", len(got))
	}
	if n := srv.Calls("users.list"); n != 3 {
		t.Errorf("%d pages", n)
	}
	if n := srv.Calls("token"); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

// A group of groups is asked for by pages of 200; members who are no users of the directory match nobody.
func TestG68NestedGroup(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	var members []string
	for i := range 201 {
		address := fmt.Sprintf("m%03d@corp.example", i)
		srv.AddUser(gmailtest.User{Email: address})
		members = append(members, address)
	}
	srv.AddUser(gmailtest.User{Email: "not-in-it@corp.example"})
	srv.AddGroup("outer@corp.example", "inner@corp.example", "partner@elsewhere.example", members[0])
	srv.AddGroup("inner@corp.example", members[1:]...)
	c := openConn(t, srv, srv.Config(), func(cfg *gmail.Config, _ *connection.Env) { cfg.Groups = []string{"outer@corp.example"} })
	if got := mailboxes(t, c, ""); !slices.Equal(got, members) {
		t.Errorf("got %d mailboxes, want %d", len(got), len(members))
	}
	if n := srv.Calls("members.list"); n != 2 {
		t.Errorf("%d pages of members", n)
	}
	c = openConn(t, srv, srv.Config(), func(cfg *gmail.Config, _ *connection.Env) { cfg.Groups = []string{"none@corp.example"} })
	for _, err := range c.Mailboxes(t.Context(), nil) {
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), "groups") {
			t.Errorf("a group that is not there: got %v", err)
		}
	}
}
