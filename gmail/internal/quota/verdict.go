package quota

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// Scope says what a refusal concerns.
type Scope uint8

// The scopes.
const (
	None        Scope = iota // no limit of anything
	User                     // what one user may spend or do in a time
	Project                  // what the project may spend in a minute
	Day                      // what the project may spend in a day
	Concurrency              // how many requests of one user may be under way
)

// String returns the scope in a word, or "".
func (s Scope) String() string {
	return [...]string{"", "user", "project", "day", "concurrency"}[s]
}

// Class says more of an error than its Kind.
type Class uint8

// The classes.
const (
	Plain        Class = iota // the Kind says all
	Token                     // 401: the access token is not taken
	Policy                    // the domain's administrators have disabled it
	Disabled                  // the API is not enabled in the project: see URL
	MissingScope              // the token lacks a scope: see Verdict.MissingScope
	Denied                    // "Delegation denied": the token is of somebody else
	NoMailbox                 // the user has no Gmail
	Precondition              // "Precondition check failed.": passing with a delegated token, a setting's fault without
	PageToken                 // the page token is not valid, or not any more
	Page                      // a page of HTML, which is not the API's
)

// A Verdict is what an answer that is an error means. The zero Verdict is none.
type Verdict struct {
	Status int
	Kind   connection.Kind
	Class  Class
	Reason string // the server's word for it, "rateLimitExceeded", or the status's digits
	Text   string // of the server: one line of at most 256 octets

	Scope Scope
	Units bool      // the limit that was met is one of units, and the user's
	Until time.Time // when to come again; zero if the server does not say

	Refused bool // it is certain that nothing was done, so that every call may be repeated
	Retry   bool // the same call may succeed later
	Tries   int  // how often at most, 0 = as the Limiter's options say

	URL          string // where people enable the API
	MissingScope string // the scopes that would do, as the server names them
	Foreign      bool   // the body is not of Google's shape
}

const (
	maxText   = 256
	maxReason = 64
	maxURL    = 512

	reasonDaily = "dailyLimitExceeded"
)

// Read says what an answer means whose status is not one of success. body is what was read of its body, at most 64 KiB. No
// body is beyond it: Google's errors, others' JSON, HTML, text, nothing. What looks like a token is not in Text.
func Read(status int, h http.Header, body []byte, now time.Time) Verdict {
	r := parse(body)
	v := Verdict{Status: status, Foreign: !r.google, Reason: r.reason(), Text: clip(r.text)}
	if v.Reason == "" {
		v.Reason = strconv.Itoa(status)
	}
	if v.Text == "" {
		v.Text = clip(http.StatusText(status))
	}
	v.Kind = httpx.StatusError(status, nil, "", "").Kind
	v.Refused = status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusConflict
	v.Until = until(h, r, now)
	switch {
	case status < 400:
		v.Kind = connection.ErrProtocol
	case v.limited(r, now):
	case status == http.StatusUnauthorized:
		v.Class = Token
	case status == http.StatusForbidden:
		v.forbidden(r, h)
	case status == http.StatusBadRequest:
		v.invalid(r)
	case passing(status):
		v.Retry = true
	case status == http.StatusNetworkAuthenticationRequired: // RFC 6585, 6: a captive portal
		v.Kind = connection.ErrProtocol
	}
	if r.html {
		v.Class = Page
		if !v.Retry && status != http.StatusUnauthorized {
			v.Kind = connection.ErrProtocol // it says nothing of a message
		}
	}
	return v
}

// passing reports whether a status says that the same call may succeed later.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// limited reads a refusal because of a limit.
func (v *Verdict) limited(r *reply, now time.Time) bool {
	text := strings.ToLower(r.text)
	named := r.has("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", reasonDaily, "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
	spoken := r.google && strings.Contains(text, "quota exceeded for quota metric") ||
		!r.google && (strings.Contains(text, "rate limit") || strings.Contains(text, "quota exceeded") || strings.Contains(text, "too many requests"))
	switch {
	case v.Status == http.StatusTooManyRequests:
	case v.Status/100 == 4 && v.Status != http.StatusUnauthorized && v.Status != http.StatusNotFound && (named || spoken):
	default:
		return false
	}
	if strings.Contains(text, "storage") { // a mailbox is full: nothing to wait for
		v.Kind = connection.ErrQuota
		return true
	}
	v.Kind, v.Refused, v.Retry, v.Scope = connection.ErrThrottled, true, true, User
	metric := r.limit != "" || strings.Contains(text, "quota metric")
	whose := squeeze.Replace(text + " " + strings.ToLower(r.limit))
	perUser := strings.Contains(whose, "peruser") || strings.Contains(whose, "{user}")
	perDay := strings.Contains(whose, "perday") || strings.Contains(whose, "1/d/")
	switch {
	case strings.Contains(text, "concurrent"):
		v.Scope = Concurrency
	case r.has(reasonDaily), perDay && metric && !perUser:
		v.Scope, v.Kind, v.Retry, v.Reason, v.Until = Day, connection.ErrQuota, false, reasonDaily, nextReset(now)
	case metric && !perUser:
		v.Scope = Project
	case perDay, strings.Contains(text, "bandwidth"), strings.Contains(text, "daily"): // limits of octets, of sending: they last for hours
		if v.Until.IsZero() {
			v.Until = now.Add(time.Hour)
		}
	case metric, v.Status != http.StatusTooManyRequests && !strings.Contains(text, "retry after"):
		v.Units = r.google
	}
	return true
}

// squeeze takes out what "per minute per user" and "PER_MINUTE_PER_USER" differ in.
var squeeze = strings.NewReplacer(" ", "", "_", "", "-", "")

// forbidden reads a 403 that is no limit.
func (v *Verdict) forbidden(r *reply, h http.Header) {
	text := strings.ToLower(r.text)
	switch {
	case r.has("domainPolicy"):
		v.Class = Policy
	case r.has("accessNotConfigured", "SERVICE_DISABLED"):
		v.Class, v.URL = Disabled, r.activation()
	case r.has("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientScopes"), strings.Contains(text, "insufficient authentication scopes"):
		v.Class, v.MissingScope = MissingScope, scopes(h)
	case strings.Contains(text, "delegation denied"):
		v.Class, v.Kind = Denied, connection.ErrConfig
	}
}

// invalid reads a 400.
func (v *Verdict) invalid(r *reply) {
	text := strings.ToLower(r.text)
	failed := r.has("failedPrecondition", "FAILED_PRECONDITION")
	switch {
	case failed && strings.Contains(text, "mail service not enabled"):
		v.Class, v.Kind = NoMailbox, connection.ErrNotFound
	case failed:
		v.Class, v.Kind, v.Retry, v.Tries = Precondition, connection.ErrUnavailable, true, 3
	case strings.Contains(text, "pagetoken"), strings.Contains(text, "page token"):
		v.Class = PageToken
	}
}

// Err returns the verdict as an error without Op, Endpoint and Ref.
func (v Verdict) Err(now time.Time) *connection.Error {
	e := &connection.Error{Driver: driver, Kind: v.Kind, Code: v.Reason, Err: errors.New(v.Text)}
	if v.Scope == Day {
		e.Err = &daily{v.Text}
	}
	if v.Until.After(now) {
		e.RetryAfter = v.Until.Sub(now)
	}
	if v.Class == Disabled && v.URL != "" {
		e.Hint = "enable the API: " + v.URL
	}
	return e
}

// daily is a server's text that means [ErrQuotaDaily].
type daily struct{ text string }

func (d *daily) Error() string { return ErrQuotaDaily.Error() + ": " + d.text }
func (d *daily) Unwrap() error { return ErrQuotaDaily }

// Hide returns v without secrets that a server has echoed.
func (v Verdict) Hide(secrets ...string) Verdict {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, field := range []*string{&v.Reason, &v.Text, &v.URL, &v.MissingScope} {
			*field = strings.ReplaceAll(*field, secret, connection.Redacted)
		}
	}
	return v
}
