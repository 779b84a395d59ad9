package ews_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A log at the lowest level has no credential, no cookie and no mail in it.
func TestE44Logs(t *testing.T) {
	const mail = "only-in-the-mail-5b21"
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM, ewstest.Bearer} {
		t.Run(named(scheme), func(t *testing.T) {
			c := conformance{scheme: scheme}
			r := c.rig(t)
			r.env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
				return connection.NewSecret(canary), nil
			}
			var log bytes.Buffer
			r.env.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))
			const cookie = "hush-93f1"
			r.Fail(ewstest.On("*"), ewstest.Header("Set-Cookie", "X-BackEndCookie="+cookie))
			r.alice.Deliver("Inbox", []byte("Subject: "+mail+"\r\nMessage-ID: <x@corp.test>\r\n\r\n"+mail+"\r\n"))
			conn := r.open(t)
			bodies(t, collect(t, conn, nil))
			r.Fail(ewstest.On("*"), ewstest.Unauthorized())
			for _, f := range collect(t, conn, nil) {
				if f.Err != nil && strings.Contains(fmt.Sprintf("%v %+v", f.Err, f.Err), canary) {
					t.Errorf("the credential is in %q", f.Err)
				}
			}
			logged := log.String()
			if !strings.Contains(logged, "GetItem") {
				t.Errorf("there is no trace:\n%s", logged)
			}
			for _, secret := range []string{canary, mail, cookie, "TlRMTVNTUA"} {
				if strings.Contains(logged, secret) {
					t.Errorf("%q is in the log", secret)
				}
			}
			for _, q := range r.Requests() {
				if _, credential, ok := strings.Cut(q.Header.Get("Authorization"), " "); ok && strings.Contains(logged, credential) {
					t.Error("a credential is in the log")
				}
			}
		})
	}
}

// No request body is ever sent in chunks, and each is named.
func TestE45NoChunks(t *testing.T) {
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM} {
		r := withAuth(t, ewstest.Authentication{Schemes: scheme})
		c := r.open(t)
		if _, err := c.Append(t.Context(), "Inbox", bytes.NewReader(large(300_000)), nil); err != nil {
			t.Fatal(err)
		}
		if n := len(bodies(t, collect(t, c, nil))); n != 1 {
			t.Errorf("%d messages", n)
		}
		for _, q := range r.Requests() {
			if q.Header.Get("Transfer-Encoding") != "" || q.Header.Get("Content-Length") == "" {
				t.Errorf("%s: %v", q.Operation, q.Header)
			}
			if q.Operation != "" && q.Anchor == "" {
				t.Errorf("%s without X-AnchorMailbox", q.Operation)
			}
		}
	}
}

// Two mailboxes over one connection, and two accounts in one process: each gets its own mail.
func TestE54NeverTheOthers(t *testing.T) {
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM} {
		t.Run(named(scheme), func(t *testing.T) {
			r := withAuth(t, ewstest.Authentication{Schemes: scheme})
			other := r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary + "b"})
			r.AddAccount(svc, ewstest.AccountOptions{Password: canary})
			r.GrantImpersonation(svc)
			mine, his := letters(8)[:4], letters(8)[4:]
			r.alice.Deliver("Inbox", mine...)
			other.Deliver("Inbox", his...)
			of := func(user, pass string) *ews.Conn {
				cfg := r.cfg
				cfg.Username, cfg.Password = user, connection.NewSecret(pass)
				return open(t, cfg, r.env)
			}
			service, hers, hisOwn := of(svc, canary), of(alice, canary), of(bob, canary+"b")
			var wg sync.WaitGroup
			for range 3 {
				for _, who := range []struct {
					conn    *ews.Conn
					mailbox string
					want    [][]byte
				}{{service, alice, mine}, {service, bob, his}, {hers, "", mine}, {hisOwn, "", his}} {
					wg.Go(func() {
						wantBodies(t, bodies(t, collect(t, who.conn, &connection.FetchOptions{Mailbox: who.mailbox})), who.want...)
					})
				}
			}
			wg.Wait()
			users := map[int][]string{} // by connection
			for _, q := range r.Requests() {
				if q.User != "" && !slices.Contains(users[q.Conn], q.User) {
					users[q.Conn] = append(users[q.Conn], q.User)
				}
			}
			for conn, list := range users {
				if len(list) > 1 {
					t.Errorf("connection %d was used by %v", conn, list)
				}
			}
		})
	}
}

// A body is sent once, but where a session turns out to be lost.
func TestUploadsGoOnce(t *testing.T) {
	r := withAuth(t, ewstest.Authentication{Schemes: ewstest.NTLM})
	c := r.open(t)
	before := r.UploadedBytes()
	if _, err := c.Append(t.Context(), "Inbox", bytes.NewReader(large(1<<20)), nil); err != nil {
		t.Fatal(err)
	}
	if n, want := r.UploadedBytes()-before, int64(1<<20*4/3); n > want+want/10 {
		t.Errorf("%d octets went up, want about %d", n, want)
	}
}
