package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const ben = "ben@corp.example"

// staff adds users with so many messages each, besides ann, and returns their addresses, hers first.
func staff(r *syncRig, users, messages int) []string {
	names := []string{ann}
	for i := 1; i < users; i++ {
		name := fmt.Sprintf("user%d@corp.example", i)
		r.AddUser(gmailtest.User{Email: name})
		names = append(names, name)
	}
	for _, name := range names {
		r.Deliver(name, mail(messages)...)
	}
	return names
}

// readAll syncs mailboxes at the same time, each until it has all its messages. Errors that pass are waited for as Mirror does.
func readAll(t *testing.T, r *syncRig, mailboxes []string, want int) {
	t.Helper()
	var wg sync.WaitGroup
	for _, name := range mailboxes {
		wg.Go(func() {
			h := newHostCopy()
			for range 20 {
				err := h.sync(t, r.conn, name)
				switch {
				case err == nil && len(h.failed) == 0:
					if len(h.messages) != want {
						t.Errorf("%s: %d messages, want %d", name, len(h.messages), want)
					}
					return
				case err != nil && !connection.Temporary(err):
					t.Errorf("%s: %v", name, err)
					return
				}
				<-time.After(connection.RetryAfter(err) + time.Second)
			}
			t.Errorf("%s: not read after 20 syncs: %v", name, h.failed)
		})
	}
	wg.Wait()
}

// The units that the server charges are those that Usage tells, no span of a minute has more of them than Google grants to
// a user, and the server refuses nothing.
func TestQuotaPromise(t *testing.T) {
	for _, test := range []struct {
		profile         string
		users, messages int
		perUser         int64
		least, most     time.Duration
	}{
		{gmail.Quota2026, 2, 350, 6000, 60 * time.Second, 75 * time.Second}, // 7,000 units each, of which 1,000 at once
		{gmail.QuotaLegacy, 1, 600, 15000, 2 * time.Second, 5 * time.Second},
	} {
		t.Run(test.profile, func(t *testing.T) {
			opts := gmailtest.Options{Quota: gmailtest.Quota{
				Legacy: test.profile == gmail.QuotaLegacy, PerUser: test.perUser, Project: 1_200_000, Daily: 80_000_000,
			}}
			inBubble(t, &opts, func(c *gmail.Config) { c.QuotaProfile = test.profile }, func(t *testing.T, r *syncRig) {
				names := staff(r, test.users, test.messages)
				began := time.Now()
				readAll(t, r, names, test.messages)
				if got := time.Since(began); got < test.least || got > test.most {
					t.Errorf("it took %v, want %v to %v", got, test.least, test.most)
				}
				if got := r.Refusals(); got != 0 {
					t.Errorf("%d requests were refused", got)
				}
				for _, name := range names {
					if got := r.MostUnits(name, time.Minute); got > test.perUser {
						t.Errorf("%s: %d units in a minute, want at most %d", name, got, test.perUser)
					}
				}
				use := r.conn.Usage()
				if spent := r.Units(""); use.Day != spent || int64(test.users*test.messages) > spent {
					t.Errorf("usage is %d units, the server says %d", use.Day, spent)
				}
				for _, q := range r.Requests() {
					if strings.HasPrefix(q.Path, "/gmail/") && q.QuotaUser != q.UserID {
						t.Fatalf("%s for %s has quotaUser %q", q.Method, q.UserID, q.QuotaUser)
					}
				}
				for id, units := range r.UnitsByUser() {
					if use.Users[id] != units {
						t.Errorf("usage of %s is %d, the server says %d", id, use.Users[id], units)
					}
				}
			})
		})
	}
}

func TestG06DailyLimit(t *testing.T) {
	opts := gmailtest.Options{Quota: gmailtest.Quota{Daily: 400}}
	inBubble(t, &opts, func(c *gmail.Config) { c.PageSize = 5 }, func(t *testing.T, r *syncRig) {
		staff(r, 2, 30)
		<-time.After(9 * time.Hour) // 1 o'clock in California
		h := newHostCopy()
		err := h.sync(t, r.conn, ann)
		again := time.Now().Add(connection.RetryAfter(err)).UTC()
		if !errors.Is(err, gmail.ErrQuotaDaily) || !errors.Is(err, connection.ErrQuota) || again.Hour() != 8 || again.Minute() != 0 {
			t.Fatalf("got %v, to come again at %v; want %v until midnight in California", err, again, gmail.ErrQuotaDaily)
		}
		r.ResetLog()
		for _, name := range []string{ann, "user1@corp.example"} {
			if err := newHostCopy().sync(t, r.conn, name); !errors.Is(err, gmail.ErrQuotaDaily) {
				t.Errorf("%s: got %v, want %v", name, err, gmail.ErrQuotaDaily)
			}
		}
		if n := r.Calls("messages.get") + r.Calls("getProfile"); n != 0 || !r.conn.Usage().Stopped {
			t.Errorf("%d requests although the day is over", n)
		}
		for range 3 {
			<-time.After(connection.RetryAfter(err))
			if err = h.sync(t, r.conn, ann); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("the next days: %v", err)
		}
		h.wantAll(t, r)
	})
}

// A first sync leaves off at the budget, what is new is read beyond it, and a program that starts again remembers.
func TestG06DailyBudget(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.DailyBudget = 400 }, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(10)...)
		<-time.After(9 * time.Hour)
		state := &memoryState{}
		open := func() *gmail.Conn {
			c, err := gmail.New(r.cfg, r.env, &gmail.Options{State: state})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		c, h := open(), newHostCopy()
		if err := h.sync(t, c, ann); err != nil {
			t.Fatal(err)
		}
		r.AddUser(gmailtest.User{Email: ben})
		r.Deliver(ben, mail(20)...)
		if err := newHostCopy().sync(t, c, ben); !errors.Is(err, gmail.ErrQuotaDaily) || !strings.Contains(err.Error(), "daily_budget") {
			t.Errorf("got %v, want %v that names daily_budget", err, gmail.ErrQuotaDaily)
		}
		// What was under way when the budget ended was given up, perhaps before the server heard of it.
		if got := c.Usage().Day; got > 400 || got < 380 || got < r.Units("") {
			t.Errorf("%d units were spent, want up to 400; the server says %d", got, r.Units(""))
		}
		r.SetLabels(ann, ids[0], []string{"STARRED"}, nil)
		if err := h.sync(t, c, ann); err != nil {
			t.Errorf("what is new: %v", err)
		}
		h.wantAll(t, r)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := newHostCopy().sync(t, open(), ben); !errors.Is(err, gmail.ErrQuotaDaily) {
			t.Errorf("a program that starts again: got %v, want %v", err, gmail.ErrQuotaDaily)
		}
		<-time.After(24 * time.Hour)
		if err := newHostCopy().sync(t, open(), ben); err != nil && !errors.Is(err, gmail.ErrQuotaDaily) {
			t.Errorf("the next day: %v", err)
		}
	})
}

// A project that has less than the settings say is found out by its refusals, and everything is read nevertheless.
func TestG07LowerTheProfile(t *testing.T) {
	for _, test := range []struct {
		refusal gmailtest.Refusal
		lowered bool // the refusal says that it is about units
	}{{gmailtest.RefuseUser, true}, {gmailtest.RefuseMetric, true}, {gmailtest.RefuseUntil, false}, {gmailtest.RefuseHeader, false}} {
		t.Run("refusal "+string(test.refusal), func(t *testing.T) {
			opts := gmailtest.Options{Quota: gmailtest.Quota{PerUser: 6000, Refusal: test.refusal}}
			inBubble(t, &opts, func(c *gmail.Config) { c.QuotaProfile = gmail.QuotaLegacy }, func(t *testing.T, r *syncRig) {
				const messages = 350
				names := staff(r, 1, messages)
				readAll(t, r, names, messages)
				use := r.conn.Usage()
				if (use.Profile == gmail.Quota2026) != test.lowered {
					t.Errorf("the profile is %s", use.Profile)
				}
				if got := r.Refusals(); got == 0 || got > 40 {
					t.Errorf("%d refusals, want a few", got)
				}
				if got := len(r.told(connection.EventQuirk)); test.lowered && got != 1 {
					t.Errorf("%d events say that the profile was lowered, want 1", got)
				}
				if len(r.told(connection.EventThrottled)) == 0 {
					t.Error("no event tells of a pause")
				}
			})
		})
	}
	t.Run("quotaExceeded", func(t *testing.T) {
		inBubble(t, nil, func(c *gmail.Config) { c.QuotaProfile = gmail.QuotaLegacy }, func(t *testing.T, r *syncRig) {
			r.Fail(gmailtest.On("messages.get").Times(1), gmailtest.Refuse(403, "quotaExceeded", "Quota exceeded"))
			readAll(t, r, staff(r, 1, 5), 5)
			if got := r.conn.Usage().Profile; got != gmail.Quota2026 {
				t.Errorf("the profile is %s", got)
			}
		})
	})
}

// underWay returns how many requests for messages were under way at once at most in a part of the log, each taking d.
func underWay(log []gmailtest.Request, d time.Duration) int {
	var at []time.Time
	for _, q := range log {
		if q.Method == "messages.get" {
			at = append(at, q.At)
		}
	}
	most := 0
	for i := range at {
		n := 0
		for j := i; j >= 0 && at[i].Sub(at[j]) < d; j-- {
			n++
		}
		most = max(most, n)
	}
	return most
}

func TestG08Concurrency(t *testing.T) {
	const each = 500 * time.Millisecond
	for _, message := range []string{"Too many concurrent requests for user.", "Too many concurrent requests for user.  Retry after "} {
		inBubble(t, nil, func(c *gmail.Config) { c.Parallel = 8 }, func(t *testing.T, r *syncRig) {
			wait := 1 * time.Second
			if strings.HasSuffix(message, "after ") {
				wait = 45 * time.Second
				message += time.Now().Add(wait).UTC().Format("2006-01-02T15:04:05.000Z")
			}
			r.Fail(gmailtest.On("messages.get").Times(8), gmailtest.Delay(each), gmailtest.Refuse(429, "rateLimitExceeded", message))
			r.Fail(gmailtest.On("messages.get"), gmailtest.Delay(each))
			readAll(t, r, staff(r, 1, 40), 40)
			log := r.Requests()
			last := 0
			for i, q := range log {
				if q.Status == 429 {
					last = i
				}
			}
			if before, behind := underWay(log[:last+1], each), underWay(log[last+1:min(last+20, len(log))], each); before < 6 || behind > before/2 || behind < 2 {
				t.Errorf("%d requests at once before the refusal, %d afterwards; want half", before, behind)
			}
			if next := log[last+1].At.Sub(log[last].At); next < wait {
				t.Errorf("the next request came after %v, want %v", next, wait)
			}
		})
	}
}

// A limit of hours holds its mailbox, and no other.
func TestG09MailboxForHours(t *testing.T) { pausedFor(t, 3*time.Hour) }

// TestG55RetryAfter: "Retry after" a quarter of an hour ahead.
func TestG55RetryAfter(t *testing.T) { pausedFor(t, 15*time.Minute) }

func pausedFor(t *testing.T, d time.Duration) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.AddUser(gmailtest.User{Email: ben})
		r.Deliver(ann, mail(30)...)
		r.Deliver(ben, mail(30)...)
		began := time.Now()
		r.Fail(gmailtest.On("messages.get").User(ann).Nth(10).Times(1), gmailtest.RetryAfter(began.Add(d)))
		cps, sink := newCheckpoints(), &counting{seen: make(map[connection.Ref]time.Time)}
		stats, err := connection.Mirror(t.Context(), r.conn, sink, cps, &connection.MirrorOptions{Workers: 2})
		if err != nil || stats.Added != 60 || stats.Mailboxes != 2 {
			t.Fatalf("got %+v, %v", stats, err)
		}
		for ref, at := range sink.seen {
			if ref.Mailbox != r.id && at.Sub(began) > time.Minute {
				t.Fatalf("ben's %v came after %v", ref, at.Sub(began))
			}
		}
		quiet := 0
		for _, q := range r.Requests() {
			if q.User == ann && q.At.After(began.Add(10*time.Second)) && q.At.Before(began.Add(d)) {
				quiet++
			}
		}
		if quiet > 0 {
			t.Errorf("ann's mailbox was asked %d times in the pause", quiet)
		}
		if at := sink.last(); at.Sub(began) < d {
			t.Errorf("all was read after %v, want more than %v", at.Sub(began), d)
		}
	})
}

// counting is a sink that notes when each message came.
type counting struct {
	mu   sync.Mutex
	seen map[connection.Ref]time.Time
}

func (s *counting) Store(_ context.Context, _ string, c *connection.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Op == connection.Added {
		if _, known := s.seen[c.Ref]; !known {
			s.seen[c.Ref] = time.Now()
		}
	}
	return nil
}

func (s *counting) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make([]bool, len(refs))
	for i, ref := range refs {
		_, known[i] = s.seen[ref]
	}
	return known, nil
}

func (s *counting) last() (last time.Time) {
	for _, at := range s.seen {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// A checkpoints is a store in memory.
type checkpoints struct {
	mu  sync.Mutex
	all map[string]connection.Checkpoint
}

func newCheckpoints() *checkpoints { return &checkpoints{all: make(map[string]connection.Checkpoint)} }

func (s *checkpoints) Load(_ context.Context, mailbox string) (connection.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[mailbox], nil
}

func (s *checkpoints) Save(_ context.Context, mailbox string, old, now connection.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[mailbox] != old {
		return connection.ErrChanged
	}
	s.all[mailbox] = now
	return nil
}

// refusedOnce lets ann's mailbox answer with a refusal that is for good, and checks that it is told as such without being
// repeated, and that ben's mailbox is read.
func refusedOnce(t *testing.T, fault gmailtest.Fault, check func(t *testing.T, e *connection.Error)) {
	t.Helper()
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.AddUser(gmailtest.User{Email: ben})
		r.Deliver(ann, mail(2)...)
		r.Deliver(ben, mail(2)...)
		r.Fail(gmailtest.On("getProfile").User(ann), fault)
		began := time.Now()
		err := newHostCopy().sync(t, r.conn, ann)
		var e *connection.Error
		if !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		if e.Driver != "gmail" || e.Op != "sync" || connection.Temporary(err) {
			t.Errorf("got driver %q, op %q, temporary %v: %v", e.Driver, e.Op, connection.Temporary(err), err)
		}
		if n := r.Calls("getProfile", ann); n != 1 || time.Since(began) > 0 {
			t.Errorf("asked %d times in %v, want once", n, time.Since(began))
		}
		check(t, e)
		readAll(t, r, []string{ben}, 2)
	})
}

func TestG10Policy(t *testing.T) {
	refusedOnce(t, gmailtest.Policy(), func(t *testing.T, e *connection.Error) {
		if !errors.Is(e, gmail.ErrPolicy) || e.Kind != connection.ErrPermission || e.Code != "domainPolicy" {
			t.Errorf("got %v, want %v", e, gmail.ErrPolicy)
		}
	})
}

func TestG11ServiceDisabled(t *testing.T) {
	const page = "https://console.developers.google.com/apis/api/gmail.googleapis.com/overview?project=123456789012"
	refusedOnce(t, gmailtest.Disabled("gmail.googleapis.com", page), func(t *testing.T, e *connection.Error) {
		if e.Kind != connection.ErrPermission || !strings.Contains(e.Hint, page) {
			t.Errorf("got %v, want %v with a hint that leads to %s", e, connection.ErrPermission, page)
		}
	})
}

func TestG12MissingScope(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(1)...)
		r.cfg, r.env.Token = r.HookConfig(), func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(r.Token(ann, "https://www.googleapis.com/auth/gmail.labels")), nil
		}
		err := newHostCopy().sync(t, r.open(t), "")
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrPermission || !strings.Contains(e.Hint, "https://www.googleapis.com/auth/gmail.readonly") {
			t.Errorf("got %v, want %v that names the scope", err, connection.ErrPermission)
		}
		if n := r.Calls("getProfile"); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

func TestG13DelegationDenied(t *testing.T) {
	refusedOnce(t, gmailtest.Refuse(403, "forbidden", "Delegation denied for "+ann), func(t *testing.T, e *connection.Error) {
		if e.Kind != connection.ErrConfig || !strings.Contains(e.Error(), "Delegation denied") {
			t.Errorf("got %v, want %v", e, connection.ErrConfig)
		}
	})
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) { // and with "me" nobody says so
		r.Deliver(ann, mail(2)...)
		newHostCopy().mustSync(t, r)
		for _, q := range r.Requests() {
			if strings.HasPrefix(q.Path, "/gmail/") && !strings.HasPrefix(q.Path, "/gmail/v1/users/me/") {
				t.Errorf("%s %s names a user", q.Verb, q.Path)
			}
		}
	})
}

// A mailbox that is switched off is passed over; what is known of it stays good.
func TestG14MailServiceNotEnabled(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(3)...)
		h := newHostCopy()
		h.mustSync(t, r)
		r.Disable(ann)
		r.ResetLog()
		err := h.sync(t, r.conn, ann)
		if !errors.Is(err, gmail.ErrNoMailbox) || !errors.Is(err, connection.ErrNotFound) || connection.Temporary(err) || len(h.ops) > 0 {
			t.Errorf("got %v and %q, want %v", err, h.ops, gmail.ErrNoMailbox)
		}
		if n := r.Calls("getProfile", ann); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		<-time.After(24 * time.Hour)
		r.Enable(ann)
		r.Deliver(ann, mail(4)[3])
		r.ResetLog()
		h.mustSync(t, r)
		h.wantOps(t, "added 3")
		h.wantAll(t, r)
		if all, _ := r.reads(); all != 1 {
			t.Errorf("%d messages were read, want the new one", all)
		}
	})
}

func TestG15PreconditionCheckFailed(t *testing.T) {
	failed := gmailtest.Refuse(400, "failedPrecondition", "Precondition check failed.")
	t.Run("passes", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			r.Fail(gmailtest.On("messages.get").Times(2), failed)
			readAll(t, r, staff(r, 1, 3), 3)
		})
	})
	t.Run("one message", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			ids := r.Deliver(ann, mail(3)...)
			r.Fail(gmailtest.On("messages.get").ID(ids[1]), failed)
			h := newHostCopy()
			if err := h.sync(t, r.conn, ann); err != nil {
				t.Fatal(err)
			}
			h.wantOps(t, "added 0", "added 2")
			for _, err := range h.failed {
				var e *connection.Error
				if !errors.As(err, &e) || e.Ref.ID != ids[1] {
					t.Errorf("got %v, want errors of %s alone", err, ids[1])
				}
			}
			tries := 0
			for _, q := range r.Requests() {
				if q.Method == "messages.get" && q.ID == ids[1] {
					tries++
				}
			}
			if len(h.failed) == 0 || tries != 3*len(h.failed) {
				t.Errorf("asked %d times for %d errors, want 3 for each", tries, len(h.failed))
			}
			r.Heal()
			h.mustSync(t, r)
			h.wantOps(t, "added 1")
			h.wantAll(t, r)
		})
	})
	t.Run("without a subject", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			r.Fail(gmailtest.On("getProfile"), failed)
			r.cfg, r.env.Token = r.HookConfig(), func(context.Context, connection.TokenRequest) (connection.Secret, error) {
				return connection.NewSecret(r.Token(ann)), nil
			}
			if err := newHostCopy().sync(t, r.open(t), ""); !errors.Is(err, connection.ErrConfig) {
				t.Errorf("got %v, want %v", err, connection.ErrConfig)
			}
			if n := r.Calls("getProfile"); n > 3 {
				t.Errorf("asked %d times, want 3 at most", n)
			}
		})
	})
}

func TestG45ForeignBody(t *testing.T) {
	for _, body := range []string{`{"message":"go away"}`, `{"error":null}`, `{"error":7}`, `[]`, `{}`, ``, `no`} {
		refusedOnce(t, gmailtest.Status(403, body), func(t *testing.T, e *connection.Error) {
			if e.Kind != connection.ErrPermission || e.Code != "403" {
				t.Errorf("%q: got %v, want %v", body, e, connection.ErrPermission)
			}
		})
	}
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Fail(gmailtest.On("messages.get").Times(2), gmailtest.Status(403, `{"message":"API rate limit exceeded for 10.0.0.1"}`))
		readAll(t, r, staff(r, 1, 3), 3)
	})
}

// A mailbox that a server does not grant is that mailbox's error, whether it says 403 or 404.
func TestG46ForeignUser(t *testing.T) {
	refusedOnce(t, gmailtest.Refuse(404, "notFound", "Requested entity was not found."), func(t *testing.T, e *connection.Error) {
		if e.Kind == connection.ErrUnknown || !strings.Contains(e.Error(), "getProfile") {
			t.Errorf("got %v, want an error that names getProfile", e)
		}
	})
	for _, odd := range []bool{false, true} {
		inBubble(t, &gmailtest.Options{ForeignNotFound: odd}, nil, func(t *testing.T, r *syncRig) {
			r.AddUser(gmailtest.User{Email: ben})
			r.Deliver(ben, mail(2)...)
			err := newHostCopy().sync(t, r.conn, "nobody@corp.example")
			if !errors.Is(err, connection.ErrNotFound) || !strings.Contains(err.Error(), "nobody@corp.example") {
				t.Errorf("got %v, want %v that names the mailbox", err, connection.ErrNotFound)
			}
			readAll(t, r, []string{ben}, 2)
		})
	}
}

// When all users are charged as one, they share one user's units from then on; that is told once, and all is read.
func TestG54QuotaUserIgnored(t *testing.T) {
	opts := gmailtest.Options{Quota: gmailtest.Quota{PerUser: 6000, IgnoreQuotaUser: true, Refusal: gmailtest.RefuseMetric}}
	inBubble(t, &opts, nil, func(t *testing.T, r *syncRig) {
		const users, messages = 8, 60 // 9,600 units
		names := staff(r, users, messages)
		began := time.Now()
		readAll(t, r, names, messages)
		if !r.conn.Usage().Collapsed {
			t.Error("users are still charged apart")
		}
		if got := r.told(connection.EventQuirk); len(got) != 1 || !strings.Contains(got[0].Detail, "quotaUser") {
			t.Errorf("got events %v, want one that names quotaUser", got)
		}
		refused := slices.DeleteFunc(r.Requests(), func(q gmailtest.Request) bool { return q.Status != 403 })
		if len(refused) == 0 || len(refused) > 200 {
			t.Errorf("%d requests were refused, want some", len(refused))
		}
		for _, q := range refused {
			if q.At.Sub(began) > 2*time.Minute {
				t.Errorf("refused after %v, when the users shared one budget already", q.At.Sub(began))
				break
			}
		}
		t.Logf("%d refusals, the last one after %v; all was read after %v", len(refused), refused[len(refused)-1].At.Sub(began), time.Since(began))
	})
}
