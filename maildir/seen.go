package maildir

import (
	"hash/maphash"
	"sync"
)

// forgetAfter is how many passes over a folder a file may be missed by before it is forgotten: reading a directory
// while files are renamed in it can overlook one, but not so often in a row.
const forgetAfter = 3

// A seen set knows which files of one folder a Fetch has met, so that none is yielded twice although it is renamed
// meanwhile. It takes about 40 octets a file. It is safe for concurrent use.
type seen struct {
	seed maphash.Seed
	mu   sync.Mutex
	met  map[uint64]mark // by hash of the unique part
	pass uint16
}

type mark struct {
	name  uint32 // of the whole name, with its directory
	ident uint32 // of the file
	pass  uint16 // in which it was last met
}

func newSeen(seed maphash.Seed) *seen { return &seen{seed: seed, met: map[uint64]mark{}} }

func (s *seen) hash(sub, name string) uint32 {
	return uint32(maphash.String(s.seed, name)) ^ uint32(sub[0])<<24
}

// knows reports whether the very file name in sub was met before. It is a hint of memory, not of the disk.
func (s *seen) knows(unique, sub, name string) bool {
	key := maphash.String(s.seed, unique)
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.met[key]
	if !ok || m.name != s.hash(sub, name) {
		return false
	}
	m.pass = s.pass
	s.met[key] = m
	return true
}

// A claim says what a file is to those met before.
type claim uint8

const (
	fresh  claim = iota // new
	same                // met before, perhaps under another name
	double              // another file with the unique part of one met before
	again               // such another file, met before
)

// claim takes the file with the identity ident. Of several calls for the same file one gets fresh.
func (s *seen) claim(unique, sub, name string, ident uint64) claim {
	key := maphash.String(s.seed, unique)
	s.mu.Lock()
	defer s.mu.Unlock()
	own := mark{name: s.hash(sub, name), ident: uint32(ident), pass: s.pass}
	m, ok := s.met[key]
	switch {
	case !ok:
		s.met[key] = own
		return fresh
	case m.ident == own.ident:
		s.met[key] = own
		return same
	}
	key = maphash.String(s.seed, "\x00"+unique) ^ ident
	_, ok = s.met[key]
	s.met[key] = own
	if ok {
		return again
	}
	return double
}

// next begins another pass and forgets what was not met for some.
func (s *seen) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass++
	for key, m := range s.met {
		if s.pass-m.pass > forgetAfter {
			delete(s.met, key)
		}
	}
}

// recentMax is how many files a Conn remembers for Delete.
const recentMax = 1 << 15

// recent remembers where the last yielded messages were, and which files they are: Delete then finds them without
// reading the directory, and removes no other file that came under the same name. The zero value is ready.
type recent struct {
	mu   sync.Mutex
	byID map[uint64]place
	ring []uint64
	at   int
}

// A place is where a message's file was last seen.
type place struct {
	sub   string
	name  string
	ident uint64
}

func (r *recent) put(key uint64, p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = make(map[uint64]place)
	}
	if _, ok := r.byID[key]; !ok {
		if len(r.ring) < recentMax {
			r.ring = append(r.ring, key)
		} else {
			delete(r.byID, r.ring[r.at])
			r.ring[r.at] = key
			r.at = (r.at + 1) % recentMax
		}
	}
	r.byID[key] = p
}

func (r *recent) get(key uint64) (place, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.byID[key]
	return p, ok
}
