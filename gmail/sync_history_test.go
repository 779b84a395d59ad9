package gmail

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// readWindow coalesces records given as JSON.
func readWindow(t *testing.T, records string, told func(id, record string) bool) *window {
	t.Helper()
	var page historyPage
	if err := json.Unmarshal([]byte(`{"history":[`+records+`],"historyId":"99"}`), &page); err != nil {
		t.Fatal(err)
	}
	if told == nil {
		told = func(string, string) bool { return false }
	}
	w := newWindow()
	for i := range page.Records {
		w.add(&page.Records[i], told)
	}
	return w
}

func TestWindowCoalesces(t *testing.T) {
	for name, test := range map[string]struct {
		records string
		want    fate
	}{
		"added, and labels after that": {
			`{"id":"1","messages":[{"id":"other"}],"messagesAdded":[{"message":{"id":"a"}}]},{"id":"2","labelsAdded":[{"message":{"id":"a"},"labelIds":["X"]}]}`,
			fate{id: "a", record: "2", added: true, events: true, gained: []string{"X"}},
		},
		"added and deleted": {
			`{"id":"1","messagesAdded":[{"message":{"id":"a"}}]},{"id":"2","messagesDeleted":[{"message":{"id":"a"}}]}`,
			fate{id: "a", record: "2", added: true, deleted: true},
		},
		"there and back": {
			`{"id":"1","labelsAdded":[{"message":{"id":"a"},"labelIds":["X"]}]},{"id":"2","labelsRemoved":[{"message":{"id":"a"},"labelIds":["X"]}]}`,
			fate{id: "a", record: "2", events: true, lost: []string{"X"}},
		},
		"all labels told, as of before the change": {
			`{"id":"1","labelsAdded":[{"message":{"id":"a","labelIds":["I","Y"]},"labelIds":["X"]}]},{"id":"2","labelsRemoved":[{"message":{"id":"a"},"labelIds":["Y"]}]}`,
			fate{id: "a", record: "2", events: true, labels: []string{"I", "X"}, gained: []string{"X"}, lost: []string{"Y"}},
		},
		"all labels told, as of after the change": {
			`{"id":"1","labelsRemoved":[{"message":{"id":"a","labelIds":["I"]},"labelIds":["X"]}]}`,
			fate{id: "a", record: "1", events: true, labels: []string{"I"}, lost: []string{"X"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := readWindow(t, test.records, nil)
			if len(w.fates) != 1 {
				t.Fatalf("got %d messages, want 1", len(w.fates))
			}
			got, want := w.fates[0], test.want
			if got.id != want.id || got.record != want.record || got.added != want.added || got.deleted != want.deleted || got.events != want.events ||
				!slices.Equal(got.labels, want.labels) || !slices.Equal(got.gained, want.gained) || !slices.Equal(got.lost, want.lost) {
				t.Errorf("got %+v, want %+v", *got, want)
			}
		})
	}
}

func TestWindowLeavesOutWhatIsStale(t *testing.T) {
	w := readWindow(t, `{"id":"5","labelsAdded":[{"message":{"id":"a"},"labelIds":["X"]}]},{"id":"7","labelsAdded":[{"message":{"id":"a"},"labelIds":["Y"]}]}`,
		func(_, record string) bool { return compareHistory(record, "5") <= 0 })
	if len(w.fates) != 1 || !slices.Equal(w.fates[0].gained, []string{"Y"}) {
		t.Errorf("got %+v", w.fates)
	}
	w = readWindow(t, `{"id":"5","messagesDeleted":[{"message":{"id":"a"}}]}`, func(string, string) bool { return true })
	if len(w.fates) != 1 || !w.fates[0].deleted {
		t.Error("that a message is gone is never stale")
	}
}

// Only what is in order is a place to go on from.
func TestWindowInDisorder(t *testing.T) {
	for records, want := range map[string]bool{
		`{"id":"5"},{"id":"5"},{"id":"7"}`: true,
		`{"id":"5"},{"id":"4"},{"id":"7"}`: false,
		`{"id":"5"},{},{"id":"7"}`:         false,
	} {
		if w := readWindow(t, records, nil); w.ordered != want {
			t.Errorf("%s: in order %t, want %t", records, w.ordered, want)
		}
	}
}

func TestHistoryIDRefused(t *testing.T) {
	for _, text := range []string{`"12ab"`, `-1`, `1e5`, `""`, `{}`, `"` + strings.Repeat("9", 101) + `"`} {
		var p profile
		err := json.Unmarshal([]byte(`{"historyId":`+text+`}`), &p)
		if !errors.Is(err, connection.ErrProtocol) || !strings.Contains(err.Error(), "historyId") {
			t.Errorf("%s: got %v, want %v naming the field", text, err, connection.ErrProtocol)
		}
	}
	for text, want := range map[string]historyID{`"12"`: "12", `12`: "12", `179500000000000000001`: "179500000000000000001", `null`: ""} {
		var p profile
		if err := json.Unmarshal([]byte(`{"historyId":`+text+`}`), &p); err != nil || p.History != want {
			t.Errorf("%s: got %q, error %v", text, p.History, err)
		}
	}
}

func TestPageGuard(t *testing.T) {
	token := func(i int) string { return strings.Repeat("t", i+1) }
	var g pageGuard
	for i := range 500 {
		if err := g.next("x", token(i), 1); err != nil {
			t.Fatalf("page %d: %v", i, err)
		}
	}
	for name, circle := range map[string]int{"the same token": 1, "two tokens in turn": 2, "a circle of 7": 7} {
		var g pageGuard
		err := error(nil)
		for i := 0; i < 100 && err == nil; i++ {
			err = g.next("x", token(i%circle), 1)
		}
		if !errors.Is(err, connection.ErrProtocol) {
			t.Errorf("%s: got %v, want %v", name, err, connection.ErrProtocol)
		}
	}
	g = pageGuard{}
	err := error(nil)
	for i := 0; i < 2*mostEmpty && err == nil; i++ {
		err = g.next("x", token(i), 0)
	}
	if !errors.Is(err, connection.ErrProtocol) {
		t.Errorf("empty pages without end: got %v, want %v", err, connection.ErrProtocol)
	}
}
