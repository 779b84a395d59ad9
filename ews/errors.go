package ews

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/httpx"
)

// A class says what to do about an error of the server.
type class uint8

const (
	permanent class = iota // say so
	throttled              // wait as long as the server asks, and ask again
	transient              // ask again soon, a few times
	moved                  // look where the mailbox is now, then as transient
	outdated               // declare an older version
	unclear                // a code that nobody knows: as transient, then permanent
)

// A verdict is what a code of the server means.
type verdict struct {
	class class
	kind  connection.Kind
	hint  string
}

const (
	hintImpersonation = "access: give the account the role ApplicationImpersonation, with a management scope that covers this mailbox"
	hintMailbox       = "mailboxes: the address must be the primary one of a mailbox in this organisation; see impersonate_by"
	hintAccess        = "access: give the account rights on this folder, or use impersonation"
	hintRecoverable   = "the Recoverable Items folder of this mailbox is full: raise its quota, or let the server purge it"
	hintVersion       = "version: set the version of the server, or a lower one"
	hintMoving        = "disable_autodiscover: the mailbox is being moved to another server, which only autodiscover finds"
)

// verdicts are the codes that mean something to this driver, without their prefix "Error". There are about 500 more.
var verdicts = map[string]verdict{
	"ServerBusy":                {throttled, connection.ErrThrottled, ""},
	"ExceededConnectionCount":   {throttled, connection.ErrThrottled, "max_connections: fewer requests at once"},
	"ExceededFindCountLimit":    {throttled, connection.ErrThrottled, ""},
	"TooManyObjectsOpened":      {throttled, connection.ErrThrottled, "max_connections: fewer requests at once"},
	"ExceededSubscriptionCount": {throttled, connection.ErrThrottled, "notifications: poll needs no subscriptions"},

	"TimeoutExpired":                   {transient, connection.ErrTimeout, "batch_items, batch_bytes: ask for less at once"},
	"InternalServerTransientError":     {transient, connection.ErrUnavailable, ""},
	"InternalServerError":              {transient, connection.ErrUnavailable, ""},
	"MailboxStoreUnavailable":          {transient, connection.ErrUnavailable, ""},
	"MailboxFailover":                  {moved, connection.ErrUnavailable, hintMoving},
	"ConnectionFailed":                 {moved, connection.ErrUnavailable, ""},
	"ADUnavailable":                    {transient, connection.ErrUnavailable, ""},
	"InsufficientResources":            {transient, connection.ErrUnavailable, ""},
	"BatchProcessingStopped":           {transient, connection.ErrUnavailable, ""},
	"MailboxMoveInProgress":            {moved, connection.ErrUnavailable, hintMoving},
	"NoRespondingCASInDestinationSite": {moved, connection.ErrUnavailable, ""},

	"InvalidSyncStateData": {permanent, connection.ErrStale, ""},
	"SyncFolderNotFound":   {permanent, connection.ErrStale, ""},

	"ImpersonateUserDenied": {permanent, connection.ErrPermission, hintImpersonation},
	"ImpersonationDenied":   {permanent, connection.ErrPermission, hintImpersonation},
	"ImpersonationFailed":   {permanent, connection.ErrPermission, "impersonate_by: the server may not know mailboxes by this; or: " + hintImpersonation},
	"AccessDenied":          {permanent, connection.ErrPermission, hintAccess},
	"AccountDisabled":       {permanent, connection.ErrPermission, "mailboxes: the account of this mailbox is disabled"},
	"NonExistentMailbox":    {permanent, connection.ErrNotFound, hintMailbox},
	"CannotFindUser":        {permanent, connection.ErrNotFound, hintMailbox},
	"MissingEmailAddress":   {permanent, connection.ErrNotFound, "username: this account has no mailbox of its own; name one of mailboxes"},

	"ItemNotFound":             {permanent, connection.ErrNotFound, ""},
	"FolderNotFound":           {permanent, connection.ErrNotFound, ""},
	"ArchiveMailboxNotEnabled": {permanent, connection.ErrNotFound, ""},

	"MimeContentConversionFailed": {permanent, connection.ErrCorrupt, "fallbacks: the server cannot make a message of this item"},
	"ContentConversionFailed":     {permanent, connection.ErrCorrupt, "fallbacks: the server cannot make a message of this item"},
	"ItemCorrupt":                 {permanent, connection.ErrCorrupt, ""},
	"CorruptData":                 {permanent, connection.ErrCorrupt, ""},
	"MessageSizeExceeded":         {permanent, connection.ErrTooLarge, ""},
	"CannotDeleteObject":          {permanent, connection.ErrPermission, ""},

	"InvalidId":          {permanent, connection.ErrProtocol, ""},
	"InvalidIdMalformed": {permanent, connection.ErrProtocol, ""},
	"InvalidIdEmpty":     {permanent, connection.ErrProtocol, ""},

	"QuotaExceeded":         {permanent, connection.ErrQuota, "the mailbox is full: raise its quota"},
	"QuotaExceededOnDelete": {permanent, connection.ErrQuota, hintRecoverable},

	"SendAsDenied":      {permanent, connection.ErrPermission, "username: give the account the right Send As for this sender"},
	"MissingRecipients": {permanent, connection.ErrRejected, ""},
	"InvalidRecipients": {permanent, connection.ErrRejected, ""},

	"SchemaValidation":       {permanent, connection.ErrProtocol, hintVersion},
	"InvalidRestriction":     {permanent, connection.ErrProtocol, ""},
	"InvalidPropertyRequest": {permanent, connection.ErrProtocol, ""},

	"InvalidServerVersion":                  {outdated, connection.ErrUnsupported, hintVersion},
	"IncorrectSchemaVersion":                {outdated, connection.ErrUnsupported, hintVersion},
	"InvalidRequest":                        {outdated, connection.ErrUnsupported, hintVersion},
	"InvalidSchemaVersionForMailboxVersion": {outdated, connection.ErrUnsupported, hintVersion},
	"MimeContentInvalid":                    {permanent, connection.ErrRejected, ""},
	"MimeContentInvalidBase64String":        {permanent, connection.ErrRejected, ""},
	"FolderExists":                          {permanent, connection.ErrExists, ""},
	"InvalidOperation":                      {permanent, connection.ErrUnsupported, ""},
	"SubscriptionNotFound":                  {permanent, connection.ErrStale, ""},
	"InvalidSubscription":                   {permanent, connection.ErrStale, ""},
	"MissedNotificationEvents":              {permanent, connection.ErrStale, ""},
	"ReadEventsFailed":                      {permanent, connection.ErrStale, ""},
	"NameResolutionNoResults":               {permanent, connection.ErrNotFound, ""},
	"NoPublicFolderReplicaAvailable":        {permanent, connection.ErrNotFound, ""},
}

// conversion reports whether a code says that Exchange cannot make a message of an item: the ladder of Config.Fallbacks
// begins there.
func conversion(code string) bool {
	return judge(code, "").kind == connection.ErrCorrupt
}

// judge returns what a code means. inner is the code below an ErrorInternalServerError, which tells more.
func judge(code, inner string) verdict {
	v, known := verdicts[strings.TrimPrefix(code, "Error")]
	if !known {
		return verdict{class: unclear, kind: connection.ErrUnavailable}
	}
	if code == "ErrorInternalServerError" && inner != "" && inner != code {
		if below := judge(inner, ""); below.class != unclear {
			return below
		}
	}
	return v
}

// serverError is a refusal by a code of the server: of a whole request (Fault), or of one thing in it (Response).
type serverError struct {
	code, inner, text string
	wait              time.Duration // that the server asks for
	timed             bool          // it does ask for one, perhaps 0
	halve             bool          // it names its limit of concurrent requests
	fault             *soap.Fault   // nil if a Response said it
}

func faultOf(f *soap.Fault) *serverError {
	e := &serverError{code: f.Code, inner: f.InnerCode, text: at(f.Text, f.Line, f.Position, f.Violation), fault: f}
	e.wait, e.timed = f.BackOff()
	_, e.halve = f.Values["MaxConcurrencyLimit"]
	return e
}

// refusal returns what a Response that is not OK says, nil of one that is.
func refusal(r *soap.Response) *serverError {
	if r.OK() {
		return nil
	}
	e := &serverError{code: r.Code, inner: r.InnerCode(), text: at(r.Text, r.Line, r.Column, r.Violation)}
	e.wait, e.timed = r.BackOff()
	_, e.halve = r.Values["MaxConcurrencyLimit"]
	return e
}

// at adds where in the request the server found fault, and with what.
func at(text string, line, column int, violation string) string {
	if line > 0 {
		text += fmt.Sprintf(" (line %d, position %d)", line, column)
	}
	if violation != "" && !strings.Contains(text, violation) {
		text += ": " + violation
	}
	return text
}

func (e *serverError) verdict() verdict {
	if e.fault != nil && e.fault.UnknownRequest() {
		return verdict{class: permanent, kind: connection.ErrUnsupported}
	}
	return judge(e.code, e.inner)
}

// Error returns the server's own words.
func (e *serverError) Error() string {
	if text := httpx.Clean(e.text); text != "" {
		return "the server says: " + text
	}
	return "the server gives no reason"
}

// Unwrap returns the fault, if it was one.
func (e *serverError) Unwrap() error {
	if e.fault == nil {
		return nil
	}
	return e.fault
}

// final returns e as a verb's error, without Op and Ref. tried says that what is transient was tried again in vain.
func (e *serverError) final(tried bool) *connection.Error {
	v := e.verdict()
	out := &connection.Error{Driver: DriverName, Kind: v.kind, Code: or(e.code, e.inner), Hint: v.hint, RetryAfter: e.wait, Err: e}
	if v.kind == connection.ErrUnavailable && e.inner != "" {
		out.Code = e.inner
	}
	if v.class == unclear && tried {
		out.Kind = connection.ErrUnknown // whatever it is, it does not pass
	}
	return out
}

// codeOf returns the server's code in err, "" if there is none.
func codeOf(err error) string {
	var e *connection.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// fail returns err as the verb's own *Error. What a lower layer has classified keeps its kind, code, hint and wait; a
// mailbox that is not the account's own is named in the text, as a Ref without ID would mean that others go on.
func (c *Conn) fail(op string, t target, ref connection.Ref, err error) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e.Kind, e.Code, e.RetryAfter, e.Hint, e.Err = inner.Kind, inner.Code, inner.RetryAfter, inner.Hint, inner.Err
		if inner.Endpoint != "" {
			e.Endpoint = inner.Endpoint
		}
	} else {
		e.Kind, e.Err = connection.KindOf(err), err
	}
	if ref.Mailbox == "" && t.mailbox != "" {
		e.Err = fmt.Errorf("mailbox %s: %w", t.mailbox, e.Err)
	}
	return e
}

// problem returns an *Error of one kind with a text of our own.
func (c *Conn) problem(op string, ref connection.Ref, kind connection.Kind, format string, args ...any) *connection.Error {
	return &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// ended returns the error of a verb whose ctx is done: ErrClosed if Close did it, else one with ctx.Err() in its chain.
func (c *Conn) ended(ctx context.Context, op string, ref connection.Ref) *connection.Error {
	if errors.Is(context.Cause(ctx), errClosed) {
		return c.problem(op, ref, connection.ErrClosed, "%w", errClosed)
	}
	return c.problem(op, ref, connection.KindOf(ctx.Err()), "%w", ctx.Err())
}
