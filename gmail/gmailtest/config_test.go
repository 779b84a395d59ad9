package gmailtest_test

import (
	"testing"

	"github.com/mailconn/mailconn/connection"
	driver "github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// The settings that the server hands out open its mailboxes, with every kind of credential and over every protocol.
func TestConfigs(t *testing.T) {
	for _, protocol := range protocols() {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: protocol})
		ann := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
		srv.Deliver("ann@corp.example", []byte("Subject: Hello\r\n\r\nHello, Ann.\r\n"))
		for name, c := range map[string]struct {
			config  driver.Config
			env     *connection.Env
			mailbox string // of the message's Ref
		}{
			"service account": {srv.Config(), srv.Env(), ann},
			"user":            {srv.UserConfig("ann@corp.example"), srv.Env(), ""},
			"hook":            {srv.HookConfig(), srv.HookEnv("ann@corp.example"), ""},
		} {
			conn, err := driver.Open(c.config, c.env)
			if err != nil {
				t.Fatalf("%s, %s: %v", protocol, name, err)
			}
			var got []connection.Ref
			for m, err := range conn.Fetch(t.Context(), &connection.FetchOptions{Mailbox: c.mailbox}) {
				if err != nil {
					t.Fatalf("%s, %s: %v", protocol, name, err)
				}
				got = append(got, m.Ref)
			}
			if len(got) != 1 || got[0].Mailbox != c.mailbox {
				t.Errorf("%s, %s: got %v", protocol, name, got)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// The token hook has no tokens of those who are not there.
func TestHookEnv(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", Suspended: true})
	env := srv.HookEnv("ann@corp.example")
	for mailbox, want := range map[string]error{"": nil, "ann@corp.example": nil, "bob@corp.example": connection.ErrNotFound, "cyd@corp.example": connection.ErrNotFound} {
		token, err := env.Token(t.Context(), connection.TokenRequest{Mailbox: mailbox, Scopes: []string{readonly}})
		if connection.KindOf(err) != connection.KindOf(want) || token.IsZero() != (want != nil) {
			t.Errorf("%q: got %v, want %v", mailbox, err, want)
		}
	}
}
