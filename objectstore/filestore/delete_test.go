package filestore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func TestDeleteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	put(t, c, "a/b/c/one", "1", nil)
	put(t, c, "a/b/two.eml", "2", nil)
	if err := c.Delete(t.Context(), "a/b/c/one", "a/missing/x", "none"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a", "b", "c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty directory is still there: %v", err)
	}
	if got := get(t, c, "a/b/two.eml", nil); got != "2" {
		t.Errorf("got %q", got)
	}
	put(t, c, "a/b/c/one", "again", nil)
	if err := c.Delete(t.Context(), "a/b/two.eml", "a/b/c/one"); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files left: %v", got)
	}
	_, err := c.Stat(t.Context(), "a/b/c/one")
	wantKind(t, err, connection.ErrNotFound)
	err = c.Delete(t.Context(), "../x", "fine")
	wantKind(t, err, connection.ErrUnsupported, "InvalidKey")
}

func TestDeleteOfMany(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	var keys []string
	for i := range 60 {
		keys = append(keys, fmt.Sprintf("d/%d/%d.eml", i%3, i))
		put(t, c, keys[i], "x", nil)
	}
	for _, i := range []int{7, 40} {
		if err := c.Lock(t.Context(), keys[i], connection.Lock{LegalHold: true}); err != nil {
			t.Fatal(err)
		}
	}
	var failed []string
	for e := range connection.Errors(c.Delete(t.Context(), append(keys, "missing")...)) {
		failed = append(failed, e.Key)
	}
	want := []string{keys[7], keys[40]}
	if !slices.Equal(failed, want) {
		t.Errorf("got errors for %v, want %v", failed, want)
	}
	if got := list(t, c, nil); len(got) != 2 {
		t.Errorf("left: %v", got)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	soon := time.Now().Add(time.Hour)
	for _, key := range []string{addressed("kept"), "doc"} {
		put(t, c, key, "kept", nil)
		if err := c.Lock(t.Context(), key, connection.Lock{RetainUntil: soon}); err != nil {
			t.Fatal(err)
		}
		other := open(t, dir)
		wantKind(t, other.Delete(t.Context(), key), connection.ErrLocked)
		for _, content := range []string{"kept", "changed"} {
			_, err := other.Put(t.Context(), key, strings.NewReader(content), nil)
			wantKind(t, err, connection.ErrLocked)
		}
		_, err := other.Put(t.Context(), key, strings.NewReader("x"), &connection.PutOptions{IfAbsent: true})
		wantKind(t, err, connection.ErrExists)
		wantKind(t, c.Lock(t.Context(), key, connection.Lock{RetainUntil: soon.Add(-time.Minute)}), connection.ErrLocked, "not shortened")
		if err := c.Lock(t.Context(), key, connection.Lock{RetainUntil: soon.Add(time.Hour), LegalHold: true}); err != nil {
			t.Fatal(err)
		}
		if err := c.Lock(t.Context(), key, connection.Lock{}); err != nil { // lifts the hold, keeps the retention
			t.Fatal(err)
		}
		info, err := other.Stat(t.Context(), key)
		if err != nil || !info.Lock.RetainUntil.Equal(soon.Add(time.Hour)) || info.Lock.LegalHold {
			t.Errorf("got lock %+v, %v", info.Lock, err)
		}
		if got := get(t, other, key, nil); got != "kept" {
			t.Errorf("got %q", got)
		}
	}
	put(t, c, "hold", "x", &connection.PutOptions{Lock: connection.Lock{LegalHold: true}, Meta: map[string]string{"a": "b"}})
	wantKind(t, c.Delete(t.Context(), "hold"), connection.ErrLocked, "legal hold")
	if err := c.Lock(t.Context(), "hold", connection.Lock{}); err != nil {
		t.Fatal(err)
	}
	if info, err := c.Stat(t.Context(), "hold"); err != nil || info.Meta["a"] != "b" {
		t.Errorf("got %+v, %v", info, err)
	}
	if err := c.Delete(t.Context(), "hold"); err != nil {
		t.Error(err)
	}
	wantKind(t, c.Lock(t.Context(), "hold", connection.Lock{LegalHold: true}), connection.ErrNotFound)
}
