package smtptest

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// data obeys DATA.
func (s *session) data() (string, error) {
	switch {
	case s.mail == nil || s.chunks:
		return "503 5.5.1 MAIL and RCPT first", nil
	case len(s.mail.To) == 0 && !s.server.opts.Quirks.EagerData:
		return "554 5.5.1 no valid recipients", nil
	case s.mail.Params["BODY"] == "BINARYMIME":
		return "503 5.5.1 BINARYMIME needs BDAT", nil
	}
	if err := s.reply("354 go on"); err != nil {
		return "", err
	}
	if err := s.w.Flush(); err != nil {
		return "", err
	}
	end := &ending{sloppy: s.server.opts.Quirks.SloppyEnd}
	raw, err := end.read(s.r, s.server.opts.MaxSize)
	if err != nil {
		return "", err
	}
	s.mail.Raw, s.mail.Path = raw, "DATA"
	return "", s.finish(end.tooBig)
}

// bdat obeys BDAT (RFC 3030).
func (s *session) bdat(c Command) (string, error) {
	if s.server.without["CHUNKING"] || s.server.opts.Quirks.NoBDAT {
		return "500 5.5.1 unknown command", nil
	}
	size, last, ok := chunk(c)
	if !ok {
		return "501 5.5.4 want BDAT size [LAST]", nil
	}
	taken := s.mail != nil && len(s.mail.To) > 0
	if !taken {
		if _, err := io.CopyN(io.Discard, s.r, size); err != nil {
			return "", err
		}
		return "503 5.5.1 MAIL and RCPT first", nil
	}
	s.chunks = true
	tooBig := int64(len(s.mail.Raw))+size > s.server.opts.MaxSize
	var to bytes.Buffer
	sink := io.Writer(&to)
	if tooBig {
		sink = io.Discard
	}
	if _, err := io.CopyN(sink, s.r, size); err != nil {
		return "", err
	}
	s.mail.Raw, s.mail.Path = append(s.mail.Raw, to.Bytes()...), "BDAT"
	if tooBig {
		s.mail = nil
		return "552 5.3.4 message too big", nil
	}
	if !last {
		return "250 2.0.0 " + strconv.FormatInt(size, 10) + " octets", nil
	}
	return "", s.finish(false)
}

// skip reads the octets of a BDAT that is not obeyed.
func (s *session) skip(c Command) error {
	size, _, ok := chunk(c)
	if !ok || s.server.opts.Quirks.NoBDAT {
		return nil
	}
	_, err := io.CopyN(io.Discard, s.r, size)
	s.mail = nil
	return err
}

func chunk(c Command) (size int64, last, ok bool) {
	fields := strings.Fields(c.Args)
	if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && !strings.EqualFold(fields[1], "LAST") {
		return 0, false, false
	}
	size, err := strconv.ParseInt(fields[0], 10, 64)
	return size, len(fields) == 2, err == nil && size >= 0
}

// finish ends the transaction with the message, and replies: once, or with LMTP for each recipient.
func (s *session) finish(tooBig bool) error {
	c := Command{Conn: s.meter.ID, Name: End}
	s.server.journal.record(c)
	mail := s.mail
	if !s.server.opts.LMTP {
		return s.obey(c, func(Command) (string, error) { return s.take(mail, tooBig), nil })
	}
	s.mail = nil
	taken := *mail
	taken.To = nil
	var refused []*fault
	for _, to := range mail.To {
		f := s.server.takeFault(Command{Conn: s.meter.ID, Name: End, Args: to})
		refused = append(refused, f)
		if f == nil || f.kind >= faultInject {
			taken.To = append(taken.To, to)
		}
	}
	if len(taken.To) > 0 {
		s.keep(taken)
	}
	for i, to := range mail.To {
		f := refused[i]
		if f != nil && f.kind != faultReply && f.kind != faultInject {
			s.meter.Cut()
			return errLeave
		}
		reply := "250 2.0.0 " + to + " has it"
		if f != nil && f.kind == faultReply {
			reply = f.text
		}
		if err := s.reply(reply); err != nil {
			return err
		}
	}
	return nil
}

// take keeps a message, and returns the reply.
func (s *session) take(mail *Message, tooBig bool) string {
	s.mail = nil
	if tooBig {
		return "552 5.3.4 message too big"
	}
	if len(mail.To) == 0 {
		return "554 5.5.1 no valid recipients"
	}
	return fmt.Sprintf("250 2.0.0 taken as %d", s.keep(*mail))
}

func (s *session) keep(mail Message) int {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, mail)
	return len(s.server.messages)
}
