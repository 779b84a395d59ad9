package ews_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

// tokens makes the settings those of a token.
func (r *rig) tokens(token ewstest.Token) *rig {
	r.AddToken(canary, token)
	r.cfg.Password = connection.Secret{}
	r.env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.NewSecret(canary), nil
	}
	return r
}

// An application's token is good for nothing without impersonation, a person's must not impersonate: the driver finds out
// which of them the host's tokens are.
func TestTokensAndImpersonation(t *testing.T) {
	for name, app := range map[string]bool{"application": true, "person": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: ewstest.Bearer}}).tokens(ewstest.Token{User: alice, AppOnly: app})
			if app {
				r.GrantImpersonation(alice)
			}
			r.alice.Deliver("Inbox", letter(0))
			c := r.open(t)
			for range 2 {
				wantBodies(t, bodies(t, collect(t, c, nil)), letter(0))
			}
			refused := 0
			for _, q := range r.Requests() {
				if q.Code != "" {
					refused++
				}
				if q.Operation != "" && q.Code == "" && (q.Mailbox != "") != app {
					t.Errorf("%s impersonates %q", q.Operation, q.Mailbox)
				}
			}
			if refused > 1 {
				t.Errorf("%d requests were refused", refused)
			}
		})
	}
}

// The settings oauth2 say by themselves whose tokens they are.
func TestOAuth2SaysWhoIsMeant(t *testing.T) {
	app := ews.Config{
		Server: "exchange.corp.test", DisableAutodiscover: true,
		OAuth2: &ews.OAuth2{TokenURI: "https://login.corp.test/token", ClientID: "c", ClientSecret: connection.NewSecret(canary)},
	}
	c := open(t, app, nil)
	_, err := one(c.Fetch(t.Context(), nil))
	if e := theError(t, err, connection.ErrInvalid); !strings.Contains(e.Hint, "username") {
		t.Errorf("got %v", e)
	}
}

// An account without a mailbox is told so, and what to do.
func TestAccountWithoutMailbox(t *testing.T) {
	r := newRig(t, nil).impersonating()
	_, err := one(r.open(t).Fetch(t.Context(), nil))
	if e := theError(t, err, connection.ErrNotFound); e.Hint == "" || e.Code == "" {
		t.Errorf("got %+v", e)
	}
}

// Two accounts with connections of their own in one process never see the other's mail.
func TestTwoAccounts(t *testing.T) {
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM} {
		r := newRig(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: scheme}})
		r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary}).Deliver("Inbox", letter(1))
		r.alice.Deliver("Inbox", letter(0))
		hers := r.open(t)
		r.cfg.Username = bob
		his := r.open(t)
		for range 3 {
			wantBodies(t, bodies(t, collect(t, hers, nil)), letter(0))
			wantBodies(t, bodies(t, collect(t, his, nil)), letter(1))
		}
	}
}

func TestPublicFolders(t *testing.T) {
	r := newRig(t, nil)
	r.PublicFolders().Folder("Company/News").Deliver(letters(3)...)
	c := r.open(t)
	names := map[string]bool{}
	for f, err := range c.Folders(t.Context(), "#public") {
		if err != nil {
			t.Fatal(err)
		}
		names[f.Name] = true
		if f.Mailbox != "#public" {
			t.Errorf("got %+v", f)
		}
	}
	if !names["Company/News"] || !names["Company"] {
		t.Errorf("got %v", names)
	}
	all := collect(t, c, &connection.FetchOptions{Mailbox: "#public", Folders: []string{"Company/News"}})
	wantBodies(t, bodies(t, all), letters(3)...)
	if err := c.Delete(t.Context(), all[0].Ref); err != nil {
		t.Error(err)
	}
	all = slices.DeleteFunc(all, func(f drivertest.Fetched) bool { return f.Ref == all[0].Ref })
	got := collect(t, c, &connection.FetchOptions{Mailbox: "#public", Folders: []string{"Company/News"}})
	wantBodies(t, bodies(t, got), []byte(all[0].Raw), []byte(all[1].Raw))
	_, err := one(c.Fetch(t.Context(), &connection.FetchOptions{Mailbox: "#public"}))
	wantKind(t, err, connection.ErrInvalid)
}
