package pop3test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
)

// maxLine is how long a client's line may be: an answer in a SASL exchange is the longest.
const maxLine = 64 << 10

// session is one connection to a Server.
type session struct {
	server *Server
	meter  *doubles.Meter
	r      *bufio.Reader
	w      *bufio.Writer

	stamp string // of the greeting, for APOP
	user  string // of USER
	holds bool   // logged in
	list  []*listed
}

// listed is one message of a session's snapshot.
type listed struct {
	message *Message
	uidl    string
	size    int64
	deleted bool
	read    bool // by RETR
}

var errQuit = errors.New("the session is over")

// lf is the end of a line.
func (s *session) lf() string {
	if s.server.opts.Quirks.BareLF {
		return "\n"
	}
	return "\r\n"
}

func (s *session) say(lines ...string) {
	for _, line := range lines {
		_, _ = s.w.WriteString(line + s.lf()) // Flush tells
	}
}

func (s *session) use(rw io.ReadWriter) {
	s.r, s.w = bufio.NewReaderSize(rw, maxLine), bufio.NewWriterSize(rw, 64<<10)
}

// secure shakes hands.
func (s *session) secure() error {
	if err := s.meter.Secure(s.server.tls); err != nil {
		return err
	}
	s.use(s.meter)
	return nil
}

// run serves until the connection ends. How it ends does not matter to anybody: what was not committed stays.
func (s *session) run() {
	s.use(s.meter)
	if s.server.opts.Mode == connection.ModeTLS && s.secure() != nil {
		return
	}
	s.greet()
	for {
		if s.r.Buffered() == 0 && s.w.Flush() != nil {
			return
		}
		line, err := s.readLine()
		if err != nil {
			return
		}
		err = s.obey(s.server.journal.note(s.meter.ID, line), line)
		if err != nil {
			_ = s.w.Flush() // the client may be gone
			return
		}
	}
}

func (s *session) greet() {
	greeting := "+OK pop3test ready"
	if s.server.opts.APOP {
		s.stamp = fmt.Sprintf("<%d.%s@pop3test>", s.meter.ID, "1896697170952")
		greeting += " " + s.stamp
	}
	if s.server.opts.Greeting != "" {
		greeting = s.server.opts.Greeting
	}
	s.say(greeting)
}

func (s *session) readLine() (string, error) {
	line, err := s.r.ReadSlice('\n')
	return strings.TrimRight(string(line), "\r\n"), err
}

// obey does what a command wants, or what a fault does instead. An error ends the session.
func (s *session) obey(c Command, line string) error {
	f := s.server.takeFault(c)
	if f != nil {
		switch f.kind {
		case faultReply:
			s.say(f.lines...)
			return nil
		case faultInject:
			s.say(f.lines...)
		case faultStall:
			if err := s.w.Flush(); err != nil {
				return err
			}
			s.meter.Silence()
			return errQuit
		case faultDrop:
			return errQuit
		case faultLose:
			if err := s.w.Flush(); err != nil {
				return err
			}
			s.w.Reset(io.Discard)
		}
	}
	name, args, _ := strings.Cut(line, " ")
	err := s.command(strings.ToUpper(name), args)
	if f != nil && f.kind == faultLose {
		s.meter.Cut()
		return errQuit
	}
	return err
}

func (s *session) command(name, args string) error {
	switch name {
	case "CAPA":
		s.capa()
		return nil
	case "QUIT":
		return s.quit()
	}
	if !s.holds {
		return s.authorization(name, args)
	}
	switch name {
	case "STAT":
		s.stat()
	case "LIST":
		s.listing(args, func(l *listed) string { return strconv.FormatInt(l.size, 10) })
	case "UIDL":
		if s.server.without("UIDL") {
			s.say("-ERR unknown command")
			break
		}
		s.listing(args, func(l *listed) string { return l.uidl })
	case "RETR":
		s.retrieve(args)
	case "TOP":
		s.top(args)
	case "DELE":
		if l := s.find(args); l != nil {
			l.deleted = true
			s.say("+OK marked")
		}
	case "RSET":
		for _, l := range s.list {
			l.deleted = false
		}
		s.say("+OK")
	case "NOOP":
		s.say("+OK")
	case "LANG":
		s.say("+OK")
	default:
		s.say("-ERR unknown command")
	}
	return nil
}

func (s *session) capa() {
	if s.server.without("CAPA") {
		s.say("-ERR unknown command")
		return
	}
	s.say("+OK capabilities")
	for _, name := range capabilityNames[1:] {
		if s.server.without(name) {
			continue
		}
		if name == "SASL" {
			name += " " + strings.Join(s.mechanisms(), " ")
		}
		s.say(name)
	}
	if s.meter.TLS() == nil && s.server.tls != nil {
		s.say("STLS")
	}
	if d := s.server.opts.LoginDelay; d > 0 {
		s.say(fmt.Sprintf("LOGIN-DELAY %d", int64(d.Seconds())))
	}
	if s.server.opts.Quirks.ReadIsGone {
		s.say("EXPIRE 0")
	}
	s.say(s.server.opts.Advertise...)
	if s.holds {
		s.say(s.server.opts.AdvertiseLate...)
	}
	s.say(".")
}

func (s *session) quit() error {
	if s.holds && !s.server.commit(s) {
		s.say("-ERR some deleted messages not removed")
	} else {
		s.say("+OK bye")
	}
	return errQuit
}

func (s *session) stat() {
	if s.server.opts.Quirks.BareStat {
		s.say("+OK")
		return
	}
	n, octets := 0, int64(0)
	for _, l := range s.list {
		if !l.deleted {
			n++
			octets += l.size
		}
	}
	s.say(fmt.Sprintf("+OK %d %d", n, octets))
}

// find returns the message of a number, or says why there is none.
func (s *session) find(args string) *listed {
	n, err := strconv.Atoi(strings.TrimSpace(args))
	if err != nil || n < 1 || n > len(s.list) || s.list[n-1].deleted || !s.server.there(s.list[n-1].message) {
		s.say("-ERR no such message")
		return nil
	}
	return s.list[n-1]
}

func (s *session) listing(args string, word func(*listed) string) {
	if args != "" {
		if l := s.find(args); l != nil {
			s.say("+OK " + args + " " + word(l))
		}
		return
	}
	s.say("+OK listing")
	for i, l := range s.list {
		if !l.deleted {
			s.say(strings.TrimRight(strconv.Itoa(i+1)+" "+word(l), " "))
		}
	}
	s.say(".")
}

func (s *session) retrieve(args string) {
	l := s.find(args)
	if l == nil {
		return
	}
	if !s.server.readable(l.message) {
		s.say("-ERR the message cannot be read")
		return
	}
	l.read = true
	s.say("+OK message follows")
	s.send(l.message.Raw)
}

func (s *session) top(args string) {
	number, count, _ := strings.Cut(args, " ")
	lines, err := strconv.Atoi(count)
	if s.server.without("TOP") || err != nil || lines < 0 {
		s.say("-ERR unknown command")
		return
	}
	l := s.find(number)
	if l == nil {
		return
	}
	raw := l.message.Raw
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 && !s.server.opts.Quirks.TopSendsAll {
		end := i + 4
		for ; lines > 0 && end < len(raw); lines-- {
			n := bytes.IndexByte(raw[end:], '\n')
			if n < 0 {
				end = len(raw)
				break
			}
			end += n + 1
		}
		raw = raw[:end]
	}
	s.say("+OK top follows")
	s.send(raw)
}

// send sends a message (RFC 1939, 3): a line that begins with "." gets another one, and the last line its end.
func (s *session) send(raw []byte) {
	end := []byte("\r\n")
	if s.server.opts.Quirks.BareLF {
		raw, end = bytes.ReplaceAll(raw, end, []byte("\n")), []byte("\n")
	}
	out := func(b []byte) { _, _ = s.w.Write(b) } // Flush tells
	for len(raw) > 0 {
		line, rest := raw, []byte(nil)
		if i := bytes.Index(raw, end); i >= 0 {
			line, rest = raw[:i], raw[i+len(end):]
		}
		if bytes.HasPrefix(line, []byte(".")) {
			out([]byte("."))
		}
		out(line)
		out(end)
		raw = rest
	}
	s.say(".")
}
