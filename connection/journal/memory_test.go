package journal_test

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection/journal"
)

// lines is an endless supply of a message's lines.
type lines struct{ at int }

const oneLine = "The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n"

func (l *lines) Read(p []byte) (int, error) {
	n := copy(p, oneLine[l.at:])
	l.at = (l.at + n) % len(oneLine)
	return n, nil
}

// large returns a report with a message of size octets, of which none is held.
func large(size int64) io.Reader {
	head, tail, _ := strings.Cut(report("Sender: a@x.org\r\nTo: b@x.org\r\n", "@@"), "@@")
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&lines{}, size), strings.NewReader(tail))
}

// A large message costs no more memory than a small one.
func TestMemory(t *testing.T) {
	read := func(size int64) (allocated uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := journal.Unwrap(large(size))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != size {
			t.Fatalf("got %d octets, %v, want %d", n, err, size)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	small := read(1 << 10)
	if got := read(16 << 20); got > small+1<<20 {
		t.Errorf("16 MiB cost %d octets, 1 KiB cost %d", got, small)
	}
}

func BenchmarkUnwrap(b *testing.B) {
	for _, size := range []int64{20 << 10, 5 << 20} {
		b.Run(map[int64]string{20 << 10: "20KiB", 5 << 20: "5MiB"}[size], func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				r, err := journal.Unwrap(large(size))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
