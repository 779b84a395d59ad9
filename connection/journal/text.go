package journal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The names of the fields, without hyphens and in lower case ([MS-XJRNL], 2.1; "recipients" is of Exchange 2003).
const (
	fieldSender     = "sender"
	fieldOnBehalfOf = "onbehalfof"
	fieldSubject    = "subject"
	fieldMessageID  = "messageid"
	fieldTo         = "to"
	fieldCc         = "cc"
	fieldBcc        = "bcc"
	fieldRecipient  = "recipient"
	fieldRecipients = "recipients"
)

// other are the fields that hold neither sender nor recipients.
var other = map[string]bool{"label": true, "mailbox": true, "sentutc": true, "receivedutc": true}

// maxFields bounds the lines of a report, and its recipients.
const maxFields = 200_000

// read takes what the text of a report says, and reports whether it names a sender or a recipient.
func (r *Report) read(text string) bool {
	fields := fieldsOf(text)
	seen := make(map[string]bool)
	unknown := make([]Field, 0, len(fields))
	for _, f := range fields {
		name := plainName(f.Name)
		first := !seen[name]
		seen[name] = true
		switch name {
		case fieldSender:
			if first {
				r.Envelope.From = address(f.Value)
			}
		case fieldOnBehalfOf:
			if first {
				r.OnBehalfOf = address(f.Value)
			}
		case fieldSubject:
			if first {
				r.Subject = unfold(f.Value)
			}
		case fieldMessageID:
			if first {
				r.MessageID = unfold(f.Value)
			}
		case fieldTo, fieldCc, fieldBcc, fieldRecipient:
			r.addRecipients(name, f.Value)
		case fieldRecipients:
			r.addRecipients(fieldRecipient, f.Value)
		default:
			if !other[name] {
				unknown = append(unknown, f)
			}
		}
	}
	if !seen[fieldSender] && len(r.Recipients) == 0 {
		r.guess(unknown)
	}
	if r.Envelope.From == "" && len(r.Recipients) == 0 {
		*r = Report{walk: r.walk}
		return false
	}
	r.Fields, r.Text = fields, text
	r.envelope()
	return true
}

// guess reads a report whose names are not known, since the server speaks another language: the sender comes first, then
// what looks like a message id, and further addresses are recipients.
func (r *Report) guess(fields []Field) {
	for _, f := range fields {
		value := unfold(f.Value)
		switch {
		case !strings.Contains(value, "@"):
		case r.Envelope.From == "":
			r.Envelope.From = address(value)
		case r.MessageID == "" && strings.HasPrefix(value, "<") && strings.Index(value, ">") == len(value)-1:
			r.MessageID = value
		default:
			r.addRecipients(fieldRecipient, f.Value)
		}
	}
}

// envelope fills in the recipients, each once. Exchange may list one twice, since it came to the message in two ways.
func (r *Report) envelope() {
	seen := make(map[string]bool, len(r.Recipients))
	for _, to := range r.Recipients {
		if key := strings.ToLower(to.Address); !seen[key] {
			seen[key] = true
			r.Envelope.To = append(r.Envelope.To, to.Address)
		}
	}
}

// fieldsOf returns the fields of a report. A line that begins with white space goes on with the one before.
func fieldsOf(text string) []Field {
	var (
		fields []Field
		parts  []string // of the last field's value
		inside bool     // that field may go on
	)
	end := func() {
		if inside {
			fields[len(fields)-1].Value = strings.Join(parts, "\n")
		}
	}
	for line := range strings.FieldsFuncSeq(text, isLineEnd) {
		trimmed := strings.TrimFunc(line, isSpace)
		first, _ := utf8.DecodeRuneInString(line)
		switch {
		case trimmed == "":
		case isSpace(first):
			if inside {
				parts = append(parts, trimmed)
			}
		case len(fields) > maxFields:
			return fields // too many; Unwrap says so
		default:
			end()
			var name, value string
			if name, value, inside = cutField(trimmed); inside {
				fields = append(fields, Field{Name: name})
				if parts = parts[:0]; value != "" {
					parts = append(parts, value)
				}
			}
		}
	}
	end()
	return fields
}

// isLineEnd knows no line ends but those of mail: whoever writes a Subject may put any other into it, and lines of his own behind.
func isLineEnd(c rune) bool { return c == '\r' || c == '\n' }

func isSpace(c rune) bool { return unicode.IsSpace(c) || c == 0 || c == '\u200b' || c == '\ufeff' }

// cutField splits "Name: value". A name has letters, digits, hyphens and spaces; some languages write a wide colon.
func cutField(line string) (name, value string, ok bool) {
	at := strings.IndexAny(line, ":：")
	if at <= 0 || at > 60 {
		return "", "", false
	}
	name = strings.TrimFunc(line[:at], isSpace)
	for _, c := range name {
		if !unicode.IsLetter(c) && !unicode.IsMark(c) && !unicode.IsDigit(c) && c != '-' && c != ' ' {
			return "", "", false
		}
	}
	_, size := utf8.DecodeRuneInString(line[at:])
	return name, strings.TrimFunc(line[at+size:], isSpace), name != ""
}

func plainName(name string) string {
	return strings.ToLower(strings.Map(func(c rune) rune {
		if c == '-' || isSpace(c) {
			return -1
		}
		return c
	}, name))
}

func unfold(value string) string { return strings.ReplaceAll(value, "\n", " ") }
