package maildir_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// benchTree holds 20,000 messages of 3 to 6 KB, as many as performance.md asks for.
func benchTree(b *testing.B) *maildirtest.Tree {
	b.Helper()
	tree := maildirtest.New(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 6<<10)
	for i := range 20_000 {
		tree.Put("INBOX", "cur", fmt.Sprintf("17000%05d.M%06dP4242.host:2,S", i, rnd.IntN(1e6)), raw[:3<<10+rnd.IntN(3<<10)])
	}
	old := time.Now().Add(-time.Hour)
	for _, sub := range []string{"new", "cur"} {
		if err := os.Chtimes(filepath.Join(tree.Path, sub), old, old); err != nil {
			b.Fatal(err)
		}
	}
	return tree
}

// BenchmarkSweep reads a Maildir of 20,000 messages through Fetch. Compare it with BenchmarkRawRead8.
func BenchmarkSweep(b *testing.B) {
	tree := benchTree(b)
	c, err := maildir.Open(tree.Config(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for m, err := range c.Fetch(b.Context(), nil) {
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, m.Body); err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 20_000 {
			b.Fatalf("got %d messages, want 20000", n)
		}
	}
}

// BenchmarkRawRead8 is the limit: eight goroutines that read the same files and do nothing else.
func BenchmarkRawRead8(b *testing.B) {
	tree := benchTree(b)
	dir := filepath.Join(tree.Path, "cur")
	b.ReportAllocs()
	for b.Loop() {
		d, err := os.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		names, err := d.Readdirnames(-1)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := i; j < len(names); j += 8 {
					if _, err := os.ReadFile(filepath.Join(dir, names[j])); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}
