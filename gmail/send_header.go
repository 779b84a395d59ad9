package gmail

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	netmail "net/mail"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/mailheader"
)

// maxHeader bounds the header section of a message that is sent or appended: it is held in memory.
const maxHeader = 1 << 20

const (
	messageIDName = "Message-ID"
	originalName  = "X-Original-Message-ID"
)

// newMessageID makes a Message-ID of 130 random bits.
func newMessageID(domain string) string { return "<" + rand.Text() + "@" + domain + ">" }

// header reads the message's header section. One that is too long is ErrTooLarge.
func (u *upload) header() (*header, error) {
	r := u.spool.Reader()
	for size := int64(8 << 10); ; size *= 8 {
		size = min(size, maxHeader, u.size)
		raw := make([]byte, size)
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(r, raw); err != nil {
			return nil, err
		}
		end, ok := mailheader.End(raw, size == u.size)
		switch {
		case ok:
			return parseHeader(raw[:end:end]), nil
		case size == maxHeader:
			return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("the header section is longer than %d octets", maxHeader)}
		}
	}
}

// A header is the header section of a message that is sent.
type header struct{ *mailheader.Header }

func parseHeader(raw []byte) *header { return &header{mailheader.Parse(raw)} }

// messageID returns the message's id with its angle brackets, "" if it has none.
func (h *header) messageID() string { return h.First("message-id") }

// date returns what the Date field says, the zero time if it says nothing.
func (h *header) date() time.Time {
	t, err := netmail.ParseDate(h.First("date"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// withMessageID returns the header section with id as its Message-ID. The old ones stay as X-Original-Message-ID. A header
// without one gets it in front; one in front of which nothing can be put is an error. All other octets are the same.
func (h *header) withMessageID(id string) ([]byte, error) {
	eol := "\r\n"
	if i := bytes.IndexByte(h.Raw, '\n'); i == 0 || i > 0 && h.Raw[i-1] != '\r' {
		eol = "\n"
	}
	var out []byte
	placed := false
	for _, l := range h.Lines {
		if l.Name != "message-id" {
			out = append(out, h.Raw[l.Start:l.End]...)
			continue
		}
		if !placed {
			placed = true
			out = append(out, messageIDName+": "+id+eol...)
		}
		out = append(append(append(out, originalName...), ':'), h.Raw[l.Value:l.End]...)
	}
	if placed {
		return out, nil
	}
	if len(h.Lines) == 0 || h.Lines[0].Name == "" {
		return nil, fmt.Errorf("the message does not begin with a header field, so that no %s can be added", messageIDName)
	}
	return append([]byte(messageIDName+": "+id+eol), out...), nil
}
