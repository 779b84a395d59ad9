package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
)

var (
	// ErrNotReport is in the chain of the error of [Unwrap] for a message that is no journal report.
	ErrNotReport = errors.New("is no journal report")
	// ErrMore is in the chain of the error in which Report.Body ends when a further message follows: [Report.Next] goes
	// to it. A server that may decrypt protected messages attaches both the message as it was sent and its clear text.
	ErrMore = errors.New("a further message follows in this report")
)

// A Report is an opened journal report. It is not safe for concurrent use.
type Report struct {
	// Envelope is From the sender, To every recipient in the order of the report, each once.
	Envelope connection.Envelope

	OnBehalfOf string // the mailbox for which the sender wrote, if that is another
	Subject    string
	MessageID  string // as the report has it, with its angle brackets
	Recipients []Recipient
	Fields     []Field // all lines of the report of the form "Name: value", in their order
	Text       string  // the whole text of the report, in UTF-8

	// Body is the attached message, octet for octet. It ends in io.EOF only if all of the report was read and holds
	// nothing else than its text; in ErrMore if a further message follows; in ErrUnsupported if something else is
	// attached; in ErrCorrupt if the report is broken or its message empty; in the error of the reader given to Unwrap
	// if that has one. Only after io.EOF may the report be deleted.
	Body io.Reader

	walk *walker
	part *body
}

// A Recipient is one recipient of a journaled message.
type Recipient struct {
	Address string `json:"address"`
	// Kind is "to", "cc" or "bcc" if the server knew the sender's intent, else "recipient".
	Kind string `json:"kind"`
	// Expanded is the distribution list through which the message came to Address.
	Expanded string `json:"expanded,omitempty"`
	// Forwarded is the recipient from which it was forwarded to Address.
	Forwarded string `json:"forwarded,omitempty"`
}

// A Field is a line of a report. The parts of a value that was folded are joined by line feeds.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Unwrap opens the journal report that r holds. It reads r up to the attached message, which then streams through
// Report.Body; r must stay readable meanwhile. What it keeps in memory is the report's text, of at most 4 MiB, and what the
// text says.
//
// The Report is never nil. With an error it has nothing but a Body: the whole message, octet for octet from its beginning,
// as if Unwrap had not read from r. The error is a *connection.Error: one with ErrNotReport in its chain for a message
// that is no report, ErrUnsupported for a report in a form that cannot be opened (TNEF, or with attachments other than
// messages), ErrCorrupt for a broken one, ErrTooLarge for one whose text or header passes the limit. If r fails, its error is
// returned as it is.
func Unwrap(r io.Reader) (*Report, error) {
	tape := &tape{r: r, recording: true}
	report, err := open(tape)
	if err != nil {
		return &Report{Body: tape.replay()}, err
	}
	tape.stop()
	return report, nil
}

func open(tape *tape) (*Report, error) {
	w := newWalker(tape)
	head, err := w.header(maxPrefix)
	if err != nil {
		return nil, err
	}
	if !head.marked() {
		return nil, &connection.Error{Op: "unwrap", Kind: connection.ErrInvalid, Err: ErrNotReport}
	}
	report := &Report{walk: w}
	found := false
	w.text = func(text string) {
		if !found {
			found = report.read(text)
		}
	}
	part, err := w.first(head)
	switch {
	case err == io.EOF: //nolint:errorlint // only the bare one is the end
		return nil, unsupported("no message is attached to the report")
	case err != nil:
		return nil, err
	case !found:
		return nil, corrupt("the report has no text that names sender or recipients")
	case len(report.Fields) > maxFields, len(report.Recipients) > maxFields:
		return nil, tooLarge("the report has over %d lines or recipients", maxFields)
	}
	w.text = nil
	report.attach(part)
	return report, nil
}

func (r *Report) attach(part *body) {
	r.part = part
	r.Body = part
}

// Next makes Body the next message of the report, passing over what is left of the current one. It returns a bare io.EOF
// if there is none and the report ended as it should, or the error in which Body would have ended.
func (r *Report) Next() error {
	if r.part == nil {
		return &connection.Error{Op: "unwrap", Kind: connection.ErrInvalid, Err: errors.New("the report is not open")}
	}
	_, err := io.Copy(io.Discard, r.part)
	if err == nil {
		return io.EOF
	}
	if !errors.Is(err, ErrMore) {
		return err
	}
	part, err := r.walk.pending()
	if err != nil {
		return err
	}
	r.attach(part)
	return nil
}

func more() error {
	return &connection.Error{Op: "unwrap", Kind: connection.ErrUnsupported, Err: ErrMore}
}

func corrupt(format string, args ...any) error {
	return &connection.Error{Op: "unwrap", Kind: connection.ErrCorrupt, Err: fmt.Errorf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &connection.Error{Op: "unwrap", Kind: connection.ErrUnsupported, Err: fmt.Errorf(format, args...)}
}

func tooLarge(format string, args ...any) error {
	return &connection.Error{Op: "unwrap", Kind: connection.ErrTooLarge, Err: fmt.Errorf(format, args...)}
}
