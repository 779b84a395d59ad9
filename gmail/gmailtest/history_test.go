package gmailtest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

// told writes records of history in short: "+id" and "-id" for messages, "id+LABEL" and "id-LABEL" for labels.
func told(records []*gapi.History) (out []string) {
	for _, r := range records {
		for _, a := range r.MessagesAdded {
			out = append(out, "+"+a.Message.Id)
		}
		for _, d := range r.MessagesDeleted {
			out = append(out, "-"+d.Message.Id)
		}
		for _, l := range r.LabelsAdded {
			out = append(out, l.Message.Id+"+"+strings.Join(l.LabelIds, ","))
		}
		for _, l := range r.LabelsRemoved {
			out = append(out, l.Message.Id+"-"+strings.Join(l.LabelIds, ","))
		}
	}
	return out
}

// recorded returns what all pages of history tell, in short.
func recorded(t *testing.T, call *gapi.UsersHistoryListCall) (out []string) {
	t.Helper()
	err := call.Pages(t.Context(), func(page *gapi.ListHistoryResponse) error {
		out = append(out, told(page.History)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHistoryTellsEverything(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	start := srv.HistoryID(ann)
	ids := srv.Deliver(ann, letter("1"), letter("2"), letter("3"))
	label := srv.AddLabel(ann, "Work")
	modify := func(add, remove []string, of ...string) {
		t.Helper()
		if err := svc.Users.Messages.BatchModify("me", &gapi.BatchModifyMessagesRequest{Ids: of, AddLabelIds: add, RemoveLabelIds: remove}).Do(); err != nil {
			t.Fatal(err)
		}
	}
	modify([]string{label}, []string{"UNREAD"}, ids...)
	modify([]string{label}, nil, ids...) // changes nothing
	if _, err := svc.Users.Messages.Trash("me", ids[1]).Do(); err != nil {
		t.Fatal(err)
	}
	srv.RenameLabel(ann, label, "Leisure")
	srv.Remove(ann, ids[0])
	before := srv.HistoryID(ann)
	srv.RemoveLabel(ann, label)
	if srv.HistoryID(ann) != before {
		t.Error("history tells that a label went")
	}

	plus := func(id, l string) string { return id + "+" + l }
	want := []string{"+" + ids[0], "+" + ids[1], "+" + ids[2]}
	for _, id := range ids {
		want = append(want, plus(id, label))
	}
	for _, id := range ids {
		want = append(want, id+"-UNREAD")
	}
	want = append(want, plus(ids[1], "TRASH"), ids[1]+"-INBOX", "-"+ids[0])
	list := func() *gapi.UsersHistoryListCall { return svc.Users.History.List("me").StartHistoryId(start) }
	for _, size := range []int64{1, 2, 100} {
		if got := recorded(t, list().MaxResults(size)); !slices.Equal(got, want) {
			t.Errorf("pages of %d:\ngot  %v\nwant %v", size, got, want)
		}
	}
	if got := recorded(t, list().HistoryTypes("messageDeleted", "messageAdded")); !slices.Equal(got, append(want[:3:3], "-"+ids[0])) {
		t.Errorf("two kinds: got %v", got)
	}
	if got := recorded(t, list().LabelId("TRASH")); !slices.Equal(got, []string{want[1], want[4], want[7], want[9], want[10]}) {
		t.Errorf("one label: got %v, want what happened to %s", got, ids[1])
	}
	if got := recorded(t, svc.Users.History.List("me").StartHistoryId(before)); got != nil {
		t.Errorf("since the end: got %v", got)
	}
}

func TestHistoryPages(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	start := srv.HistoryID(ann)
	ids := srv.Deliver(ann, letter("1"), letter("2"), letter("3"))
	list := func() *gapi.UsersHistoryListCall {
		return svc.Users.History.List("me").StartHistoryId(start).MaxResults(1).HistoryTypes("messageAdded")
	}
	var cursors []uint64
	seen, empty := 0, 0
	err := list().Pages(t.Context(), func(page *gapi.ListHistoryResponse) error {
		cursors = append(cursors, page.HistoryId)
		seen += len(page.History)
		for _, r := range page.History {
			m := r.MessagesAdded[0].Message
			if m.Id == "" || m.ThreadId == "" || m.LabelIds != nil || len(r.Messages) != 1 || r.Id == 0 {
				t.Errorf("got %+v with %+v, want id and thread alone", r, m)
			}
		}
		if len(page.History) == 0 {
			empty++
		}
		srv.SetLabels(ann, ids[0], []string{"STARRED"}, nil) // one more record, of a kind that was not asked for
		return nil
	})
	if err != nil || seen != 3 || empty != 1 {
		t.Errorf("got %d records, %d empty pages, %v; want 3 and 1", seen, empty, err)
	}
	if len(cursors) != 4 || !slices.IsSorted(cursors) || cursors[0] == cursors[1] {
		t.Errorf("got %v: later pages tell newer ids", cursors)
	}
	first, err := list().Do()
	if err != nil {
		t.Fatal(err)
	}
	_, err = svc.Users.History.List("me").StartHistoryId(cursors[0]).MaxResults(1).HistoryTypes("messageAdded").PageToken(first.NextPageToken).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
}

func TestHistoryExpires(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	start := srv.HistoryID(ann)
	srv.Deliver(ann, letter("1"))
	middle := srv.HistoryID(ann)
	second := srv.Deliver(ann, letter("2"))
	srv.ExpireHistoryBefore(ann, middle)
	list := func(id uint64) (*gapi.ListHistoryResponse, error) {
		return svc.Users.History.List("me").StartHistoryId(id).Do()
	}
	_, err := list(start)
	refusal(t, err, http.StatusNotFound, "notFound")
	page, err := list(middle)
	if err != nil || !slices.Equal(told(page.History), []string{"+" + second[0]}) {
		t.Errorf("got %v, %v; want what came after", page, err)
	}
	srv.ExpireHistory(ann)
	_, err = list(middle)
	refusal(t, err, http.StatusNotFound, "notFound")
	_, err = list(srv.HistoryID(ann) + 1) // not yet there
	refusal(t, err, http.StatusNotFound, "notFound")
	if page, err = list(srv.HistoryID(ann)); err != nil || len(page.History) != 0 {
		t.Errorf("from now on: got %v, %v", page, err)
	}

	silent, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{SilentExpiry: true}})
	start = silent.HistoryID(ann)
	silent.Deliver(ann, letter("lost"))
	silent.ExpireHistory(ann)
	kept := silent.Deliver(ann, letter("kept"))
	if page, err = list(start); err != nil || !slices.Equal(told(page.History), []string{"+" + kept[0]}) {
		t.Errorf("silent: got %v, %v; want what is left", page, err)
	}
}

func TestHistoryOptions(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{HistoryLabels: true}})
	start := srv.HistoryID(ann)
	srv.DeliverWith(ann, letter("1"), gmailtest.Delivery{Labels: []string{"SENT"}})
	page, err := svc.Users.History.List("me").StartHistoryId(start).Do()
	if err != nil || !slices.Equal(page.History[0].MessagesAdded[0].Message.LabelIds, []string{"SENT"}) {
		t.Errorf("got %v, %v; want labels", page, err)
	}

	srv, svc = mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{WideHistoryIDs: true}})
	if _, err := svc.Users.GetProfile("me").Do(); err == nil || !strings.Contains(err.Error(), "uint64") {
		t.Errorf("got %v, want a number that 64 bits do not hold", err)
	}
	const history = "/gmail/v1/users/me/history?startHistoryId="
	var profile struct{ HistoryID string }
	if err := json.Unmarshal([]byte(put(t, srv, "GET", "/gmail/v1/users/me/profile", nil, "").body), &profile); err != nil || len(profile.HistoryID) < 20 {
		t.Errorf("got %+v, %v", profile, err)
	}
	srv.Deliver(ann, letter("wide"))
	if got := put(t, srv, "GET", history+profile.HistoryID, nil, ""); got.status != http.StatusOK || !strings.Contains(got.body, "messagesAdded") {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestHistoryRefusals(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{AllowBadRequests: true})
	for _, query := range []string{
		"", "?startHistoryId=x", "?startHistoryId=-1", "?startHistoryId=1000003&historyTypes=moved", "?startHistoryId=1000003&maxResults=501",
		"?startHistoryId=1000003&pageToken=x", "?startHistoryId=99999999999999999999",
	} {
		if got := put(t, srv, "GET", "/gmail/v1/users/me/history"+query, nil, ""); got.status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", query, got.status, got.body)
		}
	}
}
