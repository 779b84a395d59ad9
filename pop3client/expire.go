package pop3client

import (
	"slices"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// Loans are the messages that a session has read and that QUIT would delete without a DELE, by number: EXPIRE 0 permits
// that to a server (RFC 2449, 6.7), and Gmail hides them or does what its settings say. A loan is settled when the
// message was deleted by a DELE, or where nothing is to be deleted by us, when the host was done with it. A nil *loans is
// that of a server without EXPIRE 0. It is safe for concurrent use.
type loans struct {
	mu   sync.Mutex
	open map[uint32]struct{}
}

// newLoans returns nil unless the server says EXPIRE 0.
func newLoans(caps *capabilities) *loans {
	if expire, _ := caps.find("EXPIRE"); !slices.Contains(expire[:min(len(expire), 1)], "0") {
		return nil
	}
	return &loans{open: make(map[uint32]struct{})}
}

func (o *loans) add(num uint32) {
	if o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.open[num] = struct{}{}
	}
}

func (o *loans) settle(num uint32) {
	if o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.open, num)
	}
}

// due reports whether QUIT would delete what it must not.
func (o *loans) due() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open) > 0
}

// A loan is one message of them; the zero loan is of none.
type loan struct {
	of  *loans
	num uint32
}

func (l loan) settle() { l.of.settle(l.num) }

// withoutQuit tells, once, that a session ends without QUIT. The turn must be held.
func (c *Conn) withoutQuit() {
	if !c.expireTold {
		c.expireTold = true
		c.emit(connection.Event{Kind: connection.EventQuirk, Detail: "expire_0: the server deletes at QUIT what was read; sessions that read what is not stored end without QUIT"})
	}
}
