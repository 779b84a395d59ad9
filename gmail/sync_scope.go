package gmail

import (
	"errors"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// A scope is which messages of a mailbox are read, by their labels.
type scope struct {
	name    string          // the same for scopes of the same messages
	out     []string        // labels whose messages are left out
	folders []string        // names as the caller gave them; none = no matter where
	ids     map[string]bool // of the labels that they mean; "" is folderArchive
}

// scope returns what the settings and the names of folders mean, without looking at the mailbox: see resolve.
func (c *Conn) scope(folders []string) *scope {
	s := &scope{folders: slices.Sorted(slices.Values(folders))}
	if !c.cfg.IncludeSpamTrash {
		s.out = append(s.out, labelTrash)
		if !c.cfg.monitored() { // whose copies Google may take for spam
			s.out = append(s.out, labelSpam)
		}
	}
	if !c.cfg.IncludeDrafts {
		s.out = append(s.out, labelDraft)
	}
	if !c.cfg.IncludeChat {
		s.out = append(s.out, labelChat)
	}
	s.name = strings.Join(append([]string{strings.Join(s.out, " ")}, s.folders...), "\n")
	return s
}

// resolve finds the labels of the folders, and returns the names that none has. A folder that is named is read, whatever the
// settings leave out.
func (s *scope) resolve(set *labelSet) (missing []string) {
	if len(s.folders) == 0 {
		return nil
	}
	s.ids = make(map[string]bool)
	for _, name := range s.folders {
		id, ok := set.id(name)
		if !ok {
			missing = append(missing, name)
			continue
		}
		s.ids[id] = true
		s.out = minus(s.out, []string{id})
	}
	return missing
}

var errOtherLabels = errors.New("the folders asked for are other labels than before")

// sameFolders notes which labels the folders asked for are now. One that was there before under another name brings messages of
// which the history says nothing: then the history cannot be followed, and the error is errOtherLabels.
func (s *syncing) sameFolders() error {
	p, now := s.place, sortedSet(s.scope.ids)
	switch {
	case slices.Equal(p.Folders, now):
		return nil
	case p.Phase == phaseFull:
		p.List, p.PageToken = 0, "" // of the former labels
	case p.Phase == phaseDelta:
		for _, id := range now {
			if _, old := p.Labels[id]; old && !slices.Contains(p.Folders, id) {
				return errOtherLabels
			}
		}
	}
	p.Folders = now
	return nil
}

// leavesOut reports whether a message with these labels is left out wherever it is.
func (s *scope) leavesOut(labels []string) bool {
	return slices.ContainsFunc(labels, func(id string) bool { return slices.Contains(s.out, id) })
}

// inFolders reports whether a message with these labels is in one of the folders.
func (s *scope) inFolders(labels []string, set *labelSet) bool {
	if len(s.folders) == 0 || slices.ContainsFunc(labels, func(id string) bool { return s.ids[id] }) {
		return true
	}
	folder, _, _, _ := set.sort(labels)
	return s.ids[""] && folder == folderArchive
}

// holds reports whether a message with these labels is to be read.
func (s *scope) holds(labels []string, set *labelSet) bool {
	return !s.leavesOut(labels) && s.inFolders(labels, set)
}

// entered reports whether a message that gained and lost these labels may have come into the scope by that.
func (s *scope) entered(gained, lost []string) bool {
	return s.leavesOut(lost) || len(s.folders) > 0 && (s.ids[""] || slices.ContainsFunc(gained, func(id string) bool { return s.ids[id] }))
}

// left reports whether a message that gained and lost these labels may have left the folders by that.
func (s *scope) left(gained, lost []string) bool {
	return slices.ContainsFunc(lost, func(id string) bool { return s.ids[id] }) || s.ids[""] && len(gained) > 0
}

// listings returns what to list to find all messages of the scope; some may be in several of them. What the settings
// leave out is left out by the server as far as it can, since each message read costs units.
func (s *scope) listings(w quota.Work, extra string) []listing {
	all := listing{work: w, spamTrash: !slices.Contains(s.out, labelTrash) || !slices.Contains(s.out, labelSpam)}
	var query []string
	if slices.Contains(s.out, labelDraft) {
		query = append(query, "-in:drafts")
	}
	if slices.Contains(s.out, labelChat) {
		query = append(query, "-in:chats")
	}
	if all.spamTrash && slices.Contains(s.out, labelTrash) {
		query = append(query, "-in:trash")
	}
	if all.spamTrash && slices.Contains(s.out, labelSpam) {
		query = append(query, "-in:spam")
	}
	if extra != "" {
		query = append(query, extra)
	}
	all.query = strings.Join(query, " ")
	if len(s.folders) == 0 || s.ids[""] { // no label stands for the archive
		return []listing{all}
	}
	var lists []listing
	for _, id := range sortedSet(s.ids) {
		one := all
		one.labels = []string{id}
		lists = append(lists, one)
	}
	return lists
}

func sortedSet(set map[string]bool) []string {
	ids := make([]string, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// noFolder is the error about a folder that is not there. It concerns that folder alone.
func (c *Conn) noFolder(op string, b *box, name string) error {
	return c.problem(op, connection.Ref{Mailbox: b.id, Folder: name}, connection.ErrNotFound, "the mailbox has no label of this name")
}
