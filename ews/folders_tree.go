package ews

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// A forest is all folders of a mailbox, below one or more roots.
type forest struct {
	nodes map[string]*folderNode // by id, without the roots
	roots map[string]string      // by id: what the paths below it begin with, "" for the first
}

// paths returns the paths of all folders, by id. See [folderPaths].
func (f *forest) paths() map[string]string { return folderPaths(f.nodes, f.roots) }

// rootNames returns the distinguished folders below which a mailbox's folders lie. Only the first one must be there.
func (c *Conn) rootNames(t target) []string {
	switch {
	case t.public:
		return []string{"publicfoldersroot"}
	case t.archive && c.cfg.IncludeRecoverable:
		return []string{"archivemsgfolderroot", "archiverecoverableitemsroot"}
	case t.archive:
		return []string{"archivemsgfolderroot"}
	case c.cfg.IncludeRecoverable:
		return []string{"msgfolderroot", "recoverableitemsroot"}
	}
	return []string{"msgfolderroot"}
}

// root returns a root folder of a mailbox, and nil if the mailbox does not have it: many have no archive. Its prefix is
// what the paths below it begin with.
func (c *Conn) root(ctx context.Context, t *target, name string) (root *soap.Folder, prefix string, err error) {
	root, err = c.wellKnown(ctx, t, name)
	if err != nil {
		if absent := c.absent(name, err); absent {
			return nil, "", nil
		}
		return nil, "", err
	}
	if strings.HasSuffix(name, "recoverableitemsroot") {
		prefix = escapeName(or(root.Name, "Recoverable Items"))
	}
	return root, prefix, nil
}

// absent reports whether err says that a mailbox does not have a root which it need not have.
func (c *Conn) absent(name string, err error) bool {
	if name == "msgfolderroot" || name == "publicfoldersroot" {
		return false
	}
	switch codeOf(err) {
	case "ErrorFolderNotFound", "ErrorArchiveMailboxNotEnabled":
		return true
	case "":
		return errors.Is(err, connection.ErrUnsupported) // servers below 2010 know neither archives nor a dumpster with folders
	}
	return false
}

// wellKnown returns a distinguished folder. If the account turns out to have no mailbox of its own, t names the mailbox
// from now on.
func (c *Conn) wellKnown(ctx context.Context, t *target, name string) (*soap.Folder, error) {
	ask := soap.GetFolder{Shape: soap.FolderShape{Properties: hierarchyProperties(false)}}
	ask.Folders = []soap.FolderID{c.distinguished(*t, name)}
	r, err := c.one(ctx, *t, ask)
	if codeOf(err) == "ErrorMissingEmailAddress" && !t.named && t.address != "" {
		c.learnt.nameMailboxes()
		t.named = true
		ask.Folders = []soap.FolderID{c.distinguished(*t, name)}
		r, err = c.one(ctx, *t, ask)
	}
	switch {
	case err != nil:
		return nil, err
	case len(r.Folders) != 1 || r.Folders[0].ID == "":
		return nil, &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("the server tells no folder %s", name)}
	}
	return &r.Folders[0], nil
}

// hierarchyProperties are what is asked of each folder. Its role is told from 2013 on.
func hierarchyProperties(roles bool) []soap.Path {
	all := []soap.Path{
		soap.Field("folder:ParentFolderId"), soap.Field("folder:DisplayName"), soap.Field("folder:TotalCount"),
		soap.Field("folder:ChildFolderCount"), soap.Field("folder:FolderClass"),
	}
	if roles {
		all = append(all, soap.Field("folder:DistinguishedFolderId"))
	}
	return all
}

// forest reads all folders of a mailbox.
func (c *Conn) forest(ctx context.Context, t target) (*forest, error) {
	f := &forest{nodes: make(map[string]*folderNode), roots: make(map[string]string)}
	for _, name := range c.rootNames(t) {
		root, prefix, err := c.root(ctx, &t, name)
		if err != nil {
			return nil, err
		}
		if root == nil {
			continue
		}
		f.roots[root.ID] = prefix
		if t.public {
			err = c.walkShallow(ctx, t, f, root.ID)
		} else {
			err = c.walkDeep(ctx, t, f, root.ID)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, declared, _ := c.build(t); declared.Below(soap.Exchange2013) && len(f.nodes) > 0 && !t.public && !t.archive {
		return f, c.assignRoles(ctx, t, f)
	}
	return f, nil
}

// walkDeep reads the folders below a root by SyncFolderHierarchy, or by FindFolder from a server that does not have it.
func (c *Conn) walkDeep(ctx context.Context, t target, f *forest, root string) error {
	_, declared, _ := c.build(t)
	roles := !declared.Below(soap.Exchange2013)
	state, stuck := "", 0
	for {
		r, err := c.one(ctx, t, soap.SyncFolderHierarchy{
			Shape: soap.FolderShape{Properties: hierarchyProperties(roles)}, Root: soap.FolderID{ID: root}, SyncState: state,
		})
		if errors.Is(err, connection.ErrUnsupported) && state == "" {
			return c.addFound(ctx, t, f, soap.Deep, root)
		}
		if err != nil {
			return err
		}
		for _, change := range r.Changes {
			if change.Folder == nil {
				continue
			}
			if change.Op == soap.Deleted {
				delete(f.nodes, change.Folder.ID)
				continue
			}
			if err := f.add(change.Folder); err != nil {
				return err
			}
		}
		if r.Last {
			return nil
		}
		if stuck++; len(r.Changes) > 0 || r.SyncState != state {
			stuck = 0
		}
		if stuck >= mostTries || r.SyncState == "" {
			return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server's list of folders has no end")}
		}
		state = r.SyncState
	}
}

// walkShallow reads the folders below a root level by level: public folders cannot be read otherwise.
func (c *Conn) walkShallow(ctx context.Context, t target, f *forest, root string) error {
	asked := map[string]bool{}
	for level := []string{root}; len(level) > 0; {
		var next []string
		for _, id := range level {
			if asked[id] {
				continue
			}
			asked[id] = true
			before := len(f.nodes)
			if err := c.addFound(ctx, t, f, soap.Shallow, id); err != nil {
				return err
			}
			if len(f.nodes) == before {
				continue
			}
			for child, n := range f.nodes {
				if n.parent == id && !asked[child] {
					next = append(next, child)
				}
			}
		}
		level = next
	}
	return nil
}

// findPage is how many folders are asked for at once.
const findPage = 1000

// addFound adds the folders below a parent as FindFolder tells them.
func (c *Conn) addFound(ctx context.Context, t target, f *forest, traversal, parent string) error {
	all, err := c.findFolders(ctx, t, traversal, parent)
	if err != nil {
		return err
	}
	for i := range all {
		if err := f.add(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

// findFolders reads the folders below a parent by FindFolder, Deep or Shallow.
func (c *Conn) findFolders(ctx context.Context, t target, traversal, parent string) ([]soap.Folder, error) {
	_, declared, _ := c.build(t)
	shape := soap.FolderShape{Properties: hierarchyProperties(!declared.Below(soap.Exchange2013) && !t.public)}
	var all []soap.Folder
	for offset := 0; ; {
		r, err := c.one(ctx, t, soap.FindFolder{
			Traversal: traversal, Shape: shape, Page: &soap.Page{Max: findPage, Offset: offset}, Parents: []soap.FolderID{{ID: parent}},
		})
		if err != nil {
			return nil, err
		}
		for _, folder := range r.Folders {
			if folder.Parent == "" || traversal == soap.Shallow {
				folder.Parent = parent
			}
			all = append(all, folder)
		}
		switch {
		case r.Last || !r.LastKnown && len(r.Folders) == 0:
			return all, nil
		case r.NextOffset <= offset && len(r.Folders) == 0, len(all) > maxFolders:
			return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server's list of folders has no end")}
		}
		offset = max(r.NextOffset, offset+len(r.Folders))
	}
}

// add keeps a folder.
func (f *forest) add(folder *soap.Folder) error {
	if folder.ID == "" {
		return nil
	}
	if len(f.nodes) >= maxFolders {
		return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("the server lists over %d folders", maxFolders)}
	}
	f.nodes[folder.ID] = newFolderNode(folder)
	return nil
}

func newFolderNode(folder *soap.Folder) *folderNode {
	return &folderNode{
		id: folder.ID, parent: folder.Parent, name: folder.Name, class: folder.Class, kind: folder.Kind,
		role: folder.Distinguished, total: folder.Total,
	}
}

// assignRoles asks which folders are the well-known ones: servers below 2013 do not tell it of each folder.
func (c *Conn) assignRoles(ctx context.Context, t target, f *forest) error {
	names := []string{inbox, "sentitems", "deleteditems", "drafts", "junkemail", "outbox"}
	ask := soap.GetFolder{}
	for _, name := range names {
		ask.Folders = append(ask.Folders, c.distinguished(t, name))
	}
	a, err := c.call(ctx, t, ask, callOptions{})
	if err != nil {
		return err
	}
	defer a.Close()
	for i := 0; ; i++ {
		r, err := a.Next()
		if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
			return nil
		}
		if err != nil {
			return err
		}
		if i >= len(names) || len(r.Folders) != 1 {
			continue // a mailbox need not have all of them
		}
		if n := f.nodes[r.Folders[0].ID]; n != nil {
			n.role = names[i]
		}
	}
}

// folderPaths returns the paths of folders by id: display names with "/" between the levels, below the prefix of their
// root. Each path occurs once, and depends on nothing but the folders: siblings of one name are told apart by digits made of
// their ids. A folder whose parent is not known counts as one of the first level.
func folderPaths(nodes map[string]*folderNode, roots map[string]string) map[string]string {
	type place struct{ parent, name string }
	siblings := make(map[place]int, len(nodes))
	for _, n := range nodes {
		siblings[place{n.parent, n.name}]++
	}
	segment := func(n *folderNode) string {
		name := escapeName(n.name)
		if siblings[place{n.parent, n.name}] > 1 || name == "" {
			sum := sha256.Sum256([]byte(n.id))
			name += "~" + hex.EncodeToString(sum[:4])
		}
		return name
	}
	paths := make(map[string]string, len(nodes))
	for id, n := range nodes {
		path := segment(n)
		for at, depth := n.parent, 0; depth < maxDepth; depth++ {
			if prefix, ok := roots[at]; ok {
				if prefix != "" {
					path = prefix + "/" + path
				}
				break
			}
			up, ok := nodes[at]
			if !ok {
				break
			}
			path = segment(up) + "/" + path
			at = up.parent
		}
		paths[id] = path
	}
	return paths
}

// maxDepth bounds the levels of folders: Exchange permits 300, and a server that says that a folder lies in itself more.
const maxDepth = 300

// escapeName makes a display name one level of a path: "/" and control characters become %XX, and so does a "%" that
// would look like one of them.
func escapeName(name string) string {
	hexDigit := func(i int) bool {
		return i < len(name) && strings.IndexByte("0123456789ABCDEFabcdef", name[i]) >= 0
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c == '/' || c < ' ' || c == 0x7f || c == '%' && hexDigit(i+1) && hexDigit(i+2) {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	switch b.String() {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return b.String()
}
