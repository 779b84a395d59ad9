package ews

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

const (
	stuckAfter = 3    // answers that lead nowhere in a row
	emptyPages = 1000 // pages without a change in a row
)

// listing brings the folders of the history up to date, and returns the ids of those that are gone.
func (s *syncing) listing() ([]string, error) {
	for {
		gone, err := s.roots()
		switch {
		case err == nil:
			return gone, nil
		case connection.KindOf(err) != connection.ErrStale || s.ctx.Err() != nil:
			return nil, err
		case s.lost:
			return nil, &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("the server calls the beginning of all history stale: %w", err)}
		}
		if err := s.stale(err); err != nil {
			return nil, err
		}
	}
}

func (s *syncing) roots() (gone []string, err error) {
	for _, name := range s.conn.rootNames(s.t) {
		root := s.history.Roots[name]
		_, _, met := s.conn.build(s.t)
		if root == nil || !met { // what may be asked of folders depends on the version
			found, prefix, err := s.conn.root(s.ctx, &s.t, name)
			if err != nil {
				return nil, err
			}
			if found == nil && root == nil {
				continue // this mailbox has no archive, or no recoverable items
			}
			if found != nil {
				root = &rootHistory{ID: found.ID, Prefix: prefix, State: root.state()}
			}
		}
		below, err := s.root(name, root)
		if err != nil {
			return nil, err
		}
		s.history.Roots[name] = root
		gone = append(gone, below...)
	}
	return gone, nil
}

// below returns the ids of a root's folders, as the history has them.
func (s *syncing) below(root string) map[string]bool {
	ids := make(map[string]bool)
	for id, f := range s.history.Folders {
		if f.Root == root {
			ids[id] = true
		}
	}
	return ids
}

// root asks what became of the folders below a root. It returns the ids of those that are gone.
func (s *syncing) root(name string, root *rootHistory) (gone []string, err error) {
	known := s.below(name)
	listed := make(map[string]bool)
	state := root.State
	full := state == "" // or if what is known is told as new: some servers take a state that they do not know for none
	guard := newGuard(state)
	for {
		r, err := s.hierarchy(name, state)
		if connection.KindOf(err) == connection.ErrUnsupported && state == "" {
			return s.walk(name, root, known)
		}
		if err != nil {
			return nil, err
		}
		for _, change := range r.Changes {
			switch {
			case change.Folder == nil || change.Folder.ID == "":
			case change.Op == soap.Deleted:
				gone = append(gone, change.Folder.ID)
				delete(listed, change.Folder.ID)
			default:
				full = full || change.Op == soap.Created && known[change.Folder.ID]
				listed[change.Folder.ID] = true
				s.note(name, change.Folder)
			}
		}
		if len(s.history.Folders) > maxFolders {
			return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("over %d folders", maxFolders)}
		}
		state = r.SyncState
		if r.Last || !r.LastKnown && len(r.Changes) == 0 {
			break
		}
		if err := guard.next(state, len(r.Changes)); err != nil {
			return nil, err
		}
	}
	if state == "" {
		return nil, errNoState
	}
	root.State = state
	gone = slices.DeleteFunc(gone, func(id string) bool { return listed[id] })
	if !full {
		return gone, nil
	}
	return s.unlisted(known, listed, gone)
}

// hierarchy asks for a page of changes. The root is always named in the same way, as the state demands.
func (s *syncing) hierarchy(name, state string) (*soap.Response, error) {
	return s.conn.one(s.ctx, s.t, soap.SyncFolderHierarchy{
		Shape:     soap.FolderShape{Properties: hierarchyProperties(!s.old())},
		Root:      s.conn.distinguished(s.t, name),
		SyncState: state,
	})
}

// old reports whether the server does not tell which folders are the well-known ones.
func (s *syncing) old() bool {
	_, declared, _ := s.conn.build(s.t)
	return declared.Below(soap.Exchange2013)
}

// roles finds out which folders are the well-known ones where the server does not tell it of each, once.
func (s *syncing) roles() error {
	if !s.old() || s.t.archive {
		return nil
	}
	all := s.forest()
	for _, f := range all.nodes {
		if f.role != "" {
			return nil
		}
	}
	if err := s.conn.assignRoles(s.ctx, s.t, all); err != nil {
		return err
	}
	for id, node := range all.nodes {
		s.history.Folders[id].Role = node.role
	}
	return nil
}

var errNoState = &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server sent no SyncState")}

// walk lists the folders below a root where the server does not know SyncFolderHierarchy.
func (s *syncing) walk(name string, root *rootHistory, known map[string]bool) (gone []string, err error) {
	folders, err := s.conn.findFolders(s.ctx, s.t, soap.Deep, root.ID)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]bool)
	for i := range folders {
		listed[folders[i].ID] = true
		s.note(name, &folders[i])
	}
	return s.unlisted(known, listed, nil)
}

// unlisted adds to gone the folders that a full list does not have. A mirror deletes what is gone, so the server has to say
// it in other words too.
func (s *syncing) unlisted(known, listed map[string]bool, gone []string) ([]string, error) {
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if listed[id] || slices.Contains(gone, id) {
			continue
		}
		there, err := s.exists(id)
		if err != nil {
			return nil, err
		}
		if !there {
			gone = append(gone, id)
		}
	}
	return gone, nil
}

// exists asks for one folder.
func (s *syncing) exists(id string) (bool, error) {
	_, err := s.conn.one(s.ctx, s.t, soap.GetFolder{Folders: []soap.FolderID{{ID: id}}})
	switch codeOf(err) { // and not the kind: the mailbox may not be found either
	case "ErrorFolderNotFound", "ErrorItemNotFound":
		return false, nil
	}
	return err == nil, err
}

// note keeps what the server says of a folder. What it does not say stays.
func (s *syncing) note(root string, said *soap.Folder) {
	f := s.history.Folders[said.ID]
	if f == nil {
		f = &folderHistory{}
		s.history.Folders[said.ID] = f
	}
	f.Root = root
	f.Parent = or(said.Parent, f.Parent)
	f.Name = or(said.Name, f.Name)
	f.Class = or(said.Class, f.Class)
	f.Kind = or(said.Kind, f.Kind)
	f.Role = or(said.Distinguished, f.Role)
}

// settle tells what became of folders.
func (s *syncing) settle(ids []string) error {
	gone := s.forget(ids)
	s.name()
	for _, folder := range gone {
		if err := s.tell(&connection.Change{Op: connection.FolderRemoved, Folder: folder}); err != nil {
			return err
		}
	}
	if err := s.tellRenames(); err != nil {
		return err
	}
	for _, id := range s.byPath() {
		f := s.history.Folders[id]
		if f.Told != "" || !s.wants(id) {
			continue
		}
		f.Told = s.paths[id]
		if err := s.tell(&connection.Change{Op: connection.FolderAdded, Folder: s.describe(id, "")}); err != nil {
			return err
		}
	}
	for _, name := range s.missing {
		if err := s.report(s.conn.problem("sync", s.t.folderRef(name), connection.ErrNotFound, "there is no such folder")); err != nil {
			return err
		}
	}
	return s.checkpoint(s.told > 0)
}

// forget strikes folders off, with all below them, and returns those that were told: the lower ones first.
func (s *syncing) forget(ids []string) []*connection.Folder {
	dead := make(map[string]bool, len(ids))
	for _, id := range ids {
		dead[id] = true
	}
	for grown := len(dead) > 0; grown; {
		grown = false
		for id, f := range s.history.Folders {
			if dead[f.Parent] && !dead[id] {
				dead[id], grown = true, true
			}
		}
	}
	var gone []*connection.Folder
	for id := range dead {
		if f := s.history.Folders[id]; f != nil && f.Told != "" {
			gone = append(gone, s.describe(id, ""))
			gone[len(gone)-1].Name = f.Told
		}
		delete(s.history.Folders, id)
	}
	slices.SortFunc(gone, func(a, b *connection.Folder) int { return strings.Compare(b.Name, a.Name) })
	return gone
}

// forest returns the folders of the history.
func (s *syncing) forest() *forest {
	all := &forest{nodes: make(map[string]*folderNode, len(s.history.Folders)), roots: make(map[string]string)}
	for id, f := range s.history.Folders {
		all.nodes[id] = f.node(id)
	}
	for _, root := range s.history.Roots {
		all.roots[root.ID] = root.Prefix
	}
	return all
}

// name finds the paths of all folders, and those that are meant by SyncOptions.Folders.
func (s *syncing) name() {
	all := s.forest()
	s.paths = all.paths()
	s.meant = make(map[string]bool)
	for _, name := range s.opts.Folders {
		if node, _, err := all.find(name); err != nil {
			s.missing = append(s.missing, name)
		} else {
			s.meant[node.id] = true
		}
	}
}

func (f *folderHistory) node(id string) *folderNode {
	return &folderNode{id: id, parent: f.Parent, name: f.Name, class: f.Class, kind: f.Kind, role: f.Role}
}

func (s *syncing) byPath() []string {
	return slices.SortedFunc(maps.Keys(s.history.Folders), func(a, b string) int { return strings.Compare(s.paths[a], s.paths[b]) })
}

// tellRenames tells which folders have other paths, those below a renamed one too, in an order in which no path is taken
// twice. Where paths change in a circle, one folder goes by way of a path that nobody has.
func (s *syncing) tellRenames() error {
	owner := make(map[string]string) // of the paths that were told
	var moved []string
	for _, id := range s.byPath() {
		f := s.history.Folders[id]
		if f.Told == "" {
			continue
		}
		owner[f.Told] = id
		if f.Told != s.paths[id] {
			moved = append(moved, id)
		}
	}
	for len(moved) > 0 {
		i := slices.IndexFunc(moved, func(id string) bool { _, taken := owner[s.paths[id]]; return !taken })
		to := ""
		if i < 0 {
			i = 0
			for to = s.paths[moved[0]] + " (moving)"; owner[to] != ""; to += "+" {
			}
		} else {
			to = s.paths[moved[i]]
		}
		id := moved[i]
		f := s.history.Folders[id]
		folder := s.describe(id, f.Told)
		folder.Name = to
		delete(owner, f.Told)
		owner[to], f.Told = id, to
		if to == s.paths[id] {
			moved = slices.Delete(moved, i, i+1)
		}
		if err := s.tell(&connection.Change{Op: connection.FolderRenamed, Folder: folder}); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether the messages of a folder are to be told.
func (s *syncing) wants(id string) bool {
	f := s.history.Folders[id]
	if len(s.opts.Folders) == 0 {
		return s.conn.mailFolder(f.node(id))
	}
	return f.Kind != kindSearch && s.meant[id]
}

func (s *syncing) describe(id, previous string) *connection.Folder {
	f := s.history.Folders[id]
	return &connection.Folder{Mailbox: s.t.mailbox, Name: s.paths[id], ID: id, Previous: previous, Special: specials[f.Role], Messages: -1}
}

// A guard notices answers that lead nowhere.
type guard struct {
	seen  map[[sha256.Size]byte]int // SyncStates, which may be large
	empty int                       // pages in a row
}

func newGuard(state string) *guard {
	return &guard{seen: map[[sha256.Size]byte]int{sha256.Sum256([]byte(state)): 1}}
}

// next is told of an answer that is not the last one.
func (g *guard) next(state string, changes int) error {
	if state == "" {
		return errNoState
	}
	key := sha256.Sum256([]byte(state))
	g.seen[key]++
	if changes > 0 {
		g.empty = 0
	} else {
		g.empty++
	}
	if g.seen[key] > stuckAfter || g.empty > emptyPages {
		return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server says that there is more, and gives the same answers again and again")}
	}
	return nil
}
