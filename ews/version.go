package ews

import (
	"sync"

	"github.com/mailconn/mailconn/ews/internal/soap"
)

// learnt is what a Conn has found out about servers and mailboxes while it ran.
type learnt struct {
	mu       sync.Mutex
	versions map[string]soap.Version           // to declare, by mailbox: mixed farms pass requests on to older servers
	servers  map[string]soap.Version           // by host, for mailboxes that were not asked yet
	builds   map[string]soap.ServerVersionInfo // by mailbox, what the server said of itself
	name     bool                              // the account has no mailbox: distinguished folders are to be named with theirs
	always   bool                              // the tokens want somebody to be impersonated in every request
}

// version returns the version to declare for a mailbox.
func (l *learnt) version(mailbox, host string, ceiling soap.Version) soap.Version {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range []soap.Version{l.versions[mailbox], l.servers[host]} {
		if v.Valid() && v.Below(ceiling) {
			return v
		}
	}
	return ceiling
}

// knows reports whether a server has taken a version for a mailbox.
func (l *learnt) knows(mailbox string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.versions[mailbox] != ""
}

// agreed keeps the version that a server took for a mailbox.
func (l *learnt) agreed(mailbox, host string, v soap.Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.versions == nil {
		l.versions, l.servers = make(map[string]soap.Version), make(map[string]soap.Version)
	}
	l.versions[mailbox] = v
	if _, ok := l.servers[host]; !ok {
		l.servers[host] = v
	}
}

// saw keeps what a server says of itself.
func (l *learnt) saw(mailbox string, info soap.ServerVersionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.builds == nil {
		l.builds = make(map[string]soap.ServerVersionInfo)
	}
	l.builds[mailbox] = info
}

// build returns what the server of a mailbox says of itself, and the version that is declared to it; false if it was not
// asked yet.
func (c *Conn) build(t target) (info soap.ServerVersionInfo, declared soap.Version, known bool) {
	l := &c.learnt
	l.mu.Lock()
	defer l.mu.Unlock()
	info = l.builds[t.key()]
	declared, known = l.versions[t.key()]
	return info, declared, known
}

func (l *learnt) mustName() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name
}

func (l *learnt) nameMailboxes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.name = true
}

func (l *learnt) mustImpersonate() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.always
}

func (l *learnt) impersonateAlways() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.always = true
}
