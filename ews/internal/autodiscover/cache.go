package autodiscover

import (
	"context"
	"net/url"
	"sync"
	"time"
)

// An Entry is what a [Cache] keeps of one mailbox. It holds no secret.
type Entry struct {
	URL           string      `json:"url"`
	Endpoint      string      `json:"endpoint,omitempty"` // the autodiscover URL that gave it
	Address       string      `json:"address,omitempty"`
	Group         string      `json:"group,omitempty"`
	Archives      []Alternate `json:"archives,omitempty"`
	PublicFolders string      `json:"public_folders,omitempty"`
	Schemas       []string    `json:"schemas,omitempty"`
	Found         time.Time   `json:"found"`
}

// A Cache keeps the endpoints of mailboxes, so that a host can carry them over a restart. Its methods may be called from
// several goroutines. An error of either is no failure of the search: the mailbox is then looked for, or not remembered.
type Cache interface {
	// Load returns the Entry of key and whether there is one.
	Load(ctx context.Context, key string) (Entry, bool, error)
	// Store replaces the Entry of key.
	Store(ctx context.Context, key string, e Entry) error
}

// memory is the Cache of a host that brings none.
type memory struct {
	mu sync.Mutex
	by map[string]Entry
}

// Load implements Cache.
func (m *memory) Load(_ context.Context, key string) (Entry, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.by[key]
	return e, ok, nil
}

// Store implements Cache.
func (m *memory) Store(_ context.Context, key string, e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.by == nil {
		m.by = make(map[string]Entry)
	}
	m.by[key] = e
	return nil
}

// reachability is what was learnt about an EWS URL.
type reachability struct {
	ok   bool
	when time.Time
}

// A flight is a search under way. done is closed when it has ended.
type flight struct {
	done  chan struct{}
	left  bool // its caller gave up
	found *Found
	err   error
}

// found turns a cache entry into an answer. It reports false for one whose URL is none that credentials may go to: the
// cache is the host's, and may hold anything.
func (e Entry) found() (*Found, bool) {
	u, err := ewsURL(e.URL)
	if err != nil {
		return nil, false
	}
	return &Found{
		URL: u, Address: e.Address, Group: e.Group, Archives: e.Archives, PublicFolders: e.PublicFolders, Schemas: e.Schemas, When: e.Found,
	}, true
}

// load returns the cached answer, nil if there is none.
func (f *Finder) load(ctx context.Context, key string) (*Found, Entry) {
	e, ok, err := f.o.Cache.Load(ctx, key)
	if err != nil || !ok {
		return nil, Entry{}
	}
	found, ok := e.found()
	if !ok {
		return nil, Entry{}
	}
	return found, e
}

// fresh reports whether the answer is no older than limit. One from the future is not trusted.
func (f *Finder) fresh(found *Found, limit time.Duration) bool {
	age := f.o.Now().Sub(found.When)
	return age >= -time.Minute && age < limit
}

// find is Find, and Search if anew.
func (f *Finder) find(ctx context.Context, address string, anew bool) (*Found, error) {
	a, err := parseAddress(address)
	if err != nil {
		return nil, f.invalid(address, err)
	}
	key := f.key(a.whole)
	old, e := f.load(ctx, key)
	if old != nil && !anew && (f.fresh(old, keepFor) || f.resting(key)) {
		return old, nil
	}
	flight := key
	if anew {
		flight += "\nanew" // its trail is to be whole: a search that takes the short way will not do
	}
	found, err := f.shared(ctx, flight, func() (*Found, error) { return f.look(ctx, key, a, e.Endpoint, anew) })
	if err != nil && old != nil && !anew && passing(ctx, err) {
		f.rest(key)
		return old, nil
	}
	return found, err
}

// refresh is Refresh.
func (f *Finder) refresh(ctx context.Context, address string, failed *url.URL) (*Found, bool, error) {
	a, err := parseAddress(address)
	if err != nil {
		return nil, false, f.invalid(address, err)
	}
	key := f.key(a.whole)
	old, e := f.load(ctx, key)
	other := func(found *Found) bool { return failed == nil || found.URL.String() != failed.String() }
	switch {
	case old == nil:
		found, err := f.find(ctx, address, false)
		if err != nil {
			return nil, false, err
		}
		return found, other(found), nil
	case other(old):
		return old, true, nil // somebody else has refreshed it meanwhile
	case f.fresh(old, settleFor), f.resting(key):
		return old, false, nil
	}
	f.forget(failed)
	found, err := f.shared(ctx, key, func() (*Found, error) { return f.look(ctx, key, a, e.Endpoint, false) })
	switch {
	case ctx.Err() != nil:
		return nil, false, f.fail(kindOfContext(ctx), address, ctx.Err())
	case err != nil:
		f.rest(key)
		return old, false, nil
	}
	return found, other(found), nil
}

// shared runs look unless a search for key is under way, whose result it then returns. If the caller that runs a search
// gives up, one of those that wait for it takes over.
func (f *Finder) shared(ctx context.Context, key string, look func() (*Found, error)) (*Found, error) {
	for {
		f.mu.Lock()
		fl, busy := f.flights[key]
		if !busy {
			fl = &flight{done: make(chan struct{})}
			f.flights[key] = fl
		}
		f.mu.Unlock()
		if !busy {
			fl.found, fl.err = look()
			fl.left = fl.err != nil && ctx.Err() != nil
			f.mu.Lock()
			delete(f.flights, key)
			f.mu.Unlock()
			close(fl.done)
			return fl.found, fl.err
		}
		select {
		case <-ctx.Done():
			return nil, f.fail(kindOfContext(ctx), "", ctx.Err())
		case <-fl.done:
		}
		if !fl.left {
			return fl.found, fl.err
		}
	}
}

// rest keeps a refresh that failed from being tried again at once.
func (f *Finder) rest(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused[key] = f.o.Now().Add(retryAfter)
}

// resting reports whether a refresh of key failed lately.
func (f *Finder) resting(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, ok := f.paused[key]
	if ok && !f.o.Now().Before(until) {
		delete(f.paused, key)
		ok = false
	}
	return ok
}

// forget drops what is known about an EWS URL that failed.
func (f *Finder) forget(u *url.URL) {
	if u == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.alive, u.String())
}
