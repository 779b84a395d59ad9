package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

var errClosed = errors.New("the connection was closed")

// fault returns err as the verb's own *Error. What a lower layer has classified keeps its kind, code, hint and wait.
func (c *Conn) fault(op string, err error) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint}
	var inner *connection.Error
	if !errors.As(err, &inner) {
		e.Kind, e.Err = connection.KindOf(err), err
		return e
	}
	e.Kind, e.Code, e.RetryAfter, e.Hint, e.Err = inner.Kind, inner.Code, inner.RetryAfter, inner.Hint, inner.Err
	return e
}

// problem returns an *Error of one kind with a text of our own.
func (c *Conn) problem(op string, kind connection.Kind, hint, format string, args ...any) *connection.Error {
	return &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// ended returns the error of a verb whose ctx is done: ErrClosed if Close did it, else one with ctx.Err() in its chain.
func (c *Conn) ended(ctx context.Context, op string) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Kind: connection.ErrClosed, Err: errClosed}
	if !errors.Is(context.Cause(ctx), errClosed) {
		e.Kind, e.Err = connection.KindOf(ctx.Err()), ctx.Err()
	}
	return e
}

// A stage is where in the dialogue a reply came.
type stage uint8

const (
	stageHello stage = iota // the greeting, EHLO
	stageAuth
	stageMail
	stageRcpt
	stageData  // DATA, before any content
	stageFinal // the reply to the whole message, or to a part of it
)

// The hints of refusals.
const (
	hintSendAs = "from_address, username: the account may not send as this sender. Give it the Send As right (Exchange: Add-ADPermission -Identity '<container>' -User 'domain\\username' -ExtendedRights 'Send-as'), or send from its own address"
	hintAuth   = "username, password: the server refuses them"
	hintLogin  = "username: the server wants a login first"
	hintTLS    = "mode: the server wants TLS before a login; set it to tls or starttls"
	hintRelay  = "username: the server may want a login before it sends mail elsewhere"
)

// refusal makes an error of a reply that is no success.
func (s *session) refusal(at stage, r *reply, hint string) *connection.Error {
	kind, why := classify(at, r, s.authorized)
	if hint == "" || why != "" {
		hint = why
	}
	e := s.peer.Errorf(kind, hint, "the server says %s", s.said(r))
	e.Code = or(r.enhanced, strconv.Itoa(r.code))
	if r.code/100 == 4 {
		e.RetryAfter = retryAfter(r.text())
	}
	return e
}

// said returns the server's words for an error or a receipt.
func (s *session) said(r *reply) string { return wirelog.Clip(s.clean(r.String())) }

// classify says what a refusal means (RFC 5321, 4.2; RFC 3463), and which setting it concerns.
func classify(at stage, r *reply, authorized bool) (kind connection.Kind, hint string) {
	switch {
	case r.code/100 == 4:
		return temporary(r), ""
	case r.code/100 != 5:
		return connection.ErrProtocol, ""
	case r.code == 530 && !strings.Contains(strings.ToUpper(r.text()), "STARTTLS"):
		return connection.ErrAuth, hintLogin
	case r.code == 530, r.code == 538:
		return connection.ErrAuth, hintTLS
	case at == stageAuth, r.code == 535, r.code == 534:
		return connection.ErrAuth, hintAuth
	case deniesSendAs(at, r):
		return connection.ErrPermission, hintSendAs
	case r.enhanced == "5.2.2":
		return connection.ErrQuota, ""
	case r.enhanced == "5.3.4", r.enhanced == "5.2.3", r.code == 552:
		return connection.ErrTooLarge, ""
	case strings.HasPrefix(r.enhanced, "5.1.") && at == stageRcpt, strings.HasPrefix(r.enhanced, "5.1.") && at == stageFinal:
		return connection.ErrNotFound, ""
	case strings.HasPrefix(r.enhanced, "5.7.") && at == stageRcpt && !authorized:
		return connection.ErrPermission, hintRelay
	case strings.HasPrefix(r.enhanced, "5.7."):
		return connection.ErrPermission, ""
	case r.code >= 500 && r.code <= 504, r.code == 555:
		return connection.ErrProtocol, ""
	}
	return connection.ErrRejected, ""
}

// temporary says what kind of "later" a reply is.
func temporary(r *reply) connection.Kind {
	switch {
	case r.enhanced == "4.2.2":
		return connection.ErrQuota
	case strings.HasPrefix(r.enhanced, "4.7."), r.enhanced == "4.3.2", r.enhanced == "4.5.3", tooMuch.MatchString(r.text()):
		return connection.ErrThrottled
	}
	return connection.ErrUnavailable
}

var (
	tooMuch   = regexp.MustCompile(`(?i)too (many|much|fast)|rate limit|throttl|slow down`)
	sendAs    = regexp.MustCompile(`(?i)send[- ]?(as|on behalf)|sender address rejected|not owned by`)
	waitWords = regexp.MustCompile(`(?i)\b(?:in|after|wait|retry|for)\D{0,24}?(\d{1,6})\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|hours?|h)\b`)
)

// deniesSendAs reports whether the account may not use the sender's address. Exchange, Microsoft 365 and Postfix each
// have codes of their own, and say so at MAIL, at RCPT or after the message.
func deniesSendAs(at stage, r *reply) bool {
	switch {
	case r.enhanced == "5.7.60", r.enhanced == "5.2.252", at == stageMail && r.enhanced == "5.7.1":
		return true
	}
	return at >= stageMail && sendAs.MatchString(r.text())
}

// longestWait bounds what a server's words can ask for.
const longestWait = 24 * time.Hour

// retryAfter returns the time that a text asks to wait, 0 if it names none.
func retryAfter(text string) time.Duration {
	m := waitWords.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0 // cannot be: at most six digits
	}
	unit := time.Second
	switch word := strings.ToLower(m[2]); {
	case strings.HasPrefix(word, "mil"), word == "ms":
		unit = time.Millisecond
	case word[0] == 'm':
		unit = time.Minute
	case word[0] == 'h':
		unit = time.Hour
	}
	return min(time.Duration(n)*unit, longestWait)
}
