package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A SearchError says that a search found nothing, and what it tried. It is inside the *connection.Error of [Finder.Find].
type SearchError struct {
	Address string
	Trail   []Attempt
	cause   error // what decided, nil if nothing stands out
}

// Error returns what was tried, in one line.
func (e *SearchError) Error() string {
	var b strings.Builder
	b.WriteString("no ews endpoint found")
	const most = 12
	for i, a := range e.Trail {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(e.Trail)-most)
			break
		}
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + a.String())
	}
	return b.String()
}

// Unwrap returns what decided, for errors.As: a *[RedirectBlockedError].
func (e *SearchError) Unwrap() error { return e.cause }

// TrailOf returns what the search tried that ended in err, nil if err is no failed search.
func TrailOf(err error) []Attempt {
	var e *SearchError
	if errors.As(err, &e) {
		return e.Trail
	}
	return nil
}

// verdict turns what was tried into the error of the search. What a server said about the mailbox counts more than that
// another refused us, and that more than those which did not answer.
func (f *Finder) verdict(a address, t *trail) error {
	var unknown, unauthorized, later, silent, untrusted *connection.Error
	var blocked *RedirectBlockedError
	answered := false // by a web server, whatever it said
	for i, attempt := range t.attempts {
		var e *connection.Error
		if !errors.As(attempt.Err, &e) {
			continue
		}
		errors.As(attempt.Err, &blocked)
		switch v := t.verdicts[i]; {
		case v == noMailbox, v == noDomain && unknown == nil, v == noAccount && unknown == nil:
			unknown = e
		case v == refused:
			unauthorized = e
		case v == busy:
			later = e
		case attempt.Step == stepPlain || attempt.Step == stepSRV:
			// That nobody offers these is usual.
		case e.Kind == connection.ErrTLS:
			untrusted = e
		case e.Kind == connection.ErrNetwork || e.Kind == connection.ErrTimeout:
			silent = e
		case e.Kind != connection.ErrConfig: // that is a redirect not followed
			answered = true
		}
	}
	s := &SearchError{Address: a.whole, Trail: t.attempts}
	e := f.fail(connection.ErrConfig, a.whole, s)
	switch {
	case unknown != nil:
		e.Kind, e.Code = connection.ErrNotFound, unknown.Code
		e.Hint = "mailboxes: is the address right, and does it belong to this organisation?"
	case unauthorized != nil || f.refusals() >= maxRefused:
		e.Kind, s.cause = connection.ErrAuth, connection.ErrAuth
		e.Hint = "username, password: whoever answered refused the account; with disable_autodiscover the server's own answer shows why"
		if unauthorized != nil {
			s.cause, e.Hint = unauthorized, firstOf(unauthorized.Hint, e.Hint)
		}
	case blocked != nil:
		e.Code, s.cause = "RedirectBlocked", blocked
		host := blocked.To
		if u, err := url.Parse(blocked.To); err == nil {
			host = u.Hostname()
		}
		e.Hint = fmt.Sprintf("redirect_allow: add %q if that host may see the account's password", host)
	case later != nil:
		e.Kind, e.Code, e.RetryAfter = connection.ErrUnavailable, later.Code, later.RetryAfter
	case untrusted != nil && !answered:
		e.Kind = connection.ErrTLS
		e.Hint = "ca_pem: no autodiscover host shows a certificate that is trusted for its name; or set disable_autodiscover to use server for every mailbox"
	case silent != nil && !answered:
		e.Kind = silent.Kind
		e.Hint = "disable_autodiscover: no autodiscover host of " + a.domain + " can be reached; set it to use server for every mailbox, or name the right URL in autodiscover_urls"
	default:
		e.Hint = "disable_autodiscover: " + a.domain + " has no autodiscover; set it to use server for every mailbox, or name the right URL in autodiscover_urls"
	}
	return e
}

// brief says in a few words what went wrong.
func brief(err error) string {
	var (
		e   *connection.Error
		dns *net.DNSError
		b   *RedirectBlockedError
	)
	switch {
	case errors.As(err, &b):
		return clean(err.Error())
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such name"
	case errors.Is(err, context.Canceled):
		return "not needed"
	case errors.As(err, &e) && (e.Kind == connection.ErrTimeout || errors.Is(err, context.DeadlineExceeded)), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &e) && e.Err != nil:
		return clean(e.Kind.Error() + ": " + e.Err.Error())
	case errors.As(err, &e):
		return clean(e.Kind.Error())
	}
	return clean(err.Error())
}

// kindOfContext returns the kind of what ended ctx.
func kindOfContext(ctx context.Context) connection.Kind { return connection.KindOf(ctx.Err()) }

// passing reports whether a failed search says nothing against what was found before.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	switch connection.KindOf(err) {
	case connection.ErrNotFound, connection.ErrAuth:
		return false
	}
	return true
}
