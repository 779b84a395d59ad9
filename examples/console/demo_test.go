package main

import (
	"sync"
	"testing"
)

// A button that is clicked twice makes one demonstration.
func TestDemoTwice(t *testing.T) {
	a, err := newApp(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	var clicks sync.WaitGroup
	for range 4 {
		clicks.Go(func() {
			if err := a.demo.start(a.state); err != nil {
				t.Error(err)
			}
		})
	}
	clicks.Wait()
	if all := a.state.all(); len(all) != 2 {
		t.Errorf("got %d connections, want 2", len(all))
	}
}
