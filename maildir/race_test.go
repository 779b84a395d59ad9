package maildir_test

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// TestSweepWhileOthersWork sweeps a folder while two programs deliver to it and two rename what is there, as fast as
// they can: every message that was there when the sweep began comes, whole, and none comes twice.
func TestSweepWhileOthersWork(t *testing.T) {
	tree := maildirtest.New(t)
	var there []string
	for range 1000 {
		there = append(there, tree.Deliver("INBOX", []byte("the whole of it")))
	}
	c := open(t, tree.Config())
	for round := range 3 {
		var stop atomic.Bool
		var wg sync.WaitGroup
		for w := range 4 {
			rnd := rand.New(rand.NewPCG(uint64(round), uint64(w)))
			wg.Go(func() {
				for n := 0; !stop.Load(); n++ {
					if w < 2 {
						if n == 300 {
							return // or the folder grows faster than a slow machine reads it
						}
						if _, err := tree.TryDeliver("INBOX", []byte("the whole of it")); err != nil {
							t.Error(err)
						}
						continue
					}
					// Each renames its own half, or they would be in each other's way.
					unique := there[2*rnd.IntN(len(there)/2)+w-2]
					if err := tree.TrySetFlags("INBOX", unique, []string{"", "S", "RS", "FRS"}[rnd.IntN(4)]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := map[string]bool{}
		for m, err := range c.Fetch(t.Context(), nil) {
			if err != nil {
				t.Error(err)
				continue
			}
			if raw, err := io.ReadAll(m.Body); err != nil || string(raw) != "the whole of it" {
				t.Errorf("%s: got %q and %v", m.Ref, raw, err)
			}
			if seen[m.Ref.ID] {
				t.Errorf("round %d: %s came twice", round, m.Ref)
			}
			seen[m.Ref.ID] = true
		}
		stop.Store(true)
		wg.Wait()
		lost := 0
		for _, unique := range there {
			if !seen[unique] {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("round %d: %d of %d were overlooked", round, lost, len(there))
		}
	}
}

// TestDeleteWhileOthersRename: what is renamed during Delete is deleted all the same, and nothing else.
func TestDeleteWhileOthersRename(t *testing.T) {
	tree := maildirtest.New(t)
	for range 5 {
		var stop atomic.Bool
		var wg sync.WaitGroup
		doomed, kept := tree.Deliver("INBOX", []byte("doomed")), tree.Deliver("INBOX", []byte("kept"))
		for _, unique := range []string{doomed, kept} {
			wg.Go(func() {
				for !stop.Load() {
					for _, letters := range []string{"S", "FS"} {
						if tree.TrySetFlags("INBOX", unique, letters) != nil && unique == kept {
							t.Error("kept is gone")
							return
						}
					}
				}
			})
		}
		c := open(t, tree.Config())
		var err error
		for try := range 20 {
			// "Renamed all the time" is an honest answer; asked again it must come to an end.
			if err = c.Delete(t.Context(), inboxRef(doomed)); err == nil {
				break
			}
			t.Logf("try %d: %v", try, err)
		}
		stop.Store(true)
		wg.Wait()
		if err != nil || tree.File("INBOX", doomed) != "" || tree.File("INBOX", kept) == "" {
			t.Errorf("got %v, doomed at %q, kept at %q", err, tree.File("INBOX", doomed), tree.File("INBOX", kept))
		}
		tree.Remove("INBOX", kept)
	}
}

// TestBreakAndCancelReleaseEverything leaves loops early, many times; open files would run out otherwise.
func TestBreakAndCancelReleaseEverything(t *testing.T) {
	tree := maildirtest.New(t)
	for range 40 {
		tree.Deliver("INBOX", make([]byte, 100<<10)) // stays open while it is read
	}
	c := open(t, tree.Config())
	before := openFiles(t)
	for range 50 {
		for m, err := range c.Fetch(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Body.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			break
		}
		for _, err := range c.Sync(t.Context(), "", nil) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("got %d open files, want %d", after, before)
	}
}
