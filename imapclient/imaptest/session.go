package imaptest

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
)

// Limits on what a client may send.
const (
	maxLineBefore    = 8 << 10 // octets of a command without literals, before login
	maxLine          = 1 << 20 // after login; long UID sets are one line
	maxLiteral       = 64 << 10
	maxLiteralBefore = 1 << 10
	maxLiterals      = 64 // in one command
	maxBad           = 20 // commands in sequence that are answered with BAD
	bufferSize       = 64 << 10
)

type state uint8

const (
	stateGreeted state = 1 << iota // not authenticated
	stateAuthenticated
	stateSelected
	stateAny = stateGreeted | stateAuthenticated | stateSelected
	stateIn  = stateAuthenticated | stateSelected
)

// session is one connection. Its goroutine alone uses it, but for what the server's lock guards.
type session struct {
	server  *Server
	meter   *doubles.Meter
	r       *bufio.Reader
	lines   []byte        // what is to be sent before w's next octets: written while locks are held, so never to w
	w       *bufio.Writer // its errors are sticky and are looked at when it is flushed
	secure  bool
	state   state  // written under the server's lock
	bad     int    // commands answered with BAD in sequence
	leaving bool   // LOGOUT was obeyed
	byes    *fault // BYE is due during the command being obeyed; nil if none is
	byeIn   int    // FETCH responses until then
	wake    chan struct{}

	// The folder that is selected, guarded by the server's lock as bye is.
	folder *folder
	bye    string // the folder is void: the session must end, and says this

	// What the client knows of the folder.
	readOnly bool
	view     []entry // by sequence number, from 0
	modSeq   uint64  // the folder's when the view was last brought up to date

	deflating      bool // COMPRESS was obeyed
	modSeqs        bool // the client knows mod-sequences
	searchesModSeq bool // the SEARCH being obeyed asks for them
}

// entry is a message as the client knows it.
type entry struct {
	*stored
	told uint64 // the modSeq of the flags that the client was told
}

var (
	errLeave = errors.New("session over")
	errSkip  = errors.New("command was answered while it was read")
)

func newSession(s *Server, m *doubles.Meter) *session {
	return &session{server: s, meter: m, state: stateGreeted, wake: make(chan struct{}, 1)}
}

// wakeUp tells a session that idles to look at its folder.
func (s *session) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run serves the connection until it ends.
func (s *session) run() {
	if s.server.opts.Mode == connection.ModeTLS && s.startTLS() != nil {
		return
	}
	s.attach()
	s.line("* OK [CAPABILITY %s] imaptest ready", s.capabilities())
	for {
		if s.flush() != nil {
			return
		}
		c, err := s.read()
		if err == nil {
			err = s.obey(c)
		}
		var v violation
		switch {
		case err == nil, errors.Is(err, errSkip):
			continue
		case errors.As(err, &v):
			s.line("* BYE %s", v)
		}
		_ = s.flush() // the connection ends either way
		return
	}
}

// attach puts fresh buffers on the connection. What was buffered is forgotten.
func (s *session) attach() {
	s.r = bufio.NewReaderSize(s.meter, 16<<10)
	s.w = bufio.NewWriterSize(s.meter, bufferSize)
	s.lines = nil
}

// line queues one line. It does no I/O.
func (s *session) line(format string, args ...any) {
	s.lines = fmt.Appendf(s.lines, format, args...)
	s.lines = append(s.lines, "\r\n"...)
}

// flush sends all that is queued.
func (s *session) flush() error {
	_ = s.push() // sticky
	return s.w.Flush()
}

// A violation ends a session: after it the octets of commands and of literals could no longer be told apart, or there
// would be too many of them.
type violation string

func (v violation) Error() string { return string(v) }

// read reads one command with its literals.
func (s *session) read() (*command, error) {
	limit := maxLine
	if s.state == stateGreeted {
		limit = maxLineBefore
	}
	text, err := readLine(s.r, limit)
	if err != nil {
		return nil, err
	}
	c := &command{}
	text, size, sync, found := cutLiteral(text)
	c.line = text
	if err := c.head(); err != nil {
		s.server.journal.record(Command{Conn: s.meter.ID, Tag: c.tag, Args: string(text)})
		tag := c.tag
		if tag == "" {
			tag = "*"
		}
		return nil, s.reply(tag, "BAD "+err.Error(), errSkip)
	}
	for found {
		if err := s.readLiteral(c, size, sync); err != nil {
			return nil, err
		}
		c.line = append(c.line, 0)
		if text, err = readLine(s.r, limit-len(c.line)); err != nil {
			return nil, err
		}
		text, size, sync, found = cutLiteral(text)
		c.line = append(c.line, text...)
	}
	c.record = describe(s.meter.ID, c)
	s.server.journal.record(c.record)
	return c, nil
}

// readLiteral reads the octets of a literal of c, after the go-ahead if it is a synchronizing one.
func (s *session) readLiteral(c *command, size uint64, sync bool) error {
	limit := uint64(maxLiteral)
	switch {
	case s.state == stateGreeted:
		limit = maxLiteralBefore
	case c.name == "APPEND":
		limit = uint64(max(0, s.server.opts.MaxMessage))
	}
	refusal := ""
	switch {
	case !sync && s.server.without["LITERAL+"]:
		return violation("no LITERAL+ here") // its octets would be read as commands
	case len(c.literals) >= maxLiterals:
		return violation(fmt.Sprintf("over %d literals in a command", maxLiterals))
	case size > limit && !sync:
		return violation(fmt.Sprintf("literal over %d octets", limit))
	case size > limit && c.name == "APPEND":
		refusal = fmt.Sprintf("NO [TOOBIG] message over %d octets", limit)
	case size > limit:
		refusal = fmt.Sprintf("BAD literal over %d octets", limit)
	case sync && c.name == "APPEND":
		refusal = s.refuseAppend(c)
	}
	if refusal != "" {
		s.server.journal.record(describe(s.meter.ID, c))
		return s.reply(c.tag, refusal, errSkip)
	}
	if sync && c.name == "APPEND" { // a server that refuses does so before it lets the octets come
		if f := s.server.takeFault(describe(s.meter.ID, c), true); f != nil {
			s.server.journal.record(describe(s.meter.ID, c))
			if err := s.applyFault(c, f); err != nil {
				return err
			}
			return errSkip
		}
	}
	if sync {
		s.line("+ go ahead")
		if err := s.flush(); err != nil {
			return err
		}
	}
	octets, err := readFull(s.r, int64(size))
	c.literals = append(c.literals, octets)
	return err
}

// reply sends the tagged reply. The error is next, or why it could not be sent.
func (s *session) reply(tag, text string, next error) error {
	s.line("%s %s", tag, text)
	if !strings.HasPrefix(text, "BAD") {
		s.bad = 0
		return next
	}
	if s.bad++; s.bad >= maxBad {
		return violation("too many invalid commands")
	}
	return next
}

// handler obeys a command and returns the reply that follows the tag. An errSyntax becomes BAD; any other error ends
// the session.
type handler func(s *session, c *command) (string, error)

type verb struct {
	in         state // where it is allowed
	obey       handler
	capability string // without it, the command is unknown
	uid        bool   // has a UID form
	quiet      bool   // no EXPUNGE may be sent while it is obeyed, but in its UID form (RFC 3501, 7.4.1)
}

var verbs = map[string]verb{
	"CAPABILITY":   {in: stateAny, obey: (*session).capability},
	"NOOP":         {in: stateAny, obey: (*session).noop},
	"LOGOUT":       {in: stateAny, obey: (*session).logout},
	"ID":           {in: stateAny, obey: (*session).identify, capability: "ID"},
	"STARTTLS":     {in: stateGreeted, obey: (*session).upgrade},
	"LOGIN":        {in: stateGreeted, obey: (*session).login},
	"AUTHENTICATE": {in: stateGreeted, obey: (*session).authenticate},
	"ENABLE":       {in: stateIn, obey: (*session).enableExtensions, capability: "ENABLE"},
	"SELECT":       {in: stateIn, obey: (*session).selectFolder},
	"EXAMINE":      {in: stateIn, obey: (*session).selectFolder},
	"CREATE":       {in: stateIn, obey: (*session).create},
	"DELETE":       {in: stateIn, obey: (*session).remove},
	"RENAME":       {in: stateIn, obey: (*session).rename},
	"SUBSCRIBE":    {in: stateIn, obey: (*session).subscribe},
	"UNSUBSCRIBE":  {in: stateIn, obey: (*session).subscribe},
	"LIST":         {in: stateIn, obey: (*session).list},
	"LSUB":         {in: stateIn, obey: (*session).lsub},
	"NAMESPACE":    {in: stateIn, obey: (*session).namespace, capability: "NAMESPACE"},
	"STATUS":       {in: stateIn, obey: (*session).status},
	"APPEND":       {in: stateIn, obey: (*session).append},
	"IDLE":         {in: stateIn, obey: (*session).idle, capability: "IDLE"},
	"COMPRESS":     {in: stateIn, obey: (*session).compress, capability: "COMPRESS=DEFLATE"},
	"CHECK":        {in: stateSelected, obey: (*session).noop},
	"CLOSE":        {in: stateSelected, obey: (*session).closeFolder},
	"UNSELECT":     {in: stateSelected, obey: (*session).closeFolder, capability: "UNSELECT"},
	"EXPUNGE":      {in: stateSelected, obey: (*session).expunge, uid: true},
	"SEARCH":       {in: stateSelected, obey: (*session).search, uid: true, quiet: true},
	"FETCH":        {in: stateSelected, obey: (*session).fetch, uid: true, quiet: true},
	"STORE":        {in: stateSelected, obey: (*session).store, uid: true, quiet: true},
	"COPY":         {in: stateSelected, obey: (*session).copy, uid: true},
	"MOVE":         {in: stateSelected, obey: (*session).copy, uid: true, capability: "MOVE"},
}

// obey runs one command, faults included. An error ends the session.
func (s *session) obey(c *command) error {
	s.server.mu.Lock()
	bye := s.bye
	s.server.mu.Unlock()
	if bye != "" {
		return violation(bye)
	}
	f := s.server.takeFault(c.record, false)
	if f != nil && f.kind < faultInject {
		return s.applyFault(c, f)
	}
	s.byes = nil
	if f != nil && f.kind == faultBye {
		s.byes, s.byeIn = f, f.after
	}
	if f != nil && f.kind == faultInject {
		for _, line := range f.lines {
			s.line("%s", line)
		}
	}
	v, known := verbs[c.name]
	switch {
	case !known || c.uid && !v.uid || s.server.without[v.capability] || c.fullName() == "UID EXPUNGE" && s.server.without["UIDPLUS"]:
		return s.reply(c.tag, "BAD unknown command "+c.fullName(), nil)
	case v.in&s.state == 0:
		return s.reply(c.tag, "BAD "+c.fullName()+" not allowed now", nil)
	}
	text, err := v.obey(s, c)
	if errors.Is(err, errSyntax) {
		text, err = "BAD "+err.Error(), nil
	}
	if err != nil {
		return err
	}
	if s.byes != nil {
		return violation(s.byes.lines[0])
	}
	s.announce(!v.quiet || c.uid)
	if f != nil && f.kind == faultLose {
		s.lines = nil
		s.w.Reset(s.meter)
		s.meter.Cut()
		return errLeave
	}
	if err := s.reply(c.tag, text, nil); err != nil {
		return err
	}
	if s.leaving {
		return errLeave
	}
	if c.name == "STARTTLS" && strings.HasPrefix(text, "OK") {
		return s.finishUpgrade()
	}
	if c.name == "COMPRESS" && strings.HasPrefix(text, "OK") {
		return s.finishCompress()
	}
	return nil
}

// applyFault does at c what the test wants.
func (s *session) applyFault(c *command, f *fault) error {
	if s.flush() != nil {
		return errLeave
	}
	switch f.kind {
	case faultStall:
		s.meter.Silence()
		return errLeave
	case faultDrop:
		s.meter.Cut()
		return errLeave
	}
	last := len(f.lines) - 1
	for _, line := range f.lines[:last] {
		s.line("%s", line)
	}
	if rest, isBye := strings.CutPrefix(f.lines[last], "BYE"); isBye {
		return violation(strings.TrimPrefix(rest, " "))
	}
	s.line("%s %s", c.tag, f.lines[last])
	return nil
}
