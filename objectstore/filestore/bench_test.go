package filestore_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// benchMessage returns the n-th message, of 3 to 6 KB, and its key.
func benchMessage(n int) (key, content string) {
	content = fmt.Sprintf("Subject: %d\r\n\r\n", n) + strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 70+n%70)
	return addressed(content), content
}

func BenchmarkPut(b *testing.B) {
	for _, mode := range []string{filestore.SyncFull, filestore.SyncNone} {
		for _, workers := range []int{1, 16} {
			b.Run(fmt.Sprintf("sync=%s/workers=%d", mode, workers), func(b *testing.B) {
				c, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: b.TempDir()}, Sync: mode}, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				b.ReportAllocs()
				b.SetBytes(4700)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range workers {
					wg.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							key, content := benchMessage(int(n))
							if _, err := c.Put(b.Context(), key, strings.NewReader(content), &connection.PutOptions{IfAbsent: true}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// filled returns a store with n messages.
func filled(b *testing.B, n int) (c *filestore.Conn, keys []string) {
	b.Helper()
	c, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: b.TempDir()}, Sync: filestore.SyncNone}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	for i := range n {
		key, content := benchMessage(i)
		put(b, c, key, content, nil)
		keys = append(keys, key)
	}
	b.ResetTimer()
	return c, keys
}

func BenchmarkGet(b *testing.B) {
	c, keys := filled(b, 2000)
	b.ReportAllocs()
	b.SetBytes(4700)
	for n := 0; b.Loop(); n++ {
		o, err := c.Get(b.Context(), keys[n%len(keys)], nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, o.Body); err != nil {
			b.Fatal(err)
		}
		if err := o.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	c, keys := filled(b, 2000)
	b.ReportAllocs()
	for b.Loop() {
		if got := list(b, c, nil); len(got) != len(keys) {
			b.Fatalf("got %d keys, want %d", len(got), len(keys))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(keys)), "ns/key")
}
