package objectstore

// Capabilities tell what a store can do, as far as is known. Test asks the server and may take some away.
type Capabilities struct {
	Features
	Parts      bool // large objects in parts
	BulkDelete bool // several keys by one request
	Copy       bool
	Restore    bool
	Presign    bool
	Incomplete bool
}

// Capabilities returns what the engine can do.
func (s *Store) Capabilities() Capabilities {
	c := Capabilities{Features: s.Features()}
	_, c.Parts = s.backend.(PartPutter)
	_, c.BulkDelete = s.backend.(BulkDeleter)
	_, c.Copy = s.backend.(Copier)
	_, c.Restore = s.backend.(Restorer)
	_, c.Presign = s.backend.(Presigner)
	_, c.Incomplete = s.backend.(IncompleteLister)
	if _, ok := s.backend.(Locker); !ok {
		c.Lock = false
	}
	return c
}

// Features returns what Options said, and what was learned since.
func (s *Store) Features() Features {
	s.known.Lock()
	defer s.known.Unlock()
	return s.features
}

// Learn changes the features to what a server has shown: an engine calls it when a bucket turns out to have no locks, say.
func (s *Store) Learn(change func(*Features)) {
	s.known.Lock()
	defer s.known.Unlock()
	change(&s.features)
}
