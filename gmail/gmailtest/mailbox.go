package gmailtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The first numbers of each mailbox. They are the same in all of them: an id says nothing without its mailbox.
const (
	firstMessage = 0x18c0a1b2c3d40000
	firstHistory = 1_000_003
	firstLabel   = 1
)

// A mailbox is what one user has: messages, labels and their history. Its methods are safe for concurrent use.
type mailbox struct {
	user *account

	mu       sync.Mutex
	gaps     *rand.Rand
	byID     map[string]*message
	threads  map[string]int // how many messages each has
	list     []*message     // oldest first, as before orders them
	vault    []*message     // uploaded with deleted=true: seen by Vault alone
	labels   map[string]*label
	names    []*label // in the order of their making
	history  []record // oldest first
	told     uint64   // the newest history id
	since    uint64   // history before this id has expired
	message  uint64   // the newest message's number
	label    uint64   // the newest label's number
	arrivals uint64
	replies  uint64              // turns the order of labelIds
	restart  uint64              // page tokens of earlier epochs have expired
	pages    pageFaults          // what goes wrong with lists
	vanish   map[string]bool     // ids that a list tells of and that are then removed
	sessions map[string]*session // resumable uploads that are under way
	watch    *watching
}

func newMailbox(s *Server, a *account) *mailbox {
	mb := &mailbox{
		user: a, gaps: rand.New(rand.NewPCG(s.opts.Seed, 1)), //nolint:gosec // tests want to be repeated
		byID: make(map[string]*message), threads: make(map[string]int), labels: make(map[string]*label),
		told: firstHistory, message: firstMessage, label: firstLabel,
	}
	for _, id := range systemLabels {
		l := &label{id: id, name: id}
		mb.labels[id] = l
		mb.names = append(mb.names, l)
	}
	return mb
}

// nextHistory makes a history id. They have gaps.
func (mb *mailbox) nextHistory() uint64 {
	mb.told += 1 + mb.gaps.Uint64N(97)
	return mb.told
}

// nextMessage makes a message id: 16 hexadecimal digits, later ones being greater.
func (mb *mailbox) nextMessage() string {
	mb.message += 1 + mb.gaps.Uint64N(0xfff)
	return fmt.Sprintf("%x", mb.message)
}

// add puts a message into the mailbox, tells history of it, and returns a copy as it is then.
func (mb *mailbox) add(m *message) message {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if m.id == "" || mb.byID[m.id] != nil {
		m.id = mb.nextMessage()
	}
	if m.thread == "" {
		m.thread = m.id
	}
	mb.arrivals++
	m.arrival = mb.arrivals
	m.history = mb.nextHistory()
	mb.byID[m.id] = m
	at, _ := slices.BinarySearchFunc(mb.list, m, before)
	mb.list = slices.Insert(mb.list, at, m)
	mb.threads[m.thread]++
	mb.history = append(mb.history, record{id: m.history, added: []entry{m.entry()}})
	return mb.shown(m)
}

// before orders messages by the time of their arrival, as lists have them the other way round.
func before(a, b *message) int {
	if c := a.internal.Compare(b.internal); c != 0 {
		return c
	}
	return int(a.arrival) - int(b.arrival) //nolint:gosec // counts of one process
}

// modify changes the labels of messages in one record of history. What is so already is not told. Ids that are unknown
// are passed over.
func (mb *mailbox) modify(ids, add, remove []string) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	var r record
	var changed []*message
	for _, id := range ids {
		m := mb.byID[id]
		if m == nil {
			continue
		}
		plus := slices.DeleteFunc(slices.Clone(add), m.has)
		minus := slices.DeleteFunc(slices.Clone(remove), func(l string) bool { return !m.has(l) || slices.Contains(add, l) })
		if len(plus)+len(minus) == 0 {
			continue
		}
		m.labels = append(slices.DeleteFunc(slices.Clone(m.labels), func(l string) bool { return slices.Contains(minus, l) }), plus...)
		if len(plus) > 0 {
			r.plus = append(r.plus, labelling{m.entry(), plus})
		}
		if len(minus) > 0 {
			r.minus = append(r.minus, labelling{m.entry(), minus})
		}
		changed = append(changed, m)
	}
	if len(changed) == 0 {
		return
	}
	r.id = mb.nextHistory()
	for _, m := range changed {
		m.history = r.id
	}
	mb.history = append(mb.history, r)
}

// remove deletes messages for ever, in one record of history. Ids that are unknown are passed over.
func (mb *mailbox) remove(ids ...string) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.drop(ids)
}

// drop is remove for callers that hold the lock.
func (mb *mailbox) drop(ids []string) {
	var r record
	gone := make(map[*message]bool, len(ids))
	for _, id := range ids {
		if m := mb.byID[id]; m != nil {
			delete(mb.byID, id)
			if mb.threads[m.thread]--; mb.threads[m.thread] == 0 {
				delete(mb.threads, m.thread)
			}
			gone[m] = true
			r.deleted = append(r.deleted, m.entry())
		}
	}
	if len(gone) == 0 {
		return
	}
	mb.list = slices.DeleteFunc(mb.list, func(m *message) bool { return gone[m] })
	r.id = mb.nextHistory()
	mb.history = append(mb.history, r)
}

// find returns a copy of a message, and whether there is one.
func (mb *mailbox) find(id string) (message, bool) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	m := mb.byID[id]
	if m == nil {
		return message{}, false
	}
	return mb.shown(m), true
}

// shown is a copy of a message, the labels of which have another order each time.
func (mb *mailbox) shown(m *message) message {
	c := *m
	c.labels = slices.Clone(m.labels)
	if n := len(c.labels); n > 1 {
		mb.replies++
		turn := int(mb.replies % uint64(n)) //nolint:gosec // less than n
		c.labels = append(c.labels[turn:], c.labels[:turn]...)
	}
	return c
}

// profile returns what getProfile tells: how many messages and threads there are, and the newest history id.
func (mb *mailbox) profile() (messages, threads int, history uint64) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return len(mb.list), len(mb.threads), mb.told
}

// An instant is a time as the API has it: in milliseconds.
func instant(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
