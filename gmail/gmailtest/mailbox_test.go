package gmailtest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

const ann = "ann@corp.example"

// letter is a message with a Message-ID.
func letter(id string) []byte {
	return []byte("From: bob@corp.example\r\nTo: ann@corp.example\r\nSubject: letter " + id + "\r\nMessage-ID: <" + id + "@corp.example>\r\n" +
		"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\n\r\nDear Ann, this is " + id + ".\r\n")
}

// mailbox starts a server with one mailbox, and Google's client for it.
func mailbox(t *testing.T, o gmailtest.Options) (*gmailtest.Server, *gapi.Service) {
	t.Helper()
	srv := gmailtest.NewServer(t, &o)
	return srv, gmail(t, srv, srv.Token(ann, gapi.MailGoogleComScope))
}

// listed returns the ids of all pages of a list.
func listed(t *testing.T, call *gapi.UsersMessagesListCall) (ids []string) {
	t.Helper()
	err := call.Pages(t.Context(), func(page *gapi.ListMessagesResponse) error {
		for _, m := range page.Messages {
			if m.ThreadId == "" || m.Raw != "" || m.LabelIds != nil {
				t.Errorf("a list tells of id and thread, got %+v", m)
			}
			ids = append(ids, m.Id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func reversed(ids []string) []string {
	out := slices.Clone(ids)
	slices.Reverse(out)
	return out
}

func TestListIsNewestFirstInPages(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	var want []string
	for i := range 7 {
		want = append(want, srv.Deliver(ann, letter(fmt.Sprint(i)))...)
	}
	old := srv.DeliverWith(ann, letter("old"), gmailtest.Delivery{Internal: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)})
	want = append([]string{old}, want...)
	for _, size := range []int64{1, 3, 8, 500} {
		if got := listed(t, svc.Users.Messages.List("me").MaxResults(size)); !slices.Equal(got, reversed(want)) {
			t.Errorf("pages of %d: got %v, want %v", size, got, reversed(want))
		}
	}
	for _, id := range want {
		if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Errorf("%q is not 16 hexadecimal digits", id)
		}
	}
}

func TestIDsAreOfOneMailboxAlone(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example"})
	if a, b := srv.Deliver(ann, letter("a")), srv.Deliver("bob@corp.example", letter("b")); a[0] != b[0] {
		t.Errorf("got %s and %s, want the same id", a[0], b[0])
	}
}

func TestListFilters(t *testing.T) {
	clock := gmailtest.NewClock(time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC))
	srv, svc := mailbox(t, gmailtest.Options{Clock: clock})
	work := srv.AddLabel(ann, "Work/Old things")
	day := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	with := func(id string, labels ...string) string {
		day = day.Add(time.Hour)
		return srv.DeliverWith(ann, letter(id), gmailtest.Delivery{Labels: labels, Internal: day})
	}
	inbox := with("inbox", "INBOX", "UNREAD")
	trash := with("trash", "TRASH")
	spam := with("spam", "SPAM", "UNREAD")
	draft := with("draft", "DRAFT")
	chat := with("chat", "CHAT")
	filed := with("filed", work, "INBOX", "STARRED")
	for _, c := range []struct {
		q         string
		labels    []string
		spamTrash bool
		want      []string
	}{
		{want: []string{filed, chat, draft, inbox}},
		{spamTrash: true, want: []string{filed, chat, draft, spam, trash, inbox}},
		{labels: []string{"INBOX"}, want: []string{filed, inbox}},
		{labels: []string{"INBOX", work}, want: []string{filed}},
		{labels: []string{"TRASH"}, want: []string{trash}},
		{q: "-in:drafts -in:chats", want: []string{filed, inbox}},
		{q: "-in:draft -in:chat", spamTrash: true, want: []string{filed, spam, trash, inbox}},
		{q: "in:anywhere", want: []string{filed, chat, draft, spam, trash, inbox}},
		{q: "in:trash", want: []string{trash}},
		{q: "is:unread", want: []string{inbox}},
		{q: "is:starred label:work-old-things", want: []string{filed}},
		{q: "is:unread OR is:starred", want: []string{filed, inbox}},
		{q: "{is:unread is:starred}", want: []string{filed, inbox}},
		{q: "(in:inbox -is:unread) OR in:drafts", want: []string{filed, draft}},
		{q: "rfc822msgid:draft@corp.example", want: []string{draft}},
		{q: "rfc822msgid:<draft@corp.example>", want: []string{draft}},
		{q: "rfc822msgid:raft@corp.example", want: nil},
		{q: `subject:"letter filed"`, want: []string{filed}},
		{q: `"this is filed"`, want: []string{filed}},
		{q: fmt.Sprint("after:", day.Unix()), want: []string{filed}},
		{q: fmt.Sprint("before:", day.Add(-4*time.Hour).Unix()), want: []string{inbox}},
		{q: "after:2026/3/5", want: nil},
		{q: "after:2026/03/04", want: []string{filed, chat, draft, inbox}},
		{q: "larger:1m", want: nil},
		{q: "is:read in:anywhere", want: []string{filed, chat, draft, trash}},
		{q: "newer_than:1d", want: nil},
		{q: "older_than:2m older_than:1y", want: nil},
		{q: "in:inbox older_than:3d", want: []string{filed, inbox}},
		{q: "from:bob to:ann smaller:1k in:inbox", want: []string{filed, inbox}},
	} {
		call := svc.Users.Messages.List("me").MaxResults(2).LabelIds(c.labels...).IncludeSpamTrash(c.spamTrash)
		if c.q != "" {
			call.Q(c.q)
		}
		if got := listed(t, call); !slices.Equal(got, c.want) {
			t.Errorf("q=%q labels=%v spamTrash=%v: got %v, want %v", c.q, c.labels, c.spamTrash, got, c.want)
		}
	}
	srv.Trouble(ann, draft, gmailtest.Trouble{Unlisted: true})
	if got := listed(t, svc.Users.Messages.List("me").Q("rfc822msgid:draft@corp.example")); got != nil {
		t.Errorf("an index that lags: got %v", got)
	}
	if got := listed(t, svc.Users.Messages.List("me").Q("in:drafts")); !slices.Equal(got, []string{draft}) {
		t.Errorf("labels need no index: got %v, want %v", got, draft)
	}
}

func TestListRefusesWhatItCannotDo(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{AllowBadRequests: true})
	list := func() *gapi.UsersMessagesListCall { return svc.Users.Messages.List("me") }
	for _, q := range []string{"colour:red", "(is:unread", "after:tomorrow", "-", "{", "is:unread )", "larger:big", "newer_than:2w", strings.Repeat("(", 1000)} {
		_, err := list().Q(q).Do()
		refusal(t, err, http.StatusBadRequest, "invalidArgument")
	}
	_, err := list().MaxResults(501).Do()
	refusal(t, err, http.StatusBadRequest, "invalidParameter")
	_, err = list().LabelIds("Label_77").Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	_, err = list().PageToken("nonsense").Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")

	metadata := gmail(t, srv, srv.Token(ann, gapi.GmailMetadataScope))
	_, err = metadata.Users.Messages.List("me").Q("is:unread").Do()
	refusal(t, err, http.StatusForbidden, "insufficientPermissions")
	if _, err := metadata.Users.Messages.List("me").Do(); err != nil {
		t.Error(err)
	}
}

func TestPageTokens(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	srv.Deliver(ann, letter("1"), letter("2"), letter("3"))
	list := func() *gapi.UsersMessagesListCall { return svc.Users.Messages.List("me").MaxResults(1) }
	page, err := list().Do()
	if err != nil {
		t.Fatal(err)
	}
	_, err = list().Q("is:unread").PageToken(page.NextPageToken).Do() // a token of another list
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	if _, err = list().PageToken(page.NextPageToken).Do(); err != nil {
		t.Fatal(err)
	}
	srv.ExpirePageTokens(ann)
	_, err = list().PageToken(page.NextPageToken).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
}

func TestPagesWhileMailGoes(t *testing.T) {
	for offset, want := range map[bool]int{false: 4, true: 3} { // what a reader sees of four messages
		srv, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{OffsetPages: offset}})
		ids := srv.Deliver(ann, letter("1"), letter("2"), letter("3"), letter("4"))
		seen := 0
		err := svc.Users.Messages.List("me").MaxResults(2).Pages(t.Context(), func(page *gapi.ListMessagesResponse) error {
			if seen == 0 {
				srv.Remove(ann, ids[3])
			}
			seen += len(page.Messages)
			return nil
		})
		if err != nil || seen != want {
			t.Errorf("offset %v: got %d, %v; want %d", offset, seen, err, want)
		}
	}
}

func TestPageFaults(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	start := srv.HistoryID(ann)
	ids := srv.Deliver(ann, letter("1"), letter("2"), letter("3"))
	srv.EmptyPages(ann, 2)
	pages, tokens := 0, map[string]bool{}
	var got []string
	err := svc.Users.Messages.List("me").MaxResults(2).Pages(t.Context(), func(page *gapi.ListMessagesResponse) error {
		pages++
		if tokens[page.NextPageToken] {
			t.Errorf("token %s twice", page.NextPageToken)
		}
		tokens[page.NextPageToken] = true
		for _, m := range page.Messages {
			got = append(got, m.Id)
		}
		return nil
	})
	if err != nil || pages != 4 || !slices.Equal(got, reversed(ids)) {
		t.Errorf("got %d pages, %v, %v; want 4 and %v", pages, got, err, reversed(ids))
	}
	srv.EmptyPages(ann, 1)
	pages = 0
	records := 0
	err = svc.Users.History.List("me").StartHistoryId(start).Pages(t.Context(), func(page *gapi.ListHistoryResponse) error {
		pages++
		records += len(page.History)
		return nil
	})
	if err != nil || pages != 2 || records != 3 {
		t.Errorf("history: got %d pages, %d records, %v; want 2 and 3", pages, records, err)
	}
	srv.RepeatPages(ann, true)
	first, err := svc.Users.Messages.List("me").Do()
	if err != nil {
		t.Fatal(err)
	}
	second, err := svc.Users.Messages.List("me").PageToken(first.NextPageToken).Do()
	if err != nil || second.NextPageToken != first.NextPageToken || first.NextPageToken == "" {
		t.Errorf("got tokens %q and %q, %v; want the same", first.NextPageToken, second.NextPageToken, err)
	}
}

func TestVanish(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	ids := srv.Deliver(ann, letter("1"), letter("2"))
	srv.Vanish(ann, ids[0])
	if got := listed(t, svc.Users.Messages.List("me")); !slices.Equal(got, reversed(ids)) {
		t.Errorf("got %v, want both", got)
	}
	_, err := svc.Users.Messages.Get("me", ids[0]).Do()
	refusal(t, err, http.StatusNotFound, "notFound")
	if _, err := svc.Users.Messages.Get("me", ids[1]).Do(); err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	_, err := svc.Users.Watch("me", &gapi.WatchRequest{TopicName: "news"}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	_, err = svc.Users.Watch("me", &gapi.WatchRequest{TopicName: "projects/p/topics/news", LabelIds: []string{"Label_99"}}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	const topic = "projects/p/topics/news"
	reply, err := svc.Users.Watch("me", &gapi.WatchRequest{TopicName: topic, LabelIds: []string{"INBOX"}}).Do()
	if err != nil {
		t.Fatal(err)
	}
	if reply.HistoryId != srv.HistoryID(ann) || srv.Watched(ann) != topic {
		t.Errorf("got %+v, watched %q", reply, srv.Watched(ann))
	}
	if left := time.Until(time.UnixMilli(reply.Expiration)); left < 6*24*time.Hour || left > 7*24*time.Hour {
		t.Errorf("expires in %s, want 7 days", left)
	}
	if err := svc.Users.Stop("me").Do(); err != nil || srv.Watched(ann) != "" {
		t.Errorf("got %v, watched %q", err, srv.Watched(ann))
	}
}
