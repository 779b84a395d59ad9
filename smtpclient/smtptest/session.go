package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
)

// session is one connection of a Server.
type session struct {
	server *Server
	meter  *doubles.Meter
	r      *bufio.Reader
	w      *bufio.Writer

	greeted, authorized bool
	mail                *Message // the transaction; nil without one
	chunks              bool     // BDAT has begun
}

func newSession(server *Server, m *doubles.Meter) *session {
	s := &session{server: server, meter: m}
	s.speak()
	return s
}

// speak forgets what was heard and begins on what the meter now carries.
func (s *session) speak() {
	s.r, s.w = bufio.NewReaderSize(s.meter, 64<<10), bufio.NewWriterSize(s.meter, 16<<10)
	s.greeted, s.mail = false, nil
}

func (s *session) secure() bool { return s.meter.TLS() != nil }

// errLeave ends a session in good order.
var errLeave = errors.New("the session is over")

func (s *session) run() {
	if s.server.opts.Mode == connection.ModeTLS && s.startTLS() != nil {
		return
	}
	if s.obey(Command{Conn: s.meter.ID, Name: "GREETING"}, func(Command) (string, error) { return "220 smtptest.invalid ESMTP ready", nil }) != nil {
		return
	}
	for {
		line, err := s.readLine()
		if err != nil {
			return
		}
		c := parse(s.meter.ID, line)
		s.server.journal.record(c)
		if s.obey(c, s.dispatch) != nil {
			return
		}
	}
}

func (s *session) startTLS() error {
	if err := s.meter.Secure(s.server.tls); err != nil {
		return err
	}
	s.speak()
	return nil
}

// obey lets do obey c, unless a fault keeps it from that, and replies.
func (s *session) obey(c Command, do func(Command) (string, error)) error {
	f := s.server.takeFault(c)
	if f == nil {
		reply, err := do(c)
		return s.answer(reply, err)
	}
	switch f.kind {
	case faultReply:
		if c.Name == "BDAT" {
			if err := s.skip(c); err != nil {
				return err
			}
		}
		if c.Name == End {
			s.mail = nil
		}
		return s.answer(f.text, nil)
	case faultStall:
		if err := s.w.Flush(); err != nil {
			return err
		}
		s.meter.Silence()
		return errLeave
	case faultDrop:
		s.meter.Cut()
		return errLeave
	}
	reply, err := do(c)
	if err != nil {
		return s.answer(reply, err)
	}
	if f.kind == faultLose {
		s.meter.Cut()
		return errLeave
	}
	if c.Name == "STARTTLS" {
		if err := s.write(reply, f.text); err != nil {
			return err
		}
		return s.startTLS()
	}
	return s.write(reply, f.text)
}

// answer replies, and does what follows a reply.
func (s *session) answer(reply string, err error) error {
	leave := errors.Is(err, errLeave)
	if err != nil && !leave {
		return err
	}
	if reply == "" {
		return err // the command has replied itself
	}
	upgrade := strings.HasPrefix(reply, startTLSReply)
	if err := s.reply(reply); err != nil {
		return err
	}
	if leave || strings.HasPrefix(reply, "421") {
		_ = s.w.Flush() // the client may be gone
		return errLeave
	}
	if upgrade {
		return s.startTLS()
	}
	return nil
}

// reply sends a reply, at once unless more commands are there already: then it waits for theirs, as servers do.
func (s *session) reply(text string) error { return s.write(text, "") }

func (s *session) write(text, behind string) error {
	for _, line := range replyLines(text) {
		if _, err := s.w.WriteString(line + "\r\n"); err != nil {
			return err
		}
	}
	if _, err := s.w.WriteString(behind); err != nil {
		return err
	}
	if s.r.Buffered() > 0 && text != startTLSReply {
		return nil
	}
	return s.w.Flush()
}

const maxLine = 64 << 10

// readLine reads a line without its end.
func (s *session) readLine() (string, error) {
	if there, _ := s.r.Peek(s.r.Buffered()); bytes.IndexByte(there, '\n') < 0 { // what is there can be seen
		if err := s.w.Flush(); err != nil {
			return "", err
		}
	}
	var line []byte
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return string(bytes.TrimRight(line, "\r\n")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
			return "", err
		}
	}
}

const startTLSReply = "220 2.0.0 begin"

func (s *session) dispatch(c Command) (string, error) {
	switch c.Name {
	case "EHLO", "HELO", "LHLO":
		return s.hello(c), nil
	case "NOOP":
		return "250 2.0.0 well", nil
	case "RSET":
		s.mail = nil
		return "250 2.0.0 forgotten", nil
	case "QUIT":
		return "221 2.0.0 bye", errLeave
	case "STARTTLS":
		if s.secure() || s.server.opts.Mode == connection.ModeInsecure {
			return "502 5.5.1 no STARTTLS here", nil
		}
		return startTLSReply, nil
	case "BDAT": // its octets are read whatever the reply is
		return s.bdat(c)
	}
	if !s.greeted {
		return "503 5.5.1 say EHLO first", nil
	}
	switch c.Name {
	case "AUTH":
		return s.authenticate(c.Args)
	case "MAIL":
		return s.sender(c), nil
	case "RCPT":
		return s.recipient(c), nil
	case "DATA":
		return s.data()
	}
	return "500 5.5.2 unknown command", nil
}

func (s *session) hello(c Command) string {
	o := &s.server.opts
	if c.Name == "LHLO" != o.LMTP || c.Name == "EHLO" && s.server.without["EHLO"] {
		return "500 5.5.1 unknown command"
	}
	s.greeted, s.mail = true, nil
	if c.Name == "HELO" {
		return "250 smtptest.invalid"
	}
	lines := []string{"smtptest.invalid greets you"}
	for _, name := range extensions {
		switch {
		case s.server.without[name], name == "REQUIRETLS" && !s.secure():
		case name == "SIZE" && (!o.Quirks.NoSizeValue || s.authorized):
			lines = append(lines, fmt.Sprintf("SIZE %d", o.MaxSize))
		default:
			lines = append(lines, name)
		}
	}
	if !s.secure() && o.Mode != connection.ModeInsecure {
		lines = append(lines, "STARTTLS")
	}
	if !o.Open && !s.authorized {
		auth := "AUTH "
		if o.Quirks.OldAuth {
			auth = "AUTH="
		}
		lines = append(lines, auth+strings.Join(s.mechanisms(), " "))
	}
	lines = append(lines, o.Advertise...)
	if o.Quirks.LowerCase {
		for i := range lines {
			lines[i] = strings.ToLower(lines[i])
		}
	}
	if o.Quirks.EmptyLine {
		lines = append(lines, "")
	}
	lines[len(lines)-1] = "250 " + lines[len(lines)-1]
	return strings.Join(lines, "\n")
}

// address takes "FROM:<…> PARAM=value" apart.
func address(args, word string) (address string, params map[string]string, ok bool) {
	if len(args) < len(word) || !strings.EqualFold(args[:len(word)], word) {
		return "", nil, false
	}
	text, ok := strings.CutPrefix(strings.TrimLeft(args[len(word):], " "), "<")
	if !ok {
		return "", nil, false
	}
	address, rest, ok := strings.Cut(text, ">")
	params = make(map[string]string)
	for _, param := range strings.Fields(rest) {
		name, value, _ := strings.Cut(param, "=")
		params[strings.ToUpper(name)] = value
	}
	return address, params, ok
}

func (s *session) sender(c Command) string {
	from, params, ok := address(c.Args, "FROM:")
	switch {
	case !ok:
		return "501 5.5.4 want MAIL FROM:<address>"
	case !s.authorized && !s.server.opts.Open:
		return "530 5.7.0 log in first"
	case s.mail != nil:
		return "503 5.5.1 a transaction is under way"
	}
	for name := range params {
		needs := map[string]string{"SIZE": "SIZE", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN", "REQUIRETLS": "REQUIRETLS", "BODY": "8BITMIME"}[name]
		if needs == "" || s.server.without[needs] {
			return "555 5.5.4 unknown parameter " + name
		}
	}
	if params["BODY"] == "BINARYMIME" && s.server.without["BINARYMIME"] {
		return "501 5.5.4 no BINARYMIME here"
	}
	if n, err := strconv.ParseInt(params["SIZE"], 10, 64); err == nil && n > s.server.opts.MaxSize {
		return "552 5.3.4 message too big"
	}
	s.mail, s.chunks = &Message{Conn: s.meter.ID, From: from, Params: params}, false
	return "250 2.1.0 sender ok"
}

func (s *session) recipient(c Command) string {
	to, params, ok := address(c.Args, "TO:")
	switch {
	case !ok:
		return "501 5.5.4 want RCPT TO:<address>"
	case s.mail == nil:
		return "503 5.5.1 MAIL first"
	}
	s.mail.To, s.mail.RcptParams = append(s.mail.To, to), append(s.mail.RcptParams, params)
	return "250 2.1.5 recipient ok"
}
