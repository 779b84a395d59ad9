package filestore

import (
	"bytes"
	"testing"
)

// TestMatchOnACoarseClock: on a file system that counts seconds, both versions of an object may have the same time and
// the same size. Then their content decides.
func TestMatchOnACoarseClock(t *testing.T) {
	digest := func(s string) string {
		sum, err := digestOf(bytes.NewReader([]byte(s)))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	records := []record{{Size: 3, MTime: 5e9, SHA256: digest("old")}, {Size: 3, MTime: 5e9, SHA256: digest("new")}}
	for i, content := range []string{"old", "new"} {
		got, err := match(records, fileStat{size: 3, mtime: 5e9, regular: true}, bytes.NewReader([]byte(content)))
		if err != nil || got != &records[i] {
			t.Errorf("%s: got %+v, %v; want %+v", content, got, err, records[i])
		}
	}
	if got, err := match(records, fileStat{size: 3, mtime: 5e9, regular: true}, bytes.NewReader([]byte("bad"))); err == nil {
		t.Errorf("damaged: got %+v, want an error", got)
	}
}
