package ews_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A vault is what a host keeps of the messages that Mirror brings.
type vault struct {
	connection.MemoryCheckpoints
	got map[string][]byte // by id
}

func (v *vault) Store(_ context.Context, _ string, c *connection.Change) error {
	switch c.Op {
	case connection.Added:
		raw, err := io.ReadAll(c.Message.Body)
		if err != nil {
			return err
		}
		v.got[c.Ref.ID] = raw
	case connection.Removed:
		delete(v.got, c.Ref.ID)
	default: // where messages lie is no matter here
	}
	return nil
}

func (v *vault) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	known := make([]bool, len(refs))
	for i, ref := range refs {
		_, known[i] = v.got[ref.ID]
	}
	return known, nil
}

// unreadable is an answer that is none.
var unreadable = ewstest.Rewrite(func([]byte) []byte { return []byte("<oops>") })

// A keeping is a server, a mailbox with messages in its inbox, and a host that mirrors it.
type keeping struct {
	*rig
	*vault
	conn *ews.Conn
	ids  []string
}

func newKeeping(t *testing.T, raw ...[]byte) *keeping {
	t.Helper()
	k := &keeping{rig: newRig(t, nil), vault: &vault{got: make(map[string][]byte)}}
	k.cfg.Mailboxes = []string{alice}
	k.ids = k.alice.Deliver("Inbox", raw...)
	k.conn = k.open(t)
	return k
}

func (k *keeping) mirror(t *testing.T) (connection.MirrorStats, error) {
	t.Helper()
	return connection.Mirror(t.Context(), k.conn, k.vault, k.vault, &connection.MirrorOptions{Folders: inbox.Folders, RetryDelay: time.Millisecond})
}

// lacks fails the test unless the host has all messages, whole, but for some.
func (k *keeping) lacks(t *testing.T, some ...string) {
	t.Helper()
	want := make(map[string][]byte)
	for _, m := range k.Messages(alice, "Inbox") {
		if !slices.Contains(some, m.ID) {
			want[m.ID] = m.Raw
		}
	}
	if !maps.EqualFunc(k.got, want, slices.Equal) {
		t.Errorf("the host has %d messages, want %d; or one is another", len(k.got), len(want))
	}
}

// A large message that breaks off whenever it is read holds up none of the others, and comes once that is over.
func TestSyncBodyBreaksForEver(t *testing.T) {
	k := newKeeping(t, letter(0), large(1<<20), letter(1))
	k.Fail(ewstest.On("GetItem").About(k.ids[1]), ewstest.CutAfter(600<<10))
	for range 2 {
		_, err := k.mirror(t)
		mustBe(t, err, connection.ErrNetwork)
		k.lacks(t, k.ids[1])
	}
	k.Heal()
	if _, err := k.mirror(t); err != nil {
		t.Error(err)
	}
	k.lacks(t)
}

// One that breaks off once is read again by the same Sync.
func TestSyncBodyBreaksOnce(t *testing.T) {
	k := newKeeping(t, letter(0), large(1<<20), letter(1))
	k.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.CutAfter(600<<10))
	if stats, err := k.mirror(t); err != nil || stats.Skipped != 0 {
		t.Errorf("got %+v, %v", stats, err)
	}
	k.lacks(t)
}

// A server that can make no message of any item, for some time, costs none of them.
func TestSyncNothingCanBeConverted(t *testing.T) {
	k := newKeeping(t, letters(50)...)
	for _, id := range k.ids {
		k.Fail(ewstest.On("GetItem").Nth(2).About(id), ewstest.FailItems(0, "ErrorMimeContentConversionFailed"))
	}
	for range 2 {
		stats, err := k.mirror(t)
		mustBe(t, err, connection.ErrCorrupt)
		if stats.Failed != 1 || stats.Skipped >= 50 {
			t.Errorf("got %+v", stats)
		}
	}
	k.lacks(t, k.ids...)
	k.Heal()
	if _, err := k.mirror(t); err != nil {
		t.Error(err)
	}
	k.lacks(t)
}

// Items side by side of which the server gives no answer that can be read hold up none of the others.
func TestSyncNoAnswerAboutSeveral(t *testing.T) {
	k := newKeeping(t, letters(12)...)
	bad := k.ids[3:7]
	for _, id := range bad {
		k.Fail(ewstest.On("GetItem").About(id), unreadable)
	}
	_, err := k.mirror(t)
	mustBe(t, err, connection.ErrProtocol)
	k.lacks(t, bad...)
	k.Heal()
	if _, err := k.mirror(t); err != nil {
		t.Error(err)
	}
	k.lacks(t)
}

// More of them than any server has end a Sync, and the next one comes further.
func TestSyncNoAnswerAboutMany(t *testing.T) {
	k := newKeeping(t, letters(30)...)
	bad := k.ids[2:18]
	for _, id := range bad {
		k.Fail(ewstest.On("GetItem").About(id), unreadable)
	}
	stats, err := k.mirror(t)
	mustBe(t, err, connection.ErrProtocol)
	if stats.Failed != 1 || stats.Checkpoints < 2 {
		t.Errorf("got %+v, want a Checkpoint of a Sync that ended", stats)
	}
	_, err = k.mirror(t)
	mustBe(t, err, connection.ErrProtocol)
	k.lacks(t, bad...)
}

// A server that answers nothing more after a Sync has begun is no matter of messages.
func TestSyncServerGoes(t *testing.T) {
	k := newKeeping(t, letters(3)...)
	k.Fail(ewstest.On("GetItem"), unreadable)
	k.Fail(ewstest.On("GetFolder").Nth(2), unreadable)
	for _, err := range k.conn.Sync(t.Context(), "", inbox) {
		if e := new(connection.Error); errors.As(err, &e) && e.Ref.ID == "" {
			mustBe(t, err, connection.ErrProtocol)
			return
		}
	}
	t.Error("Sync ended without an error")
}

// What is owed is asked for no more once it is gone, and what becomes of it before that is not told.
func TestSyncOwedIsGone(t *testing.T) {
	k := newKeeping(t, letters(4)...)
	for _, id := range k.ids[:3] {
		k.alice.BreakConversion(id)
	}
	_, err := k.mirror(t)
	mustBe(t, err, connection.ErrCorrupt)
	k.alice.SetRead(k.ids[0])
	stats, err := k.mirror(t)
	mustBe(t, err, connection.ErrCorrupt)
	if stats.Updated != 0 {
		t.Errorf("an update of a message that was never told: %+v", stats)
	}
	k.alice.Remove(k.ids[0])
	k.alice.Move(k.ids[1], "Deleted Items")
	k.Fail(ewstest.On("GetItem").About(k.ids[2]), ewstest.FailItems(0, "ErrorItemNotFound"))
	if _, err := k.mirror(t); err != nil {
		t.Error(err)
	}
	before := k.Calls("GetItem")
	if _, err := k.mirror(t); err != nil {
		t.Error(err)
	}
	if n := k.Calls("GetItem") - before; n != 0 {
		t.Errorf("%d more requests for what is gone", n)
	}
}

// One that is too large for the server to give is told once.
func TestSyncTooLargeIsNotOwed(t *testing.T) {
	k := newKeeping(t, letters(3)...)
	k.Fail(ewstest.On("GetItem").Nth(2).About(k.ids[1]), ewstest.Refuse("ErrorMessageSizeExceeded", "This one."))
	stats, err := k.mirror(t)
	mustBe(t, err, connection.ErrTooLarge)
	if stats.Skipped != 1 {
		t.Errorf("got %+v", stats)
	}
	if _, err := k.mirror(t); err != nil {
		t.Error(err)
	}
	k.lacks(t, k.ids[1])
}
