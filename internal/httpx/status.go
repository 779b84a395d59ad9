package httpx

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

// maxError is how much of an error body is read, and maxText how much of its text an error shows.
const (
	maxError = 64 << 10
	maxText  = 300
)

// ReadLimited returns at most 64 KiB of an error body; a body that breaks off gives what came before.
func ReadLimited(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, maxError)) // the status is the news, not the text
	return b
}

// StatusError returns the error of an answer that has no code the driver knows better: the Kind is that of the status,
// RetryAfter the header's. text is the server's; what is shown of it is short and printable.
func StatusError(status int, h http.Header, code, text string) *connection.Error {
	e := &connection.Error{Kind: kindOf(status), Code: code, RetryAfter: RetryAfter(h, time.Now())}
	if e.Code == "" {
		e.Code = strconv.Itoa(status)
	}
	if text = Clean(text); text == "" {
		text = http.StatusText(status)
	}
	if text == "" {
		text = fmt.Sprintf("status %d", status)
	}
	e.Err = errors.New(text)
	return e
}

// Doubtful reports whether a status leaves open what the server has done with a request that was to change something: it
// gave up half-way, or a gateway got no answer from it.
func Doubtful(status int) bool {
	return status == http.StatusInternalServerError || status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

func kindOf(status int) connection.Kind {
	switch status {
	case http.StatusUnauthorized:
		return connection.ErrAuth
	case http.StatusForbidden:
		return connection.ErrPermission
	case http.StatusNotFound, http.StatusGone:
		return connection.ErrNotFound
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return connection.ErrUnsupported
	case http.StatusRequestTimeout:
		return connection.ErrTimeout
	case http.StatusConflict:
		return connection.ErrExists
	case http.StatusPreconditionFailed:
		return connection.ErrChanged
	case http.StatusRequestEntityTooLarge:
		return connection.ErrTooLarge
	case http.StatusTooManyRequests:
		return connection.ErrThrottled
	case http.StatusInsufficientStorage:
		return connection.ErrQuota
	case http.StatusUnprocessableEntity:
		return connection.ErrCorrupt
	}
	switch status / 100 {
	case 5:
		return connection.ErrUnavailable
	case 4:
		return connection.ErrRejected
	}
	return connection.ErrProtocol
}

// RetryAfter returns what a Retry-After header asks for (RFC 9110, section 10.2.3), 0 if it asks nothing.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil && date.After(now) {
		return date.Sub(now)
	}
	return 0
}

// Clean makes a server's text fit for an error: one line, printable, short.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
