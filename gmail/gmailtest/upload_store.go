package gmailtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/mail"
	"slices"
	"strings"
)

// decodeBase64 takes either alphabet, padded or not.
func decodeBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_", "\r", "", "\n", "").Replace(strings.TrimRight(text, "=\r\n"))
	return base64.RawURLEncoding.DecodeString(text)
}

// store puts an uploaded message where its method says.
func (s *Server) store(q *request, u upload) (any, error) {
	if len(u.data) == 0 {
		return nil, invalidArgument(noMessage)
	}
	mb := q.user.box
	if err := mb.knowLabels(u.meta.LabelIDs); err != nil {
		return nil, err
	}
	if u.meta.ThreadID != "" && !mb.hasThread(u.meta.ThreadID) {
		return nil, notFound(noEntity)
	}
	if u.method == "messages.send" {
		return s.send(q, u)
	}
	m := &message{thread: u.meta.ThreadID, labels: slices.Compact(slices.Sorted(slices.Values(u.meta.LabelIDs))), content: asContent(u.data), internal: instant(s.now())}
	params := &request{query: u.params}
	usual := "receivedTime"
	if u.method == "messages.import" {
		usual = "dateHeader"
	}
	source, err := params.choice("internalDateSource", usual, "receivedTime", "dateHeader")
	if err != nil {
		return nil, err
	}
	if source == "dateHeader" {
		if date, err := mail.ParseDate(m.field("Date")); err == nil {
			m.internal = instant(date)
		}
	}
	for _, name := range []string{"deleted", "neverMarkSpam", "processForCalendar"} {
		if _, err := params.flag(name); err != nil {
			return nil, err
		}
	}
	if u.method == "messages.import" && u.params.Get("neverMarkSpam") != "true" && bytes.Contains(u.data, []byte(Spam)) {
		m.labels = append(slices.DeleteFunc(m.labels, func(l string) bool { return l == labelInbox || l == labelSpam }), labelSpam)
	}
	if u.params.Get("deleted") == "true" {
		mb.keepInVault(m)
		return s.brief(m), nil
	}
	added := mb.add(m)
	return s.brief(&added), nil
}

// Spam is what makes import classify a message as spam, unless it is told not to: the Generic Test for Unsolicited Bulk Email.
const Spam = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

func (mb *mailbox) hasThread(id string) bool {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return mb.threads[id] > 0
}

// keepInVault stores a message that the mailbox does not show.
func (mb *mailbox) keepInVault(m *message) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	m.id = mb.nextMessage()
	m.thread = or(m.thread, m.id)
	mb.vault = append(mb.vault, m)
}

// A Sent is one message that was sent through messages.send.
type Sent struct {
	From string   // the mailbox's address
	To   []string // of To, Cc and Bcc
	Raw  []byte   // as the recipients have it: without Bcc
}

// Sent returns what was sent, the oldest first.
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// send delivers a message to the recipients in its header, and keeps a copy.
func (s *Server) send(q *request, u upload) (any, error) {
	m := &message{thread: u.meta.ThreadID, labels: []string{labelSent}, content: asContent(u.data), internal: instant(s.now())}
	to, err := m.recipients()
	if err != nil {
		return nil, err
	}
	from := s.addressOf(q.user)
	if s.opts.Mail.NewMessageID {
		s.mu.Lock()
		n := len(s.sent) + 1
		s.mu.Unlock()
		m.content = asContent(replaceField(u.data, "Message-ID", fmt.Sprintf("<CA%d@mail.gmail.com>", n)))
	}
	whole := public([]*message{m})[0].Raw
	out := Sent{from, to, replaceField(whole, "Bcc", "")}
	s.mu.Lock()
	s.sent = append(s.sent, out)
	s.mu.Unlock()
	var others []*mailbox
	for _, address := range to {
		switch a := s.lookup(address); {
		case a == nil || a.box == nil:
		case a.box == q.user.box:
			if !m.has(labelInbox) {
				m.labels = append(m.labels, labelInbox, labelUnread)
			}
		case !slices.Contains(others, a.box):
			others = append(others, a.box)
		}
	}
	added := q.user.box.add(m)
	s.copyToMonitors(q.user, outgoing, &added)
	for _, mb := range others {
		copied := &message{labels: []string{labelInbox, labelUnread}, content: asContent(out.Raw), internal: m.internal}
		received := mb.add(copied)
		s.copyToMonitors(mb.user, incoming, &received)
	}
	return s.brief(&added), nil
}

// recipients returns the addresses of To, Cc and Bcc.
func (m *message) recipients() ([]string, error) {
	var to []string
	parsed, err := mail.ReadMessage(bytes.NewReader(m.header()))
	if err != nil {
		return nil, invalidArgument("Invalid message header")
	}
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, value := range parsed.Header[name] {
			if strings.TrimSpace(value) == "" {
				continue
			}
			list, err := mail.ParseAddressList(value)
			if err != nil {
				return nil, invalidArgument("Invalid " + name + " header")
			}
			for _, a := range list {
				if !slices.Contains(to, a.Address) {
					to = append(to, a.Address)
				}
			}
		}
	}
	if len(to) == 0 {
		return nil, invalidArgument("Recipient address required")
	}
	return to, nil
}

// replaceField gives a header field another value; "" removes it. Of several of the name, all are replaced.
func replaceField(raw []byte, name, value string) []byte {
	var out bytes.Buffer
	skipping := false
	rest := raw
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		line := rest[:end]
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break // the body
		}
		folded := line[0] == ' ' || line[0] == '\t'
		if !folded {
			field, _, _ := bytes.Cut(line, []byte(":"))
			skipping = strings.EqualFold(string(bytes.TrimSpace(field)), name)
			if skipping && value != "" {
				out.WriteString(name + ": " + value + "\r\n")
			}
		}
		if !skipping {
			out.Write(line)
		}
		rest = rest[end:]
	}
	out.Write(rest)
	return out.Bytes()
}
