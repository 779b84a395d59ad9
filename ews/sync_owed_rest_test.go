package ews

import (
	"slices"
	"testing"
	"time"
)

func TestOwedRest(t *testing.T) {
	var rests []time.Duration
	for _, tries := range []int{1, 3, 4, 5, 13, 14, 1 << 40} {
		rests = append(rests, rest(tries))
	}
	if want := []time.Duration{0, 0, time.Minute, 2 * time.Minute, 512 * time.Minute, longestRest, longestRest}; !slices.Equal(rests, want) {
		t.Errorf("got %v, want %v", rests, want)
	}
}

func TestOwedDue(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	f := &folderHistory{Owed: []owed{
		{ID: "often", Tries: 9, Next: at(0)},
		{ID: "rarely", Tries: 2, Next: at(-time.Hour)},
		{ID: "later", Tries: 4, Next: at(time.Second)},
		{ID: "wrong clock", Tries: 3, Next: at(longestRest + time.Second)},
		{ID: "told", Tries: 1, Next: at(0), told: true},
		{ID: "soon", Tries: 1, Next: at(0), told: true, soon: true},
	}}
	due, later := f.due(now)
	var ids []string
	for _, o := range due {
		ids = append(ids, o.ID)
	}
	if want := []string{"soon", "rarely", "wrong clock", "often"}; !slices.Equal(ids, want) || later != 1 {
		t.Errorf("got %v and %d later, want %v and 1", ids, later, want)
	}
}
