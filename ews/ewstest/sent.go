package ewstest

import (
	"slices"
	"time"
)

// Sent is one message that was sent.
type Sent struct {
	Mailbox    string   // in whose name
	Account    string   // who was authenticated
	Recipients []string // To, Cc and Bcc of the message, in this order
	Raw        []byte   // as it was handed over
	Saved      bool     // a copy was kept
	At         time.Time
}

// Sent returns the messages that were sent so far.
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.store.sent)
}

// Receipts returns the ids of the items whose senders asked for a receipt and were told that they were deleted unread.
func (s *Server) Receipts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.store.receipts)
}
