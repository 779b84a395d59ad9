package imaptest

import (
	"fmt"
	"strings"
)

// onlyMailbox reads a folder's name up to the end of the command.
func (c *command) onlyMailbox() (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	name, err := c.mailbox()
	if err != nil {
		return "", err
	}
	return name, c.end()
}

func (s *session) create(c *command) (string, error) {
	name, err := c.onlyMailbox()
	if err != nil {
		return "", err
	}
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.opts.Delimiter != "" {
		name = strings.TrimSuffix(name, srv.opts.Delimiter) // RFC 3501, 6.3.3: says that children will follow
	}
	switch {
	case name == "":
		return "NO [CANNOT] empty name", nil
	case srv.store.get(name) != nil:
		return "NO [ALREADYEXISTS] there is such a folder", nil
	}
	srv.store.create(name)
	srv.store.parents(name)
	return "OK created", nil
}

// parents makes the folders above name that are missing.
func (st *store) parents(name string) {
	if st.delimiter == "" {
		return
	}
	for i := range len(name) {
		if name[i] == st.delimiter[0] && i > 0 && st.get(name[:i]) == nil {
			st.create(name[:i])
		}
	}
}

func (s *session) remove(c *command) (string, error) {
	name, err := c.onlyMailbox()
	if err != nil {
		return "", err
	}
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	f := srv.store.get(name)
	switch {
	case f == nil:
		return "NO [NONEXISTENT] no such folder", nil
	case f.name == "INBOX":
		return "NO [CANNOT] INBOX stays", nil
	case f.readOnly:
		return "NO [NOPERM] the folder is read-only", nil
	case f.noSelect && srv.store.children(f.name):
		return "NO [HASCHILDREN] folders are below it", nil // RFC 3501, 6.3.4
	}
	srv.dismiss(f, s, "the folder was deleted")
	if s.folder == f {
		s.leave()
	}
	if !srv.store.children(f.name) {
		delete(srv.store.folders, f.name)
		return "OK deleted", nil
	}
	fresh := srv.store.create(f.name) // the name stays, the messages go
	fresh.noSelect, fresh.attrs = true, []string{`\Noselect`}
	return "OK deleted", nil
}

func (s *session) rename(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	from, err := c.mailbox()
	if err != nil {
		return "", err
	}
	to, err := c.onlyMailbox()
	if err != nil {
		return "", err
	}
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	st := srv.store
	f := st.get(from)
	switch {
	case f == nil:
		return "NO [NONEXISTENT] no such folder", nil
	case to == "" || st.get(to) != nil:
		return "NO [ALREADYEXISTS] there is such a folder", nil
	case st.delimiter != "" && strings.HasPrefix(to, from+st.delimiter):
		return "NO [CANNOT] it would be below itself", nil
	}
	if f.name == "INBOX" { // RFC 3501, 6.3.5: the messages move, INBOX stays and is empty
		fresh := st.create(to)
		for _, m := range f.messages {
			fresh.add(m.raw, m.flags, m.received)
		}
		f.expunge(func(*stored) bool { return true })
		st.parents(to)
		srv.changed(f, s)
		return "OK renamed", nil
	}
	for _, g := range st.sorted() {
		if g == f || st.delimiter != "" && strings.HasPrefix(g.name, from+st.delimiter) {
			delete(st.folders, g.name)
			g.name = to + g.name[len(from):]
			st.folders[g.name] = g
		}
	}
	st.parents(to)
	return "OK renamed", nil
}

func (s *session) subscribe(c *command) (string, error) {
	name, err := c.onlyMailbox()
	if err != nil {
		return "", err
	}
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	f := srv.store.get(name)
	if f == nil {
		return "NO [NONEXISTENT] no such folder", nil
	}
	f.subscribed = c.name == "SUBSCRIBE"
	return "OK done", nil
}

func (s *session) namespace(c *command) (string, error) {
	if err := c.end(); err != nil {
		return "", err
	}
	delimiter := "NIL"
	if d := s.server.opts.Delimiter; d != "" {
		delimiter = quote(d)
	}
	s.line(`* NAMESPACE (("" %s)) NIL NIL`, delimiter)
	return "OK that is all", nil
}

func (s *session) status(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	name, err := c.mailbox()
	if err != nil {
		return "", err
	}
	if err := c.space(); err != nil {
		return "", err
	}
	items, err := s.statusItems(c)
	if err != nil {
		return "", err
	}
	if err := c.end(); err != nil {
		return "", err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	f := s.server.store.get(name)
	if f == nil || f.noSelect {
		return "NO [NONEXISTENT] no such folder", nil
	}
	s.line("* STATUS %s (%s)", mailboxName(f.name), s.statusOf(f, items))
	return "OK that is all", nil
}

func (s *session) statusItems(c *command) ([]string, error) {
	var items []string
	err := c.list(func() error {
		word, err := c.atom()
		if err != nil {
			return err
		}
		word = strings.ToUpper(word)
		switch word {
		case "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN":
			items = append(items, word)
			return nil
		case "HIGHESTMODSEQ":
			if s.condstore() {
				s.wantModSeqs()
				items = append(items, word)
				return nil
			}
		}
		return syntaxf("unknown status item %s", word)
	})
	if err == nil && len(items) == 0 {
		err = syntaxf("no status item")
	}
	return items, err
}

// statusOf writes the status items of f. The caller holds the server's lock.
func (s *session) statusOf(f *folder, items []string) string {
	var parts []string
	quirks := s.server.opts.Quirks
	for _, item := range items {
		n := 0
		switch item {
		case "MESSAGES":
			n = len(f.messages)
		case "UNSEEN":
			n = f.count(`\Seen`, false)
		case "UIDNEXT":
			if quirks.NoUIDNext {
				continue
			}
			n = int(f.tellUIDNext(quirks))
		case "UIDVALIDITY":
			if quirks.NoUIDValidity {
				continue
			}
			n = int(f.uidValidity)
		case "HIGHESTMODSEQ":
			if !f.noModSeq { // 0 says that there are none: RFC 7162, 3.1.7
				n = int(f.told(f.modSeq))
			}
		}
		parts = append(parts, fmt.Sprintf("%s %d", item, n))
	}
	return strings.Join(parts, " ")
}
