package imapclient

import (
	"context"
	"errors"
	"slices"

	goimap "github.com/emersion/go-imap/v2"
)

// There are messages without an octet, and there are servers that answer with none when they cannot read a message:
// stored as it came, it would be deleted for nothing. So the server has to say in another way that a message is empty.
// It is asked that only after the first message came so, and what came behind that one is asked for again: order is kept,
// and a mailbox without such messages costs nothing more.

// errHollow ends a FETCH in which a message without an octet came. The next one will have asked which are empty.
var errHollow = errors.New("a message without an octet")

// void returns those of uids, ascending, of which the server says that they are empty: none if it does not understand
// the question. It is not nil.
func (s *session) void(ctx context.Context, op string, uids []uint32) ([]uint32, error) {
	// RFC 9051, 6.4.4: SMALLER goes by RFC822.SIZE. A server at a loss finds nothing, and so proves nothing.
	empty, err := s.searchSet(ctx, op, uids, goimap.SearchCriteria{Smaller: 1})
	if err != nil && (s.broken() || ctx.Err() != nil) {
		return nil, err
	}
	return append([]uint32{}, empty...), nil
}

// doubtful reports whether the message, which came without an octet, may not be empty. If the server was not asked,
// nothing more is taken until it was. a.mu must be held.
func (a *asking) doubtful(uid uint32) bool {
	a.hollow = true
	if a.void == nil {
		a.over, a.doubt = true, true
		return true
	}
	_, proved := slices.BinarySearch(a.void, uid)
	return !proved
}
