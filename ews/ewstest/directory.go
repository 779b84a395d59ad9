package ewstest

import "strings"

// A Group is a distribution list.
type Group struct {
	Address string
	Name    string   // for people; "" is the address
	Members []string // addresses of mailboxes, of groups, and of whom the server does not know
	Hidden  bool     // its members are told to nobody
}

// AddGroup adds a distribution list, or replaces the one with its address.
func (s *Server) AddGroup(g Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store.groups[strings.ToLower(g.Address)] = &g
}

// GrantDiscovery gives an account the role Discovery Management, which GetSearchableMailboxes wants.
func (s *Server) GrantDiscovery(account string) {
	a := s.account(account)
	if a == nil {
		panic("ewstest: no account " + account)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store.discovery[a] = true
}
