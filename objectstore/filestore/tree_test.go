package filestore

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

func TestTreeKeepsFewDirectoriesOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts open files through /proc")
	}
	openFiles := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := openFiles()
	root := t.TempDir()
	top, err := openTop(root)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTree(top, root, false)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				d, err := tr.get([]string{"a", fmt.Sprint(i % 100), fmt.Sprint(w, "-", i)}, true)
				if err != nil {
					t.Error(err)
					return
				}
				if i%10 == 0 {
					tr.forget(d)
				}
				tr.put(d)
			}
		})
	}
	wg.Wait()
	// The idle ones, the hundred and one above them, and what the runtime polls with.
	if n := openFiles() - before; n > openDirs+120 {
		t.Errorf("%d directories are open, want about %d", n, openDirs)
	}
	tr.close()
	if n := openFiles() - before; n > 0 {
		t.Errorf("%d directories are open after close", n)
	}
	if _, err := tr.get([]string{"a"}, true); err == nil {
		t.Error("a closed tree hands out directories")
	}
	if made, err := filepath.Glob(filepath.Join(root, "a", "*", "*")); err != nil || len(made) != 1200 {
		t.Errorf("got %d directories, %v; want 1200", len(made), err)
	}
}

// TestSharedSync checks that whoever comes while an fsync runs waits for one that begins later, and that all of those
// share it.
func TestSharedSync(t *testing.T) {
	root := t.TempDir()
	top, err := openTop(root)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTree(top, root, true)
	defer tr.close()
	d, err := tr.get(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.put(d)
	d.run.Lock() // an fsync is under way
	const waiters = 10
	results := make(chan error, waiters)
	for range waiters {
		go func() { results <- d.syncShared() }()
	}
	var round *syncRound
	for round == nil {
		runtime.Gosched()
		d.group.Lock()
		round = d.next
		d.group.Unlock()
	}
	select {
	case <-round.done:
		t.Fatal("the round ended before its fsync began")
	case err := <-results:
		t.Fatalf("somebody was served by an fsync that began before: %v", err)
	default:
	}
	d.run.Unlock()
	for range waiters {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	<-round.done
	if round.err != nil {
		t.Error(round.err)
	}
}
