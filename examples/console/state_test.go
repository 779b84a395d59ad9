package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func TestStateOutlivesTheConsole(t *testing.T) {
	dir := t.TempDir()
	s, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, name := range []string{"b", "a"} {
		id, err := s.put(entry{Settings: connection.Settings{Name: name, Driver: "imap", Config: []byte(`{"password": "horse"}`)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := s.change(ids[1], func(e *entry) { e.Disabled = true }); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "connections.json")
	if err := os.Chmod(path, 0o644); err != nil { // as a backup may have put it back
		t.Fatal(err)
	}
	again, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := again.all()
	if len(all) != 2 || all[0].ID != ids[1] || !all[0].Disabled || all[1].ID != ids[0] || all[1].Disabled || !strings.Contains(string(all[1].Config), "horse") {
		t.Errorf("got %+v", all)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("the passwords are in a file of mode %v, error %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, error %v", left, err)
	}
}

// A file that is damaged is told of and left for a person to mend: never replaced by an empty one.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "connections.json")
	damaged := []byte(`[{"name": "Journal", "config": {"password": "horse`)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	var out lockedBuffer
	if code := run(t.Context(), []string{"-listen", "127.0.0.1:0", "-state", dir}, &out, &out); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if text := out.String(); !strings.Contains(text, path) || strings.Contains(text, "horse") {
		t.Errorf("the console says %q", text)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, damaged) {
		t.Errorf("the file holds %q, error %v", got, err)
	}
}

// Two tabs that change different things of one connection at once do not undo each other.
func TestStateLosesNoChange(t *testing.T) {
	s, err := loadState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.put(entry{Settings: connection.Settings{Name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var tabs sync.WaitGroup
	for range 4 {
		tabs.Go(func() {
			for range 5 {
				if err := s.change(id, func(e *entry) { e.Name += "a" }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tabs.Wait()
	if e, _ := s.get(id); len(e.Name) != 21 {
		t.Errorf("%d of 20 changes are left", len(e.Name)-1)
	}
	if err := s.remove(id); err != nil {
		t.Fatal(err)
	}
	if err := s.change(id, func(*entry) {}); err == nil {
		t.Error("a connection that is gone was changed")
	}
	if all := s.all(); len(all) > 0 {
		t.Errorf("left: %v", all)
	}
}
