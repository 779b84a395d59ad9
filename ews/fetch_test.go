package ews_test

import (
	"testing"
)

func TestFetchInbox(t *testing.T) {
	r := newRig(t, nil)
	want := append(letters(30), large(400<<10))
	r.alice.Deliver("Inbox", want...)
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
}
