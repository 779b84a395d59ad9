package mailarchive

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func TestEntriesYieldWhatWasStored(t *testing.T) {
	s := newMemStore()
	a := New(s, connection.Info{})
	raws := map[string]string{
		"1": "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?!?=\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\n\r\nHello.\r\n",
		"2": "From: \x1b[31mred\r\nSubject: " + strings.Repeat("x", 1000) + "\r\nDate: whenever\r\n\r\n",
		"3": "no header at all",
		"4": "",
		"5": "Subject: half a header\r\n" + strings.Repeat("X: "+strings.Repeat("y", 990)+"\r\n", 200),
	}
	for id, raw := range raws {
		if err := a.Store(t.Context(), message(id, []byte(raw))); err != nil {
			t.Fatal(err)
		}
	}
	got := make(map[string]Entry)
	for e, err := range Entries(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.Ref.ID] = e
	}
	if len(got) != len(raws) {
		t.Fatalf("%d entries, want %d", len(got), len(raws))
	}
	want := Summary{From: "Ann <ann@example.org>", To: "bob@example.org", Subject: "Grüße!", Date: time.Date(2006, 1, 2, 22, 4, 5, 0, time.UTC)}
	if got["1"].Summary != want || got["1"].Key != keyOf([]byte(raws["1"])) {
		t.Errorf("got %+v, want %+v", got["1"], want)
	}
	if two := got["2"].Summary; two.From != "[31mred" || len([]rune(two.Subject)) != maxField+1 || !two.Date.IsZero() {
		t.Errorf("got %q, %d characters of subject, date %v of an odd header", two.From, len([]rune(two.Subject)), two.Date)
	}
	if got["3"].Summary != (Summary{}) || got["4"].Summary != (Summary{}) || got["5"].Summary.Subject != "half a header" {
		t.Errorf("got %+v, %+v and %+v", got["3"].Summary, got["4"].Summary, got["5"].Summary)
	}
}

// A segment that cannot be read does not hide the others.
func TestEntriesBesideDamage(t *testing.T) {
	s := filled(t)
	keys := s.keys(ManifestsPrefix)
	s.change(keys[0], func(b []byte) []byte { return b[:len(b)-3] })
	count, damaged := 0, []string{}
	for _, err := range Entries(t.Context(), s) {
		var e *connection.Error
		switch {
		case err == nil:
			count++
		case errors.As(err, &e):
			damaged = append(damaged, e.Key)
		default:
			t.Fatal(err)
		}
	}
	if count == 0 || !slices.Equal(damaged, keys[:1]) {
		t.Errorf("%d entries, damage in %q, want %q", count, damaged, keys[:1])
	}
	loops := 0
	for _, err := range Entries(t.Context(), s) {
		t.Log(err) // of the damaged part, or none
		if loops++; loops == 2 {
			break // leaving the loop early is fine
		}
	}
}
