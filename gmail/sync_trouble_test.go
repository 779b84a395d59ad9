package gmail_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// Messages that nobody can read, many in a row, hold up neither those behind them nor what is new.
func TestManyUnreadableMessagesHoldUpNothing(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.Retries = 1 }, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(20)...)
		for _, id := range ids[1:19] {
			r.Fail(gmailtest.On("messages.get").ID(id), gmailtest.Refuse(500, "backendError", "Backend Error"))
		}
		h := newHostCopy()
		has := func(subject string) bool {
			for _, m := range h.messages {
				if strings.Contains(m.raw, "Subject: number "+subject+"\r\n") {
					return true
				}
			}
			return false
		}
		for range 3 {
			if err := h.sync(t, r.conn, ann); err != nil && !strings.Contains(err.Error(), "in a row") {
				t.Fatal(err)
			}
		}
		if !has("0") || !has("19") {
			t.Fatalf("the copy has %d messages, want the two that can be read", len(h.messages))
		}
		for i, raw := range mail(24)[20:] {
			r.Deliver(ann, raw)
			if err := h.sync(t, r.conn, ann); err != nil || !has(fmt.Sprint(20+i)) {
				t.Fatalf("got %v, and no new message, behind those that cannot be read", err)
			}
		}
		r.Heal()
		for range 3 {
			if err := h.sync(t, r.conn, ann); err != nil {
				t.Fatal(err)
			}
		}
		h.wantAll(t, r)
	})
}

// Of those that are tried again those go first that were tried least: each has its turn.
func TestUnreadableMessagesAreTriedInTurn(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.Retries = 1 }, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(30)...)
		for i, id := range ids {
			if i%10 == 5 {
				continue // they are no row
			}
			r.Fail(gmailtest.On("messages.get").ID(id), gmailtest.Refuse(500, "backendError", "Backend Error"))
		}
		h := newHostCopy()
		if err := h.sync(t, r.conn, ann); err != nil {
			t.Fatal(err)
		}
		tried := make(map[string]bool)
		for range 4 {
			r.ResetLog()
			if err := h.sync(t, r.conn, ann); err != nil {
				t.Fatal(err)
			}
			for _, q := range r.Requests() {
				if q.Method == "messages.get" {
					tried[q.ID] = true
				}
			}
		}
		if len(tried) != 27 {
			t.Errorf("%d messages were tried again, want all 27", len(tried))
		}
	})
}

// A change of labels that could not be read is told when it can be.
func TestLabelsThatCouldNotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		folders  []string
		add, del string // labels
		want     string
	}{
		"to the trash":    {nil, "TRASH", "INBOX", "updated 0"},
		"from the folder": {[]string{"INBOX"}, "STARRED", "INBOX", "removed 0"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(c *gmail.Config) { c.Retries = 1 }, func(t *testing.T, r *syncRig) {
				ids := r.Deliver(ann, mail(1)...)
				h := newHostCopy()
				sync := func() {
					t.Helper()
					opts := h.options(ann)
					opts.Folders = c.folders
					if err := h.until(t, r.conn, opts, func(*connection.Change) bool { return true }); err != nil {
						t.Fatal(err)
					}
				}
				sync()
				r.SetLabels(ann, ids[0], []string{c.add}, []string{c.del})
				r.Fail(gmailtest.On("messages.get"), gmailtest.Refuse(500, "backendError", "Backend Error"))
				sync()
				if len(h.failed) == 0 {
					t.Fatal("the labels were read")
				}
				r.Heal()
				sync()
				h.wantOps(t, c.want)
				sync()
				h.wantOps(t)
			})
		})
	}
}

// A long history is read in parts; all pages are asked for by the id that the first was, as their tokens belong to it.
func TestG50OneStartForAllPages(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 250 }, func(t *testing.T, r *syncRig) {
		h := newHostCopy()
		h.mustSync(t, r)
		r.Deliver(ann, mail(760)...)
		r.ResetLog()
		h.mustSync(t, r)
		if len(h.messages) != 760 {
			t.Errorf("the copy has %d messages, want 760", len(h.messages))
		}
		pages := 0
		for _, q := range r.Requests() {
			if q.Method != "history.list" {
				continue
			}
			if pages++; q.Status != 200 {
				t.Errorf("a page of the history was refused: %d %s", q.Status, q.Reason)
			}
		}
		if pages != 4 {
			t.Errorf("%d pages were asked for, want 4", pages)
		}
	})
}

// Whatever becomes of the pages while labels are compared, no message is taken out of a folder that it is in.
func TestReconcilingKeepsWhatIsThere(t *testing.T) {
	for name, mishap := range map[string]func(r *syncRig, newest string){
		"tokens expire": func(r *syncRig, _ string) { r.ExpirePageTokens(ann) },
		"pages shift":   func(r *syncRig, newest string) { r.Remove(ann, newest) },
	} {
		t.Run(name, func(t *testing.T) {
			opts := &gmailtest.Options{Mail: gmailtest.MailOptions{OffsetPages: true}}
			inBubble(t, opts, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
				work := r.AddLabel(ann, "Work")
				ids := r.Deliver(ann, mail(5)...)
				for _, id := range ids {
					r.SetLabels(ann, id, []string{work}, nil)
				}
				h := newHostCopy()
				h.lends = true
				sync := func() {
					t.Helper()
					o := h.options(ann)
					o.Folders = []string{"Work"}
					if err := h.until(t, r.conn, o, func(*connection.Change) bool { return true }); err != nil {
						t.Fatal(err)
					}
				}
				sync()
				r.ExpireHistory(ann)
				r.SetLabels(ann, r.Deliver(ann, mail(6)[5])[0], []string{"STARRED"}, nil)
				done := false
				r.Fail(gmailtest.On("messages.list"), gmailtest.Do(func(q gmailtest.Request) {
					survey := strings.Contains(q.Query, "includeSpamTrash=true") && strings.Contains(q.Query, "labelIds="+work)
					if !done && survey && strings.Contains(q.Query, "pageToken") {
						done = true
						mishap(r, ids[4])
					}
				}))
				sync()
				if !done {
					t.Fatal("nothing happened")
				}
				there := make(map[string]bool)
				for _, m := range r.Messages(ann) {
					there[m.ID] = slices.Contains(m.Labels, work)
				}
				for _, id := range ids {
					if m, has := h.messages[connection.Ref{Mailbox: r.id, ID: id}]; has != there[id] || has && !slices.Contains(m.labels, "Work") {
						t.Errorf("the copy has %s: %t, with labels %q; want %t", id, has, m.labels, there[id])
					}
				}
			})
		})
	}
}

// A server that names no messages, and says that there are some, does not empty the copy.
func TestReconcilingWithAnEmptyList(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(3)...)
		h := newHostCopy()
		h.lends = true
		h.mustSync(t, r)
		r.ExpireHistory(ann)
		r.Deliver(ann, mail(4)[3])
		r.Fail(gmailtest.On("messages.list"), gmailtest.Status(200, "{}"))
		if err := h.sync(t, r.conn, ann); connection.KindOf(err) != connection.ErrProtocol || len(h.messages) != 3 {
			t.Errorf("got %v, and %d messages are left of 3", err, len(h.messages))
		}
		r.Heal()
		h.mustSync(t, r)
		h.wantAll(t, r)
	})
}

// A server that does not know the query is asked without it also when a listing goes on.
func TestResumeAtAServerWithoutOperators(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(5)...)
		nothing := gmailtest.Status(200, "{}") // is what it says of the query
		r.Fail(gmailtest.On("messages.list").Times(1), nothing)
		h := newHostCopy()
		stored := func(*connection.Change) bool { return len(h.messages) < 3 }
		if err := h.until(t, r.conn, h.options(ann), stored); err != nil || len(h.messages) != 3 {
			t.Fatalf("got %v and %d messages, want 3", err, len(h.messages))
		}
		r.Fail(gmailtest.On("messages.list").Times(2), nothing)
		h.mustSync(t, r)
		h.wantAll(t, r)
	})
}

// The folders asked for are names. A label that gets such a name brings its messages along, of which the history says nothing.
func TestSyncOfFoldersThatAreRenamed(t *testing.T) {
	folders := func(h *hostCopy) *connection.SyncOptions {
		o := h.options(ann)
		o.Folders = []string{"Work"}
		return o
	}
	all := func(*connection.Change) bool { return true }
	t.Run("followed", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			work, other := r.AddLabel(ann, "Work"), r.AddLabel(ann, "Other")
			ids := r.Deliver(ann, mail(3)...)
			r.SetLabels(ann, ids[0], []string{work}, nil)
			r.SetLabels(ann, ids[1], []string{other}, nil)
			h := newHostCopy()
			h.lends = true
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			h.wantOps(t, "added 0")
			r.RenameLabel(ann, work, "Former")
			r.RenameLabel(ann, other, "Work")
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(h.ops, "added 1") {
				t.Errorf("sync told %q, want the message of the label that is called Work now", h.ops)
			}
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			h.wantOps(t)
		})
	})
	t.Run("without Known", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			other := r.AddLabel(ann, "Other")
			r.SetLabels(ann, r.Deliver(ann, mail(1)...)[0], []string{other}, nil)
			h := newHostCopy()
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			r.RenameLabel(ann, other, "Work")
			if err := h.until(t, r.conn, folders(h), all); connection.KindOf(err) != connection.ErrStale {
				t.Errorf("got %v, want %v", err, connection.ErrStale)
			}
		})
	})
	t.Run("made anew", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			ids := r.Deliver(ann, mail(1)...)
			h := newHostCopy()
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			r.SetLabels(ann, ids[0], []string{r.AddLabel(ann, "Work")}, nil)
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			h.wantOps(t, "added 0")
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 1 }, func(t *testing.T, r *syncRig) {
			work, other := r.AddLabel(ann, "Work"), r.AddLabel(ann, "Other")
			ids := r.Deliver(ann, mail(6)...)
			for i, id := range ids {
				r.SetLabels(ann, id, []string{[]string{work, other}[i%2]}, nil)
			}
			h := newHostCopy()
			if err := h.until(t, r.conn, folders(h), func(*connection.Change) bool { return len(h.messages) < 2 }); err != nil {
				t.Fatal(err)
			}
			r.RenameLabel(ann, work, "Former")
			r.RenameLabel(ann, other, "Work")
			if err := h.until(t, r.conn, folders(h), all); err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{"1", "3", "5"} {
				if !slices.Contains(h.ops, "added "+n) {
					t.Errorf("sync told %q, want all messages of the label that is called Work now", h.ops)
				}
			}
		})
	})
}

// What could not be read is not forgotten when the mailbox itself has trouble while it is tried again.
func TestFetchFollowForgetsNothing(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.Parallel = 1 }, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(4)...)
		for _, id := range ids {
			r.Trouble(ann, id, gmailtest.Trouble{Spoiled: true})
		}
		got, failures := make(map[string]bool), 0
		ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
		defer cancel()
		for m, err := range r.conn.Fetch(ctx, &connection.FetchOptions{Mailbox: ann, Follow: true}) {
			if ctx.Err() != nil {
				t.Fatalf("%d of %d messages came", len(got), len(ids))
			}
			if err != nil {
				if failures++; failures == len(ids) {
					for _, id := range ids {
						r.Trouble(ann, id, gmailtest.Trouble{})
					}
					r.Fail(gmailtest.On("messages.get").Times(1), gmailtest.RetryAfter(time.Now().Add(10*time.Minute)), gmailtest.Do(func(gmailtest.Request) {
						r.Fail(gmailtest.On("messages.get").Nth(2).Times(1), gmailtest.RetryAfter(time.Now().Add(30*time.Minute)))
					}))
				}
				continue
			}
			if got[m.Ref.ID] = true; len(got) == len(ids) {
				break
			}
		}
	})
}

// That the server forgets its page tokens does not end the following.
func TestFetchFollowPageTokenExpired(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 1 }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(1)...)
		n := 0
		for _, err := range r.conn.Fetch(t.Context(), &connection.FetchOptions{Mailbox: ann, Follow: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				r.Fail(gmailtest.On("getProfile").Times(1), gmailtest.Do(func(gmailtest.Request) { r.Deliver(ann, mail(4)[1:]...) }))
				r.Fail(gmailtest.On("history.list").Nth(2).Times(1), gmailtest.Do(func(gmailtest.Request) { r.ExpirePageTokens(ann) }))
			}
			if n == 4 {
				break
			}
		}
	})
}
