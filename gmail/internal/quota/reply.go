package quota

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// A reply is what can be read of an error body.
type reply struct {
	google  bool // it has Google's shape
	html    bool
	text    string   // the message, or the whole body if there is none
	reasons []string // the most telling one first
	limit   string   // which one was met, as google.rpc.ErrorInfo names it
	delay   time.Duration
	urls    []string // that may lead to the page that enables the API
}

// shape is Google's error body. Its parts are read one by one, so that an odd one does not hide the others.
type shape struct {
	Message json.RawMessage `json:"message"`
	Status  json.RawMessage `json:"status"`
	Errors  json.RawMessage `json:"errors"`
	Details json.RawMessage `json:"details"`
}

type item struct {
	Reason       string `json:"reason"`
	Message      string `json:"message"`
	ExtendedHelp string `json:"extendedHelp"`
}

// detail is google.rpc.ErrorInfo, google.rpc.Help or google.rpc.RetryInfo.
type detail struct {
	Reason     string            `json:"reason"`
	Metadata   map[string]string `json:"metadata"`
	RetryDelay string            `json:"retryDelay"`
	Links      []struct {
		URL string `json:"url"`
	} `json:"links"`
}

const maxItems = 16 // errors and details that are looked at

func parse(body []byte) *reply {
	body = bytes.TrimSpace(body)
	r := &reply{text: string(body)}
	if len(body) > 0 && body[0] == '<' {
		r.html = true
		return r
	}
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) == 1 {
		body = list[0] // as some of Google's servers answer
	}
	var outer struct {
		Error            json.RawMessage `json:"error"`
		Message          json.RawMessage `json:"message"`
		ErrorDescription json.RawMessage `json:"error_description"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return r
	}
	var inner shape
	if len(outer.Error) > 0 && outer.Error[0] == '{' && json.Unmarshal(outer.Error, &inner) == nil {
		r.read(&inner)
		return r
	}
	if text := first(str(outer.ErrorDescription), str(outer.Message), str(outer.Error)); text != "" {
		r.text = text
	}
	if code := str(outer.Error); token(code) {
		r.reasons = append(r.reasons, code) // RFC 6750, 3.1 and RFC 6749, 5.2
	}
	return r
}

// read takes what Google's shape holds.
func (r *reply) read(s *shape) {
	message, status := str(s.Message), str(s.Status)
	var info []string
	var items, details []json.RawMessage
	_ = json.Unmarshal(s.Errors, &items) // odd parts are as good as missing ones
	for _, raw := range items[:min(len(items), maxItems)] {
		var it item
		_ = json.Unmarshal(raw, &it)
		if token(it.Reason) {
			r.reasons = append(r.reasons, it.Reason)
		}
		message = first(message, it.Message)
		r.urls = append(r.urls, it.ExtendedHelp)
	}
	_ = json.Unmarshal(s.Details, &details)
	for _, raw := range details[:min(len(details), maxItems)] {
		var d detail
		_ = json.Unmarshal(raw, &d)
		if token(d.Reason) {
			info = append(info, d.Reason)
		}
		r.limit = first(r.limit, strings.TrimSpace(d.Metadata["quota_limit"]+" "+d.Metadata["quota_unit"]))
		if delay, err := time.ParseDuration(d.RetryDelay); err == nil && delay > r.delay {
			r.delay = delay
		}
		r.urls = append(r.urls, d.Metadata["activationUrl"])
		for _, link := range d.Links[:min(len(d.Links), maxItems)] {
			r.urls = append(r.urls, link.URL)
		}
	}
	r.reasons = append(r.reasons, info...)
	if token(status) {
		r.reasons = append(r.reasons, status)
	}
	r.google = message != "" || len(r.reasons) > 0
	if message != "" {
		r.text = message
	}
}

// reason returns the server's word, "" if it has none.
func (r *reply) reason() string {
	for _, reason := range r.reasons {
		if !strings.EqualFold(reason, "forbidden") { // others say more
			return reason
		}
	}
	return first(r.reasons...)
}

// has reports whether the reply names one of some reasons.
func (r *reply) has(names ...string) bool {
	for _, reason := range r.reasons {
		for _, name := range names {
			if strings.EqualFold(reason, name) {
				return true
			}
		}
	}
	return false
}

// activation returns the address of the page on which people enable the API. People follow it: it must be Google's.
func (r *reply) activation() string {
	for _, text := range append(r.urls, link.FindString(r.text)) {
		u, err := url.Parse(strings.TrimRight(text, ".,;)"))
		if err != nil || u.Scheme != "https" || u.User != nil || len(text) > maxURL {
			continue
		}
		if host := u.Hostname(); strings.HasSuffix(host, ".google.com") || strings.HasSuffix(host, ".googleapis.com") {
			return u.String()
		}
	}
	return ""
}

var (
	link      = regexp.MustCompile(`https://[^\s"'<>]+`)
	retryText = regexp.MustCompile(`(?i)retry after\s+(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d))`)
	bearer    = regexp.MustCompile(`(?i)\b(bearer\s+|(?:access_token|refresh_token|id_token|assertion|authorization|key)["']?\s*[:=]\s*["']?)[^\s"',;&<>]{8,}`)
	tokenLike = regexp.MustCompile(`\b(?:ya29\.[\w.-]+|1//[\w-]{16,}|eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?|[\w-]{48,})`)
	scopeText = regexp.MustCompile(`\bscope="([^"]{1,1000})"`)
)

// until returns the latest of the times that a reply names: the header's, RetryInfo's, the message's; a day ahead at most.
func until(h http.Header, r *reply, now time.Time) time.Time {
	var until time.Time
	if d := max(httpx.RetryAfter(h, now), r.delay); d > 0 {
		until = now.Add(d)
	}
	if m := retryText.FindStringSubmatch(r.text); m != nil {
		if at, err := time.Parse(time.RFC3339Nano, m[1]); err == nil && at.After(now) && at.After(until) {
			until = at
		}
	}
	if most := now.Add(longestTold); until.After(most) {
		return most
	}
	return until
}

// scopes returns those that a challenge says are needed (RFC 6750, 3).
func scopes(h http.Header) string {
	for _, challenge := range h.Values("Www-Authenticate") {
		if m := scopeText.FindStringSubmatch(challenge); m != nil {
			return clip(m[1])
		}
	}
	return ""
}

// clip makes a server's text fit for an error.
func clip(text string) string {
	if len(text) > 8*maxText {
		text = text[:8*maxText]
	}
	text = bearer.ReplaceAllString(text, "$1"+connection.Redacted)
	text = tokenLike.ReplaceAllString(text, connection.Redacted)
	text = httpx.Clean(text)
	if len(text) <= maxText {
		return text
	}
	cut := maxText - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// str returns a JSON string, "" for anything else.
func str(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// token reports whether s can be a server's word for an error.
func token(s string) bool {
	if s == "" || len(s) > maxReason {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
