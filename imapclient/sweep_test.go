package imapclient_test

import (
	"context"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A server whose SEARCH tells less than there is hides nothing.
func TestSearchIncomplete(t *testing.T) {
	for name, answer := range map[string]string{
		"the first ones": "* SEARCH 1 2 3 4\nOK done",
		"the last ones":  "* SEARCH 9 10\nOK done",
		"none":           "* SEARCH\nOK done",
		"nothing":        "OK done",
	} {
		t.Run(name, func(t *testing.T) {
			sizes := []int{10}
			if name == "the first ones" {
				sizes = append(sizes, 10_020) // searched in windows
			}
			for _, folder := range sizes {
				srv := imaptest.NewServer(t, nil)
				srv.Deliver(letters(folder)...)
				srv.Fail("UID SEARCH", answer, 1)
				c := open(t, srv.Config(), srv.Env())
				got := bodies(t, collect(t, c, nil))
				want := texts(letters(folder))
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("got %d different messages of %d", len(slices.Compact(got)), len(want))
				}
			}
			srv := imaptest.NewServer(t, nil)
			srv.Deliver(letters(10)...)
			srv.Fail("UID SEARCH", answer)
			sink, c := newReplica(), open(t, srv.Config(), nil)
			first := syncInto(t, c, sink, "", nil)
			srv.Deliver(letters(2)...)
			second := syncInto(t, c, sink, first.last, nil)
			if len(first.ops) != 11 || len(second.ops) != 2 || len(first.errs)+len(second.errs) > 0 {
				t.Errorf("got %d and %d changes, %v %v; want the folder and 10 messages, and 2", len(first.ops), len(second.ops), first.errs, second.errs)
			}
		})
	}
}

// A SEARCH that does not tell of a new message does not make Follow wait for the next one.
func TestFollowSearchIncomplete(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	came := 0
	for _, err := range open(t, srv.Config(), srv.Env()).Fetch(ctx, &connection.FetchOptions{Follow: true}) {
		if err != nil {
			break
		}
		switch came++; came {
		case 2:
			srv.Fail("UID SEARCH", "OK nothing", 1)
			srv.Deliver(letters(1)...)
		case 3:
			cancel()
		}
	}
	if came != 3 {
		t.Errorf("got %d messages, want 3", came)
	}
	if n := len(srv.Transcript("UID SEARCH")); n != 2 {
		t.Errorf("%d searches, want 2", n)
	}
}

// What a server refuses to tell a second time is taken as it said it first.
func TestSearchAndNoMore(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	srv.Fail("UID SEARCH", "* SEARCH 1 2\nOK done")
	srv.Fail("UID FETCH 1:* (UID)", "BAD no")
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), srv.Env()), nil)), texts(letters(2))...)
	if n := len(srv.Transcript("UID FETCH 1:* (UID)")); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// Where SEARCH tells all, FETCH is not asked.
func TestSearchComplete(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(20)...)
	c := open(t, emptying(srv.Config()), srv.Env())
	var refs []connection.Ref
	for _, f := range collect(t, c, nil) {
		refs = append(refs, f.Ref)
	}
	if err := c.Delete(t.Context(), refs[:10]...); err != nil {
		t.Fatal(err)
	}
	srv.Deliver(letters(1)...)
	wantBodies(t, bodies(t, collect(t, c, nil)), texts(append(letters(20)[10:], letters(1)...))...)
	if asked := srv.Transcript("UID FETCH 1:* (UID)"); len(asked) > 0 {
		t.Errorf("got %v", asked)
	}
}
