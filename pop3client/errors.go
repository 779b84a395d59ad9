package pop3client

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

var errClosed = errors.New("the connection was closed")

// fault returns err as the verb's own *Error. What a lower layer has classified keeps its kind, code, hint and wait.
func (c *Conn) fault(op string, ref connection.Ref, err error) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref}
	var inner *connection.Error
	if !errors.As(err, &inner) {
		e.Kind, e.Err = connection.KindOf(err), err
		return e
	}
	e.Kind, e.Code, e.RetryAfter, e.Hint, e.Err = inner.Kind, inner.Code, inner.RetryAfter, inner.Hint, inner.Err
	return e
}

// problem returns an *Error of one kind with a text of our own.
func (c *Conn) problem(op string, ref connection.Ref, kind connection.Kind, format string, args ...any) *connection.Error {
	return &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// ended returns the error of a verb whose ctx is done: ErrClosed if Close did it, else one with ctx.Err() in its chain.
func (c *Conn) ended(ctx context.Context, op string, ref connection.Ref) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref, Kind: connection.ErrClosed, Err: errClosed}
	if !errors.Is(context.Cause(ctx), errClosed) {
		e.Kind, e.Err = connection.KindOf(ctx.Err()), ctx.Err()
	}
	return e
}

// A reply is the status of one command (RFC 1939, 3).
type reply struct {
	ok   bool
	code string // of RFC 2449, 8, upper case: "IN-USE"; "" without one
	text string // behind the status and the code, as the server wrote it
}

// parseReply reads a status line. Servers write the status in either case, and some forget the space behind it.
func parseReply(line string) (reply, bool) {
	var r reply
	switch {
	case len(line) >= 3 && strings.EqualFold(line[:3], "+OK"):
		r.ok, r.text = true, line[3:]
	case len(line) >= 4 && strings.EqualFold(line[:4], "-ERR"):
		r.text = line[4:]
	default:
		return r, false
	}
	r.text = strings.Trim(r.text, " \t")
	if r.ok || !strings.HasPrefix(r.text, "[") {
		return r, true
	}
	if code, text, ok := strings.Cut(r.text[1:], "]"); ok && responseCode.MatchString(code) {
		r.code, r.text = strings.ToUpper(code), strings.TrimLeft(text, " \t")
	}
	return r, true
}

var responseCode = regexp.MustCompile(`^[A-Za-z0-9/_.-]{1,64}$`)

// inUseAfter is when a maildrop that another session holds is worth another try, by another process.
const inUseAfter = 30 * time.Second

// kind classifies a refusal (RFC 2449, 8.1; RFC 3206; RFC 6856, 7). One without a code that is known is otherwise.
func (r reply) kind(otherwise connection.Kind) (connection.Kind, time.Duration) {
	switch r.code {
	case "AUTH":
		return connection.ErrAuth, 0
	case "IN-USE", "LOGIN-DELAY":
		return connection.ErrThrottled, inUseAfter
	case "SYS/TEMP":
		return connection.ErrUnavailable, 0
	case "SYS/PERM":
		return connection.ErrPermission, 0
	case "UTF8":
		return connection.ErrUnsupported, 0
	}
	return otherwise, 0
}

// lockWords are what servers without response codes say of a maildrop that another session holds.
var lockWords = regexp.MustCompile(`(?i)\block(ed)?\b|\bbusy\b|\bin use\b|already (open|logged)`)

// unwellWords are what servers without a code for it say of themselves when they cannot let anybody in: Exchange has
// "Server Unavailable. 21".
var unwellWords = regexp.MustCompile(`(?i)\b(server|service|system|backend)\b.{0,20}\bunavailable\b|\btemporary\b.{0,20}\b(failure|error|problem)\b`)

// goneWords are what servers say of a number that stands for no message any more.
var goneWords = regexp.MustCompile(`(?i)no such|not exist|doesn't exist|already deleted|is deleted|deleted message|expunged|not found|no message`)
