package imapclient

import (
	"context"
	"iter"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// Folders implements [connection.FolderLister]: the folders that can be opened, as LIST tells them (RFC 9051, 6.3.9),
// INBOX first. Names are decoded, with "/" between the levels; ID is the name in the server's own form. Messages is -1.
func (c *Conn) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	return func(yield func(*connection.Folder, error) bool) {
		all, err := c.list(ctx, mailbox)
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

// maxFolders bounds what a server may list.
const maxFolders = 100_000

func (c *Conn) list(ctx context.Context, mailbox string) ([]*connection.Folder, error) {
	const op = "folders"
	c, err := c.at(op, mailbox)
	if err != nil {
		return nil, err
	}
	ctx, cancel, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer cancel()
	if !c.deleting.take(ctx) {
		return nil, c.ended(ctx, op, connection.Ref{})
	}
	defer c.deleting.give()
	s, done, err := c.lease(ctx, op)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.list(ctx, op)
}

func (s *session) list(ctx context.Context, op string) ([]*connection.Folder, error) {
	mailbox := s.conn.cfg.mailbox
	all := []*connection.Folder{{Mailbox: mailbox, Name: defaultFolder, ID: defaultFolder, Messages: -1}} // some servers do not list it
	var opts *goimap.ListOptions
	if s.has(goimap.CapSpecialUse) && s.has(goimap.CapListExtended) {
		opts = &goimap.ListOptions{ReturnSpecialUse: true}
	}
	tooMany := false
	err := s.run(ctx, op, func() error {
		cmd := s.client.List("", "*", opts)
		for data := cmd.Next(); data != nil; data = cmd.Next() {
			tooMany = tooMany || len(all) >= maxFolders
			if data.Mailbox == "" || tooMany || slices.ContainsFunc(data.Attrs, isNoFolder) {
				continue
			}
			if strings.EqualFold(data.Mailbox, defaultFolder) {
				all[0].Special = specialUse(data.Attrs)
				continue
			}
			all = append(all, &connection.Folder{
				Mailbox: mailbox, Name: fromWire(data.Mailbox, data.Delim), ID: data.Mailbox, Special: specialUse(data.Attrs), Messages: -1,
			})
		}
		return cmd.Close()
	})
	if err == nil && tooMany {
		err = s.conn.problem(op, connection.Ref{}, connection.ErrProtocol, "the server lists over %d folders", maxFolders)
	}
	return all, err
}

func isNoFolder(attr goimap.MailboxAttr) bool {
	return strings.EqualFold(string(attr), string(goimap.MailboxAttrNoSelect)) || strings.EqualFold(string(attr), string(goimap.MailboxAttrNonExistent))
}

// specialUses are the attributes of RFC 6154, 2.
var specialUses = []goimap.MailboxAttr{
	goimap.MailboxAttrAll, goimap.MailboxAttrArchive, goimap.MailboxAttrDrafts, goimap.MailboxAttrFlagged,
	goimap.MailboxAttrJunk, goimap.MailboxAttrSent, goimap.MailboxAttrTrash,
}

func specialUse(attrs []goimap.MailboxAttr) string {
	for _, use := range specialUses {
		if slices.ContainsFunc(attrs, func(a goimap.MailboxAttr) bool { return strings.EqualFold(string(a), string(use)) }) {
			return string(use)
		}
	}
	return ""
}

// fromWire puts "/" between the levels of a server's name. A name that holds "/" within a level stays as it is: it
// could not be told from one with more levels.
func fromWire(name string, delim rune) string {
	if delim == 0 || delim == '/' || strings.Contains(name, "/") {
		return name
	}
	return strings.ReplaceAll(name, string(delim), "/")
}

// wireName returns the server's name of folder. The server is asked once what stands between its levels.
func (s *session) wireName(ctx context.Context, op, folder string) (string, error) {
	if !strings.Contains(folder, "/") {
		return folder, nil
	}
	c := s.conn
	c.mu.Lock()
	known := c.delim
	c.mu.Unlock()
	if known == nil {
		var delim rune
		err := s.run(ctx, op, func() error {
			cmd := s.client.List("", "", nil) // RFC 9051, 6.3.9: an empty pattern asks for the delimiter
			for data := cmd.Next(); data != nil; data = cmd.Next() {
				delim = data.Delim
			}
			return cmd.Close()
		})
		if err != nil {
			return "", err
		}
		known = &delim
		c.mu.Lock()
		c.delim = known
		c.mu.Unlock()
	}
	if *known == 0 || *known == '/' || strings.Contains(folder, string(*known)) {
		return folder, nil
	}
	return strings.ReplaceAll(folder, "/", string(*known)), nil
}
