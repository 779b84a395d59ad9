package imapclient

import (
	"slices"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// A rename is a folder that has another name now.
type rename struct{ from, to string }

// renames finds the folders whose old name is gone, or means another folder now, under their new names. They come in an
// order in which no name is taken twice; folders that changed names in a circle are left out.
func (s *syncing) renames(looks []*look) ([]rename, error) {
	here := make(map[string]*box)
	for _, l := range looks {
		if l.box != nil {
			here[l.name] = l.box
		}
	}
	var found []rename
	taken := make(map[string]bool)
	for _, l := range looks {
		from := l.name
		st := s.history.folders[from]
		gone := l.box == nil && connection.KindOf(l.err) == connection.ErrNotFound
		if st == nil || !gone && (l.box == nil || l.box.validity == st.validity) {
			continue
		}
		for _, to := range looks {
			b := here[to.name]
			old := s.history.folders[to.name]
			if b == nil || taken[to.name] || b.validity != st.validity || old != nil && old.validity == b.validity {
				continue
			}
			same, err := s.proven(st, to.name)
			if err != nil {
				return nil, err
			}
			if same {
				taken[to.name] = true
				found = append(found, rename{from, to.name})
				break
			}
		}
	}
	var ordered []rename
	occupied := make(map[string]bool)
	for name := range s.history.folders {
		occupied[name] = true
	}
	for len(found) > 0 {
		i := slices.IndexFunc(found, func(r rename) bool { return !occupied[r.to] })
		if i < 0 {
			break
		}
		r := found[i]
		occupied[r.to] = true
		delete(occupied, r.from)
		ordered = append(ordered, r)
		found = slices.Delete(found, i, i+1)
	}
	return ordered, nil
}

// proven reports whether folder is the one of st: servers may give many folders the same UIDVALIDITY, so that the UIDs
// and some messages have to be the same too. In doubt it is not.
func (s *syncing) proven(st *folderHistory, folder string) (bool, error) {
	if len(st.proofs) == 0 || st.uidNext <= 1 {
		return false, nil
	}
	uids, err := s.search(folder, 1, st.uidNext-1)
	if err != nil || len(uids) == 0 || slices.ContainsFunc(uids, func(uid uint32) bool { return !st.has(uid) }) {
		return false, err
	}
	said := make(map[uint32]facts)
	asked := make([]uint32, len(st.proofs))
	for i, p := range st.proofs {
		asked[i] = p.uid
	}
	err = s.facts(folder, uidSet(asked), &goimap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true}, func(about facts) { said[about.uid] = about })
	if err != nil {
		return false, err
	}
	matched := 0
	for _, p := range st.proofs {
		about, ok := said[p.uid]
		switch {
		case !ok:
		case about.received == (time.Time{}) || !p.matches(about.received, about.size):
			return false, nil
		default:
			matched++
		}
	}
	return matched > 0, nil
}
