package soap

import (
	"errors"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// A Reader reads the answer to one request. It is for one goroutine.
type Reader struct {
	s      *scanner
	op     string
	expect []ItemID
	server ServerVersionInfo
	told   bool // server is known
	strays bool // an id was not the expected one

	where   place
	index   int    // of the next response message
	other   string // what the body holds instead of an answer to op
	endless bool   // other documents follow
	again   bool   // one was read
	resp    *Response
	paid    int     // items of resp when its payload began
	frames  []frame // open elements of the response message that are being read
	left    int     // entries that may still come

	payload payload
	body    *body // unread, or read in part
	err     error // final
}

// A place is an element of the answer's frame whose children come next.
type place int

const (
	atStart place = iota
	inEnvelope
	inBody
	inAnswer
	inMessages
	atEnd
)

// A frame is an element of a response message, and what to do with its children.
type frame struct {
	depth int
	child func(r *Reader, name []byte) error
}

// NewReader returns a Reader of the answer to a request of the operation op. It does not read beyond the Envelope's end; r
// remains the caller's to drain and to close. The answer to GetStreamingEvents is read by an EventReader.
func NewReader(r io.Reader, op string) *Reader {
	return &Reader{s: newScanner(r), op: op, left: maxEntries}
}

// Expect tells which items were requested, in order; of GetAttachment, the attachments. Then the n-th payload is given out
// only as the n-th item's: if the id that comes with it is another, or none, its Body ends in ErrProtocol. Ids are
// compared octet for octet. Call it before the first Next.
func (r *Reader) Expect(ids ...ItemID) { r.expect = ids }

// Hide has hide take secrets out of what a server says about failures, and of what is no answer: servers echo. Codes
// and values stay as they are. Call it before
// the first Next.
func (r *Reader) Hide(hide func(string) string) { r.s.hide = hide }

// Next returns the next response message; io.EOF, bare, after the last one. What remains of the one before is skipped. A
// *Fault is the server's refusal of the whole request; after an error there is nothing more. The Response is the caller's.
func (r *Reader) Next() (*Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	resp, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	return resp, nil
}

// Server returns what the server says of itself; false if it did not, or not yet: it is known once Next has returned.
func (r *Reader) Server() (ServerVersionInfo, bool) { return r.server, r.told }

// Agreed reports, once Next has returned io.EOF, whether there was one response message for each item of Expect, and every id
// among them was the expected one. If not, an error message may have been meant for another item than its position says.
func (r *Reader) Agreed() bool {
	return r.where == atEnd && !r.strays && r.index == len(r.expect)
}

func (r *Reader) next() (*Response, error) {
	if r.body != nil {
		if err := r.body.abandon(); err != nil {
			return nil, err
		}
	}
	for {
		for r.where != atEnd {
			resp, err := r.step()
			if resp != nil || err != nil {
				return resp, err
			}
		}
		switch {
		case r.index == 0 && r.other != "":
			return nil, r.s.protocol("answer to %s is %s", r.op, r.other)
		case r.index == 0:
			return nil, r.s.protocol("answer to %s has no response message", r.op)
		case !r.endless:
			return nil, io.EOF
		}
		r.s.reset()
		r.where, r.index, r.left, r.again = atStart, 0, maxEntries, true
	}
}

// step goes to the next element of the answer's frame.
func (r *Reader) step() (*Response, error) {
	s := r.s
	if r.where == atStart {
		return nil, r.envelope()
	}
	name, err := s.child(int(r.where))
	switch {
	case err != nil:
		return nil, err
	case name == nil:
		if r.where--; r.where == atStart {
			r.where = atEnd
		}
		return nil, nil
	}
	switch r.where {
	case inEnvelope:
		switch string(name) {
		case "Header":
			return nil, r.header(s.depth)
		case "Body":
			r.where = inBody
		}
	case inBody:
		return r.answer(string(name))
	case inAnswer:
		if string(name) == "ResponseMessages" {
			r.where = inMessages
		}
	case inMessages:
		return r.message()
	}
	return nil, nil
}

// envelope opens the document.
func (r *Reader) envelope() error {
	err := r.s.root()
	switch {
	case err == io.EOF && r.again: //nolint:errorlint // the scanner returns it bare
		return err
	case err == io.EOF: //nolint:errorlint // likewise
		r.s.err = nil
		return r.s.protocol("answer is empty")
	case err != nil:
		return err
	case string(r.s.name()) != "Envelope":
		return r.s.foreign("answer is " + excerpt(string(r.s.name())) + ", not an Envelope")
	}
	r.where = inEnvelope
	return nil
}

// header reads the header at depth d.
func (r *Reader) header(d int) error {
	for {
		name, err := r.s.child(d)
		if name == nil || err != nil {
			return err
		}
		if string(name) == "ServerVersionInfo" {
			r.server = ServerVersionInfo{
				Major: max(0, r.s.natural("MajorVersion")), Minor: max(0, r.s.natural("MinorVersion")),
				MajorBuild: max(0, r.s.natural("MajorBuildNumber")), MinorBuild: max(0, r.s.natural("MinorBuildNumber")),
				Version: r.s.attr("Version"),
			}
			r.told = true
		}
	}
}

// answer begins with a child of the body: a fault, or the answer to op. The answers to two operations have no list of response
// messages: they are one.
func (r *Reader) answer(name string) (*Response, error) {
	switch {
	case name == "Fault":
		return nil, r.fault(r.s.depth)
	case name != r.op+"Response":
		r.other = excerpt(name)
		return nil, nil
	}
	if r.s.attr("ResponseClass") != "" || r.op == "FindPeople" || r.op == "GetSearchableMailboxes" {
		return r.message()
	}
	r.where = inAnswer
	return nil, nil
}

// message reads a response message, which was just opened, to its end or to its payload.
func (r *Reader) message() (*Response, error) {
	r.resp = &Response{Index: r.index, Class: r.s.attr("ResponseClass"), NextOffset: -1, Total: -1}
	r.index++
	if err := r.entry(); err != nil {
		return nil, err
	}
	r.push((*Reader).messageChild)
	if err := r.run(); err != nil {
		return nil, err
	}
	if r.body == nil && r.compare() != nil {
		r.strays = true
	}
	return r.resp, nil
}

func (r *Reader) push(child func(*Reader, []byte) error) {
	r.frames = append(r.frames, frame{r.s.depth, child})
}

// run reads on in the response message, to its end or to its payload.
func (r *Reader) run() error {
	for n := len(r.frames); n > 0; n = len(r.frames) {
		f := r.frames[n-1]
		name, err := r.s.child(f.depth)
		switch {
		case err != nil:
			return err
		case name == nil:
			r.frames = r.frames[:n-1]
			continue
		}
		body := r.body
		if err := f.child(r, name); err != nil {
			return err
		}
		if r.body != body {
			return nil
		}
	}
	return nil
}

// entry counts something that is kept in memory.
func (r *Reader) entry() error {
	if r.left--; r.left < 0 {
		return r.s.protocol("answer has more than %d entries", maxEntries)
	}
	return nil
}

// compare holds the id of a complete response message against the expected one. One that failed has none.
func (r *Reader) compare() error {
	if r.expect == nil || len(r.resp.Items) == 0 {
		return nil
	}
	var text string
	switch id := r.resp.Items[0].ID; {
	case r.resp.Index >= len(r.expect):
		text = "answer has more items than were asked for"
	case id == "":
		text = "item comes without an id"
	case id != r.expect[r.resp.Index].ID:
		text = "item comes with the id of another"
	default:
		return nil
	}
	return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New(text)}
}

// open begins to give out the payload in the element that was just opened. An empty one is none, and what comes with a
// failure is worth nothing. Of several in one item the first that is not empty counts.
func (r *Reader) open() error {
	switch {
	case !r.resp.OK(), r.resp.body != nil && r.paid == len(r.resp.Items):
		return nil
	case r.resp.body != nil:
		return r.s.protocol("response message with several payloads")
	}
	some, err := r.payload.begin(r.s)
	if some {
		r.body = &body{r: r}
		r.resp.body, r.paid = r.body, len(r.resp.Items)
	}
	return err
}

// A body is the payload of a Reader's current response message.
type body struct {
	r   *Reader
	err error // final
}

// Read implements io.Reader; see Response.Body.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	n, more, err := b.r.payload.read(p)
	if err == nil && n == 0 && !more {
		if err = b.finish(); err == nil {
			err = io.EOF
		}
	}
	b.err = err
	if n > 0 {
		return n, nil // the payload gives the error again
	}
	return 0, err
}

// finish reads what follows the payload, to the end of the response message, and holds the payload against it.
func (b *body) finish() error {
	if err := b.r.run(); err != nil {
		return err
	}
	if err := b.r.compare(); err != nil {
		b.r.strays = true
		return err
	}
	if resp := b.r.resp; !resp.OK() { // its code came last
		return &connection.Error{Kind: connection.ErrProtocol, Code: resp.Code, Err: errors.New("payload comes with a failure")}
	}
	return nil
}

// abandon ends the body, and reads to the end of the response message. Only the Reader's own errors matter now.
func (b *body) abandon() error {
	r := b.r
	r.body = nil
	if b.err == nil {
		b.err = fmt.Errorf("payload was left: %w", connection.ErrClosed)
	}
	if err := r.payload.skip(); err != nil {
		return err
	}
	if err := b.finish(); r.s.err != nil {
		return err
	}
	return nil
}
