package gmail_test

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// refreshed collects what RefreshLabels yields: labels and errors by Ref, and the other errors.
type refreshed struct {
	messages map[connection.Ref]*connection.Message
	failed   map[connection.Ref]error
	order    []connection.Ref
	err      error
}

func refresh(t *testing.T, c *gmail.Conn, refs ...connection.Ref) refreshed {
	t.Helper()
	got := refreshed{messages: make(map[connection.Ref]*connection.Message), failed: make(map[connection.Ref]error)}
	for m, err := range c.RefreshLabels(t.Context(), refs...) {
		var e *connection.Error
		switch {
		case err == nil:
			if m.Body != nil || m.Size != -1 {
				t.Errorf("got a body or a size: %+v", m)
			}
			got.messages[m.Ref] = m
			got.order = append(got.order, m.Ref)
		case errors.As(err, &e) && !e.Ref.IsZero():
			got.failed[e.Ref] = err
			got.order = append(got.order, e.Ref)
		default:
			got.err = err
		}
	}
	return got
}

// refsIn returns the Refs of messages in a mailbox.
func refsIn(mailbox string, ids []string) (refs []connection.Ref) {
	for _, id := range ids {
		refs = append(refs, connection.Ref{Mailbox: mailbox, ID: id})
	}
	return refs
}

// Labels come by mailbox in the order asked for, twenty to a request, for the units of as many gets.
func TestRefreshLabels(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		const bob = "bob@corp.example"
		bobID := r.AddUser(gmailtest.User{Email: bob})
		label := r.AddLabel(ann, "Projects/2026")
		annRefs, bobRefs := refsIn(r.id, r.Deliver(ann, mail(45)...)), refsIn(bobID, r.Deliver(bob, mail(3)...))
		for _, ref := range annRefs {
			r.SetLabels(ann, ref.ID, []string{label, "STARRED"}, []string{"INBOX", "UNREAD"})
		}
		r.Remove(ann, annRefs[7].ID)
		refs := slices.Concat(annRefs[:30], bobRefs, annRefs[30:])
		got := refresh(t, r.conn, refs...)
		if want := slices.Concat(annRefs, bobRefs); got.err != nil || !slices.Equal(got.order, want) {
			t.Fatalf("got %v, %d of %d in order", got.err, len(got.order), len(want))
		}
		for ref, m := range got.messages {
			want := fmt.Sprint("Projects/2026", []string{"Projects/2026"}, []connection.Flag{connection.FlagSeen, connection.FlagFlagged})
			if ref.Mailbox == bobID {
				want = fmt.Sprint("INBOX", []string{"INBOX"}, []connection.Flag(nil))
			}
			if text := fmt.Sprint(m.Folder, m.Labels, m.Flags); text != want {
				t.Errorf("%s: got %s, want %s", ref, text, want)
			}
		}
		if err := got.failed[annRefs[7]]; len(got.failed) != 1 || !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("a message that is gone: got %v", got.failed)
		}
		if batches := r.Calls("batch"); batches != 4 {
			t.Errorf("got %d requests, want 4", batches)
		}
		gets := 0
		for _, q := range r.Requests() {
			if q.Method != "messages.get" {
				continue
			}
			if gets++; !strings.Contains(q.Query, "format=minimal") || q.QuotaUser != q.UserID {
				t.Errorf("got a request for %q, charged to %q", q.Query, q.QuotaUser)
			}
		}
		if gets != len(refs) {
			t.Errorf("got %d requests in batches, want %d", gets, len(refs))
		}
		if len(r.BadRequests()) > 0 {
			t.Errorf("got bad requests: %q", r.BadRequests())
		}
	})
}

// What is refused within a batch is asked for again, and nothing else is.
func TestRefreshLabelsRefused(t *testing.T) {
	for name, fault := range map[string]gmailtest.Fault{
		"too many at once": gmailtest.TooManyConcurrent(),
		"rate":             gmailtest.Refuse(http.StatusForbidden, "userRateLimitExceeded", "User Rate Limit Exceeded"),
		"server":           gmailtest.Status(http.StatusServiceUnavailable, "<html>later</html>"),
	} {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			refs := refsIn(r.id, r.Deliver(ann, mail(20)...))
			for _, i := range []int{3, 4, 19} {
				r.Fail(gmailtest.On("messages.get").ID(refs[i].ID).Times(2), fault)
			}
			got := refresh(t, r.conn, refs...)
			if got.err != nil || len(got.failed) > 0 || !slices.Equal(got.order, refs) {
				t.Errorf("%s: got %v, %v, %d of %d", name, got.err, got.failed, len(got.messages), len(refs))
			}
			if calls := r.Calls("messages.get"); calls != 20+2*3 {
				t.Errorf("%s: got %d requests in batches, want 26", name, calls)
			}
		})
	}
}

// A batch that is lost, cut or answered by something else is asked for again; so it is if the token was revoked.
func TestRefreshLabelsBroken(t *testing.T) {
	for name, spoil := range map[string]func(r *syncRig){
		"cut":           func(r *syncRig) { r.Fail(gmailtest.On("batch").Times(1), gmailtest.Cut(900)) },
		"short":         func(r *syncRig) { r.Fail(gmailtest.On("batch").Times(1), gmailtest.Short(900)) },
		"lost":          func(r *syncRig) { r.Fail(gmailtest.On("batch").Times(1), gmailtest.Lose()) },
		"busy":          func(r *syncRig) { r.Fail(gmailtest.On("batch").Times(1), gmailtest.Status(503, "busy")) },
		"token revoked": func(r *syncRig) { r.RevokeTokens(ann) },
	} {
		inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
			refs := refsIn(r.id, r.Deliver(ann, mail(5)...))
			if got := refresh(t, r.conn, refs[0]); got.err != nil || len(got.messages) != 1 {
				t.Fatalf("%s: got %v, %v", name, got.err, got.failed)
			}
			r.ResetLog()
			spoil(r)
			if got := refresh(t, r.conn, refs...); got.err != nil || len(got.failed) > 0 || !slices.Equal(got.order, refs) {
				t.Errorf("%s: got %v, %v, %d of %d", name, got.err, got.failed, len(got.messages), len(refs))
			}
			if calls := r.Calls("batch"); calls != 2 {
				t.Errorf("%s: got %d requests, want 2", name, calls)
			}
		})
	}
}

// What holds for a mailbox ends the work on that mailbox alone.
func TestRefreshLabelsOfOthers(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		const bob = "bob@corp.example"
		bobID := r.AddUser(gmailtest.User{Email: bob})
		annRefs, bobRefs := refsIn(r.id, r.Deliver(ann, mail(25)...)), refsIn(bobID, r.Deliver(bob, mail(2)...))
		r.Fail(gmailtest.On("messages.get").User(ann), gmailtest.Policy())
		got := refresh(t, r.conn, slices.Concat([]connection.Ref{{Mailbox: "nobody@corp.example", ID: "1"}}, annRefs, bobRefs)...)
		if got.err != nil || len(got.messages) != 2 || len(got.failed) != 2 {
			t.Fatalf("got %v, %v, %d messages", got.err, got.failed, len(got.messages))
		}
		if err := got.failed[connection.Ref{Mailbox: r.id}]; !errors.Is(err, gmail.ErrPolicy) || !errors.Is(err, connection.ErrPermission) {
			t.Errorf("got %v, want ErrPolicy", err)
		}
		if err := got.failed[connection.Ref{Mailbox: "nobody@corp.example"}]; !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if calls := r.Calls("messages.get", ann); calls > 20 {
			t.Errorf("got %d requests for a mailbox that is closed", calls)
		}
	})
}

// A server without batches is asked for one message at a time.
func TestG44NoBatches(t *testing.T) {
	inBubble(t, &gmailtest.Options{Without: []string{"batch"}}, nil, func(t *testing.T, r *syncRig) {
		refs := refsIn(r.id, r.Deliver(ann, mail(23)...))
		r.Remove(ann, refs[22].ID)
		got := refresh(t, r.conn, refs...)
		if got.err != nil || !slices.Equal(got.order, refs) || !errors.Is(got.failed[refs[22]], connection.ErrNotFound) {
			t.Errorf("got %v, %v, %d of %d", got.err, got.failed, len(got.messages), len(refs))
		}
		if calls := r.Calls("messages.get"); calls != len(refs) {
			t.Errorf("got %d requests, want %d", calls, len(refs))
		}
	})
}

// Ids are opaque: whatever they hold, they ask for that one message and break no request.
func TestG41OddIDsInBatches(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		var ids []string
		for _, id := range []string{"msg_12ab", "a/b", "ü?x=1#y", "a b", "%2F"} {
			ids = append(ids, r.DeliverWith(ann, mail(1)[0], gmailtest.Delivery{ID: id}))
		}
		missing := []string{"x\r\nHost: evil", "--b", "<>"}
		got := refresh(t, r.conn, refsIn(r.id, append(ids, missing...))...)
		if got.err != nil || len(got.messages) != len(ids) || len(got.failed) != len(missing) {
			t.Errorf("got %v, %v, %d messages", got.err, got.failed, len(got.messages))
		}
		for _, ref := range refsIn(r.id, ids) {
			if m := got.messages[ref]; m == nil || m.Folder != "INBOX" {
				t.Errorf("%q: got %+v", ref.ID, m)
			}
		}
	})
}

func TestRefreshLabelsOnce(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		refs := refsIn(r.id, r.Deliver(ann, mail(30)...))
		seq := r.conn.RefreshLabels(t.Context(), refs...)
		next, stop := iter.Pull2(seq)
		if m, err, ok := next(); !ok || err != nil || m.Ref != refs[0] {
			t.Errorf("got %+v, %v", m, err)
		}
		stop()
		for _, err := range seq {
			if !errors.Is(err, connection.ErrInvalid) {
				t.Errorf("used twice: got %v", err)
			}
		}
		if err := r.conn.Close(); err != nil {
			t.Fatal(err)
		}
		for _, err := range r.conn.RefreshLabels(t.Context(), refs...) {
			if !errors.Is(err, connection.ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		}
	})
}

// A user's id that is too long for the parameter quotaUser is shortened within a batch as it is everywhere.
func TestBatchQuotaUser(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		const bob = "bob@corp.example"
		id := r.AddUser(gmailtest.User{Email: bob, ID: strings.Repeat("1234567890", 5)})
		if got := refresh(t, r.conn, refsIn(id, r.Deliver(bob, mail(2)...))...); len(got.messages) != 2 {
			t.Fatalf("got %+v", got)
		}
		users := make(map[string]bool)
		for _, q := range r.Requests() {
			if q.Method == "messages.get" || q.Method == "batch" {
				users[q.QuotaUser] = true
			}
		}
		for user := range users {
			if len(users) != 1 || len(user) != 40 {
				t.Errorf("charged to %q (%d octets), one of %d", user, len(user), len(users))
			}
		}
	})
}
