package imapclient

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// commands is the guard's view of the other direction: which commands are under way, so that it knows what the server
// may answer and when silence is too long; and how the connection ended.
type commands struct {
	mu      sync.Mutex
	link    *link
	pending map[string]string // verb by tag
	idle    time.Duration     // the limit while idling, 0 = not idling
	limit   time.Duration     // in force below
	err     error             // the first that ended the connection
	bye     error             // what the server said when it closed, unless we asked it to
	leaving bool              // LOGOUT was sent
	closed  bool

	responses atomic.Int64 // of the server since the last command began or ended
	chatter   atomic.Int64 // of those, the ones that say nothing

	// Where the stream of commands stands; used by the writer alone.
	begun   []byte // the line being written, as far as it is kept
	skip    int64  // octets of a literal still to come
	literal bool   // the line goes on behind a literal
}

// keptCommand is how much of a command line is kept to find its tag, its verb and its literal.
const keptCommand = 8 << 10

func (c *commands) init(l *link) {
	c.link, c.pending, c.limit = l, make(map[string]string), l.noData
	c.watch()
}

// sent follows what is about to be written.
func (c *commands) sent(p []byte) {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, int64(len(p)))
			c.skip -= n
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n') + 1
		part := p
		if end > 0 {
			part = p[:end]
		}
		c.begun = append(c.begun, part...)
		p = p[len(part):]
		if n := len(c.begun); n > keptCommand {
			// The head and the end are what matters.
			c.begun = append(c.begun[:keptCommand/2], c.begun[n-keptCommand/2:]...)
		}
		if end > 0 {
			c.line(bytes.TrimRight(c.begun, "\r\n"))
			c.begun = c.begun[:0]
		}
	}
}

// line takes one whole line of a command.
func (c *commands) line(line []byte) {
	c.link.trace.Sent(line)
	if !c.literal {
		tag, rest := cutSpace(string(line[:min(len(line), maxHead)]))
		verb, rest := cutSpace(rest)
		if strings.EqualFold(verb, "UID") {
			verb, _ = cutSpace(rest)
		}
		if verb != "" {
			c.mu.Lock()
			c.pending[tag] = strings.ToUpper(verb)
			c.count()
			c.leaving = c.leaving || c.pending[tag] == "LOGOUT"
			c.mu.Unlock()
			c.watch()
		}
	}
	c.literal = false
	if n := len(line); n > 2 && line[n-1] == '}' {
		// RFC 7888: "{5+}" does not wait for the server.
		if _, size, ok := cutLiteral(append(bytes.TrimSuffix(line[:n-1:n-1], []byte("+")), '}')); ok && size >= 0 {
			c.skip, c.literal = size, true
			c.link.trace.Octets(true, size)
		}
	}
}

// answered takes the tagged reply of a command.
func (c *commands) answered(tag string) {
	c.mu.Lock()
	delete(c.pending, tag)
	c.count()
	c.mu.Unlock()
	c.watch()
}

// count begins to count responses anew.
func (c *commands) count() {
	c.responses.Store(0)
	c.chatter.Store(0)
}

// underWay reports whether the command with that tag waits for its reply.
func (c *commands) underWay(tag string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.pending[tag]
	return ok
}

// asked reports whether a command is under way that the kind answers.
func (c *commands) asked(k kind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, verb := range c.pending {
		if slices.Contains(askedBy[k], verb) {
			return true
		}
	}
	return false
}

// selecting reports whether a folder is being selected.
func (c *commands) selecting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, verb := range c.pending {
		if verb == "SELECT" || verb == "EXAMINE" {
			return true
		}
	}
	return false
}

// busy reports whether any command is under way.
func (c *commands) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) > 0
}

// watch puts the no-data limit in force that the state asks for.
func (c *commands) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := time.Duration(0)
	switch {
	case c.idle > 0:
		limit = c.idle
	case len(c.pending) > 0:
		limit = c.link.noData
	}
	if limit != c.limit || limit > 0 {
		c.limit = limit
		c.link.conn.Watch(limit)
	}
}

func (c *commands) setLimit(idle time.Duration) {
	c.mu.Lock()
	c.idle = idle
	c.mu.Unlock()
	c.watch()
}

// farewell keeps what the server says when it closes the connection, as the reason for the end that follows.
func (c *commands) farewell(n note) {
	c.mu.Lock()
	first := c.bye == nil && !c.leaving
	if first {
		c.bye = c.link.refusal(n, "")
	}
	c.mu.Unlock()
	if first {
		c.link.announce(n)
	}
}

// Err returns what ended the connection, nil while it lives and after Close or an orderly LOGOUT. It is a
// *connection.Error, or what fail was given.
func (c *commands) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection with err, unless it has ended already: whoever reads or writes gets that error.
func (c *commands) fail(err error) {
	c.mu.Lock()
	if c.err == nil && !c.closed {
		c.err = err
	}
	c.mu.Unlock()
	c.link.conn.Fail(err)
}

// lost ends the connection with what the stream below returned. Between two responses that is no error after LOGOUT.
func (c *commands) lost(err error, between bool) {
	c.mu.Lock()
	first := c.err == nil && !c.closed
	switch {
	case first && c.bye != nil:
		err = c.bye
	case first && between && c.leaving:
		first = false
	}
	if first {
		c.err = err
	}
	c.mu.Unlock()
	c.link.conn.Fail(err)
}

// ended returns what a Read or Write returns from now on, nil while the connection lives.
func (c *commands) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.closed {
		return net.ErrClosed
	}
	return c.err
}

// Close closes the connection at once. A second Close does nothing.
func (c *commands) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.link.conn.Close()
}
