package soap

import (
	"errors"
	"io"
	"strconv"

	"github.com/mailconn/mailconn/connection"
)

func itoa(n int) string { return strconv.Itoa(n) }

func excerpt(s string) string { return s }

// A Reader reads the answer to one request. It is for one goroutine.
type Reader struct {
	r  io.Reader
	op string
}

// NewReader returns a Reader of the answer to a request of the operation op. It does not read beyond the Envelope's end; r
// remains the caller's to drain and to close. The answer to GetStreamingEvents is read by an EventReader.
func NewReader(r io.Reader, op string) *Reader { return &Reader{r: r, op: op} }

// Expect tells which items were requested, in order; of GetAttachment, the attachments. Then the n-th payload is given out
// only as the n-th item's: if the id that comes with it is another, or none, its Body ends in ErrProtocol. Ids are
// compared octet for octet. Call it before the first Next.
func (r *Reader) Expect(ids ...ItemID) {}

// Next returns the next response message; io.EOF, bare, after the last one. What remains of the one before is skipped. A
// *Fault is the server's refusal of the whole request; after an error there is nothing more. The Response is the caller's.
func (r *Reader) Next() (*Response, error) {
	return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("not read yet")}
}

// Server returns what the server says of itself; false if it did not, or not yet: it is known once Next has returned.
func (r *Reader) Server() (ServerVersionInfo, bool) { return ServerVersionInfo{}, false }

// Agreed reports, once Next has returned io.EOF, whether there was one response message for each item of Expect, and every id
// among them was the expected one. If not, an error message may have been meant for another item than its position says.
func (r *Reader) Agreed() bool { return false }

// An EventReader reads the answer to GetStreamingEvents: envelopes without end, as they arrive. It is for one goroutine.
type EventReader struct{ r Reader }

// NewEventReader returns an EventReader that reads from r, which remains the caller's to close.
func NewEventReader(r io.Reader) *EventReader { return &EventReader{} }

// Next waits for the next response message; those without Notifications are heartbeats or tell the ConnectionStatus. io.EOF,
// bare, means that the stream ended between two envelopes, perhaps without saying so; an end within one is an error.
func (e *EventReader) Next() (*Response, error) { return e.r.Next() }

// Server is as Reader.Server.
func (e *EventReader) Server() (ServerVersionInfo, bool) { return e.r.Server() }
