package ewstest

// A Group is a distribution list.
type Group struct {
	Address string
	Name    string
	Members []string // addresses of mailboxes, of groups, and of whom the server does not know
	Hidden  bool     // its members are told to nobody
}

// AddGroup adds a distribution list, or replaces the one with its address.
func (s *Server) AddGroup(g Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store.groups[g.Address] = &g
}
