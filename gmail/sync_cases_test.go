package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// gapRig is a mailbox of which a host has a copy, and whose history is lost after some changes.
func gapRig(t *testing.T, r *syncRig) *hostCopy {
	t.Helper()
	work := r.AddLabel(ann, "Work")
	ids := r.Deliver(ann, mail(6)...)
	h := newHostCopy()
	h.mustSync(t, r)
	r.SetLabels(ann, ids[0], []string{work}, []string{"INBOX", "UNREAD"})
	r.SetLabels(ann, ids[1], []string{"TRASH"}, []string{"INBOX"})
	r.Remove(ann, ids[2], ids[3])
	r.Deliver(ann, mail(8)[6:]...)
	r.ExpireHistory(ann)
	r.ResetLog()
	return h
}

func TestG01HistoryExpired(t *testing.T) {
	t.Run("without Known", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			h := gapRig(t, r)
			if err := h.sync(t, r.conn, ann); !errors.Is(err, connection.ErrStale) || len(h.ops) > 0 {
				t.Errorf("got %v after %q, want %v before anything else", err, h.ops, connection.ErrStale)
			}
			if all, _ := r.reads(); all > 0 {
				t.Errorf("%d messages were read", all)
			}
		})
	})
	t.Run("with Known", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			h := gapRig(t, r)
			h.lends = true
			from := h.checkpoint
			h.mustSync(t, r)
			h.wantOps(t, "updated 0", "updated 1", "removed 2", "removed 3", "updated 4", "updated 5", "added 6", "added 7")
			h.wantAll(t, r)
			if all, _ := r.reads(); all != 2 {
				t.Errorf("%d messages were read, want only the 2 that the host does not have", all)
			}
			if events := r.told(connection.EventRestarted); len(events) != 1 || !strings.Contains(events[0].Detail, "gap") || !errors.Is(events[0].Err, connection.ErrStale) {
				t.Errorf("got events %v, want one of a gap in the history", events)
			}
			if h.checkpoint == from {
				t.Error("no Checkpoint follows")
			}
			r.Deliver(ann, mail(9)[8])
			h.mustSync(t, r)
			h.wantOps(t, "added 8")
		})
	})
	t.Run("twice within an hour", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			h := gapRig(t, r)
			h.lends = true
			h.mustSync(t, r)
			r.Deliver(ann, mail(9)[8])
			r.ExpireHistory(ann)
			err := h.sync(t, r.conn, ann)
			if !errors.Is(err, connection.ErrUnavailable) || connection.RetryAfter(err) > 15*time.Minute || connection.RetryAfter(err) < 14*time.Minute {
				t.Fatalf("got %v, want %v for 15 minutes", err, connection.ErrUnavailable)
			}
			<-time.After(connection.RetryAfter(err))
			h.mustSync(t, r)
			h.wantAll(t, r)
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
			h := gapRig(t, r)
			h.lends = true
			n := 0
			if err := h.until(t, r.conn, h.options(ann), func(*connection.Change) bool { n++; return n < 3 }); err != nil {
				t.Fatal(err)
			}
			h.mustSync(t, r)
			h.wantAll(t, r)
			if all, _ := r.reads(); all > 4 {
				t.Errorf("%d messages were read, want the 2 that the host does not have, and not again those that it has", all)
			}
		})
	})
}

func TestG02GoneBeforeItIsRead(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(3)...)
		r.Vanish(ann, ids[1])
		h := newHostCopy()
		h.mustSync(t, r)
		h.ops = slices.Compact(slices.Sorted(slices.Values(h.ops))) // the history tells of it again
		h.wantOps(t, "added 0", "removed ?", "added 2")
		ids = r.Deliver(ann, mail(5)[3:]...)
		r.Vanish(ann, ids[0])
		h.mustSync(t, r)
		h.wantOps(t, "removed ?", "added 4")
		h.wantAll(t, r)
	})
}

// A gateway that says 404 for Google is not to be believed: the archive would drop what is still there.
func TestG02NotFoundByAGateway(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(1)...)
		r.Fail(gmailtest.On("*"), gmailtest.Status(404, "<html>not here</html>"))
		h := newHostCopy()
		if err := h.sync(t, r.conn, ann); err == nil || slices.ContainsFunc(h.ops, func(op string) bool { return strings.HasPrefix(op, "removed") }) {
			t.Errorf("got %v and %q, want an error", err, h.ops)
		}
	})
}

func TestG04LabelsRenamedAndRemoved(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		work, home := r.AddLabel(ann, "Work"), r.AddLabel(ann, "Home")
		ids := r.Deliver(ann, mail(2)...)
		r.SetLabels(ann, ids[0], []string{work}, nil)
		r.SetLabels(ann, ids[1], []string{home}, []string{"INBOX", "UNREAD"})
		h := newHostCopy()
		h.mustSync(t, r)
		r.RenameLabel(ann, work, "Work/2026")
		r.RemoveLabel(ann, home)
		r.AddLabel(ann, "New")
		r.ResetLog()
		h.mustSync(t, r)
		if want := []string{"folder removed Home", "folder renamed Work/2026", "folder added New"}; !slices.Equal(h.ops, want) {
			t.Errorf("sync told %q, want %q", h.ops, want)
		}
		h.wantAll(t, r)
		if all, _ := r.reads(); all > 0 {
			t.Errorf("%d messages were read again", all)
		}
	})
}

func TestG05NoRaw(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.IncludeChat = true }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(1)...)
		id := r.DeliverWith(ann, mail(2)[1], gmailtest.Delivery{Labels: []string{"CHAT"}, Trouble: gmailtest.Trouble{NoRaw: -1}})
		once := r.DeliverWith(ann, mail(3)[2], gmailtest.Delivery{Trouble: gmailtest.Trouble{NoRaw: 1}})
		h := newHostCopy()
		if err := h.sync(t, r.conn, ann); err != nil {
			t.Fatal(err)
		}
		h.wantOps(t, "added 0", "added 2")
		var e *connection.Error
		if len(h.failed) != 1 || !errors.As(h.failed[0], &e) || e.Ref.ID != id || !errors.Is(e, gmail.ErrNoRaw) || e.Kind != connection.ErrUnsupported {
			t.Errorf("got errors %v, want one of %s without raw", h.failed, id)
		}
		var asked []string
		for _, q := range r.Requests() {
			if q.ID == id {
				asked = append(asked, q.Query)
			}
		}
		if len(asked) != 3 || !strings.Contains(asked[1], "format=raw") || !strings.Contains(asked[2], "format=full") {
			t.Errorf("asked %q, want twice for raw and once for what it is", asked)
		}
		if events := r.told(connection.EventSkipped); len(events) != 1 || events[0].Ref.ID != id {
			t.Errorf("got events %v", events)
		}
		if m := h.messages[connection.Ref{Mailbox: r.id, ID: once}]; m.raw == "" {
			t.Error("the message that had no raw once did not come")
		}
		h.mustSync(t, r) // and it is not asked for again
	})
}

func TestG25EmptyPages(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 3 }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(8)...)
		r.EmptyPages(ann, 3)
		h := newHostCopy()
		h.mustSync(t, r)
		h.wantAll(t, r)
		r.Deliver(ann, mail(12)[8:]...)
		r.EmptyPages(ann, 2)
		h.mustSync(t, r)
		h.wantAll(t, r)
	})
	t.Run("the same token for ever", func(t *testing.T) {
		inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 3 }, func(t *testing.T, r *syncRig) {
			r.Deliver(ann, mail(8)...)
			r.RepeatPages(ann, true)
			h := newHostCopy()
			if err := h.sync(t, r.conn, ann); !errors.Is(err, connection.ErrProtocol) {
				t.Errorf("listing: got %v, want %v", err, connection.ErrProtocol)
			}
			r.RepeatPages(ann, false)
			h.mustSync(t, r)
			r.Deliver(ann, mail(16)[8:]...)
			r.RepeatPages(ann, true)
			if err := h.sync(t, r.conn, ann); !errors.Is(err, connection.ErrProtocol) {
				t.Errorf("history: got %v, want %v", err, connection.ErrProtocol)
			}
			r.RepeatPages(ann, false)
			h.mustSync(t, r)
			h.wantAll(t, r)
		})
	})
}

func TestG26AddedAndDeletedInOneWindow(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		h := newHostCopy()
		h.mustSync(t, r)
		ids := r.Deliver(ann, mail(2)...)
		r.Remove(ann, ids[0])
		r.ResetLog()
		h.mustSync(t, r)
		h.wantOps(t, "removed ?", "added 1")
		if all, _ := r.reads(); all != 1 {
			t.Errorf("%d messages were read, want 1", all)
		}
		if events := r.told(connection.EventSkipped); len(events) != 1 || events[0].Ref.ID != ids[0] {
			t.Errorf("got events %v, want one of %s, whose content nobody has seen", events, ids[0])
		}
	})
}

func TestG29PageTokenExpired(t *testing.T) {
	inBubble(t, &gmailtest.Options{AllowBadRequests: true}, func(c *gmail.Config) { c.PageSize = 4 }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(10)...)
		h := newHostCopy()
		var once atomic.Bool
		stop := func(c *connection.Change) bool {
			if len(h.messages) == 6 && !once.Swap(true) {
				return false
			}
			return true
		}
		if err := h.until(t, r.conn, h.options(ann), stop); err != nil {
			t.Fatal(err)
		}
		r.ExpirePageTokens(ann)
		late := r.Deliver(ann, mail(11)[10])
		r.Remove(ann, late[0])
		r.Deliver(ann, mail(12)[11])
		h.lends = true
		r.ResetLog()
		h.mustSync(t, r)
		h.wantAll(t, r)
		if all, _ := r.reads(); all > 5 {
			t.Errorf("%d messages were read, want those 5 that the host did not have", all)
		}
	})
}

// Of two hosts that write one checkpoint store one must notice.
func TestG30TwoProcesses(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(3)...)
		cps := new(connection.MemoryCheckpoints)
		match := &connection.MirrorOptions{Match: func(m *connection.Mailbox) bool { return m.Name == r.id }}
		sink := &sinkFunc{store: func(c *connection.Change) error {
			if c.Op != connection.Added {
				return nil
			}
			old, err := cps.Load(t.Context(), r.id)
			if err != nil {
				return err
			}
			// Meanwhile another process has got further.
			return cps.Save(t.Context(), r.id, old, old+"x")
		}}
		if _, err := connection.Mirror(t.Context(), r.conn, sink, cps, match); !errors.Is(err, connection.ErrChanged) {
			t.Errorf("got %v, want %v", err, connection.ErrChanged)
		}
		if left, err := cps.Load(t.Context(), r.id); err != nil || !strings.HasSuffix(string(left), "x") {
			t.Errorf("the other's checkpoint was overwritten: %.20s…, %v", left, err)
		}
	})
}

// A sinkFunc is a sink that has nothing.
type sinkFunc struct {
	store func(*connection.Change) error
}

func (s *sinkFunc) Store(_ context.Context, _ string, c *connection.Change) error {
	if c.Message != nil && c.Message.Body != nil {
		if _, err := io.Copy(io.Discard, c.Message.Body); err != nil {
			return err
		}
	}
	return s.store(c)
}

func (s *sinkFunc) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	return make([]bool, len(refs)), nil
}

func TestG40HistoryIDsOfAnyWidth(t *testing.T) {
	t.Run("beyond 64 bits", func(t *testing.T) {
		inBubble(t, &gmailtest.Options{Mail: gmailtest.MailOptions{WideHistoryIDs: true}}, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
			ids := r.Deliver(ann, mail(5)...)
			h := newHostCopy()
			h.mustSync(t, r)
			r.Remove(ann, ids[0])
			r.SetLabels(ann, ids[1], []string{"STARRED"}, nil)
			r.Deliver(ann, mail(8)[5:]...)
			h.mustSync(t, r)
			h.wantOps(t, "removed 0", "updated 1", "added 5", "added 6", "added 7")
			h.wantAll(t, r)
		})
	})
	t.Run("no number", func(t *testing.T) {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			r.Fail(gmailtest.On("getProfile"), gmailtest.Rewrite(func([]byte) []byte {
				return []byte(`{"emailAddress":"ann@corp.example","historyId":"12ab"}`)
			}))
			err := newHostCopy().sync(t, r.conn, ann)
			if !errors.Is(err, connection.ErrProtocol) || !strings.Contains(fmt.Sprint(err), "historyId") {
				t.Errorf("got %v, want %v naming the field", err, connection.ErrProtocol)
			}
			if n := r.Calls("getProfile"); n > 6 {
				t.Errorf("getProfile was called %d times", n)
			}
		})
	})
}

// What a server forgets in silence nobody can see; but nothing breaks, and the host can have all held against what it has.
func TestG48SilentExpiry(t *testing.T) {
	inBubble(t, &gmailtest.Options{Mail: gmailtest.MailOptions{SilentExpiry: true}}, nil, func(t *testing.T, r *syncRig) {
		h := gapRig(t, r)
		r.Deliver(ann, mail(9)[8])
		h.mustSync(t, r)
		h.checkpoint, h.lends = "", true
		h.mustSync(t, r)
		h.wantAll(t, r)
		if all, _ := r.reads(); all > 3 {
			t.Errorf("%d messages were read, want the 3 that the host did not have", all)
		}
	})
}

func TestG49MailDuringTheFirstSync(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(6)...)
		h := newHostCopy()
		// The host dies after each page. Newer mail is above the page from which the listing goes on.
		for n := 6; ; n++ {
			before, died := h.checkpoint, false
			err := h.until(t, r.open(t), h.options(ann), func(*connection.Change) bool {
				died = h.checkpoint != before && before != "" && len(h.messages) < 6
				return !died
			})
			if err != nil {
				t.Fatal(err)
			}
			if !died && before != "" {
				break
			}
			if n < 12 {
				r.Deliver(ann, mail(n + 1)[n])
			}
		}
		h.mustSync(t, r)
		h.wantAll(t, r)
		if len(h.messages) <= 6 {
			t.Errorf("the copy has %d messages: nothing came meanwhile", len(h.messages))
		}
	})
}

// What leaves the list while it is read shifts what is behind it, on a server that counts pages from the top.
func TestG49PagesThatShift(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %t", killed), func(t *testing.T) {
			opts := &gmailtest.Options{Mail: gmailtest.MailOptions{OffsetPages: true}}
			inBubble(t, opts, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
				ids := r.Deliver(ann, mail(9)...)
				h := newHostCopy()
				h.lends = killed
				shifted := false
				keep := func(c *connection.Change) bool {
					if c.Op == connection.Added && len(h.messages) == 4 && !shifted { // the newest are stored, with their Checkpoint
						shifted = true
						r.Remove(ann, ids[8])
						r.SetLabels(ann, ids[7], []string{"TRASH"}, []string{"INBOX"})
						return !killed
					}
					return true
				}
				if err := h.until(t, r.conn, h.options(ann), keep); err != nil {
					t.Fatal(err)
				}
				h.mustSync(t, r)
				h.wantAll(t, r)
			})
		})
	}
}

func TestG50CursorOfTheFirstPage(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 2 }, func(t *testing.T, r *syncRig) {
		h := newHostCopy()
		h.mustSync(t, r)
		r.Deliver(ann, mail(6)...)
		n := 6
		// Each page that is asked for finds the mailbox further on.
		r.Fail(gmailtest.On("history.list"), gmailtest.Do(func(gmailtest.Request) {
			if n < 9 {
				n++
				r.Deliver(ann, mail(n)[n-1])
			}
		}))
		h.mustSync(t, r)
		r.Heal()
		if n != 9 {
			t.Fatalf("%d messages were delivered, want 9", n)
		}
		h.mustSync(t, r)
		h.wantAll(t, r)
		if len(h.messages) != 9 {
			t.Errorf("the copy has %d messages, want 9", len(h.messages))
		}
	})
}

func TestG51CrashBeforeTheCheckpoint(t *testing.T) {
	for _, lends := range []bool{false, true} {
		t.Run(fmt.Sprintf("Known %t", lends), func(t *testing.T) {
			inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 3 }, func(t *testing.T, r *syncRig) {
				ids := r.Deliver(ann, mail(7)...)
				for crash := range 14 {
					h := newHostCopy()
					h.lends = lends
					n := 0
					keep := func(*connection.Change) bool { n++; return n <= 9+crash } // the first are folders
					if err := h.until(t, r.conn, h.options(ann), keep); err != nil {
						t.Fatal(err)
					}
					h.mustSync(t, r)
					h.wantAll(t, r)
					// The same for a delta.
					r.SetLabels(ann, ids[crash%7], []string{"STARRED"}, nil)
					r.Deliver(ann, mail(5)...)
					r.SetLabels(ann, ids[crash%7], nil, []string{"STARRED"})
					n = 9
					if err := h.until(t, r.conn, h.options(ann), keep); err != nil {
						t.Fatal(err)
					}
					h.mustSync(t, r)
					h.wantAll(t, r)
				}
			})
		})
	}
}

func TestG52SkippedMessageComesInLater(t *testing.T) {
	for _, lends := range []bool{false, true} {
		t.Run(fmt.Sprintf("Known %t", lends), func(t *testing.T) {
			inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
				var ids []string
				for i, label := range []string{"SPAM", "TRASH", "DRAFT", "CHAT"} {
					ids = append(ids, r.DeliverWith(ann, mail(4)[i], gmailtest.Delivery{Labels: []string{label}}))
				}
				h := newHostCopy()
				h.lends = lends
				h.mustSync(t, r)
				h.wantOps(t)
				if all, _ := r.reads(); all > 0 {
					t.Errorf("%d messages were read that are left out", all)
				}
				for i, label := range []string{"SPAM", "TRASH", "DRAFT", "CHAT"} {
					r.SetLabels(ann, ids[i], []string{"INBOX"}, []string{label})
				}
				h.mustSync(t, r)
				h.wantOps(t, "added 0", "added 1", "added 2", "added 3")
				h.wantAll(t, r)
			})
		})
	}
}

// What the history says of labels is older than what came with a message that was read since.
func TestG53StaleLabelChange(t *testing.T) {
	for _, labels := range []bool{false, true} {
		t.Run(fmt.Sprintf("labels in the history %t", labels), func(t *testing.T) {
			inBubble(t, &gmailtest.Options{Mail: gmailtest.MailOptions{HistoryLabels: labels}}, nil, func(t *testing.T, r *syncRig) {
				ids := r.Deliver(ann, mail(2)...)
				h := newHostCopy()
				// The labels change while the mailbox is listed, before the message is read.
				changed := false
				r.Fail(gmailtest.On("messages.list").Times(1), gmailtest.Do(func(gmailtest.Request) {
					if !changed {
						changed = true
						r.SetLabels(ann, ids[0], []string{"STARRED"}, []string{"UNREAD"})
						r.SetLabels(ann, ids[0], []string{"UNREAD"}, nil)
					}
				}))
				h.mustSync(t, r)
				h.wantOps(t, "added 0", "added 1")
				h.wantAll(t, r)
				if m := h.messages[connection.Ref{Mailbox: r.id, ID: ids[0]}]; !slices.Equal(m.flags, []connection.Flag{connection.FlagFlagged}) {
					t.Errorf("got the flags %q, want it starred and unread", m.flags)
				}
				h.mustSync(t, r)
				h.wantOps(t)
			})
		})
	}
}
