package raw_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/gmail/internal/raw"
)

// long is an answer with a message of size octets, which is a multiple of 3, made while it is read.
func long(size int64) io.Reader {
	text := &repeated{text: base64.URLEncoding.EncodeToString(octets(3 * 1024))}
	return io.MultiReader(strings.NewReader(`{"id":"a","raw":"`), io.LimitReader(text, size/3*4), strings.NewReader(`"}`))
}

// What is allocated for a message does not grow with it.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	allocated := func(size int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := raw.Read(long(size), raw.Options{Dir: dir})
		if err != nil || m.Size != size {
			t.Fatalf("got %+v, %v", m, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	const most = 8 << 20 // the memory of a spool by doubling, and what else goes on
	if got := allocated(24_000_000); got > most {
		t.Errorf("a message of 24 MB took %d octets, want at most %d", got, most)
	}
	empty(t, dir)
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int64{4_002, 75_000, 49_999_998} {
		b.Run(fmt.Sprintf("octets=%d/stream", size), func(b *testing.B) {
			dir := b.TempDir()
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				m, err := raw.Read(long(size), raw.Options{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("octets=%d/json", size), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				var m struct{ ID, Raw string }
				if err := json.NewDecoder(long(size)).Decode(&m); err != nil {
					b.Fatal(err)
				}
				if data, err := base64.URLEncoding.DecodeString(m.Raw); err != nil || int64(len(data)) != size {
					b.Fatalf("got %d octets, %v", len(data), err)
				}
			}
		})
	}
}
