package objecttest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A shelf is what a bucket holds by its keys, and what its listings show of that. It is not safe for concurrent use: the
// fake's lock guards it. Items are values: who changes one puts it again. The zero shelf is empty.
type shelf[T any] struct {
	keys  map[string][]change[T] // oldest first; the last is what there is now
	order []string               // of all keys that have changes; nil = to be sorted again
}

// A change is what a key held from a time on.
type change[T any] struct {
	at   time.Time
	item T
	gone bool
}

// get returns what key holds now.
func (s *shelf[T]) get(key string) (item T, ok bool) {
	history := s.keys[key]
	if len(history) == 0 || history[len(history)-1].gone {
		return item, false
	}
	return history[len(history)-1].item, true
}

// put makes key hold item.
func (s *shelf[T]) put(key string, item T) { s.change(key, change[T]{at: time.Now(), item: item}) }

// remove makes key hold nothing.
func (s *shelf[T]) remove(key string) {
	if _, ok := s.get(key); ok {
		s.change(key, change[T]{at: time.Now(), gone: true})
	}
}

func (s *shelf[T]) change(key string, c change[T]) {
	if s.keys == nil {
		s.keys = make(map[string][]change[T])
	}
	if s.keys[key] == nil {
		s.order = nil
	}
	s.keys[key] = append(s.keys[key], c)
}

// sorted returns all keys that hold something now, in byte order.
func (s *shelf[T]) sorted() []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(s.keys)) {
		if _, ok := s.get(key); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// A listing is what a client wants to have listed.
type listing struct {
	prefix, delimiter string
	after             string // only keys behind it, even if they fold into a prefix that is not
	resume            string // key or prefix of the last entry of the page before
	limit             int    // 0 = none
}

// An entry is one line of a listing.
type entry[T any] struct {
	key    string // or the common prefix
	prefix bool
	item   T
}

// list returns a page of the entries in byte order, and whether there are more. settled tells which changes it shows.
func (s *shelf[T]) list(l listing, settled func(time.Time) bool) (page []entry[T], more bool) {
	if s.order == nil {
		s.order = slices.Sorted(maps.Keys(s.keys))
	}
	from, _ := slices.BinarySearch(s.order, max(l.prefix, l.after, l.resume))
	for _, key := range s.order[from:] {
		rest, ok := strings.CutPrefix(key, l.prefix)
		if !ok {
			if key > l.prefix {
				break
			}
			continue
		}
		if key == l.after || key == l.resume {
			continue
		}
		e := entry[T]{key: key}
		if head, _, ok := strings.Cut(rest, l.delimiter); ok && l.delimiter != "" {
			e.key, e.prefix = l.prefix+head+l.delimiter, true
			if e.key == l.resume || len(page) > 0 && page[len(page)-1].key == e.key {
				continue
			}
		}
		item, ok := s.shown(key, settled)
		if !ok {
			continue
		}
		if l.limit > 0 && len(page) == l.limit {
			return page, true
		}
		if !e.prefix {
			e.item = item
		}
		page = append(page, e)
	}
	return page, false
}

// shown returns what a listing shows of key, and forgets what none will show again.
func (s *shelf[T]) shown(key string, settled func(time.Time) bool) (item T, ok bool) {
	history := s.keys[key]
	last := len(history) - 1
	for last >= 0 && !settled(history[last].at) {
		last--
	}
	if last < 0 {
		return item, false
	}
	s.keys[key] = history[last:]
	return history[last].item, !history[last].gone
}
