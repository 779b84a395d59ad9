package objecttest

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// A Fault is something that befalls a request, by [Server.Fail]. The zero Fault is none.
type Fault struct {
	name string
	act  func(e *exchange)
}

// String returns the fault's name, as in Request.Fault.
func (f Fault) String() string { return f.name }

// planned is a fault and the requests that it befalls.
type planned struct {
	fault      Fault
	op         string
	upload     bool // only requests with a body of an object's size
	skip, left int  // left < 0: all
}

// An exchange is a request that meets its fault.
type exchange struct {
	server *Server
	r      *http.Request
	in     *intake
	out    *answer
}

// serve has the request obeyed.
func (e *exchange) serve() { e.server.provider.serve(e.out, e.r) }

// Status reads the request to its end, does not obey it, and answers with the code, the body and headers such as
// "Retry-After: 2".
func Status(code int, body string, headers ...string) Fault {
	return Fault{"status", func(e *exchange) {
		if _, err := io.Copy(io.Discard, e.in); err == nil {
			e.refuse(code, body, headers)
		}
	}}
}

// EarlyStatus is Status, but leaves the body of the request unread: a client that waits for 100 Continue is not to send it.
func EarlyStatus(code int, body string, headers ...string) Fault {
	return Fault{"early status", func(e *exchange) { e.refuse(code, body, headers) }}
}

func (e *exchange) refuse(code int, body string, headers []string) {
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		e.out.Header().Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	e.out.WriteHeader(code)
	if e.r.Method != http.MethodHead {
		_, _ = io.WriteString(e.out, body) // the client has gone
	}
}

// Reset breaks the connection as soon as the head of the request is there. It is not obeyed.
func Reset() Fault {
	return Fault{"reset", func(e *exchange) { e.out.hangUp = broken }}
}

// CutRequest breaks the connection when so many octets of the request's body have come. A body that is no longer than that
// arrives.
func CutRequest(after int64) Fault {
	return Fault{"cut request", func(e *exchange) {
		e.in.limit, e.in.limited = after, true
		e.serve()
	}}
}

// LoseReply obeys the request and closes the connection without an answer: the client cannot know.
func LoseReply() Fault {
	return Fault{"lost reply", func(e *exchange) {
		e.out.lost = true
		e.serve()
		e.out.hangUp = inOrder
	}}
}

// CutReply obeys the request, and closes the connection when so many octets of the answer's body are out. A body that is
// no longer than that arrives.
func CutReply(after int64) Fault {
	return Fault{"cut reply", func(e *exchange) {
		e.out.limit, e.out.limited = after, true
		e.serve()
	}}
}

// Stall reads the request to its end, does not obey it, and never answers. The connection stays open until the client
// closes it.
func Stall() Fault {
	return Fault{"stall", func(e *exchange) {
		_, _ = io.Copy(io.Discard, e.in) // the client has gone
		<-e.in.end
		e.out.hangUp = broken
	}}
}

// StallRequest stops reading when so many octets of the request's body have come, and never answers. What the systems
// between buffer may be sent all the same.
func StallRequest(after int64) Fault {
	return Fault{"stall request", func(e *exchange) {
		_, _ = io.CopyN(io.Discard, e.in, after) // the client has gone
		<-e.in.end
		e.out.hangUp = broken
	}}
}

// StallReply obeys the request, and falls silent when so many octets of the answer's body are out.
func StallReply(after int64) Fault {
	return Fault{"stall reply", func(e *exchange) {
		e.out.limit, e.out.limited, e.out.stall = after, true, true
		e.serve()
	}}
}

// Slow reads the request's body and writes the answer's in pieces of n octets, and waits so long before each.
func Slow(n int, wait time.Duration) Fault {
	n = max(n, 1)
	return Fault{"slow", func(e *exchange) {
		e.in.pace, e.out.pace = pace{n, wait}, pace{n, wait}
		e.serve()
	}}
}

// FlipRequest inverts the lowest bit of the octet behind so many others of the request's body.
func FlipRequest(after int64) Fault {
	return Fault{"flip request", func(e *exchange) {
		e.in.flip = flip{on: true, at: after}
		e.serve()
	}}
}

// FlipReply inverts the lowest bit of the octet behind so many others of the answer's body.
func FlipReply(after int64) Fault {
	return Fault{"flip reply", func(e *exchange) {
		e.out.flip = flip{on: true, at: after}
		e.serve()
	}}
}

// Hook calls f when the head of the request is there, and then obeys it.
func Hook(f func()) Fault {
	return Fault{"hook", func(e *exchange) {
		f()
		e.serve()
	}}
}
