package ews

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// Folders implements [connection.FolderLister]: the folders of the classes that the settings name, search folders too,
// which Fetch reads and Sync does not. Names are paths of display names, in which a "/" that is part of a name is written
// as %2F, and control characters likewise; of siblings with equal names each has a "~" and a few digits behind it. ID is
// the folder's identity, which outlives a rename. With Config.IncludeArchive the folders of the in-place archive follow,
// whose Mailbox is the archive's own name; a mailbox without an archive has none, which is no error.
func (c *Conn) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	const op = "folders"
	var used atomic.Bool
	return func(yield func(*connection.Folder, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Folders again"))
			return
		}
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		all, err := c.listFolders(ctx, op, mailbox)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, folder := range all {
			if !yield(folder, nil) {
				return
			}
		}
	}
}

func (c *Conn) listFolders(ctx context.Context, op, mailbox string) ([]*connection.Folder, error) {
	mailboxes := []string{mailbox}
	if c.cfg.IncludeArchive && mailbox != publicName && !strings.HasSuffix(mailbox, archiveSuffix) {
		mailboxes = append(mailboxes, mailbox+archiveSuffix)
	}
	var all []*connection.Folder
	for _, name := range mailboxes {
		t, err := c.target(name)
		if err != nil {
			return nil, c.fail(op, target{}, connection.Ref{}, err)
		}
		f, err := c.forest(ctx, t)
		if err != nil {
			return nil, c.fail(op, t, connection.Ref{}, err)
		}
		all = append(all, f.list(c, t)...)
	}
	return all, nil
}

// list returns the folders that the settings ask for, the inbox first, then by name.
func (f *forest) list(c *Conn, t target) []*connection.Folder {
	var all []*connection.Folder
	paths := f.paths()
	for id, path := range paths {
		if n := f.nodes[id]; c.cfg.visits(n.class) {
			all = append(all, &connection.Folder{Mailbox: t.mailbox, Name: path, ID: id, Special: n.special(), Messages: n.total})
		}
	}
	rank := func(folder *connection.Folder) string {
		if f.nodes[folder.ID].role == inbox {
			return "0"
		}
		return "1" + folder.Name
	}
	slices.SortFunc(all, func(a, b *connection.Folder) int { return strings.Compare(rank(a), rank(b)) })
	return all
}

// inbox is the distinguished name of the folder that mail arrives in.
const inbox = "inbox"

// A folderNode is one folder of a mailbox.
type folderNode struct {
	id, parent, name string
	class            string // "IPF.Note", often empty
	kind             string // the element's name: "Folder", "SearchFolder"
	role             string // distinguished name: "inbox"; "" if it has none
	total            int64  // items; -1 if not known
}

// specials are the special uses (RFC 6154, 2) of distinguished folders.
var specials = map[string]string{
	"sentitems": `\Sent`, "deleteditems": `\Trash`, "drafts": `\Drafts`, "junkemail": `\Junk`, "archive": `\Archive`,
}

func (n *folderNode) special() string { return specials[n.role] }

// kindSearch is the kind of folders that show what lies elsewhere.
const kindSearch = "SearchFolder"

// mailFolder reports whether Sync and Fetch visit a folder when none is named: search folders show what lies elsewhere.
func (c *Conn) mailFolder(n *folderNode) bool {
	return n.kind != kindSearch && c.cfg.visits(n.class)
}

// named reports whether somebody who names a folder means this one: its path, its ID, a special use such as \Sent, or
// INBOX in any case. exact is false for a path that differs in case: another folder may fit better.
func (n *folderNode) named(path, want string) (means, exact bool) {
	switch {
	case path == want, n.id == want:
		return true, true
	case strings.EqualFold(want, inbox) && n.role == inbox, strings.HasPrefix(want, `\`) && strings.EqualFold(n.special(), want):
		return true, true
	}
	return strings.EqualFold(path, want), false
}

// find returns the folder that somebody has named, and its path. See [folderNode.named].
func (f *forest) find(name string) (*folderNode, string, error) {
	paths := f.paths()
	var alike *folderNode
	for id, path := range paths {
		n := f.nodes[id]
		switch means, exact := n.named(path, name); {
		case exact:
			return n, path, nil
		case means && (alike == nil || path < paths[alike.id]):
			alike = n
		}
	}
	if alike == nil {
		return nil, "", &connection.Error{Kind: connection.ErrNotFound, Err: fmt.Errorf("there is no folder %q", name)}
	}
	return alike, paths[alike.id], nil
}
