package imapclient

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// A session is one login. One goroutine at a time may use it, for one command at a time: go-imap reads the bodies of a
// FETCH on the goroutine that decodes all replies, so that any second command would wait for the first one's reader.
type session struct {
	conn      *Conn
	guard     *guard
	client    *goclient.Client
	strays    strays // FETCH replies that go-imap could not match to a command
	box       *box   // the folder selected; nil if none
	dead      bool   // a command ended in doubt: nothing may follow it
	left      bool   // it is given up, and does not count any more
	idleSince time.Time
	condstore bool // SELECT asks for mod-sequences, if the server has them
}

// A box is a folder as one SELECT found it.
type box struct {
	mailbox  string // Ref.Mailbox of its messages
	folder   string
	validity string // UIDVALIDITY as the server wrote it, or a text that only this SELECT has if UIDs do not last
	lasting  bool   // UIDs keep their meaning in later sessions
	uidNext  uint32 // 0: not told
	modSeq   uint64 // HIGHESTMODSEQ (RFC 7162); 0: the folder has none
	exists   uint32
	readOnly bool
	keep     []goimap.Flag // PERMANENTFLAGS; nil: not told, so all
	mark     uint64        // the guard's, after the SELECT
}

// newSession logs in. step, if not nil, is told of each part of it.
func newSession(ctx context.Context, c *Conn, step func(connection.Step)) (*session, error) {
	l, err := c.tls.connect(ctx, &c.cfg, c.env, step)
	if err != nil {
		return nil, err
	}
	s := &session{conn: c}
	c.sessions.Add(1)
	s.guard = newGuard(l, func(quirk string) {
		c.emit(connection.Event{Kind: connection.EventQuirk, Detail: quirk})
	})
	s.client = goclient.New(s.guard, &goclient.Options{
		UnilateralDataHandler: &goclient.UnilateralDataHandler{Fetch: s.strays.receive},
	})
	// The greeting is the guard's own. Without waiting, the first command would race it.
	if err := s.run(ctx, "connect", s.client.WaitGreeting); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// watch makes the end of ctx break the connection below. The func returned ends that; it reports whether the session
// survived.
func (s *session) watch(ctx context.Context) (release func() bool) {
	stop := context.AfterFunc(ctx, func() { s.guard.fail(ctx.Err()) })
	return func() bool {
		if !stop() {
			s.dead = true
		}
		return !s.dead
	}
}

// run runs one command, from its sending to its tagged reply, under ctx. The error is an *Error of the verb op.
func (s *session) run(ctx context.Context, op string, command func() error) error {
	if s.broken() {
		return s.over(op)
	}
	release := s.watch(ctx)
	err := command()
	if release() && err == nil {
		return nil
	}
	return s.commandError(ctx, op, err)
}

// over is the error of a session that ended before the command: what ended it, if that is known.
func (s *session) over(op string) error {
	if err := s.guard.Err(); err != nil {
		return s.conn.fault(op, connection.Ref{}, err)
	}
	return s.conn.problem(op, connection.Ref{}, connection.ErrNetwork, "the session is over")
}

// broken reports whether the session can serve no more.
func (s *session) broken() bool {
	if s.dead || s.guard.Err() != nil {
		return true
	}
	select {
	case <-s.client.Closed():
		return true
	default:
		return false
	}
}

// idleTrust is for how long an unused session is taken to be alive without asking.
const idleTrust = 5 * time.Second

// ready reports whether a session that was idle can be used.
func (s *session) ready(ctx context.Context) bool {
	if s.broken() {
		return false
	}
	if time.Since(s.idleSince) < idleTrust {
		return true
	}
	return s.run(ctx, "connect", func() error { return s.client.Noop().Wait() }) == nil
}

// abandon closes the connection at once. No literal may be unread, unless the guard has failed.
func (s *session) abandon() {
	s.dead = true
	if !s.left {
		s.left = true
		s.conn.sessions.Add(-1)
	}
	_ = s.guard.Close()  // the connection is given up: nothing depends on how it ends
	_ = s.client.Close() // returns what made it die, which was reported where it happened
	s.strays.discard()
}

// logout ends the session as RFC 9051, 6.1.3 wants, or at once if that takes too long. It never sends CLOSE, which
// would expunge what others have marked (6.4.1).
func (s *session) logout(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, logoutLimit)
	defer cancel()
	if !s.broken() {
		_ = s.run(ctx, "close", func() error { return s.client.Logout().Wait() }) // a courtesy
	}
	s.abandon()
}

// has reports whether the server offers an extension that the settings do not disable.
func (s *session) has(capability goimap.Cap) bool {
	return !s.conn.cfg.disabled(string(capability)) && s.client.Caps().Has(capability)
}

// open selects folder anew and returns what the server says of it. Writable is asked for when delete_mode removes.
func (s *session) open(ctx context.Context, op, folder string) (*box, error) {
	wire, err := s.wireName(ctx, op, folder)
	if err != nil {
		return nil, err
	}
	s.box = nil
	mark := s.guard.Mark()
	opts := &goimap.SelectOptions{ReadOnly: !s.conn.cfg.deletes() && op != "mark", CondStore: s.condstore && s.modSeqs()}
	data, err := s.selectFolder(ctx, op, wire, opts)
	if err != nil && opts.CondStore && s.refusedModSeqs(err) {
		opts.CondStore = false
		if data, err = s.selectFolder(ctx, op, wire, opts); err == nil {
			s.conn.giveUpModSeqs()
		}
	}
	if err != nil {
		return nil, s.conn.folderError(op, folder, err)
	}
	b := &box{mailbox: s.conn.cfg.mailbox, folder: folder, uidNext: uint32(data.UIDNext), exists: data.NumMessages, lasting: true}
	if s.modSeqs() {
		b.modSeq = data.HighestModSeq
	}
	if data.UIDValidity != 0 {
		b.validity = strconv.FormatUint(uint64(data.UIDValidity), 10)
	}
	for _, n := range s.guard.Since(mark) {
		switch n.Code {
		case "READ-ONLY":
			b.readOnly = true
		case "READ-WRITE":
			b.readOnly = false
		case "UIDVALIDITY":
			// The server's own digits: go-imap cannot hold a number that is out of range.
			b.validity = validityOf(n)
		case "NOMODSEQ":
			b.modSeq = 0 // RFC 7162, 3.1.2.2
		case "UIDNOTSTICKY":
			b.lasting = false // RFC 4315, 2
		}
	}
	if b.validity == "" || !b.lasting {
		b.lasting = false
		b.validity = s.conn.passingValidity()
		s.conn.share() // only the session that read a UID knows what it means
	}
	b.keep = data.PermanentFlags
	if len(data.PermanentFlags) > 0 && !slices.Contains(data.PermanentFlags, s.conn.cfg.marks()) {
		b.readOnly = true // RFC 9051, 7.1: the client cannot set the flag for good
	}
	b.mark = s.guard.Mark()
	s.box = b
	return b, nil
}

func (s *session) selectFolder(ctx context.Context, op, wire string, opts *goimap.SelectOptions) (data *goimap.SelectData, err error) {
	err = s.run(ctx, op, func() error {
		var err error
		data, err = s.client.Select(wire, opts).Wait()
		return err
	})
	return data, err
}

// modSeqs reports whether the server has mod-sequences (RFC 7162) that can be used.
func (s *session) modSeqs() bool { return s.has(goimap.CapCondStore) && !s.conn.noModSeq.Load() }

// refusedModSeqs reports whether a command that asked for mod-sequences may have been refused because of that: the
// server said BAD, or NO without a reason, and the session lives.
func (s *session) refusedModSeqs(err error) bool {
	kind := connection.KindOf(err)
	return !s.broken() && (kind == connection.ErrProtocol || kind == connection.ErrRejected)
}

// giveUpModSeqs makes this connection compare flags one by one from now on.
func (c *Conn) giveUpModSeqs() {
	if !c.noModSeq.Swap(true) {
		c.emit(connection.Event{Kind: connection.EventQuirk, Detail: "condstore-refused"})
	}
}

// selected returns the folder as the last SELECT of this session found it, selecting it if need be.
func (s *session) selected(ctx context.Context, op, folder string) (*box, error) {
	if s.box != nil && s.box.folder == folder && !s.renumbered() {
		return s.box, nil
	}
	return s.open(ctx, op, folder)
}

// renumbered reports whether the server has told, since the SELECT, that the folder's UIDs are void.
func (s *session) renumbered() bool {
	for _, n := range s.guard.Since(s.box.mark) {
		if n.Code == "UIDVALIDITY" && validityOf(n) != s.box.validity {
			return true
		}
	}
	return false
}

// maxValidity is how many digits of a UIDVALIDITY are believed. RFC 9051, 9 has ten; it is in every Ref.
const maxValidity = 20

// validityOf returns the number in a UIDVALIDITY code as text, "" if it is none, or 0.
func validityOf(n note) string {
	if len(n.Arg) > maxValidity || strings.ContainsFunc(n.Arg, func(r rune) bool { return r < '0' || r > '9' }) {
		return ""
	}
	return strings.TrimLeft(n.Arg, "0")
}

// unexplained is a refusal to open a folder for which the server gave no reason that is known.
type unexplained struct{ err error }

func (u *unexplained) Error() string { return u.err.Error() }
func (u *unexplained) Unwrap() error { return u.err }

// folderError adds to the error of a SELECT what the settings have to do with it.
func (c *Conn) folderError(op, folder string, err error) error {
	e := c.fault(op, connection.Ref{Folder: folder}, err)
	switch e.Kind {
	case connection.ErrRejected, connection.ErrNotFound:
		// RFC 9051, 6.3.2: NO is "no such mailbox, can't access mailbox"; the code is optional.
		if e.Kind == connection.ErrRejected {
			e.Err = &unexplained{e.Err}
		}
		e.Kind = connection.ErrNotFound
		e.Hint = fmt.Sprintf("folders: is %q spelled as on the server? Folders lists what there is", folder)
	case connection.ErrPermission:
		e.Hint = fmt.Sprintf("folders: the user may not open %q; username names who asks", folder)
	}
	return e
}

// search returns the UIDs of the selected folder that match, ascending, each once, within lo and hi (0: no end).
func (s *session) search(ctx context.Context, op string, lo, hi uint32, criteria goimap.SearchCriteria) ([]uint32, error) {
	criteria.UID = []goimap.UIDSet{{{Start: goimap.UID(lo), Stop: goimap.UID(hi)}}}
	var data *goimap.SearchData
	err := s.run(ctx, op, func() error {
		var err error
		data, err = s.client.UIDSearch(&criteria, nil).Wait()
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.uids(op, data, lo, hi)
}

// searchSet returns those of uids that the server still has.
func (s *session) searchSet(ctx context.Context, op string, uids []uint32, criteria goimap.SearchCriteria) (found []uint32, err error) {
	for some := range slices.Chunk(uids, storeAtOnce) {
		there, err := s.searchFew(ctx, op, some, criteria)
		if err != nil {
			return nil, err
		}
		found = append(found, there...)
	}
	return found, nil
}

// searchFew is searchSet for as many UIDs as one command may name.
func (s *session) searchFew(ctx context.Context, op string, uids []uint32, criteria goimap.SearchCriteria) ([]uint32, error) {
	criteria.UID = []goimap.UIDSet{uidSet(uids)}
	var data *goimap.SearchData
	err := s.run(ctx, op, func() error {
		var err error
		data, err = s.client.UIDSearch(&criteria, nil).Wait()
		return err
	})
	if err != nil {
		return nil, err
	}
	found, err := s.uids(op, data, 1, 0)
	if err != nil {
		return nil, err
	}
	sorted := slices.Sorted(slices.Values(uids))
	return slices.DeleteFunc(found, func(uid uint32) bool {
		_, asked := slices.BinarySearch(sorted, uid)
		return !asked
	}), nil
}

// maxHits bounds what one SEARCH may find: ranges in the answer cost the server nothing.
const maxHits = 1 << 22

func (s *session) uids(op string, data *goimap.SearchData, lo, hi uint32) ([]uint32, error) {
	set, ok := data.All.(goimap.UIDSet)
	switch {
	case !ok && data.All != nil:
		// ESEARCH without UID. Nothing must be taken as gone because of it.
		return nil, s.conn.problem(op, connection.Ref{}, connection.ErrProtocol, "the server answers a search for UIDs with sequence numbers")
	case !ok:
		return nil, nil
	}
	if hi == 0 {
		hi = ^uint32(0)
	}
	var all []uint32
	for _, r := range set {
		// RFC 9051, 6.4.8: "n:*" always includes the last message, also if its UID is below n.
		first, last := max(uint32(r.Start), lo, 1), min(uint32(r.Stop), hi)
		if first > last {
			continue
		}
		if uint64(last-first)+uint64(len(all)) >= maxHits {
			return nil, s.conn.problem(op, connection.Ref{}, connection.ErrProtocol, "a search found over %d messages", maxHits)
		}
		for uid := uint64(first); uid <= uint64(last); uid++ {
			all = append(all, uint32(uid))
		}
	}
	return all, nil
}

func uidSet(uids []uint32) goimap.UIDSet {
	var set goimap.UIDSet
	for _, uid := range uids {
		set.AddNum(goimap.UID(uid))
	}
	return set
}

// keeps reports whether the folder keeps the flag beyond the session (RFC 9051, 7.1).
func (b *box) keeps(flag goimap.Flag) bool {
	return len(b.keep) == 0 || slices.ContainsFunc(b.keep, func(f goimap.Flag) bool {
		return strings.EqualFold(string(f), string(flag)) || f == goimap.FlagWildcard && !strings.HasPrefix(string(flag), `\`)
	})
}

// ref returns the address of a message in the folder.
func (b *box) ref(uid uint32) connection.Ref {
	return connection.Ref{Mailbox: b.mailbox, Folder: b.folder, ID: b.validity + ":" + strconv.FormatUint(uint64(uid), 10)}
}

// parseID splits a Ref's ID.
func parseID(id string) (validity string, uid uint32, ok bool) {
	i := strings.LastIndexByte(id, ':')
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(id[i+1:], 10, 32)
	if err != nil || n == 0 || strings.HasPrefix(id[i+1:], "+") {
		return "", 0, false
	}
	return id[:i], uint32(n), true
}
