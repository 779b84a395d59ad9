package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const day = 24 * time.Hour

// watching runs test in a domain with ann, bob and the destination journal, by monitors.
func watching(t *testing.T, opts *gmailtest.Options, set func(*gmail.Config, *gmail.Options), test func(t *testing.T, r *changeRig)) {
	t.Helper()
	changing(t, opts, func(c *gmail.Config, o *gmail.Options) {
		monitored(c, o)
		if set != nil {
			set(c, o)
		}
	}, func(t *testing.T, r *changeRig) {
		r.AddUser(gmailtest.User{Email: "journal@corp.example"})
		test(t, r)
	})
}

// sources returns the sources of the monitors that there are.
func (r *changeRig) sources() []string {
	var all []string
	for _, m := range r.Monitors() {
		all = append(all, m.Source)
	}
	return all
}

func TestSetMonitor(t *testing.T) {
	for _, style := range []gmailtest.AtomStyle{gmailtest.AtomDefault, gmailtest.AtomPrefixed, gmailtest.AtomMixed, gmailtest.AtomBroken} {
		t.Run(string(style), func(t *testing.T) {
			opts := &gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{XML: style, PageSize: 1}}}
			watching(t, opts, func(c *gmail.Config, _ *gmail.Options) { c.Monitors.Outgoing, c.Monitors.Chat = "headers", "full" }, func(t *testing.T, r *changeRig) {
				m, err := r.conn.SetMonitor(t.Context(), "ann@corp.example")
				if err != nil {
					t.Fatal(err)
				}
				if life := time.Until(m.End); life > 365*day || life < 334*day {
					t.Errorf("it ends in %s, want a year less up to 30 days", life)
				}
				if m.Source != "ann@corp.example" || m.Destination != "journal@corp.example" || m.Incoming != "full" || m.Outgoing != "headers" || m.Drafts != "none" || m.Chat != "full" {
					t.Errorf("got %+v", m)
				}
				r.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "other", End: m.End, Incoming: gmailtest.HeaderOnly})
				all, err := r.conn.Monitors(t.Context(), r.ann)
				if err != nil || len(all) != 2 || !reflect.DeepEqual(all[0], *m) || all[1].Destination != "other@corp.example" || all[1].Incoming != "headers" || all[1].Outgoing != "none" {
					t.Errorf("got %+v, %v; want %+v and another's", all, err, m)
				}
				for range 2 {
					if err := r.conn.RemoveMonitor(t.Context(), "ann@corp.example"); err != nil {
						t.Fatal(err)
					}
				}
				if all, err := r.conn.Monitors(t.Context(), r.ann); err != nil || len(all) != 1 {
					t.Errorf("left: %+v, %v", all, err)
				}
			})
		})
	}
}

func TestG63EveryLevelIsSent(t *testing.T) {
	watching(t, nil, func(c *gmail.Config, _ *gmail.Options) {
		c.Monitors.Chat, c.Monitors.Drafts, c.Monitors.Incoming = "full", "headers", "headers"
	}, func(t *testing.T, r *changeRig) {
		for range 2 { // the second is an update
			if _, err := r.conn.SetMonitor(t.Context(), r.ann); err != nil {
				t.Fatal(err)
			}
			m := r.Monitors()[0]
			if m.Incoming != gmailtest.HeaderOnly || m.Outgoing != gmailtest.FullMessage || m.Drafts != gmailtest.HeaderOnly || m.Chats != gmailtest.FullMessage {
				t.Errorf("got %+v", m)
			}
		}
	})
}

func TestG35RefusedBeforeCalling(t *testing.T) {
	for name, test := range map[string]struct {
		set     func(*gmail.Config, *gmail.Options)
		prepare func(*changeRig)
		source  string
		kind    connection.Kind
	}{
		"the destination itself": {nil, nil, "journal@corp.example", connection.ErrInvalid},
		"by an alias": {nil, func(r *changeRig) {
			r.AddUser(gmailtest.User{Email: "journal@corp.example", Aliases: []string{"j@corp.example"}})
		}, "j@corp.example", connection.ErrInvalid},
		"a user of another domain":  {nil, func(r *changeRig) { r.AddUser(gmailtest.User{Email: "eve@other.example"}) }, "eve@other.example", connection.ErrInvalid},
		"a suspended user":          {nil, func(r *changeRig) { r.Suspend("ann@corp.example", true) }, "ann@corp.example", connection.ErrInvalid},
		"an unknown user":           {nil, nil, "nobody@corp.example", connection.ErrNotFound},
		"nobody":                    {nil, nil, "", connection.ErrInvalid},
		"a suspended destination":   {nil, func(r *changeRig) { r.Suspend("journal@corp.example", true) }, "ann@corp.example", connection.ErrConfig},
		"a destination elsewhere":   {nil, func(r *changeRig) { r.RenameUser("journal@corp.example", "journal@other.example") }, "ann@corp.example", connection.ErrConfig},
		"a destination without box": {func(c *gmail.Config, _ *gmail.Options) { c.Monitors.Destination = "admin" }, nil, "ann@corp.example", connection.ErrConfig},
		"no such destination":       {func(c *gmail.Config, _ *gmail.Options) { c.Monitors.Destination = "nobody@corp.example" }, nil, "ann@corp.example", connection.ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, &gmailtest.Options{Domains: []string{"other.example"}}, test.set, func(t *testing.T, r *changeRig) {
				if test.prepare != nil {
					test.prepare(r)
				}
				_, err := r.conn.SetMonitor(t.Context(), test.source)
				failedRefs(t, err, test.kind)
				if err == nil || r.Calls("audit") != 0 {
					t.Errorf("got %v, the feed was asked %d times", err, r.Calls("audit"))
				}
			})
		})
	}
}

func TestMonitorsGone(t *testing.T) {
	for _, gone := range []gmailtest.Gone{
		gmailtest.Gone404, gmailtest.Gone410, gmailtest.Gone501, gmailtest.GoneHTML, gmailtest.GoneHTML404, gmailtest.GoneFeature, gmailtest.GoneNotForUser, gmailtest.GoneDeprecated,
	} {
		t.Run(string(gone), func(t *testing.T) {
			watching(t, nil, nil, func(t *testing.T, r *changeRig) {
				r.SetGone(gone)
				check := func(err error) {
					t.Helper()
					var e *connection.Error
					if !errors.Is(err, gmail.ErrMonitorsUnavailable) || !errors.Is(err, connection.ErrUnsupported) || !errors.As(err, &e) || connection.Temporary(err) {
						t.Fatalf("got %v, want that there are no monitors", err)
					}
					for _, text := range []string{"Google no longer offers mailbox monitors for this domain (HTTP ", "1) mode Synchronize", "Third-party email archiving", "X-Gm-Original-To", "vault/v1 matters.exports"} {
						if !strings.Contains(err.Error(), text) {
							t.Errorf("got %v, want it to hold %q", err, text)
						}
					}
				}
				stats, err := r.conn.ReconcileMonitors(t.Context())
				check(err)
				if n := r.Calls("audit"); n > 2 || stats.Created+stats.Failed != 0 {
					t.Errorf("asked %d times, %+v", n, stats)
				}
				_, err = r.conn.SetMonitor(t.Context(), r.ann)
				check(err)
				_, err = r.conn.Monitors(t.Context(), r.ann)
				check(err)
				check(r.conn.RemoveMonitor(t.Context(), r.ann))
				r.SetGone(gmailtest.NotGone)
				if stats, err := r.conn.ReconcileMonitors(t.Context()); err != nil || stats.Created != 2 {
					t.Errorf("when it is back: %+v, %v", stats, err)
				}
			})
		})
	}
}

func TestG61OneUserIsNotAll(t *testing.T) {
	for _, gone := range []gmailtest.Gone{gmailtest.Gone404, gmailtest.GoneHTML, gmailtest.GoneHTML404, gmailtest.GoneNotForUser} {
		t.Run(string(gone), func(t *testing.T) {
			watching(t, nil, nil, func(t *testing.T, r *changeRig) {
				r.SetGoneFor("ann", gone)
				stats, err := r.conn.ReconcileMonitors(t.Context())
				if want := (gmail.MonitorStats{Users: 2, Created: 1, Failed: 1}); stats != want {
					t.Errorf("got %+v, want %+v", stats, want)
				}
				n := 0
				for e := range connection.Errors(err) {
					if e.Ref != (connection.Ref{Mailbox: r.ann}) || errors.Is(e, gmail.ErrMonitorsUnavailable) {
						t.Errorf("got %v, want an error of ann's", e)
					}
					n++
				}
				if n != 1 || len(r.told(connection.EventSkipped)) != 1 {
					t.Errorf("got %d errors, told %d times", n, len(r.told(connection.EventSkipped)))
				}
			})
		})
	}
}

// What concerns everybody ends a pass; it does not fail once for each user.
func TestReconcileStops(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*changeRig)
		kind  connection.Kind
	}{
		"no super administrator": {func(r *changeRig) {
			r.Fail(gmailtest.On("audit"), gmailtest.Status(403, "You are not authorized to access this API"))
		}, connection.ErrPermission},
		"no delegation": {func(r *changeRig) {
			r.Delegate("https://www.googleapis.com/auth/admin.directory.user.readonly")
		}, connection.ErrAuth},
		"unavailable": {func(r *changeRig) { r.Fail(gmailtest.On("audit"), gmailtest.Status(503, "")) }, connection.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Retries = 2 }, func(t *testing.T, r *changeRig) {
				for i := range 50 {
					r.AddUser(gmailtest.User{Email: fmt.Sprintf("user%d@corp.example", i)})
				}
				test.spoil(r)
				_, err := r.conn.ReconcileMonitors(t.Context())
				if !errors.Is(err, test.kind) || r.Calls("audit") > 10 {
					t.Errorf("got %v after %d requests, want %v", err, r.Calls("audit"), test.kind)
				}
			})
		})
	}
	watching(t, nil, nil, func(t *testing.T, r *changeRig) {
		ctx, cancel := context.WithCancel(t.Context())
		r.Fail(gmailtest.On("audit"), gmailtest.Do(func(gmailtest.Request) { cancel() }), gmailtest.Stall())
		if _, err := r.conn.ReconcileMonitors(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want it to be canceled", err)
		}
	})
}

// Google's own limit, which others may have reached, ends a pass too.
func TestGooglesOwnLimit(t *testing.T) {
	watching(t, nil, nil, func(t *testing.T, r *changeRig) {
		for i := range 20 {
			r.AddUser(gmailtest.User{Email: fmt.Sprintf("user%d@corp.example", i)})
		}
		r.SpendMonitorWrites(995)
		stats, err := r.conn.ReconcileMonitors(t.Context())
		if stats.Created != 5 || err == nil || r.MonitorWrites() > 1010 {
			t.Errorf("got %+v, %v after %d writes", stats, err, r.MonitorWrites())
		}
	})
}

// The ends of monitors that are made on one day lie on many.
func TestRenewalsAreSpread(t *testing.T) {
	watching(t, nil, nil, func(t *testing.T, r *changeRig) {
		for i := range 60 {
			r.AddUser(gmailtest.User{Email: fmt.Sprintf("user%d@corp.example", i)})
		}
		if _, err := r.conn.ReconcileMonitors(t.Context()); err != nil {
			t.Fatal(err)
		}
		days := make(map[string]int)
		for _, m := range r.Monitors() {
			days[m.End.Format(time.DateOnly)]++
			if life := time.Until(m.End); life > 365*day || life < 334*day {
				t.Errorf("a monitor ends in %s", life)
			}
		}
		if len(days) < 15 {
			t.Errorf("62 monitors end on %d days", len(days))
		}
	})
}

func TestMonitorsNeedADomain(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	env := srv.Env()
	secret := connection.NewSecret(srv.Token("ann@corp.example"))
	env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) { return secret, nil }
	c := openConn(t, srv, gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true}, func(_ *gmail.Config, e *connection.Env) { *e = *env })
	_, err := c.SetMonitor(t.Context(), "ann@corp.example")
	failedRefs(t, err, connection.ErrConfig)
	_, err = c.Monitors(t.Context(), "ann@corp.example")
	failedRefs(t, err, connection.ErrConfig)
	failedRefs(t, c.RemoveMonitor(t.Context(), "ann@corp.example"), connection.ErrConfig)
	_, err = c.ReconcileMonitors(t.Context())
	failedRefs(t, err, connection.ErrConfig)
}

// Two passes at a time are one after the other: nothing is written twice.
func TestPassesDoNotOverlap(t *testing.T) {
	watching(t, nil, nil, func(t *testing.T, r *changeRig) {
		var passes sync.WaitGroup
		for range 3 {
			passes.Go(func() {
				if _, err := r.conn.ReconcileMonitors(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		passes.Wait()
		if n := r.MonitorWrites(); n != 2 {
			t.Errorf("%d writes, want 2", n)
		}
		// One that waits for its turn ends with its context.
		r.Fail(gmailtest.On("users.list"), gmailtest.Stall())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 {
			passes.Go(func() {
				if _, err := r.conn.ReconcileMonitors(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the end of the context", err)
				}
			})
		}
		passes.Wait()
	})
}

// Test tells what monitors will take, and that there are none any more.
func TestMonitorsProbed(t *testing.T) {
	watching(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Monitors.DailyWrites = 10 }, func(t *testing.T, r *changeRig) {
		for i := range 21 {
			r.AddUser(gmailtest.User{Email: fmt.Sprintf("user%d@corp.example", i)})
		}
		monitors := func() connection.Step {
			report, _ := r.conn.Test(t.Context(), nil)
			for _, s := range report.Steps {
				if s.Name == "monitors" {
					return s
				}
			}
			t.Fatalf("there is no step monitors:\n%s", report)
			return connection.Step{}
		}
		if s := monitors(); s.Status != connection.StatusOK || !strings.Contains(s.Detail, "journal@corp.example") || !strings.Contains(s.Detail, "users: initial set-up takes 3 days") {
			t.Errorf("got %+v", s)
		}
		if _, err := r.conn.SetMonitor(t.Context(), r.ann); err != nil {
			t.Fatal(err)
		}
		if s := monitors(); !strings.Contains(s.Detail, "1 writes of ") {
			t.Errorf("got %+v", s)
		}
		r.SetGone(gmailtest.GoneHTML404)
		if s := monitors(); !errors.Is(s.Err, gmail.ErrMonitorsUnavailable) || !strings.Contains(s.Hint, "Third-party email archiving") {
			t.Errorf("got %+v", s)
		}
		r.SetGone(gmailtest.NotGone)
		r.Suspend("journal@corp.example", true)
		if s := monitors(); !errors.Is(s.Err, connection.ErrConfig) && s.Status != connection.StatusSkipped {
			t.Errorf("got %+v", s)
		}
		if n := r.MonitorWrites(); n != 1 {
			t.Errorf("%d writes: Test is to change nothing", n)
		}
	})
}
