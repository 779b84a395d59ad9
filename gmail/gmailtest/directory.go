package gmailtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A User is an account of the directory.
type User struct {
	ID      string   // "" gets one: 21 digits, as Google's
	Email   string   // the primary address
	Aliases []string // further addresses
	Name    string   // "" is the part of Email before the @
	OrgUnit string   // the path of the organisational unit; "" is "/"
	Admin   bool     // a super administrator; the one of [Options.Admin] always is
	// UserReader may read the directory without being a super administrator.
	UserReader bool
	Suspended  bool // gets no tokens; with those it has, lists work and messages cannot be read
	Archived   bool // the mailbox cannot be read
	NoMailbox  bool // Gmail is not switched on: isMailboxSetup is false
	Guest      bool // isGuestUser
	Created    time.Time
}

// An account is a User with its mailbox. Guarded by Server.mu.
type account struct {
	User
	box      *mailbox
	disabled bool // by Disable
	deleted  bool
	gone     time.Time // when it was deleted
	known    []string  // under which the directory finds it
}

// answersTo reports whether a name is the id or an address of the account.
func (a *account) answersTo(name string) bool {
	return name == a.ID || strings.EqualFold(name, a.Email) || slices.ContainsFunc(a.Aliases, func(alias string) bool { return strings.EqualFold(name, alias) })
}

// directory is the part of a Server that knows who there is. Guarded by Server.mu.
type directory struct {
	accounts []*account          // in the order of creation, deleted ones included
	byName   map[string]*account // by id and by addresses in lower case
	groups   []*group
	made     int // ids given out
}

func (d *directory) init() { d.byName = make(map[string]*account) }

// find returns an account by its id or an address of it, nil if there is none or it was deleted.
func (d *directory) find(name string) *account { return d.byName[strings.ToLower(name)] }

// index makes an account known by its names, and only by those.
func (d *directory) index(a *account) {
	for _, name := range a.known {
		if d.byName[name] == a {
			delete(d.byName, name)
		}
	}
	if a.known = nil; a.deleted {
		return
	}
	for _, name := range append([]string{a.ID, a.Email}, a.Aliases...) {
		name = strings.ToLower(name)
		if other := d.byName[name]; other != nil && other != a {
			panic("gmailtest: " + name + " is taken by " + other.Email)
		}
		a.known, d.byName[name] = append(a.known, name), a
	}
}

// newID makes an id of a user or a group.
func (d *directory) newID() string {
	d.made++
	return fmt.Sprintf("1%020d", uint64(d.made)*7919_0000_0001) //nolint:gosec // small and positive
}

// AddUser adds an account to the directory and returns its id. If there is one with that id or address, it is replaced: its mailbox
// stays, though nobody gets into it if u has none. An address that another account has is a panic, here and wherever a user gets one.
func (s *Server) AddUser(u User) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !validAddress(u.Email) {
		panic("gmailtest: AddUser: no address: " + u.Email)
	}
	a := s.directory.find(u.ID)
	if a == nil {
		a = s.directory.find(u.Email)
	}
	if a == nil {
		a = &account{User: User{ID: s.directory.newID(), Created: s.now()}}
		s.directory.accounts = append(s.directory.accounts, a)
	}
	u.ID, u.OrgUnit = or(u.ID, a.ID), or(u.OrgUnit, "/")
	if u.Created.IsZero() {
		u.Created = a.Created
	}
	u.Aliases = slices.Clone(u.Aliases)
	u.Admin = u.Admin || strings.EqualFold(u.Email, s.opts.Admin)
	if a.User = u; a.box == nil && !u.NoMailbox {
		a.box = newMailbox(s, a)
	}
	s.directory.index(a)
	return a.ID
}

// ensure returns the account of an address, alias or id, and creates it if there is none.
func (s *Server) ensure(name string) *account {
	if a := s.lookup(name); a != nil {
		return a
	}
	s.AddUser(User{Email: name})
	return s.lookup(name)
}

// lookup returns an account by address, alias or id; nil if there is none.
func (s *Server) lookup(name string) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.directory.find(name)
}

// idOf returns the id of a user, given by address, alias or id; "" if there is none.
func (s *Server) idOf(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.directory.find(user); a != nil {
		return a.ID
	}
	return ""
}

// change changes an account that exists.
func (s *Server) change(name string, f func(a *account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.directory.find(name)
	if a == nil {
		panic("gmailtest: no user " + name)
	}
	f(a)
	s.directory.index(a)
}

// Users returns the accounts of the directory in the order of their creation, the administrator's included.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []User
	for _, a := range s.directory.accounts {
		if !a.deleted {
			u := a.User
			u.Aliases = slices.Clone(u.Aliases)
			all = append(all, u)
		}
	}
	return all
}

// Suspend suspends a user, or ends that.
func (s *Server) Suspend(user string, suspended bool) {
	s.change(user, func(a *account) { a.Suspended = suspended })
}

// Archive archives a user, or ends that.
func (s *Server) Archive(user string, archived bool) {
	s.change(user, func(a *account) { a.Archived = archived })
}

// Move puts a user into another organisational unit.
func (s *Server) Move(user, orgUnit string) {
	s.change(user, func(a *account) { a.OrgUnit = orgUnit })
}

// RenameUser gives a user another primary address. As at Google, the one it had becomes an alias.
func (s *Server) RenameUser(user, email string) {
	s.change(user, func(a *account) {
		a.Aliases = slices.DeleteFunc(append(a.Aliases, a.Email), func(alias string) bool { return strings.EqualFold(alias, email) })
		a.Email = email
	})
}

// RemoveUser deletes a user. Its mailbox is gone, its tokens are no good, and its addresses may be used again.
func (s *Server) RemoveUser(user string) {
	s.change(user, func(a *account) { a.deleted, a.gone = true, s.now() })
}

// RestoreUser brings a deleted user back, by its id, with its mailbox.
func (s *Server) RestoreUser(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.directory.accounts {
		if a.ID == id && a.deleted {
			a.deleted = false
			s.directory.index(a)
			return
		}
	}
	panic("gmailtest: no deleted user " + id)
}

// Disable switches Gmail off for a mailbox: 400 failedPrecondition "Mail service not enabled". The directory does not show it.
func (s *Server) Disable(mailbox string) { s.change(mailbox, func(a *account) { a.disabled = true }) }

// Enable ends what Disable began.
func (s *Server) Enable(mailbox string) { s.change(mailbox, func(a *account) { a.disabled = false }) }
