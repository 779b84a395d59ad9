package gmail_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// openSingle opens one mailbox with an access token of its owner.
func openSingle(t *testing.T, srv *gmailtest.Server, address string, change func(*gmail.Config)) *gmail.Conn {
	t.Helper()
	token := srv.Token(address)
	return openConn(t, srv, gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true}, func(cfg *gmail.Config, env *connection.Env) {
		env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(token), nil
		}
		if change != nil {
			change(cfg)
		}
	})
}

// asksDirectory reports whether the directory was asked for anything.
func asksDirectory(srv *gmailtest.Server) bool {
	return slices.ContainsFunc(srv.Requests(), func(r gmailtest.Request) bool {
		return strings.HasPrefix(r.Method, "users.") || strings.HasPrefix(r.Method, "members.") || strings.HasPrefix(r.Method, "audit")
	})
}

// One person's consent opens her mailbox, which has no name, and asks the directory nothing.
func TestG37ConsumerAccount(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Domain: "gmail.com"})
	srv.AddUser(gmailtest.User{Email: "ann@gmail.com"})
	srv.AddUser(gmailtest.User{Email: "bob@gmail.com"})
	id := srv.Deliver("ann@gmail.com", []byte("Subject: a\r\n\r\nb\r\n"))[0]
	consent := srv.OAuth2("ann@gmail.com")
	for name, c := range map[string]*gmail.Conn{
		"token": openSingle(t, srv, "ann@gmail.com", nil),
		"consent": openConn(t, srv, gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true, OAuth2: &gmail.OAuth2{
			ClientID: consent.ClientID, ClientSecret: connection.NewSecret(consent.ClientSecret), RefreshToken: connection.NewSecret(consent.RefreshToken), TokenURI: consent.TokenURI,
		}}, nil),
	} {
		for m, err := range c.Mailboxes(t.Context(), nil) {
			if err != nil || m.Name != "" || !slices.Equal(m.Aliases, []string{"ann@gmail.com"}) {
				t.Errorf("%s: got %+v, %v", name, m, err)
			}
		}
		for _, mailbox := range []string{"", "Ann@gmail.com"} {
			all, err := folderNames(t.Context(), c, mailbox)
			if err != nil || all["INBOX"].Mailbox != "" {
				t.Errorf("%s: mailbox %q: %v", name, mailbox, err)
			}
		}
		if _, err := folderNames(t.Context(), c, "bob@gmail.com"); !errors.Is(err, connection.ErrConfig) {
			t.Errorf("%s: somebody else's mailbox: got %v", name, err)
		}
		m, err := c.Open(t.Context(), connection.Ref{ID: id})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = m.Body.(io.Closer).Close()
		if r, err := c.Test(t.Context(), nil); err != nil {
			t.Errorf("%s: %v\n%s", name, err, r)
		}
	}
	if asksDirectory(srv) {
		t.Error("the directory was asked")
	}
	for _, r := range srv.Requests() {
		if r.QuotaUser != "" || strings.HasPrefix(r.Method, "getProfile") && r.User != "ann@gmail.com" {
			t.Errorf("%s for %q as %q", r.Method, r.User, r.QuotaUser)
		}
	}
}

// A server that has nothing but mail serves one mailbox; what it lacks is skipped.
func TestG44NothingButMail(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Without: []string{"directory", "audit", "batch", "token"}})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.Deliver("ann@corp.example", []byte("Subject: a\r\n\r\nb\r\n"))
	c := openSingle(t, srv, "ann@corp.example", func(cfg *gmail.Config) { cfg.Verbs = []string{"append", "delete"} })
	r, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	if got, want := statuses(r), "key:ok resolve:ok connect:ok tls:ok clock:ok token:skipped directory:skipped domain:skipped mailbox:ok read:ok verbs:ok write:ok remove:ok monitors:skipped quota:ok"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	n := 0
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, m.Body); err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 1 || asksDirectory(srv) {
		t.Errorf("got %d messages; the directory was asked: %v", n, asksDirectory(srv))
	}
}

// The arrival is the server's, whatever the Date field says, and that stays as it is.
func TestG38InternalDate(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openSingle(t, srv, "ann@corp.example", nil)
	const text = "Date: Mon, 02 Jan 2006 15:04:05 -0700\r\nSubject: a\r\n\r\nb\r\n"
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(-86_400_123), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC)} {
		id := srv.DeliverWith("ann@corp.example", []byte(text), gmailtest.Delivery{Internal: at})
		m, err := c.Open(t.Context(), connection.Ref{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(m.Body)
		_ = m.Body.(io.Closer).Close()
		if err != nil || string(body) != text || !m.Received.Equal(at) {
			t.Errorf("received %s, want %s; %q, %v", m.Received, at, body, err)
		}
	}
}

// A server without getProfile is one that cannot be used, and not a mailbox or a message that is gone.
func TestG39NoProfile(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Without: []string{"getProfile"}, AllowBadRequests: true})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.Deliver("ann@corp.example", []byte("Subject: a\r\n\r\nb\r\n"))
	c := openSingle(t, srv, "ann@corp.example", nil)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, connection.ErrProtocol) || !strings.Contains(err.Error(), "getProfile") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for _, err := range c.Mailboxes(t.Context(), nil) {
		check("mailboxes", err)
	}
	known := func(_ context.Context, refs []connection.Ref) ([]bool, error) { return make([]bool, len(refs)), nil }
	for ch, err := range c.Sync(t.Context(), "", &connection.SyncOptions{Known: known}) {
		if err == nil {
			t.Fatalf("a change: %+v", ch)
		}
		check("sync", err)
	}
	r, err := c.Test(t.Context(), nil)
	check("test", err)
	if s := stepOf(t, r, "mailbox"); s.Status != connection.StatusFailed {
		t.Errorf("got %s", r)
	}
	if n := srv.Calls("messages.get") + srv.Calls("messages.list"); n != 0 {
		t.Errorf("%d other calls", n)
	}
}

// Ids are text that nobody looks into, and reach the server as they are.
func TestG41OddIDs(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openSingle(t, srv, "ann@corp.example", func(cfg *gmail.Config) { cfg.Verbs, cfg.DeleteMode = []string{"delete"}, gmail.DeleteHard })
	for i, id := range []string{"msg_12ab", "a/b", "..", "x y?z#%2F", "ünïcode", "18c0a1+=&"} {
		text := "Subject: " + strings.Repeat("x", i) + "\r\n\r\n"
		srv.DeliverWith("ann@corp.example", []byte(text), gmailtest.Delivery{ID: id})
		m, err := c.Open(t.Context(), connection.Ref{ID: id})
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		body, err := io.ReadAll(m.Body)
		_ = m.Body.(io.Closer).Close()
		if err != nil || string(body) != text || m.Ref.ID != id {
			t.Errorf("%q: got %q, %v", id, body, err)
		}
	}
	var met []string
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		met = append(met, m.Ref.ID)
	}
	if len(met) != 6 {
		t.Errorf("fetched %q", met)
	}
	if err := c.Delete(t.Context(), connection.Ref{ID: "a/b"}, connection.Ref{ID: ".."}); err != nil || len(srv.Messages("ann@corp.example")) != 4 {
		t.Errorf("delete: %v, %d are left", err, len(srv.Messages("ann@corp.example")))
	}
}

// The labels of a mailbox are asked for once; again when a message has one that is not known, and not for each such message.
func TestG03UnknownLabel(t *testing.T) {
	bubble(t, gmailtest.Options{}, func(t *testing.T, srv *gmailtest.Server) {
		c := openSingle(t, srv, "ann@corp.example", nil)
		folder := func(label string) string {
			id := srv.DeliverWith("ann@corp.example", []byte("Subject: a\r\n\r\n"), gmailtest.Delivery{Labels: []string{label}})
			m, err := c.Open(t.Context(), connection.Ref{ID: id})
			if err != nil {
				t.Fatal(err)
			}
			_ = m.Body.(io.Closer).Close()
			return m.Folder
		}
		for range 3 {
			if got := folder("INBOX"); got != "INBOX" {
				t.Errorf("got %q", got)
			}
		}
		if n := srv.Calls("labels.list"); n != 1 {
			t.Errorf("the labels were asked for %d times", n)
		}
		<-time.After(2 * time.Minute) // no time in a bubble
		if got := folder(srv.AddLabel("ann@corp.example", "Work/New")); got != "Work/New" {
			t.Errorf("a new label: got %q", got)
		}
		for range 5 {
			if got := folder("Label_unheard"); got != "Label_unheard" {
				t.Errorf("an unknown label: got %q", got)
			}
		}
		if n := srv.Calls("labels.list"); n != 2 {
			t.Errorf("the labels were asked for %d times", n)
		}
	})
}
