package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// statuses writes a report as "key:ok clock:failed".
func statuses(r *connection.Report) string {
	var all []string
	for _, s := range r.Steps {
		all = append(all, s.Name+":"+string(s.Status))
	}
	return strings.Join(all, " ")
}

func stepOf(t *testing.T, r *connection.Report, name string) connection.Step {
	t.Helper()
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %s:\n%s", name, r)
	return connection.Step{}
}

func TestReportOfADomain(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", Suspended: true})
	srv.Deliver("ann@corp.example", []byte("Subject: a\r\n\r\nb\r\n"))
	c := openConn(t, srv, srv.Config(), nil)
	r, err := c.Test(t.Context(), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	if got, want := statuses(r), "key:ok resolve:ok connect:ok tls:ok clock:ok token:ok directory:ok domain:ok mailbox:ok read:ok verbs:skipped write:skipped remove:skipped monitors:skipped quota:ok"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	email, id := srv.ServiceAccount()
	for name, want := range map[string]string{
		"key": email + ", client ID " + id, "domain": "1 mailboxes selected", "mailbox": "ann@corp.example, 1 messages",
		"read": "the newest message has 17 octets", "quota": "about 1 messages in 1 mailboxes",
	} {
		if s := stepOf(t, r, name); !strings.Contains(s.Detail, want) {
			t.Errorf("%s: got %q, want %q", name, s.Detail, want)
		}
	}
	if s := stepOf(t, r, "domain"); !strings.Contains(s.Detail, "1 suspended") {
		t.Errorf("domain: got %q", s.Detail)
	}
	if units := srv.Units("ann@corp.example"); units > 60 {
		t.Errorf("it costs %d units", units)
	}
	if text := r.String(); strings.Contains(text, "PRIVATE") || strings.Contains(text, "ya29") {
		t.Errorf("it shows a secret:\n%s", text)
	}
}

// A failure is something that is wrong with a domain or with the settings for it.
type failure struct {
	name  string
	spoil func(srv *gmailtest.Server, cfg *gmail.Config)
	step  string
	kind  connection.Kind
	is    error
	hint  string
	after string // statuses from the failed step on
}

const (
	usersScope  = "https://www.googleapis.com/auth/admin.directory.user.readonly"
	groupsScope = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"
	readScope   = "https://www.googleapis.com/auth/gmail.readonly"
	modifyScope = "https://www.googleapis.com/auth/gmail.modify"
)

func failures(id string) []failure {
	consent := "client ID " + id + ". Admin console, Security, API controls, Domain-wide delegation: add the scopes "
	return []failure{
		{
			"no delegation for the directory", func(srv *gmailtest.Server, _ *gmail.Config) { srv.Delegate(readScope) },
			"token", connection.ErrAuth, gmail.ErrDelegation, consent + usersScope + " (",
			"token:failed directory:skipped domain:skipped mailbox:skipped read:skipped",
		},
		{
			"no delegation for one of two", func(srv *gmailtest.Server, cfg *gmail.Config) {
				srv.Delegate(readScope, usersScope)
				cfg.Groups = []string{"all@corp.example"}
			},
			"token", connection.ErrAuth, gmail.ErrDelegation, consent + groupsScope + " (", "token:failed directory:skipped",
		},
		{
			"no delegation for mail", func(srv *gmailtest.Server, _ *gmail.Config) { srv.Delegate(usersScope) },
			"mailbox", connection.ErrAuth, gmail.ErrDelegation, consent + readScope + " (", "mailbox:failed read:skipped",
		},
		{
			"no delegation for a verb", func(srv *gmailtest.Server, cfg *gmail.Config) {
				srv.Delegate(usersScope, readScope)
				cfg.Verbs = []string{"delete", "send"}
			},
			"verbs", connection.ErrAuth, gmail.ErrDelegation, consent + modifyScope + ",https://www.googleapis.com/auth/gmail.send (", "verbs:failed write:skipped",
		},
		{
			"the key is gone", func(srv *gmailtest.Server, _ *gmail.Config) { srv.DeleteKey() },
			"token", connection.ErrAuth, gmail.ErrKey, "", "token:failed directory:skipped",
		},
		{
			"the clock is wrong", func(srv *gmailtest.Server, _ *gmail.Config) { srv.SetClockOffset(time.Hour + 30*time.Minute) },
			"clock", connection.ErrAuth, gmail.ErrClockSkew, "the local clock is -1h", "clock:failed token:skipped directory:skipped domain:skipped mailbox:skipped",
		},
		{
			"nobody listens", func(srv *gmailtest.Server, _ *gmail.Config) { srv.Close() },
			"connect", connection.ErrNetwork, nil, "credentials", "connect:failed tls:skipped clock:skipped token:skipped",
		},
		{
			"no administrator", func(_ *gmailtest.Server, cfg *gmail.Config) { cfg.Admin = "ann@corp.example" },
			"directory", connection.ErrPermission, nil, "ann@corp.example is not an administrator with the privilege Users > Read", "directory:failed domain:skipped mailbox:skipped",
		},
		{
			"directory disabled", func(srv *gmailtest.Server, _ *gmail.Config) {
				srv.Fail(gmailtest.On("users.list"), gmailtest.Disabled("admin.googleapis.com", "https://console.developers.google.com/enable"))
			},
			"directory", connection.ErrPermission, nil, "enable the Admin SDK API in project mailconn-test: https://console.developers.google.com/enable", "directory:failed domain:skipped",
		},
		{
			"nobody is selected", func(_ *gmailtest.Server, cfg *gmail.Config) { cfg.Include = []string{"zoe@corp.example"} },
			"domain", connection.ErrConfig, nil, "include", "domain:failed mailbox:skipped",
		},
		{
			"no Gmail", func(srv *gmailtest.Server, _ *gmail.Config) { srv.Disable("ann@corp.example") },
			"mailbox", connection.ErrNotFound, gmail.ErrNoMailbox, "ann@corp.example has no Gmail", "mailbox:failed read:skipped",
		},
		{
			"Gmail disabled", func(srv *gmailtest.Server, _ *gmail.Config) {
				srv.Fail(gmailtest.On("getProfile"), gmailtest.Disabled("gmail.googleapis.com", "https://console.developers.google.com/gmail"))
			},
			"mailbox", connection.ErrPermission, nil, "enable the Gmail API in project mailconn-test: https://console.developers.google.com/gmail", "mailbox:failed read:skipped",
		},
		{
			"no history", func(srv *gmailtest.Server, _ *gmail.Config) {
				srv.Fail(gmailtest.On("history.list"), gmailtest.Refuse(503, "backendError", "not now"))
			},
			"read", connection.ErrUnavailable, nil, "", "read:failed",
		},
		{
			"policy", func(srv *gmailtest.Server, _ *gmail.Config) { srv.Fail(gmailtest.On("getProfile"), gmailtest.Policy()) },
			"mailbox", connection.ErrPermission, gmail.ErrPolicy, "", "mailbox:failed",
		},
	}
}

// Whatever is wrong is told by the step that meets it, with a hint; what rests on it is skipped.
func TestReportOfFailures(t *testing.T) {
	_, id := gmailtest.NewServer(t, nil).ServiceAccount()
	for _, test := range failures(id) {
		t.Run(test.name, func(t *testing.T) {
			srv := gmailtest.NewServer(t, nil)
			srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
			srv.AddGroup("all@corp.example", "ann@corp.example")
			cfg := srv.Config()
			cfg.Retries = 1
			test.spoil(srv, &cfg)
			c := openConn(t, srv, cfg, nil)
			r, err := c.Test(t.Context(), nil)
			if err == nil {
				t.Fatalf("nothing is wrong:\n%s", r)
			}
			s := stepOf(t, r, test.step)
			if s.Status != connection.StatusFailed || !errors.Is(s.Err, test.kind) || test.is != nil && !errors.Is(s.Err, test.is) || !errors.Is(err, test.kind) {
				t.Errorf("got %s, %v, want %v\n%s", s.Status, s.Err, test.kind, r)
			}
			if s.Hint == "" || !strings.Contains(s.Hint, test.hint) {
				t.Errorf("hint: got %q, want %q", s.Hint, test.hint)
			}
			if got := statuses(r); !strings.Contains(got, test.after) {
				t.Errorf("got  %s\nwant %s", got, test.after)
			}
		})
	}
}

// With Write a message is written, read back and removed, in the way that the settings and the delegation permit.
func TestReportOfWriting(t *testing.T) {
	both := []string{"append", "delete"}
	for name, test := range map[string]struct {
		change func(*gmail.Config)
		scopes []string // nil = all
		mail   gmailtest.MailOptions
		want   string
		left   int
	}{
		"not permitted":  {func(*gmail.Config) {}, nil, gmailtest.MailOptions{}, "write:skipped remove:skipped", 0},
		"only appending": {func(c *gmail.Config) { c.Verbs = []string{"append"} }, nil, gmailtest.MailOptions{}, "verbs:ok write:skipped remove:skipped", 0},
		"trash":          {func(c *gmail.Config) { c.Verbs = both }, nil, gmailtest.MailOptions{}, "verbs:ok write:ok remove:ok", 0},
		"delete":         {func(c *gmail.Config) { c.Verbs, c.DeleteMode = both, gmail.DeleteHard }, nil, gmailtest.MailOptions{}, "verbs:ok write:ok remove:ok", 0},
		"media":          {func(c *gmail.Config) { c.Verbs, c.Upload = both, gmail.UploadMedia }, nil, gmailtest.MailOptions{}, "verbs:ok write:ok remove:ok", 0},
		"no more than trash": {
			func(c *gmail.Config) { c.Verbs = both },
			[]string{usersScope, readScope, modifyScope, "https://www.googleapis.com/auth/gmail.insert", "https://www.googleapis.com/auth/gmail.labels"},
			gmailtest.MailOptions{},
			"verbs:ok write:ok remove:ok", 1,
		},
		// The server stores what it likes: it is found, and removed all the same.
		"altered": {func(c *gmail.Config) { c.Verbs, c.Upload = both, gmail.UploadMedia }, nil, gmailtest.MailOptions{WholeMultipart: true}, "verbs:ok write:failed remove:ok", 0},
	} {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Mail: test.mail, Delegated: test.scopes})
		srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
		cfg := srv.Config()
		test.change(&cfg)
		r, err := openConn(t, srv, cfg, nil).Test(t.Context(), &connection.TestOptions{Write: true})
		if got := statuses(r); !strings.Contains(got, test.want) || (err != nil) != strings.Contains(test.want, "failed") {
			t.Errorf("%s: got %v, %s\nwant %s\n%s", name, err, got, test.want, r)
		}
		if left := len(srv.Messages("ann@corp.example")); left != test.left {
			t.Errorf("%s: %d messages are left", name, left)
		}
	}
}

// A token source of the host gives tokens that lack what only the API notices.
func TestReportOfWritingWithASmallToken(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	token := srv.Token("ann@corp.example", readScope, modifyScope, "https://www.googleapis.com/auth/gmail.insert", "https://www.googleapis.com/auth/gmail.labels")
	cfg := gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true, Verbs: []string{"append", "delete"}}
	r, err := openConn(t, srv, cfg, func(_ *gmail.Config, env *connection.Env) {
		env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(token), nil
		}
	}).Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	if left := srv.Messages("ann@corp.example"); len(left) != 1 || !slices.Contains(left[0].Labels, "TRASH") {
		t.Errorf("left are %v, want one in the trash", left)
	}
}

// A first synchronization that takes more than a week is a warning.
func TestReportOfAnEstimate(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	for i := range 3 {
		srv.AddUser(gmailtest.User{Email: fmt.Sprintf("u%d@corp.example", i)})
	}
	srv.Fail(gmailtest.On("getProfile"), gmailtest.Rewrite(func(body []byte) []byte {
		return []byte(strings.Replace(string(body), `"messagesTotal":0`, `"messagesTotal":9000000`, 1))
	}))
	c := openConn(t, srv, srv.Config(), nil)
	r, err := c.Test(t.Context(), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	// 9,000,000 messages of 20 units, and their list, at 6,000 units a minute.
	if s := stepOf(t, r, "quota"); s.Status != connection.StatusWarned || !strings.Contains(s.Detail, "27000000 messages in 3 mailboxes") || !strings.Contains(s.Detail, "20.8 days") {
		t.Errorf("got %+v", s)
	}
}

func TestReportThatIsEnded(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	c := openConn(t, srv, srv.Config(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	srv.Fail(gmailtest.On("labels.list"), gmailtest.Do(func(gmailtest.Request) { cancel() }), gmailtest.Stall())
	r, err := c.Test(ctx, nil)
	if !errors.Is(err, context.Canceled) || stepOf(t, r, "read").Status != connection.StatusFailed {
		t.Errorf("got %v\n%s", err, r)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Test(t.Context(), nil); !errors.Is(err, connection.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

// What monitors rest on is tested too: the destination, the feed, and how long it takes to set all of them.
func TestReportOfMonitors(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(srv *gmailtest.Server)
		want  string
		text  string // of the step monitors
	}{
		"fine":           {func(*gmailtest.Server) {}, "mailbox:ok read:ok verbs:ok write:skipped remove:skipped monitors:ok quota:ok", "1 day"},
		"gone":           {func(srv *gmailtest.Server) { srv.SetGone(gmailtest.Gone404) }, "mailbox:ok read:ok verbs:ok write:skipped remove:skipped monitors:failed quota:ok", "Google no longer offers mailbox monitors"},
		"no delegation":  {func(srv *gmailtest.Server) { srv.Delegate(usersScope, readScope) }, "mailbox:ok read:ok verbs:failed write:skipped remove:skipped monitors:failed", "delegation"},
		"no destination": {func(srv *gmailtest.Server) { srv.RemoveUser("journal@corp.example") }, "mailbox:failed read:skipped verbs:skipped", "journal"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := gmailtest.NewServer(t, nil)
			srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
			srv.AddUser(gmailtest.User{Email: "journal@corp.example"})
			test.spoil(srv)
			cfg := srv.Config()
			cfg.Retrieval, cfg.Monitors.Destination = gmail.RetrieveMonitors, "journal"
			r, err := openConn(t, srv, cfg, nil).Test(t.Context(), &connection.TestOptions{Write: true})
			if got := statuses(r); !strings.Contains(got, test.want) || (err != nil) != strings.Contains(test.want, "failed") {
				t.Errorf("got %v, %s\nwant %s", err, got, test.want)
			}
			if s := stepOf(t, r, "monitors"); !strings.Contains(s.Detail+s.Hint+fmt.Sprint(s.Err), test.text) {
				t.Errorf("got %+v, want %q", s, test.text)
			}
			if name == "fine" && !strings.Contains(stepOf(t, r, "mailbox").Detail, "journal@corp.example") {
				t.Errorf("got %+v", stepOf(t, r, "mailbox"))
			}
		})
	}
}
