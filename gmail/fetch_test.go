package gmail_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

// fetchedSubjects reads ann's mailbox and returns the subjects' numbers, sorted.
func fetchedSubjects(t testing.TB, r *syncRig, o connection.FetchOptions) []string {
	t.Helper()
	o.Mailbox = ann
	var all []string
	for _, raw := range drivertest.Bodies(t, drivertest.Collect(t, r.conn, &o)) {
		all = append(all, subject(raw))
	}
	slices.Sort(all)
	return all
}

func TestFetchFolders(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		work, home := r.AddLabel(ann, "Work"), r.AddLabel(ann, "Home")
		ids := r.Deliver(ann, mail(6)...)
		r.SetLabels(ann, ids[0], []string{work, home}, nil)
		r.SetLabels(ann, ids[1], []string{work}, nil)
		r.SetLabels(ann, ids[2], []string{home}, []string{"INBOX"})
		r.SetLabels(ann, ids[3], nil, []string{"INBOX", "UNREAD"})
		r.SetLabels(ann, ids[4], []string{"TRASH"}, []string{"INBOX"})
		for name, test := range map[string]struct {
			folders []string
			want    string
		}{
			"none":                          {nil, "0 1 2 3 5"},
			"one":                           {[]string{"Work"}, "0 1"},
			"two, each message once":        {[]string{"Work", "Home"}, "0 1 2"},
			"by id":                         {[]string{home}, "0 2"},
			"the archive":                   {[]string{"Archive"}, "3"},
			"the archive and another":       {[]string{"Archive", "Work"}, "0 1 3"},
			"named although it is left out": {[]string{`\Trash`}, "4"},
			"of Gmail's own":                {[]string{"INBOX"}, "0 1 5"},
		} {
			if got := strings.Join(fetchedSubjects(t, r, connection.FetchOptions{Folders: test.folders}), " "); got != test.want {
				t.Errorf("%s: got %s, want %s", name, got, test.want)
			}
		}
		all := drivertest.Collect(t, r.conn, &connection.FetchOptions{Mailbox: ann, Folders: []string{"Work", "Nowhere"}})
		if len(all) != 3 || all[0].Ref.Folder != "Nowhere" || !errors.Is(all[0].Err, connection.ErrNotFound) {
			t.Errorf("got %v, want an error of the folder that is not there, and the other's messages", all)
		}
		all = drivertest.Collect(t, r.conn, &connection.FetchOptions{Mailbox: ann, Folders: []string{"Nowhere"}})
		if len(all) != 1 || !all[0].Ref.IsZero() || !errors.Is(all[0].Err, connection.ErrNotFound) {
			t.Errorf("got %v, want an error that ends it", all)
		}
	})
}

func TestFetchUnseenAndSince(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		for i, raw := range mail(4) {
			labels := []string{"INBOX", "UNREAD"}
			if i == 2 {
				labels = labels[:1]
			}
			r.DeliverWith(ann, raw, gmailtest.Delivery{Labels: labels, Internal: noon.Add(time.Duration(i) * 400 * time.Millisecond)})
		}
		if got := fetchedSubjects(t, r, connection.FetchOptions{Unseen: true}); !slices.Equal(got, []string{"0", "1", "3"}) {
			t.Errorf("unseen: got %s", got)
		}
		if got := fetchedSubjects(t, r, connection.FetchOptions{Since: noon.Add(400 * time.Millisecond)}); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("since: got %s", got)
		}
		for _, f := range drivertest.Collect(t, r.conn, &connection.FetchOptions{Mailbox: ann, Limit: 1}) {
			if f.Message.Received.IsZero() || f.Message.Folder != "INBOX" || f.Message.Size != int64(len(f.Raw)) {
				t.Errorf("got %+v", f.Message)
			}
		}
	})
}

// With Limit no more units are spent than its messages cost.
func TestFetchLimitReadsNoMore(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(30)...)
		if got := fetchedSubjects(t, r, connection.FetchOptions{Limit: 3}); len(got) != 3 {
			t.Errorf("got %d messages, want 3", len(got))
		}
		if all, _ := r.reads(); all != 3 {
			t.Errorf("%d messages were read, want 3", all)
		}
	})
}

// Each message is deleted as soon as it is stored, and the pages shift under the listing.
func TestFetchWhileItIsEmptied(t *testing.T) {
	inBubble(t, &gmailtest.Options{Mail: gmailtest.MailOptions{OffsetPages: true}}, func(c *gmail.Config) {
		c.PageSize, c.Verbs, c.DeleteMode = 4, []string{gmail.VerbDelete}, gmail.DeleteHard
	}, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(30)...)
		var got []string
		for m, err := range r.conn.Fetch(t.Context(), &connection.FetchOptions{Mailbox: ann}) {
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(m.Body)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, subject(string(raw)))
			if err := r.conn.Delete(t.Context(), m.Ref); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 30 || len(r.Messages(ann)) != 0 {
			t.Errorf("got %d messages, and %d are left", len(got), len(r.Messages(ann)))
		}
	})
}

func TestFetchFollow(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.Verbs = []string{gmail.VerbDelete} }, func(t *testing.T, r *syncRig) {
		spam := r.DeliverWith(ann, mail(1)[0], gmailtest.Delivery{Labels: []string{"SPAM"}})
		r.Deliver(ann, mail(3)[1:]...)
		ctx, cancel := context.WithCancel(t.Context())
		came := make(chan string)
		done := make(chan error)
		go func() {
			var last error
			for m, err := range r.conn.Fetch(ctx, &connection.FetchOptions{Mailbox: ann, Follow: true}) {
				if err != nil {
					last = err
					continue
				}
				raw, err := io.ReadAll(m.Body)
				if err != nil {
					last = err
				}
				came <- subject(string(raw))
			}
			done <- last
		}()
		want := func(numbers ...string) {
			t.Helper()
			var got []string
			for range numbers {
				got = append(got, <-came)
			}
			if slices.Sort(got); !slices.Equal(got, numbers) {
				t.Errorf("came %q, want %q", got, numbers)
			}
		}
		want("1", "2")
		synctest.Wait()
		r.ResetLog()
		r.Deliver(ann, mail(4)[3])
		want("3")
		r.SetLabels(ann, spam, []string{"INBOX"}, []string{"SPAM"})
		want("0")
		if all, _ := r.reads(); all != 2 || r.Calls("messages.list") != 0 {
			t.Errorf("%d messages were read and %d lists, want 2 and none", all, r.Calls("messages.list"))
		}
		// What breaks comes back, and a history that is lost is listed anew.
		r.Fail(gmailtest.On("getProfile").Times(7), gmailtest.Status(503, "{}"))
		r.Deliver(ann, mail(5)[4])
		r.ExpireHistory(ann)
		want("4")
		// Nothing happens for hours, and it looks less and less often.
		synctest.Wait()
		r.ResetLog()
		<-time.After(4 * time.Hour)
		if n := r.Calls("getProfile"); n < 14 || n > 24 {
			t.Errorf("looked %d times within 4 hours, want about every 15 minutes", n)
		}
		began := time.Now()
		id := r.Deliver(ann, mail(6)[5])[0]
		r.conn.Notify(r.id, "")
		want("5")
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("a message of which Notify was told took %v", waited)
		}
		if err := r.conn.Delete(ctx, connection.Ref{Mailbox: r.id, ID: id}); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}

// A message that cannot be read does not stop those who follow, and comes once it can be.
func TestFetchFollowTriesAgain(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(3)...)
		r.Trouble(ann, ids[1], gmailtest.Trouble{Spoiled: true})
		var got []string
		failures := 0
		for m, err := range r.conn.Fetch(t.Context(), &connection.FetchOptions{Mailbox: ann, Follow: true}) {
			var e *connection.Error
			switch {
			case errors.As(err, &e) && e.Ref.ID == ids[1] && e.Kind == connection.ErrCorrupt:
				if failures++; failures == 2 {
					r.Trouble(ann, ids[1], gmailtest.Trouble{})
				}
			case err != nil:
				t.Fatal(err)
			default:
				got = append(got, m.Ref.ID)
			}
			if len(got) == 3 {
				break
			}
		}
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(ids))) || failures != 2 {
			t.Errorf("got %s after %d failures, want %s after 2", got, failures, ids)
		}
	})
}

func TestOpen(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		work := r.AddLabel(ann, "Work")
		ids := r.Deliver(ann, mail(2)...)
		r.SetLabels(ann, ids[1], []string{work}, nil)
		ref := connection.Ref{Mailbox: r.id, ID: ids[1]}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m, err := r.conn.Open(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil || string(raw) != string(mail(2)[1]) || m.Ref != ref || m.Folder != "Work" {
			t.Errorf("got %+v with %q, error %v", m, raw, err)
		}
		if err := m.Body.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
		if n, err := m.Body.Read(make([]byte, 10)); n > 0 || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("reading a body that was closed: %d octets, error %v", n, err)
		}
		m, err = r.conn.Open(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if n, err := m.Body.Read(make([]byte, 10)); n > 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("reading a body whose ctx is done: %d octets, error %v", n, err)
		}
		r.Remove(ann, ids[0])
		if _, err := r.conn.Open(t.Context(), connection.Ref{Mailbox: r.id, ID: ids[0]}); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("a message that is gone: got %v, want %v", err, connection.ErrNotFound)
		}
		if _, err := r.conn.Open(t.Context(), connection.Ref{Mailbox: r.id}); !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("a Ref without an ID: got %v, want %v", err, connection.ErrInvalid)
		}
	})
}
