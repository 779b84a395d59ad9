package ewstest

// PublicFolders returns the top of the public folders, which the server has from the first call on. They can be listed and
// searched, not synchronised.
func (s *Server) PublicFolders() *Folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.public == nil {
		mb := s.newMailbox(MailboxOptions{})
		mb.account = &account{address: "public folders"}
		mb.grow([5]string{"", "publicfoldersroot", "IPM_SUBTREE", "", "Folder"})
		s.store.public = mb
	}
	return s.store.public.distinguished["publicfoldersroot"]
}

// Replica says where the content of a public folder is: what PR_REPLICA_LIST has, the GUID of a mailbox. It returns f.
func (f *Folder) Replica(guid string) *Folder {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	f.replica = guid
	return f
}
