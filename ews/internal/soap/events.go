package soap

import (
	"io"
	"strings"
)

// An EventReader reads the answer to GetStreamingEvents: envelopes without end, as they arrive, however they are cut into
// chunks. It is for one goroutine.
type EventReader struct{ r *Reader }

// NewEventReader returns an EventReader that reads from r, which remains the caller's to close.
func NewEventReader(r io.Reader) *EventReader {
	reader := NewReader(r, GetStreamingEvents{}.Name())
	reader.endless = true
	return &EventReader{reader}
}

// Next waits for the next response message, and returns it as soon as its end tag is there; those without Notifications are
// heartbeats or tell the ConnectionStatus. io.EOF, bare, means that the stream ended between two envelopes, perhaps without
// saying so; an end within one is an error. Response.Index counts within an envelope. A *Fault is the last.
func (e *EventReader) Next() (*Response, error) { return e.r.Next() }

// Server is as Reader.Server.
func (e *EventReader) Server() (ServerVersionInfo, bool) { return e.r.Server() }

// notification reads a Notification.
func (r *Reader) notification() error {
	s, n := r.s, Notification{}
	err := r.each(func(name []byte) (err error) {
		switch string(name) {
		case "SubscriptionId":
			n.Subscription, err = s.leaf()
		case "PreviousWatermark":
			n.Previous, err = s.leaf()
		case "MoreEvents":
			n.More, err = s.boolean()
		default:
			if strings.HasSuffix(string(name), "Event") {
				var e Event
				e, err = r.event(kindOf(name))
				n.Events = append(n.Events, e)
				err = r.entryAfter(err)
			}
		}
		return err
	})
	r.resp.Notifications = append(r.resp.Notifications, n)
	return r.entryAfter(err)
}

// event reads one event of a Notification.
func (r *Reader) event(kind string) (Event, error) {
	s, e := r.s, Event{Kind: kind}
	err := r.each(func(name []byte) (err error) {
		switch string(name) {
		case "Watermark":
			e.Watermark, err = s.leaf()
		case "TimeStamp":
			e.Time, err = s.time()
		case "ItemId":
			e.Item = s.attr("Id")
		case "FolderId":
			e.Folder = s.attr("Id")
		case "ParentFolderId":
			e.ParentFolder = s.attr("Id")
		case "OldItemId":
			e.OldItem = s.attr("Id")
		case "OldFolderId":
			e.OldFolder = s.attr("Id")
		case "OldParentFolderId":
			e.OldParent = s.attr("Id")
		}
		return err
	})
	return e, err
}
