package connection

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// A Kind classifies an error. The constants are also the sentinels: errors.Is(err, connection.ErrNotFound).
type Kind uint8

// The kinds.
const (
	ErrUnknown     Kind = iota // none of the others
	ErrAuth                    // the server refuses who we are
	ErrPermission              // it knows us, and we may not
	ErrNotFound                // message, folder, mailbox or object is not there
	ErrExists                  // the key is taken
	ErrThrottled               // too much, too fast; see Error.RetryAfter
	ErrQuota                   // no space left, quota exceeded
	ErrTLS                     // no trusted TLS connection
	ErrNetwork                 // the connection could not be made, or broke
	ErrTimeout                 // no progress for too long
	ErrProtocol                // the peer does not speak as it must
	ErrCorrupt                 // the octets are not what they should be
	ErrTooLarge                // over a limit of ours or of the server's
	ErrStale                   // a Ref or Checkpoint is of an earlier life of the folder
	ErrUncertain               // the server may have acted; nothing repeats it by itself
	ErrUnavailable             // the server says: later
	ErrRejected                // the server says: never
	ErrArchived                // in a cold tier; restore first
	ErrLocked                  // retention or legal hold forbids it
	ErrChanged                 // it was replaced meanwhile
	ErrInvalid                 // a bad argument
	ErrConfig                  // a bad or missing setting
	ErrUnsupported             // this driver or server cannot
	ErrClosed                  // the Connection was closed
	ErrCanceled                // the caller's context ended
)

var kinds = [...]string{
	ErrUnknown:     "unclassified error",
	ErrAuth:        "authentication refused",
	ErrPermission:  "permission denied",
	ErrNotFound:    "not found",
	ErrExists:      "already exists",
	ErrThrottled:   "throttled",
	ErrQuota:       "quota exceeded",
	ErrTLS:         "tls failure",
	ErrNetwork:     "network failure",
	ErrTimeout:     "timeout",
	ErrProtocol:    "protocol violation",
	ErrCorrupt:     "corrupt data",
	ErrTooLarge:    "too large",
	ErrStale:       "stale reference",
	ErrUncertain:   "outcome uncertain",
	ErrUnavailable: "temporarily unavailable",
	ErrRejected:    "rejected",
	ErrArchived:    "in a cold tier",
	ErrLocked:      "locked by retention or legal hold",
	ErrChanged:     "changed meanwhile",
	ErrInvalid:     "invalid argument",
	ErrConfig:      "invalid setting",
	ErrUnsupported: "not supported",
	ErrClosed:      "connection closed",
	ErrCanceled:    "canceled",
}

// Error returns what the kind means, in a few words.
func (k Kind) Error() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return kinds[ErrUnknown]
}

// An Error is what every driver returns. Its text is one line, in lower case, and holds neither a secret nor the
// content of a message.
type Error struct {
	Op         string        // the verb: "fetch", "delete", "put"
	Driver     string        // "imap"
	Endpoint   string        // "mail.example.org:993"
	Ref        Ref           // the message concerned; without an ID the folder or mailbox
	Key        string        // the object key concerned
	Kind       Kind          // the class
	Code       string        // the server's own code: "OVERQUOTA", "NoSuchKey"
	RetryAfter time.Duration // how long the server asks us to wait; 0 if it does not say
	Hint       string        // which setting is at fault and what to do; for people
	Err        error         // the cause

	// Settled, of a message that Sync could not read, says that the Checkpoints which follow take account of it: the driver
	// tries it again by itself, or it can never be read. Nobody need hold them back for it.
	Settled bool
}

// Error returns the parts that are set: "imap fetch mail.example.org:993 INBOX/7:12: not found [NONEXISTENT]: no such message".
func (e *Error) Error() string {
	var b strings.Builder
	word := func(s string) {
		if s == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(oneLine(s))
	}
	word(e.Driver)
	word(e.Op)
	word(e.Endpoint)
	word(e.Ref.String())
	word(e.Key)
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Kind.Error())
	if e.Code != "" {
		b.WriteString(" [" + oneLine(e.Code) + "]")
	}
	if e.Err != nil {
		b.WriteString(": " + oneLine(e.Err.Error()))
	}
	if e.Hint != "" {
		b.WriteString(" (" + oneLine(e.Hint) + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind) //nolint:errorlint // a Kind is a sentinel, never wrapped
	return ok && k == e.Kind
}

// oneLine keeps a server's text from breaking the lines of a log or from moving a terminal's cursor.
func oneLine(s string) string {
	clean := func(r rune) rune {
		switch {
		case r < 0x20, r == 0x7f, r >= 0x80 && r < 0xa0, r == 0x2028, r == 0x2029:
			return ' '
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return unicode.ReplacementChar // these show the rest of the line in another order than it has
		}
		return r
	}
	return strings.Map(clean, s)
}

// KindOf returns the Kind of err: of the first *Error or Kind in its chain, else what the standard library's own
// errors say, else ErrUnknown. KindOf(nil) is ErrUnknown.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) && e.Kind != ErrUnknown {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	var (
		unknownCA x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		alert     tls.AlertError
		record    tls.RecordHeaderError
		netErr    net.Error
		opErr     *net.OpError
		dnsErr    *net.DNSError
	)
	switch {
	case err == nil:
		return ErrUnknown
	case errors.Is(err, context.Canceled):
		return ErrCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	case errors.As(err, &verify), errors.As(err, &unknownCA), errors.As(err, &hostname), errors.As(err, &invalid),
		errors.As(err, &record), errors.As(err, &alert):
		return ErrTLS
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return ErrPermission
	case errors.Is(err, syscall.ENOSPC), isQuota(err):
		return ErrQuota
	case errors.As(err, &netErr) && netErr.Timeout():
		return ErrTimeout
	case errors.As(err, &dnsErr), errors.As(err, &opErr), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ErrNetwork
	}
	return ErrUnknown
}

// Temporary reports whether the same call may succeed later without anybody changing anything. Of joined errors all
// must be temporary. ErrUncertain is not temporary.
func Temporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	for part := range leaves(err) {
		switch KindOf(part) {
		case ErrThrottled, ErrNetwork, ErrTimeout, ErrUnavailable:
		default:
			return false
		}
	}
	return true
}

// RetryAfter returns the longest wait that a server asked for anywhere in err, 0 if none did.
func RetryAfter(err error) time.Duration {
	var longest time.Duration
	for part := range leaves(err) {
		var e *Error
		if errors.As(part, &e) {
			longest = max(longest, e.RetryAfter)
		}
	}
	return longest
}

// Errors yields each *Error joined in err, as Delete returns them: one for each Ref or Key. Parts that hold no *Error
// are not yielded.
func Errors(err error) iter.Seq[*Error] {
	return func(yield func(*Error) bool) {
		for part := range leaves(err) {
			var e *Error
			if errors.As(part, &e) && !yield(e) {
				return
			}
		}
	}
}

// leaves yields the members of joined errors, however deep, down to the first *Error of each; and err itself if it
// joins nothing.
func leaves(err error) iter.Seq[error] {
	return func(yield func(error) bool) { walk(err, yield) }
}

func walk(err error, yield func(error) bool) bool {
	for inner := err; inner != nil; {
		if _, ok := inner.(*Error); ok { //nolint:errorlint // the chain is walked by hand here
			break
		}
		if joined, ok := inner.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 { //nolint:errorlint // as above
			for _, part := range joined.Unwrap() {
				if !walk(part, yield) {
					return false
				}
			}
			return true
		}
		inner = errors.Unwrap(inner)
	}
	return err == nil || yield(err)
}
