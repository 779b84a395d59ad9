package imaptest

import (
	"fmt"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/utf7"
)

// Deliver puts messages into INBOX, as a delivery agent does. The server keeps their octets exactly.
func (s *Server) Deliver(raw ...[]byte) {
	messages := make([]Message, len(raw))
	for i, r := range raw {
		messages[i].Raw = r
	}
	s.DeliverTo("INBOX", messages...)
}

// DeliverTo puts messages into a folder, which is made if it is missing. A name is UTF-8, or what Folder.Wire said. A
// UID below the folder's next one, or none being left, is a mistake of the caller: DeliverTo panics.
func (s *Server) DeliverTo(name string, messages ...Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folder(name)
	if f == nil {
		f = s.store.create(utf7.Encode(name))
	}
	if err := f.deliver(messages); err != nil {
		panic("imaptest: " + name + ": " + err.Error())
	}
	s.changed(f, nil)
}

// Messages returns what INBOX holds, by ascending UID.
func (s *Server) Messages() []Message { return s.MessagesIn("INBOX") }

// MessagesIn returns what a folder holds, by ascending UID; nothing if there is no such folder.
func (s *Server) MessagesIn(name string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.folder(name); f != nil {
		return f.snapshot()
	}
	return nil
}

// Folders returns the names of all folders as they are on the wire, sorted.
func (s *Server) Folders() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, f := range s.store.sorted() {
		names = append(names, f.name)
	}
	return names
}

// UIDValidity returns the UIDVALIDITY of a folder, 0 if there is no such folder.
func (s *Server) UIDValidity(name string) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.folder(name); f != nil {
		return f.uidValidity
	}
	return 0
}

// BumpUIDValidity gives folders (without names: all) another UIDVALIDITY and their messages new UIDs from 1, so that
// an old UID now means another message. Sessions that have such a folder selected end with BYE at their next command.
func (s *Server) BumpUIDValidity(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.named(names) {
		s.dismiss(f, nil, "UIDVALIDITY has changed")
		s.store.renumber(f)
	}
}

// Delete removes messages of a folder, as another client does. A UID that is not there is no error.
func (s *Server) Delete(name string, uids ...uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folder(name)
	if f == nil {
		return
	}
	if f.expunge(func(m *stored) bool { return slices.Contains(uids, m.uid) }) > 0 {
		s.changed(f, nil)
	}
}

// SetFlags replaces the flags of a message, as another client does. No such message is a mistake of the caller:
// SetFlags panics.
func (s *Server) SetFlags(name string, uid uint32, flags ...connection.Flag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folder(name)
	var m *stored
	if f != nil {
		m = f.find(uid)
	}
	if m == nil {
		panic(fmt.Sprintf("imaptest: no message %d in %s", uid, name))
	}
	var set []string
	for _, flag := range flags {
		set = withFlag(set, string(flag))
	}
	if f.setFlags(m, set) {
		s.changed(f, nil)
	}
}

// Transcript returns every command received so far, on all connections, in the order of receipt and without secrets.
// With patterns, only those that match one of them, as for [Server.Fail].
func (s *Server) Transcript(patterns ...string) []Command { return s.journal.all(patterns) }

// folder finds a folder by its name on the wire, or in UTF-8. The caller holds the lock.
func (s *Server) folder(name string) *folder {
	if f := s.store.get(name); f != nil {
		return f
	}
	return s.store.get(utf7.Encode(name))
}

// named returns the folders of these names that exist; without names, all. The caller holds the lock.
func (s *Server) named(names []string) []*folder {
	if len(names) == 0 {
		return s.store.sorted()
	}
	var folders []*folder
	for _, name := range names {
		if f := s.folder(name); f != nil {
			folders = append(folders, f)
		}
	}
	return folders
}

// changed wakes the sessions that idle on f, but for the one that made the change. The caller holds the lock.
func (s *Server) changed(f *folder, by *session) {
	for session := range s.sessions {
		if session != by && session.folder == f {
			session.wakeUp()
		}
	}
}

// dismiss ends the sessions on f, but for the one that asked, with BYE. The caller holds the lock.
func (s *Server) dismiss(f *folder, by *session, text string) {
	for session := range s.sessions {
		if session != by && session.folder == f {
			session.bye = text
			session.wakeUp()
		}
	}
}
