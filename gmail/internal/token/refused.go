package token

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

const (
	maxText = 256             // octets that are shown of what a server said
	maxCode = 40              // octets of its error code
	farOff  = 5 * time.Minute // from so much on Google refuses assertions for their time
)

// refused is the error of an answer that holds no token.
func (s *Source) refused(x *exchange, k Key, status int, h http.Header, r reply, scrub *wirelog.Scrubber) *connection.Error {
	e := s.fault(connection.ErrAuth, "", "%s", said(status, r, scrub))
	e.Endpoint = x.uri.Host
	e.Code = code(r.code)
	switch {
	case status == http.StatusTooManyRequests, e.Code == "slow_down", strings.HasPrefix(e.Code, "rate_limit_exceeded"):
		e.Kind, e.RetryAfter = connection.ErrThrottled, httpx.RetryAfter(h, s.now())
	case status == http.StatusRequestTimeout:
		e.Kind = connection.ErrTimeout
	case status >= 500, e.Code == "temporarily_unavailable", e.Code == "internal_failure", e.Code == "server_error":
		e.Kind, e.RetryAfter = connection.ErrUnavailable, httpx.RetryAfter(h, s.now())
	case e.Code == "":
		e.Kind, e.Hint = connection.ErrProtocol, x.noEndpoint()
	case e.Code == "unsupported_grant_type":
		e.Kind, e.Hint = connection.ErrConfig, x.noGrant()
	case x.email != "":
		s.refusedAccount(e, x, k, strings.ToLower(r.text))
	default:
		refusedUser(e, x, r)
	}
	if e.Code == "" {
		e.Code = strconv.Itoa(status)
	}
	return e
}

// refusedAccount reads what is said of a service account. Only the codes are documented: the words are matched loosely.
func (s *Source) refusedAccount(e *connection.Error, x *exchange, k Key, words string) {
	says := func(any ...string) bool {
		for _, part := range any {
			if strings.Contains(words, part) {
				return true
			}
		}
		return false
	}
	skew, known := s.Skew()
	switch {
	case e.Code == "unauthorized_client", e.Code == "access_denied", e.Code == "invalid_scope":
		because(e, ErrDelegation)
		e.Hint = fmt.Sprintf("Domain-wide delegation is not authorised for client ID %s. Admin console → Security → API controls → Domain-wide delegation → add scopes: %s (may take up to 24 h)", x.who(), k.Scope)
	case e.Code == "invalid_client", e.Code == "deleted_client", e.Code == "disabled_client":
		s.noKey(e, x)
	case e.Code != "invalid_grant":
	case says("timeframe", "time frame", "short-lived", "too early", "too late", "clock"):
		s.wrongClock(e, skew, known)
	case says("signature", "account not found", "issuer", "key id", "verifier"):
		s.noKey(e, x)
	case says("audience"):
		e.Kind, e.Hint = connection.ErrConfig, x.uriField+": the server does not take this URL for its own"
	case says("email", "user", "suspended", "disabled", "deleted"):
		e.Kind = connection.ErrNotFound
		e.Hint = fmt.Sprintf("%s is no mailbox now: suspended, renamed or deleted", k.Subject)
	case known && skew.Abs() > farOff:
		s.wrongClock(e, skew, known)
	default:
		e.Hint = fmt.Sprintf("check that %s is a user of the domain, that the service account and its key exist, and this machine's clock", k.Subject)
	}
}

func (s *Source) wrongClock(e *connection.Error, skew time.Duration, known bool) {
	because(e, ErrClockSkew)
	e.Hint = "set this machine's clock by a time server"
	if !known {
		return
	}
	direction := "behind"
	if skew < 0 {
		direction = "ahead of"
	}
	e.Hint = fmt.Sprintf("the local clock is %s %s the server's; tokens are rejected beyond 5 min. %s", skew.Abs().Round(time.Second), direction, e.Hint)
}

func (s *Source) noKey(e *connection.Error, x *exchange) {
	because(e, ErrKey)
	e.Hint = fmt.Sprintf("%s: the service account %s or its key was deleted, disabled or replaced; create a new key under IAM → Service accounts → Keys", x.name, x.email)
}

// refusedUser reads what is said of a refresh token.
func refusedUser(e *connection.Error, x *exchange, r reply) {
	switch e.Code {
	case "invalid_grant":
		because(e, ErrReauth)
		e.Hint = "the user has to consent again, which gives a new refresh token; with the consent screen in testing Google lets one die after 7 days"
		if r.subtype == "invalid_rapt" {
			e.Hint = "the domain's session control wants the user to log in and to consent again"
		}
	case "invalid_client", "deleted_client", "disabled_client", "unauthorized_client":
		e.Hint = "client_id, client_secret: the application is not known so, or is disabled"
	case "invalid_scope":
		e.Hint = "the user has not consented to what is asked for"
	case "admin_policy_enforced", "access_denied", "org_internal":
		e.Hint = "the domain's administrator does not permit the application: Admin console → Security → API controls → App access control"
	}
	if x.name != "" && e.Hint != "" {
		e.Hint = x.name + ": " + e.Hint
	}
}

// because puts one of the sentinels into the chain, before what the server said.
func because(e *connection.Error, sentinel error) { e.Err = fmt.Errorf("%w: %w", sentinel, e.Err) }

// who is the client id that the administrator has to authorise, else what is known of the account.
func (x *exchange) who() string {
	if x.clientID != "" {
		return x.clientID
	}
	return x.email
}

func (x *exchange) noEndpoint() string {
	if x.uriField == "" {
		return "is this the URL of a token endpoint? Or does something between answer in its place (a proxy, a captive portal)?"
	}
	return x.uriField + ": is this the URL of a token endpoint? Or does something between answer in its place (a proxy, a captive portal)?"
}

func (x *exchange) noGrant() string {
	grant := "jwt-bearer"
	if x.email == "" {
		grant = "refresh_token"
	}
	return fmt.Sprintf("%s: the server at %s knows no %s grant", x.uriField, x.uri.Redacted(), grant)
}

// said is the text of a refusal: status, code and words, or the beginning of what is no answer of a token endpoint.
func said(status int, r reply, scrub *wirelog.Scrubber) string {
	text := fmt.Sprintf("the token endpoint answers %d", status)
	words := r.raw
	if c := code(r.code); c != "" {
		text, words = text+" "+c, r.text
	}
	// A secret that the cut would leave the beginning of is removed before it.
	words = clip(printable(scrub.Text(strings.ToValidUTF8(words, "")), 4*maxText), maxText)
	if words = strings.TrimSpace(words); words != "" {
		text += ": " + words
	}
	return text
}

// code returns an error code of a reply, "" if it is none.
func code(text string) string {
	if len(text) > maxCode || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return text
}

// printable makes text one line of at most n octets without characters that a terminal would obey.
func printable(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return clip(strings.Join(strings.Fields(text), " "), n)
}

// clip cuts text to n octets.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
