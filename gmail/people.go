package gmail

import (
	"strings"
	"sync"
)

// people are the users of the directory that were met, so that a mailbox is found by id or address without asking again,
// and is one box however it is named.
type people struct {
	mu    sync.Mutex
	boxes map[string]*box // by id, and by address in lower case
	own   string          // address of the one mailbox in single-mailbox use
}

// mostNames is how many names are kept.
const mostNames = 1_000_000

// find returns the mailbox of a name, nil if it was not met.
func (p *people) find(name string) *box {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.boxes[name]; b != nil {
		return b
	}
	return p.boxes[strings.ToLower(name)]
}

// add keeps what the directory says of a user now, and returns her mailbox.
func (p *people) add(u *user) *box {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.boxes == nil || len(p.boxes) > mostNames {
		p.boxes = make(map[string]*box)
	}
	b := p.boxes[u.ID]
	if b == nil {
		b = newBox(u.ID, u.Email)
		p.boxes[u.ID] = b
	}
	b.rename(u.Email)
	for _, address := range u.addresses() {
		p.boxes[strings.ToLower(address)] = b // an address may have been somebody else's before
	}
	return b
}

func (p *people) ownAddress() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own
}

func (p *people) setOwn(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own = address
}
