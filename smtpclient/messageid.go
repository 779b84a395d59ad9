package smtpclient

import (
	"bytes"
	"crypto/rand"
	"time"
)

// maxHeader bounds the header section that is looked at for a Message-ID.
const maxHeader = 1 << 20

const (
	messageIDName = "Message-ID"
	originalName  = "X-Original-Message-ID"
)

// newMessageID makes a Message-ID of 130 random bits.
func newMessageID(domain string) string { return "<" + rand.Text() + "@" + domain + ">" }

// A field is one header field, with its folding and its line end.
type field struct {
	start, end int // of its octets
	colon      int
}

// fields returns where the header fields of raw are, and where their section begins: behind an mbox line, if there is
// one. The section ends at the first empty line, or at a line that is neither a field nor the continuation of one.
func fields(raw []byte) (begin int, all []field) {
	if bytes.HasPrefix(raw, []byte("From ")) {
		begin = lineEnd(raw, 0)
	}
	for at := begin; at < len(raw); {
		end := lineEnd(raw, at)
		line := raw[at:end]
		if line[0] == ' ' || line[0] == '\t' {
			if len(all) == 0 || len(bytes.TrimRight(line, " \t\r\n")) == 0 && at == begin {
				return begin, all
			}
			all[len(all)-1].end = end
			at = end
			continue
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !fieldName(line[:colon]) {
			return begin, all
		}
		all = append(all, field{start: at, end: end, colon: at + colon})
		at = end
	}
	return begin, all
}

// fieldName reports whether name is that of a field; white space before the colon is of an older standard (RFC 5322, 4.5.3).
func fieldName(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(name) > 0
}

// lineEnd returns where the line that begins at a place ends, its LF included.
func lineEnd(raw []byte, at int) int {
	if i := bytes.IndexByte(raw[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(raw)
}

func (f field) named(raw []byte, name string) bool {
	return bytes.EqualFold(bytes.TrimRight(raw[f.start:f.colon], " \t"), []byte(name))
}

// messageID returns the value of the first Message-ID field, "" if there is none.
func messageID(head []byte) string {
	_, all := fields(head)
	for _, f := range all {
		if f.named(head, messageIDName) {
			return string(bytes.TrimSpace(head[f.colon+1 : f.end]))
		}
	}
	return ""
}

// headerEnd returns how long the header section is with the empty line behind it, and whether raw holds all of it. With
// whole raw is the whole message.
func headerEnd(raw []byte, whole bool) (end int, ok bool) {
	for at := 0; at < len(raw); {
		next := lineEnd(raw, at)
		if raw[next-1] != '\n' {
			break
		}
		if next-at == 1 || next-at == 2 && raw[at] == '\r' {
			return next, true
		}
		at = next
	}
	return len(raw), whole
}

// A resending is the fields that say that a message was sent again (RFC 5322, 3.6.6).
type resending struct {
	from string
	at   time.Time
}

// replaceMessageID returns head, a header section, with the Message-ID field replaced by one that holds id. Every old
// value, with its folding, follows as X-Original-Message-ID. A head without one gets one in front. resent, if not nil,
// stands before everything. All other octets are the same.
func replaceMessageID(head []byte, id string, resent *resending) []byte {
	begin, all := fields(head)
	eol := "\r\n"
	if i := bytes.IndexByte(head, '\n'); i == 0 || i > 0 && head[i-1] != '\r' {
		eol = "\n"
	}
	out := make([]byte, 0, len(head)+500)
	out = append(out, head[:begin]...)
	if resent != nil {
		out = append(out, "Resent-Date: "+resent.at.Format("Mon, 02 Jan 2006 15:04:05 -0700")+eol...)
		out = append(out, "Resent-From: <"+resent.from+">"+eol...)
		out = append(out, "Resent-Message-ID: "+id+eol...)
	}
	place, found := begin, false
	for _, f := range all {
		if !f.named(head, messageIDName) {
			continue
		}
		out = append(out, head[place:f.start]...)
		end := eol
		if bytes.HasSuffix(head[f.start:f.end], []byte("\n")) {
			end = "\n"
			if bytes.HasSuffix(head[f.start:f.end], []byte("\r\n")) {
				end = "\r\n"
			}
		}
		if !found {
			found = true
			out = append(out, messageIDName+": "+id+end...)
		}
		out = append(append(out, originalName...), head[f.colon:f.end]...)
		place = f.end
	}
	if !found {
		out = append(out, messageIDName+": "+id+eol...)
	}
	return append(out, head[place:]...)
}
