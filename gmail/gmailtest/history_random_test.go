package gmailtest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

// Whoever applies the whole history has what the mailbox has, while several change it at once.
func TestHistoryReplays(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	start := srv.HistoryID(ann)
	var writers sync.WaitGroup
	for seed := range uint64(4) {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the same again
			for i := range 60 {
				all := srv.Messages(ann)
				if len(all) == 0 || rng.IntN(3) == 0 {
					srv.Deliver(ann, letter(fmt.Sprint(seed, "-", i)))
					continue
				}
				id := all[rng.IntN(len(all))].ID
				labels := []string{"UNREAD", "STARRED", "INBOX", "TRASH"}
				switch rng.IntN(4) {
				case 0:
					srv.Remove(ann, id)
				case 1:
					srv.SetLabels(ann, id, labels[:1+rng.IntN(3)], labels[2+rng.IntN(2):])
				case 2:
					srv.SetLabels(ann, id, nil, labels[rng.IntN(4):])
				default:
					_ = svc.Users.Messages.BatchModify("me", &gapi.BatchModifyMessagesRequest{ // some are gone
						Ids: []string{id, all[0].ID}, AddLabelIds: []string{labels[rng.IntN(4)]},
					}).Do()
				}
			}
		})
	}
	writers.Wait()

	replayed := map[string][]string{}
	last := start
	err := svc.Users.History.List("me").StartHistoryId(start).MaxResults(7).Pages(t.Context(), func(page *gapi.ListHistoryResponse) error {
		for _, r := range page.History {
			if r.Id <= last || r.Id > page.HistoryId {
				t.Errorf("record %d behind %d, with the newest at %d", r.Id, last, page.HistoryId)
			}
			last = r.Id
			for _, a := range r.MessagesAdded {
				replayed[a.Message.Id] = []string{"INBOX", "UNREAD"}
			}
			for _, l := range r.LabelsRemoved {
				replayed[l.Message.Id] = slices.DeleteFunc(replayed[l.Message.Id], func(x string) bool { return slices.Contains(l.LabelIds, x) })
			}
			for _, l := range r.LabelsAdded {
				replayed[l.Message.Id] = append(replayed[l.Message.Id], l.LabelIds...)
			}
			for _, d := range r.MessagesDeleted {
				delete(replayed, d.Message.Id)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := srv.Messages(ann)
	if len(all) != len(replayed) || last != srv.HistoryID(ann) {
		t.Errorf("got %d messages up to %d, want %d up to %d", len(replayed), last, len(all), srv.HistoryID(ann))
	}
	for _, m := range all {
		if got := slices.Sorted(slices.Values(replayed[m.ID])); !slices.Equal(got, m.Labels) {
			t.Errorf("%s: got %v, want %v", m.ID, got, m.Labels)
		}
	}
	profile, err := svc.Users.GetProfile("me").Do()
	if err != nil || profile.MessagesTotal != int64(len(all)) || profile.ThreadsTotal != int64(len(all)) || profile.HistoryId != last {
		t.Errorf("got %+v, %v", profile, err)
	}
}
