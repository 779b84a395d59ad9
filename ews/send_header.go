package ews

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/internal/mailheader"
)

// maxHeader bounds the header section of a message that is sent: it is held in memory, since its recipients have to be known.
const maxHeader = 1 << 20

const (
	messageIDName = "Message-ID"
	originalName  = "X-Original-Message-ID"
	bccName       = "Bcc"
)

// newMessageID makes a Message-ID of 130 random bits.
func newMessageID(domain string) string { return "<" + rand.Text() + "@" + domain + ">" }

// A header is the header section of a message that is sent.
type header struct{ *mailheader.Header }

func parseHeader(raw []byte) *header { return &header{mailheader.Parse(raw)} }

// messageID returns the value of the first Message-ID field, "" if there is none.
func (h *header) messageID() string { return h.First("message-id") }

// eol returns the line end that the header section uses.
func (h *header) eol() string {
	if i := bytes.IndexByte(h.Raw, '\n'); i == 0 || i > 0 && h.Raw[i-1] != '\r' {
		return "\n"
	}
	return "\r\n"
}

// edit returns the header section with id as its Message-ID, and with bcc added to its Bcc field. The old Message-IDs stay
// as X-Original-Message-ID. What is missing is put in front, and if no line is a field, with an empty line behind it, for
// then the message has no header. id "" and no bcc leave everything as it is; all octets of other fields are the same in
// any case. A header section in front of which nothing can be put is an error.
func (h *header) edit(id string, bcc []string) ([]byte, error) {
	eol := h.eol()
	var front, rest []byte
	newID, newBcc := id != "", len(bcc) > 0
	for _, l := range h.Lines {
		octets := h.Raw[l.Start:l.End]
		switch {
		case id != "" && l.Name == "message-id":
			if newID {
				newID = false
				rest = append(rest, messageIDName+": "+id+eol...)
			}
			rest = append(append(append(rest, originalName...), ':'), h.Raw[l.Value:l.End]...)
		case newBcc && l.Name == "bcc":
			newBcc = false
			old := bytes.TrimRight(octets, "\r\n")
			end := octets[len(old):]
			if empty := len(addressesIn(h.Value(l))) == 0; empty {
				rest = append(rest, bccName+": "...)
			} else {
				rest = append(append(rest, bytes.TrimRight(old, ", \t")...), ("," + eol + " ")...)
			}
			rest = append(append(rest, strings.Join(bcc, ","+eol+" ")...), end...)
		default:
			rest = append(rest, octets...)
		}
	}
	if newID {
		front = append(front, messageIDName+": "+id+eol...)
	}
	if newBcc {
		front = append(front, bccName+": "+strings.Join(bcc, ","+eol+" ")+eol...)
	}
	switch {
	case len(front) == 0 || len(rest) == 0:
	case !slices.ContainsFunc(h.Lines, func(l mailheader.Line) bool { return l.Name != "" }):
		front = append(front, eol...)
	case rest[0] == ' ' || rest[0] == '\t':
		return nil, errors.New("the header begins with a folded line") // it would become a part of what is put in front
	}
	return append(front, rest...), nil
}
