package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// An entry is one connection that somebody made.
type entry struct {
	connection.Settings
	Disabled bool   `json:"disabled,omitempty"`
	Demo     string `json:"demo,omitempty"` // "mailbox" or "outbox": its server is the console's own
}

// A state is what the console keeps, in one file for its owner alone: it holds passwords.
type state struct {
	path string

	mu      sync.Mutex
	entries []entry
}

// loadState reads the state in dir, which it makes if it is new.
func loadState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("-state: %w", err)
	}
	s := &state{path: filepath.Join(dir, "connections.json")}
	if err := os.Chmod(s.path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) { // a copy may have lost its mode
		return nil, fmt.Errorf("-state: %w", err)
	}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s.entries)
	}
	if err != nil {
		return nil, fmt.Errorf("-state: %s: %w", s.path, err)
	}
	return s, nil
}

// save writes the state: whole, or not at all. s.mu is held.
func (s *state) save(entries []entry) error {
	data, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(s.path), "connections-*.tmp") // 0600
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), s.path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the cause is told
		return fmt.Errorf("saving the connections: %w", err)
	}
	s.entries = entries
	return nil
}

// all returns the connections, sorted by name.
func (s *state) all() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.entries)
	slices.SortStableFunc(all, func(a, b entry) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return all
}

// get returns one.
func (s *state) get(id string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.entries, func(e entry) bool { return e.ID == id })
	if i < 0 {
		return entry{}, false
	}
	return s.entries[i], true
}

// put stores e: in the place of the one with its ID, or as a new one with an ID that it returns.
func (s *state) put(e entry) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := slices.Clone(s.entries)
	if e.ID == "" {
		e.ID = strings.ToLower(rand.Text()[:12])
	}
	if i := slices.IndexFunc(next, func(old entry) bool { return old.ID == e.ID }); i >= 0 {
		next[i] = e
	} else {
		next = append(next, e)
	}
	return e.ID, s.save(next)
}

// errGone says that somebody has removed a connection meanwhile: in another tab, for instance.
var errGone = errors.New("this connection is gone: it was removed meanwhile")

// change changes one, whatever else is changed at the same time.
func (s *state) change(id string, change func(e *entry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := slices.Clone(s.entries)
	i := slices.IndexFunc(next, func(e entry) bool { return e.ID == id })
	if i < 0 {
		return errGone
	}
	change(&next[i])
	return s.save(next)
}

// remove forgets one.
func (s *state) remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.save(slices.DeleteFunc(slices.Clone(s.entries), func(e entry) bool { return e.ID == id }))
}
