package ews_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// Whatever happens to a mailbox, to the line and to the host, a replica that goes on from its last Checkpoint is what the
// mailbox is. A host that keeps what it stored behind a Checkpoint may have more: what was gone by the next Sync is told to
// nobody.
func TestSyncRandom(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			srv, mb := mirrorServer(t, &ewstest.Options{
				Seed: seed, SyncCap: 1 + rng.IntN(20), SyncOrder: []ewstest.SyncOrder{"", ewstest.OldestFirst, ewstest.Shuffled}[rng.IntN(3)],
				Quirks: ewstest.Quirks{Twice: rng.IntN(3) == 0, EmptyPages: rng.IntN(3) == 0, ReadAsUpdate: rng.IntN(2) == 0},
			})
			w := &world{rng: rng, srv: srv, mb: mb, folders: []*ewstest.Folder{mb.Folder("Inbox"), mb.Folder("Sent Items")}}
			r := newReplica()
			for range 8 {
				w.live()
				w.trouble()
				if r.interrupted(t, srv.open(t), rng); seed%2 == 0 {
					r.back()
				}
			}
			srv.Heal()
			r.mustSync(t, srv.open(t), nil)
			w.compare(t, r, seed%2 == 0)
			r.mustSync(t, srv.open(t), nil)
			r.tells(t)
		})
	}
}

// interrupted syncs until something goes wrong, or until a change at random.
func (r *replica) interrupted(t testing.TB, c connection.Syncer, rng *rand.Rand) {
	crash := 1 + rng.IntN(120)
	for change, err := range c.Sync(t.Context(), r.checkpoint, nil) {
		if err != nil {
			if kind := connection.KindOf(err); kind == connection.ErrStale || kind == connection.ErrUnknown || kind == connection.ErrUncertain {
				t.Errorf("got error %v", err)
			}
			return // a host that is not sure stores no Checkpoint beyond
		}
		if crash--; crash == 0 {
			return
		}
		if r.apply(change) != nil {
			return
		}
		if change.Checkpoint != "" {
			r.keep()
		}
	}
}

// keep makes what r holds what back goes back to.
func (r *replica) keep() {
	r.kept = &replica{
		messages: maps.Clone(r.messages), where: maps.Clone(r.where), folders: maps.Clone(r.folders), flags: maps.Clone(r.flags), special: maps.Clone(r.special),
		checkpoint: r.checkpoint,
	}
}

// back forgets what was stored behind the last Checkpoint.
func (r *replica) back() {
	if kept := r.kept; kept != nil {
		*r = *kept
	} else {
		*r = *newReplica()
	}
	r.keep()
}

// A world is a mailbox in which things happen.
type world struct {
	rng     *rand.Rand
	srv     *rig
	mb      *ewstest.Mailbox
	folders []*ewstest.Folder
	count   int
}

func (w *world) folder() *ewstest.Folder { return w.folders[w.rng.IntN(len(w.folders))] }

// live lets some things happen.
func (w *world) live() {
	for range 2 + w.rng.IntN(12) {
		f := w.folder()
		all := f.Messages()
		n := len(w.folders)
		switch action := w.rng.IntN(10); {
		case action < 4 || len(all) == 0:
			raw := letter(w.count)
			if w.count++; w.rng.IntN(20) == 0 {
				raw = append(raw, large(300_000)...) // beyond what is read ahead
			}
			f.Deliver(raw)
		case action < 6:
			w.mb.Remove(all[w.rng.IntN(len(all))].ID)
		case action < 7:
			w.mb.SetRead(all[w.rng.IntN(len(all))].ID)
		case action < 8:
			w.mb.Move(all[w.rng.IntN(len(all))].ID, []string{"Inbox", "Sent Items"}[w.rng.IntN(2)])
		case n < 6:
			w.folders = append(w.folders, w.mb.Folder(fmt.Sprintf("Folder %d", w.count)))
			w.count++
		case action == 8:
			w.folders[n-1].Delete()
			w.folders = w.folders[:n-1]
		default:
			w.count++
			w.folders[n-1].Rename(fmt.Sprintf("Renamed %d", w.count))
		}
	}
}

// trouble has some requests fail from now on.
func (w *world) trouble() {
	w.srv.Heal()
	faults := []ewstest.Fault{
		ewstest.CutAfter(int64(w.rng.IntN(400_000))), ewstest.ResetAfter(int64(w.rng.IntN(3000))), ewstest.HangUp(), ewstest.Lose(),
		ewstest.OmitItems(w.rng.IntN(3)), ewstest.SwapItems(0, 1), ewstest.FailItems(w.rng.IntN(4), "ErrorBatchProcessingStopped"),
	}
	i := w.rng.IntN(len(faults))
	op := "GetItem"
	if i < 4 && w.rng.IntN(2) == 0 {
		op = "*"
	}
	w.srv.Fail(ewstest.On(op).Nth(1+w.rng.IntN(10)).Times(1), faults[i])
}

// compare fails the test unless the replica is what the mailbox is, or if not exact at least that.
func (w *world) compare(t testing.TB, r *replica, exact bool) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	for _, f := range w.folders {
		for _, m := range f.Messages() {
			want[m.ID] = fmt.Sprintf("read %t: %.200q of %d octets", m.Read, m.Raw, len(m.Raw))
		}
	}
	for ref, raw := range r.messages {
		got[ref.ID] = fmt.Sprintf("read %t: %.200q of %d octets", slices.Contains(r.flags[ref], connection.FlagSeen), raw, len(raw))
		if want[ref.ID] == "" && exact {
			t.Errorf("the replica has what is gone, in %s: %s", r.where[ref], got[ref.ID])
		}
	}
	for id, message := range want {
		if got[id] != message {
			t.Errorf("the replica has %q, want %q", got[id], message)
		}
	}
}
