package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
	"github.com/mailconn/mailconn/gmail/internal/token"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// What this driver's errors wrap besides their Kind, so that a host can tell apart what one Kind stands for.
var (
	// ErrDelegation: domain-wide delegation is not authorised, for this client or for a scope. Kind ErrAuth.
	ErrDelegation = token.ErrDelegation
	// ErrClockSkew: this machine's clock is too far off Google's. Kind ErrAuth.
	ErrClockSkew = token.ErrClockSkew
	// ErrKey: the service account's key or the account itself is gone. Kind ErrAuth.
	ErrKey = token.ErrKey
	// ErrReauth: the person must consent again. Kind ErrAuth.
	ErrReauth = token.ErrReauth
	// ErrQuotaDaily: the units of the day are spent, Google's or those of daily_budget. Kind ErrQuota.
	ErrQuotaDaily = quota.ErrQuotaDaily
	// ErrPolicy: the domain's administrator does not permit this application. Kind ErrPermission.
	ErrPolicy = errors.New("the domain's policy does not permit this application")
	// ErrNoMailbox: the user has no Gmail mailbox that can be read: service or licence off, suspended, archived. Kind
	// ErrNotFound. It may come back: ask again after a day.
	ErrNoMailbox = errors.New("no Gmail mailbox")
	// ErrNoRaw: Gmail does not give this message's octets, as of chats and of client-side encrypted mail. Kind ErrUnsupported.
	ErrNoRaw = errors.New("gmail gives no raw message")
	// ErrMonitorsUnavailable: Google offers no mailbox monitors for this domain any more. Kind ErrUnsupported.
	ErrMonitorsUnavailable = errors.New("mailbox monitors are not available")
)

// fail returns err as the verb's own *Error. What a lower layer has classified keeps its kind, code, hint and wait; a
// mailbox that is not the connection's own is named in the text where ref has no ID, as a Ref that has none would mean
// that the loop goes on.
func (c *Conn) fail(op string, ref connection.Ref, err error) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e.Kind, e.Code, e.RetryAfter, e.Hint, e.Err = inner.Kind, inner.Code, inner.RetryAfter, inner.Hint, inner.Err
		e.Endpoint = or(inner.Endpoint, e.Endpoint)
		return e
	}
	e.Kind, e.Err = connection.KindOf(err), err
	return e
}

// failMailbox is fail for an error that ends the work on a whole mailbox: its name is in the text.
func (c *Conn) failMailbox(op, mailbox string, err error) *connection.Error {
	e := c.fail(op, connection.Ref{}, err)
	if mailbox != "" && e.Err != nil {
		e.Err = fmt.Errorf("mailbox %s: %w", mailbox, e.Err)
	}
	return e
}

// problem returns an *Error of one kind with a text of our own.
func (c *Conn) problem(op string, ref connection.Ref, kind connection.Kind, format string, args ...any) *connection.Error {
	return &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// usedTwice is the error of an iterator that is ranged over a second time.
func (c *Conn) usedTwice(op string) *connection.Error {
	return c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; ask for a new one")
}

// ended returns the error of a verb whose ctx is done: ErrClosed if Close did it, else one with ctx.Err() in its chain.
func (c *Conn) ended(ctx context.Context, op string, ref connection.Ref) *connection.Error {
	if errors.Is(context.Cause(ctx), errClosed) {
		return c.problem(op, ref, connection.ErrClosed, "%w", errClosed)
	}
	return c.problem(op, ref, connection.KindOf(ctx.Err()), "%w", ctx.Err())
}

// allowed returns ErrConfig if the settings do not list verb.
func (c *Conn) allowed(op, verb string) error {
	if c.cfg.allows(verb) {
		return nil
	}
	e := c.problem(op, connection.Ref{}, connection.ErrConfig, "verbs: %s is not among them", verb)
	e.Hint = fmt.Sprintf("verbs: add %q if this program is to %s", verb, verb)
	return e
}

// A statusError is an answer that is none of the 2xx, in raw HTTP. What it says is in the exchange.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("http status %d: %s", e.status, e.text) }

// A callerError is an error of the caller's own reader or callback: it goes back to the caller as it is.
type callerError struct{ err error }

func (e callerError) Error() string { return e.err.Error() }
func (e callerError) Unwrap() error { return e.err }

// classify returns what became of one attempt of a call, from the error that the library or the driver's own HTTP gave and
// from what the transport saw. It has no Op.
func (x *exchange) classify(err error) *connection.Error {
	var own *connection.Error
	if errors.As(err, &own) {
		return own
	}
	if x.refused {
		return x.refusal()
	}
	e := &connection.Error{Driver: DriverName, Kind: connection.KindOf(err), Err: err}
	if e.Kind != connection.ErrUnknown {
		return e
	}
	if text := undecodable(err); text != "" {
		e.Kind, e.Err = connection.ErrProtocol, fmt.Errorf("the answer to %s %s", x.call.method, text)
	}
	return e
}

// refusal returns the error of the newest answer, with what the driver knows besides.
func (x *exchange) refusal() *connection.Error {
	e := x.verdict.Err(x.conn.now())
	switch x.verdict.Class {
	case quota.Policy:
		e.Err = fmt.Errorf("%w: %w", ErrPolicy, e.Err)
	case quota.NoMailbox:
		e.Err = fmt.Errorf("%w: %w", ErrNoMailbox, e.Err)
	case quota.Precondition:
		if x.conn.own != nil && x.conn.cfg.OAuth2 == nil {
			e.Kind, e.Hint = connection.ErrConfig, "the host's token may be that of a service account itself, which has no mailbox: let the token source give a user's, or set admin"
		}
	case quota.MissingScope:
		e.Hint = "the token lacks the scope " + x.call.scope + ": " + x.conn.consent()
	}
	return e
}

// consent says where a scope is authorised.
func (c *Conn) consent() string {
	switch {
	case c.cfg.OAuth2 != nil:
		return "oauth2: the person must consent again, to this scope too"
	case c.cfg.ways() == 0:
		return "the host's token source must ask for it"
	}
	_, id, _ := c.tokens.Account()
	return "authorise it for client ID " + or(id, "(of the service account)") + " in the Admin console, under Security, API controls, Domain-wide delegation"
}

// undecodable says what is wrong with an answer that is not the JSON it should be, "" if that is not what err is about.
func undecodable(err error) string {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch text := err.Error(); {
	case errors.As(err, &typed):
		return fmt.Sprintf("has %s where %s should be %s", wirelog.Clip(typed.Value), or(typed.Field, "a field"), words(typed.Type))
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return "is no JSON"
	case strings.HasPrefix(text, "json: "), strings.Contains(text, "strconv."):
		return "cannot be read: " + wirelog.Clip(text)
	}
	return ""
}

func words(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint64:
		return "a whole number of 64 bits"
	case reflect.Int64, reflect.Int, reflect.Uint32, reflect.Int32:
		return "a whole number"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}
