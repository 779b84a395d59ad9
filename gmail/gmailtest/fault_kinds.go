package gmailtest

import (
	"net/http"
	"time"
)

// Status answers with a status and a body as they are. The Content-Type is JSON's if the body begins with a brace, else HTML's.
func Status(status int, body string) Fault {
	kind := "text/html; charset=UTF-8"
	if len(body) > 0 && body[0] == '{' {
		kind = "application/json; charset=UTF-8"
	}
	return instead(reply{status: status, header: http.Header{"Content-Type": {kind}}, body: []byte(body)})
}

// Redirect answers 302.
func Redirect(location string) Fault {
	return instead(reply{status: http.StatusFound, header: http.Header{"Location": {location}}})
}

// Refuse answers with an error in Google's form: Refuse(403, "rateLimitExceeded", "Quota exceeded for …").
func Refuse(status int, reason, message string) Fault {
	e := apiErr(status, reason, codeOf(status, reason), message)
	if status == http.StatusForbidden && e.code == "RESOURCE_EXHAUSTED" {
		e.domain = "usageLimits"
	}
	return instead(e)
}

// codeOf is the "status" that goes with an error.
func codeOf(status int, reason string) string {
	switch reason {
	case "rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "quotaExceeded":
		return "RESOURCE_EXHAUSTED"
	case "failedPrecondition":
		return "FAILED_PRECONDITION"
	}
	switch status {
	case http.StatusBadRequest:
		return "INVALID_ARGUMENT"
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusConflict:
		return "ABORTED"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	case http.StatusGatewayTimeout:
		return "DEADLINE_EXCEEDED"
	}
	return "INTERNAL"
}

// Disabled answers as for a project in which the API was never switched on: 403 accessNotConfigured, SERVICE_DISABLED.
func Disabled(service, activationURL string) Fault {
	e := forbidden("accessNotConfigured", service+" has not been used in project 123456789012 before or it is disabled. Enable it by visiting "+activationURL+
		" then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.")
	e.domain = "usageLimits"
	e.detail, e.service = "SERVICE_DISABLED", service
	e.metadata = []string{"consumer", "projects/123456789012", "activationUrl", activationURL}
	return instead(e)
}

// Policy answers 403 domainPolicy: the administrator has switched the service off.
func Policy() Fault {
	return Refuse(http.StatusForbidden, "domainPolicy", "The domain administrators have disabled Gmail apps.")
}

// TooManyConcurrent answers 429 "Too many concurrent requests for user."
func TooManyConcurrent() Fault {
	return Refuse(http.StatusTooManyRequests, "rateLimitExceeded", "Too many concurrent requests for user.")
}

// RetryAfter answers 429 with a time in the message, as Gmail does: "User-rate limit exceeded.  Retry after …".
func RetryAfter(t time.Time) Fault {
	return Refuse(http.StatusTooManyRequests, "rateLimitExceeded", retryText(t))
}

func retryText(t time.Time) string {
	return "User-rate limit exceeded.  Retry after " + t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// TokenError answers a request for a token with an error of OAuth 2.0 (RFC 6749, 5.2): TokenError(401, "unauthorized_client", "…").
func TokenError(status int, code, description string) Fault {
	return instead(*tokenError(status, code, description))
}

func instead(v any) Fault { return Fault{func(p *plan) { p.instead = v }} }

// Header adds a header to the answer, also to that of another fault: Header("Retry-After", "30"). With HTTP/2, Header("Connection",
// "close") sends GOAWAY.
func Header(key, value string) Fault { return Fault{func(p *plan) { p.header.Add(key, value) }} }

// Cut closes the connection behind so many octets of the answer's body as it is sent, compressed or not; with HTTP/2 it resets the
// stream. An answer that is no longer arrives whole.
func Cut(octets int64) Fault { return breaking(octets, endClosed) }

// Short ends the answer's body behind so many octets as if it were whole.
func Short(octets int64) Fault { return breaking(octets, endShort) }

// StallAfter sends so many octets of the answer's body, and nothing more until the client goes.
func StallAfter(octets int64) Fault { return breaking(octets, endSilent) }

func breaking(octets int64, how ending) Fault {
	return Fault{func(p *plan) { p.cut, p.ending = max(octets, 0), how }}
}

// Slow sends the answer's body in pieces of so many octets, with a pause behind each.
func Slow(octets int, pause time.Duration) Fault {
	return Fault{func(p *plan) { p.piece, p.pause = max(octets, 1), pause }}
}

// Stall reads the request and sends nothing until the client goes.
func Stall() Fault { return Fault{func(p *plan) { p.stall = true }} }

// Delay waits before the request is executed.
func Delay(d time.Duration) Fault { return Fault{func(p *plan) { p.delay += d }} }

// HangUp closes the connection before the request is executed.
func HangUp() Fault { return Fault{func(p *plan) { p.hangUp = true }} }

// Lose executes the request, and closes the connection without an answer.
func Lose() Fault { return Fault{func(p *plan) { p.lose = true }} }

// Do calls f before the request is executed, from the goroutine that serves it: to change something between two calls of a client.
func Do(f func(Request)) Fault { return Fault{func(p *plan) { p.run = append(p.run, f) }} }

// Rewrite replaces the body of the answer, before it is compressed.
func Rewrite(change func(body []byte) []byte) Fault {
	return Fault{func(p *plan) { p.rewrite = append(p.rewrite, change) }}
}
