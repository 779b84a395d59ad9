package ewstest

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"time"
)

// store is what a Server knows: accounts, mailboxes, and what was sent. It is guarded by Server.mu.
type store struct {
	accounts   []*account
	mailboxes  []*Mailbox // by their numbers, less one
	public     *Mailbox
	rights     map[*account]map[*Mailbox]*right
	groups     map[string]*Group
	discovery  map[*account]bool
	sent       []Sent
	receipts   []string // ids of items whose senders were told that they were deleted unread
	subs       map[string]*subscription
	subscribed int           // subscriptions in all
	made       int           // messages that were made anew
	news       chan struct{} // closed when anything changes, and replaced
}

func (st *store) init() {
	st.rights = make(map[*account]map[*Mailbox]*right)
	st.discovery = make(map[*account]bool)
	st.groups = make(map[string]*Group)
	st.subs = make(map[string]*subscription)
	st.news = make(chan struct{})
}

// changed wakes those who wait for news.
func (st *store) changed() {
	close(st.news)
	st.news = make(chan struct{})
}

// An account is who can log in. It may have a mailbox.
type account struct {
	address  string // the primary SMTP address
	upn      string
	sam      string // the name without a domain
	domain   string // NetBIOS
	sid      string
	password string
	aliases  []string
	mailbox  *Mailbox
}

// account finds an account by its address, an alias, its user principal name, DOM\name, \name, or its bare name; nil if there
// is none.
func (s *Server) account(name string) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	domain, sam, split := strings.Cut(name, `\`)
	for _, a := range s.store.accounts {
		switch {
		case split && strings.EqualFold(sam, a.sam) && (domain == "" || strings.EqualFold(domain, a.domain)),
			strings.EqualFold(name, a.sam), strings.EqualFold(name, a.upn), a.hasAddress(name):
			return a
		}
	}
	return nil
}

func (a *account) hasAddress(address string) bool {
	return strings.EqualFold(address, a.address) ||
		slices.ContainsFunc(a.aliases, func(alias string) bool { return strings.EqualFold(alias, address) })
}

// AccountOptions are the options of Server.AddAccount.
type AccountOptions struct {
	Password string
	UPN      string   // user principal name; "" is the address
	Name     string   // the name of DOM\name; "" is what stands before the @ of the address
	SID      string   // security identifier; "" gives it one
	Aliases  []string // further addresses
}

// AddAccount adds an account that has no mailbox.
func (s *Server) AddAccount(address string, o AccountOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addAccount(address, o)
}

func (s *Server) addAccount(address string, o AccountOptions) *account {
	local, _, _ := strings.Cut(address, "@")
	a := &account{
		address: address, upn: cmpOr(o.UPN, address), sam: cmpOr(o.Name, local), domain: s.opts.Domain,
		sid: o.SID, password: o.Password, aliases: o.Aliases,
	}
	if a.sid == "" {
		a.sid = "S-1-5-21-1004336348-1177238915-682003330-" + itoa(1000+len(s.store.accounts))
	}
	s.store.accounts = append(s.store.accounts, a)
	return a
}

// A Message is one item of a mailbox.
type Message struct {
	ID       string    // not for delivery
	Folder   string    // path; not for delivery
	Raw      []byte    // the octets of a message
	Body     Octets    // in place of Raw, octets that are made when they are read
	Kind     string    // the element of the item: "Message", "MeetingRequest", "CalendarItem"…; "" is by the class
	Class    string    // PR_MESSAGE_CLASS; "" is IPM.Note
	Received time.Time // zero when delivering: now
	Read     bool
	Draft    bool
	// Categories are what makes FindItem tell an item several times.
	Categories []string
}

// Octets are the octets of a message. They must not change.
type Octets interface {
	io.ReaderAt
	Size() int64
}

// An item is one item in the store. Its number, and so its id, changes when it moves.
type item struct {
	n        uint64
	folder   *Folder // nil once it is gone
	body     payload
	kind     string
	class    string
	received time.Time
	modified time.Time
	read     bool
	draft    bool
	broken   Breakage
	update   uint32 // of the change key

	came   *Folder // where it was before it moved here
	cameAs uint64  // its number there
	left   bool    // it moved away

	born, changed, marked, died int // places in the folder's log; 0 = never
	more                        *itemMore
}

// itemMore is what few items have.
type itemMore struct {
	categories []string
	extended   []*node // ExtendedProperty, as clients set them
}

// A Mailbox is one mailbox of a Server.
type Mailbox struct {
	s             *Server
	account       *account
	number        int
	opts          MailboxOptions
	folders       []*Folder          // by their numbers
	distinguished map[string]*Folder // by their ids
	items         []*item            // by their numbers
	log           []folderEvent      // of the folders, for SyncFolderHierarchy
	epoch         int                // sync states of earlier ones have expired
	used          int64              // octets
	recoverable   int64              // octets
	protected     bool               // DeleteItem fails
}

// MailboxOptions are the options of Server.AddMailbox.
type MailboxOptions struct {
	Password string
	UPN      string   // user principal name; "" is the address
	Name     string   // the name of DOM\name; "" is what stands before the @ of the address
	SID      string   // security identifier; "" gives it one
	Aliases  []string // further addresses
	Display  string   // the person's name; "" is the address
	Unlisted bool     // the directory does not tell of it

	// Version is that of an older server on which the mailbox lies: newer schemas are refused with
	// ErrorInvalidSchemaVersionForMailboxVersion.
	Version string
	// Quota and RecoverableQuota are the most octets that the mailbox, and its dumpster, may have; 0 = no limit.
	Quota, RecoverableQuota int64
	// SendAs are other addresses that the mailbox may have in From.
	SendAs []string
	// Hold keeps what is deleted for ever in Purges.
	Hold bool
	// Fault is the code with which every operation on the mailbox fails: "ErrorMailboxMoveInProgress", "ErrorAccountDisabled".
	Fault string
}

// AddMailbox adds a mailbox with the usual folders, and the account that owns it.
func (s *Server) AddMailbox(address string, o MailboxOptions) *Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.addAccount(address, AccountOptions{Password: o.Password, UPN: o.UPN, Name: o.Name, SID: o.SID, Aliases: o.Aliases})
	mb := s.newMailbox(o)
	mb.account, a.mailbox = a, mb
	mb.plant()
	s.store.changed()
	return mb
}

func (s *Server) newMailbox(o MailboxOptions) *Mailbox {
	mb := &Mailbox{s: s, opts: o, number: len(s.store.mailboxes) + 1, distinguished: make(map[string]*Folder), items: make([]*item, 2)}
	s.store.mailboxes = append(s.store.mailboxes, mb)
	return mb
}

// Address returns the primary address.
func (mb *Mailbox) Address() string { return mb.account.address }

// Deliver puts messages into a folder, which is made if it is not there, and returns their ids. Its path has "/" between the
// levels; names are compared without regard to case.
func (mb *Mailbox) Deliver(folder string, raw ...[]byte) []string {
	return mb.Folder(folder).Deliver(raw...)
}

// Folder returns the folder with that path below the top, and makes it if it is not there.
func (mb *Mailbox) Folder(path string) *Folder {
	return mb.top("msgfolderroot").Folder(path)
}

func (mb *Mailbox) top(id string) *Folder {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	return mb.distinguished[id]
}

// deliver puts an item into f. The caller holds the lock.
func (mb *Mailbox) deliver(f *Folder, m Message) *item {
	body := m.Body
	if body == nil {
		body = bytes.NewReader(slices.Clone(m.Raw))
	}
	now := mb.s.clock.Now()
	it := &item{
		n: uint64(len(mb.items)), folder: f, body: body, kind: m.Kind, class: cmpOr(m.Class, "IPM.Note"),
		received: m.Received, modified: now, read: m.Read, draft: m.Draft,
	}
	if it.received.IsZero() {
		it.received = now
	}
	if it.kind == "" {
		it.kind = kindOf(it.class)
	}
	if len(m.Categories) > 0 {
		it.more = &itemMore{categories: slices.Clone(m.Categories)}
	}
	mb.items = append(mb.items, it)
	mb.used += body.Size()
	f.enter(it)
	return it
}

// Messages returns what is in a folder of a mailbox, in the order of arrival; nil if there is no such folder.
func (s *Server) Messages(address, folder string) []Message {
	a := s.account(address)
	if a == nil || a.mailbox == nil {
		return nil
	}
	s.mu.Lock()
	f := a.mailbox.distinguished["msgfolderroot"].below(folder)
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.Messages()
}
