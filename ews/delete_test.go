package ews_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

func refsOf(ids ...string) []connection.Ref {
	var refs []connection.Ref
	for _, id := range ids {
		refs = append(refs, connection.Ref{ID: id})
	}
	return refs
}

// errorsOf returns the errors joined in err by the ID of their Ref.
func errorsOf(err error) map[string]*connection.Error {
	all := map[string]*connection.Error{}
	for e := range connection.Errors(err) {
		all[e.Ref.ID] = e
	}
	return all
}

func TestDeleteModes(t *testing.T) {
	for mode, want := range map[string]string{ews.DeleteHard: "Purges", ews.DeleteSoft: "Deletions", ews.DeleteTrash: "Deleted Items"} {
		r := newRig(t, nil)
		r.cfg.DeleteMode = mode
		ids := r.alice.Deliver("Inbox", letters(3)...)
		if err := r.open(t).Delete(t.Context(), refsOf(ids[0], ids[2])...); err != nil {
			t.Fatal(err)
		}
		if left := r.inbox(); len(left) != 1 || string(left[0]) != string(letter(1)) {
			t.Errorf("%s: %d are left", mode, len(left))
		}
		there := len(r.Messages(alice, want))
		for _, m := range r.alice.Recoverable().Folder(want).Messages() {
			if len(m.Raw) > 0 {
				there++
			}
		}
		if mode != ews.DeleteHard && there != 2 {
			t.Errorf("%s: %d are in %s, want 2", mode, there, want)
		}
	}
	r := newRig(t, nil)
	r.cfg.DeleteMode = ""
	ids := r.alice.Deliver("Inbox", letters(2)...)
	err := r.open(t).Delete(t.Context(), refsOf(ids...)...)
	e := theError(t, err, connection.ErrConfig)
	if len(errorsOf(err)) != 2 || !strings.HasPrefix(e.Hint, "delete_mode:") || len(r.inbox()) != 2 || r.Calls("DeleteItem") != 0 {
		t.Errorf("got %v, %d are left", err, len(r.inbox()))
	}
}

// Nobody is told of what is deleted.
func TestE38Silent(t *testing.T) {
	for version, receipts := range map[string]bool{"2016": true, "2013_SP1": true, "2013": false, "2010_SP2": false, "2007_SP1": false} {
		// The first request shows an old server attributes that its schema does not have.
		r := newRig(t, &ewstest.Options{Version: version, AllowBadRequests: true})
		ids := r.alice.Folder("Inbox").DeliverItems(
			ewstest.Message{Raw: letter(0), Class: "IPM.Schedule.Meeting.Request"},
			ewstest.Message{Raw: letter(1), Class: "IPM.Appointment"}, ewstest.Message{Raw: letter(2), Class: "IPM.Task"})
		if err := r.open(t).Delete(t.Context(), refsOf(ids...)...); err != nil {
			t.Fatal(version, err)
		}
		asked := r.asked("DeleteItem")
		body := string(asked[len(asked)-1].Body)
		for _, want := range []string{`SendMeetingCancellations="SendToNone"`, `AffectedTaskOccurrences="AllOccurrences"`, `DeleteType="HardDelete"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", version, want, body)
			}
		}
		if got := strings.Contains(body, `SuppressReadReceipts="true"`); got != receipts {
			t.Errorf("%s: SuppressReadReceipts %t, want %t", version, got, receipts)
		}
		if len(r.inbox()) != 0 {
			t.Errorf("%s: %d are left", version, len(r.inbox()))
		}
	}
}

func TestE39Quota(t *testing.T) {
	r := newRig(t, nil)
	ids := r.alice.Deliver("Inbox", letters(3)...)
	r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.FailItem(1, "ErrorQuotaExceededOnDelete"))
	err := r.open(t).Delete(t.Context(), refsOf(ids...)...)
	e := theError(t, err, connection.ErrQuota)
	if all := errorsOf(err); len(all) != 1 || e.Ref.ID != ids[1] || e.Code != "ErrorQuotaExceededOnDelete" || e.Hint == "" {
		t.Errorf("got %v", err)
	}

	r = newRig(t, nil)
	ids = r.alice.Deliver("Inbox", letters(2)...)
	r.Fail(ewstest.On("DeleteItem"), ewstest.InnerError("ErrorQuotaExceededOnDelete"))
	err = r.open(t).Delete(t.Context(), refsOf(ids...)...)
	if all := errorsOf(err); len(all) != 2 || !errors.Is(all[ids[0]], connection.ErrQuota) || !errors.Is(all[ids[1]], connection.ErrQuota) {
		t.Errorf("got %v", err)
	}
	if n := r.Calls("DeleteItem"); n != 1 {
		t.Errorf("asked %d times for what does not pass", n)
	}
}

func TestE40Hold(t *testing.T) {
	srv := ewstest.NewServer(t, nil)
	mb := srv.AddMailbox(alice, ewstest.MailboxOptions{Password: canary, Hold: true})
	r := &rig{Server: srv, alice: mb, cfg: srv.Config(), env: srv.Env()}
	r.cfg.DeleteMode, r.cfg.IncludeRecoverable = ews.DeleteHard, true
	ids := mb.Deliver("Inbox", letter(0))
	c := r.open(t)
	if err := c.Delete(t.Context(), refsOf(ids...)...); err != nil {
		t.Fatal(err)
	}
	var purges string
	for f, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name, "/Purges") {
			purges = f.Name
		}
	}
	wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Folders: []string{purges}})), letter(0))
}

// What the server says of each message becomes that message's, whatever happens to the request.
func TestDeleteOutcomes(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*rig, []string)
		bad   []int // of 5, those that have an error
		kind  connection.Kind
	}{
		"gone already":           {func(r *rig, ids []string) { r.alice.Remove(ids[1], ids[3]) }, nil, 0},
		"answers missing":        {func(r *rig, _ []string) { r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.OmitItems(2)) }, nil, 0},
		"reply lost":             {func(r *rig, _ []string) { r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.Lose()) }, nil, 0},
		"busy":                   {func(r *rig, _ []string) { r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.Busy(time.Second)) }, nil, 0},
		"busy from the third on": {func(r *rig, _ []string) { r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.BusyItems(2, time.Second)) }, nil, 0},
		"one protected": {func(r *rig, _ []string) {
			r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.FailItem(4, "ErrorCannotDeleteObject"))
		}, []int{4}, connection.ErrPermission},
		"one malformed": {func(r *rig, _ []string) {
			r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.FailItem(0, "ErrorInvalidIdMalformed"))
		}, []int{0}, connection.ErrProtocol},
		"batch stopped": {func(r *rig, _ []string) {
			r.Fail(ewstest.On("DeleteItem").Times(1), ewstest.FailItems(2, "ErrorBatchProcessingStopped"))
		}, nil, 0},
		"unavailable for good": {func(r *rig, _ []string) {
			r.Fail(ewstest.On("DeleteItem"), ewstest.Refuse("ErrorMailboxStoreUnavailable", "The store is down."))
		}, []int{0, 1, 2, 3, 4}, connection.ErrUnavailable},
		"denied": {func(r *rig, _ []string) { r.alice.Fail("ErrorAccessDenied") }, []int{0, 1, 2, 3, 4}, connection.ErrPermission},
		"a code that nobody knows": {func(r *rig, _ []string) {
			r.Fail(ewstest.On("DeleteItem").Times(4), ewstest.FailItem(0, "ErrorFromTheFuture"))
		}, []int{0}, connection.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			ids := r.alice.Deliver("Inbox", letters(5)...)
			test.spoil(r, ids)
			err := r.open(t).Delete(t.Context(), refsOf(ids...)...)
			all := errorsOf(err)
			if len(all) != len(test.bad) || (err == nil) != (len(test.bad) == 0) {
				t.Errorf("got %v, want errors about %v", err, test.bad)
			}
			for i, id := range ids {
				if e := all[id]; slices.Contains(test.bad, i) && (e == nil || e.Kind != test.kind || e.Op != "delete") {
					t.Errorf("message %d: got %v, want %v", i, e, test.kind)
				}
			}
			if n := len(r.inbox()); n > len(test.bad) {
				t.Errorf("%d are left", n)
			}
		})
	}
}

func TestDeleteArguments(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	err := c.Delete(t.Context(), connection.Ref{}, connection.Ref{ID: "a\x00b"}, connection.Ref{Mailbox: "nobody", ID: "x"})
	n := 0
	for e := range connection.Errors(err) {
		n++
		if e.Kind != connection.ErrInvalid {
			t.Errorf("got %v", e)
		}
	}
	if n != 3 {
		t.Errorf("got %v", err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

// Many messages of several mailboxes go in few requests.
func TestDeleteMany(t *testing.T) {
	r := newRig(t, nil)
	other := r.AddMailbox(bob, ewstest.MailboxOptions{})
	r.impersonating()
	var refs []connection.Ref
	for _, id := range r.alice.Deliver("Inbox", letters(230)...) {
		refs = append(refs, connection.Ref{Mailbox: alice, ID: id})
	}
	for _, id := range other.Deliver("Inbox", letters(2)...) {
		refs = append(refs, connection.Ref{Mailbox: bob, ID: id})
	}
	if err := r.open(t).Delete(t.Context(), append(refs, refs...)...); err != nil {
		t.Fatal(err)
	}
	if left := len(r.inbox()) + len(r.Messages(bob, "Inbox")); left != 0 || r.Calls("DeleteItem") != 4 {
		t.Errorf("%d are left after %d requests", left, r.Calls("DeleteItem"))
	}
}
