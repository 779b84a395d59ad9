package quota_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// google returns an error body of Google's.
func google(reason, message string) string {
	return `{"error":{"code":0,"message":"` + message + `","errors":[{"domain":"x","reason":"` + reason + `","message":"` + message + `"}]}}`
}

const metric = "Quota exceeded for quota metric 'Queries' and limit 'Queries per %s' of service 'gmail.googleapis.com' for consumer 'project_number:12'."

// What the servers say, and what it means.
func TestRead(t *testing.T) {
	perUser, perProject := strings.Replace(metric, "%s", "minute per user", 1), strings.Replace(metric, "%s", "minute", 1)
	type want struct {
		kind    connection.Kind
		class   quota.Class
		scope   quota.Scope
		units   bool
		refused bool
		retry   bool
		reason  string
		after   time.Duration
	}
	throttled := func(scope quota.Scope, units bool, reason string, after time.Duration) want {
		return want{connection.ErrThrottled, quota.Plain, scope, units, true, true, reason, after}
	}
	daily := want{connection.ErrQuota, quota.Plain, quota.Day, false, true, false, "dailyLimitExceeded", 20 * time.Hour}
	final := func(kind connection.Kind, class quota.Class, reason string) want {
		return want{kind: kind, class: class, refused: true, reason: reason}
	}
	later := func(kind connection.Kind, reason string) want { return want{kind: kind, retry: true, reason: reason} }
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   want
	}{
		{"concurrent", 429, nil, google("rateLimitExceeded", "Too many concurrent requests for user."), throttled(quota.Concurrency, false, "rateLimitExceeded", 0)},
		{"concurrent, with a time", 429, nil, google("rateLimitExceeded", "Too many concurrent requests for user.  Retry after 2026-11-20T12:00:05Z"), throttled(quota.Concurrency, false, "rateLimitExceeded", 5*time.Second)},
		{"user rate", 429, nil, google("rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-11-20T12:14:58.610Z"), throttled(quota.User, false, "rateLimitExceeded", 14*time.Minute+58610*time.Millisecond)},
		{"user rate, remark behind", 403, nil, google("rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-11-20T13:00:00.000+00:00 (Mail sending)"), throttled(quota.User, false, "rateLimitExceeded", time.Hour)},
		{"user rate, time gone", 429, nil, google("rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-11-20T11:59:00Z"), throttled(quota.User, false, "rateLimitExceeded", 0)},
		{"unspecific", 429, nil, google("rateLimitExceeded", "Resource has been exhausted (e.g. check quota)."), throttled(quota.User, false, "rateLimitExceeded", 0)},
		{"bandwidth", 429, nil, google("rateLimitExceeded", "Bandwidth limit exceeded for user"), throttled(quota.User, false, "rateLimitExceeded", time.Hour)},
		{"units of user", 403, nil, google("rateLimitExceeded", perUser), throttled(quota.User, true, "rateLimitExceeded", 0)},
		{"units of user as 429 with header", 429, http.Header{"Retry-After": {"7"}}, google("rateLimitExceeded", perUser), throttled(quota.User, true, "rateLimitExceeded", 7*time.Second)},
		{"units of user without errors", 403, nil, `{"error":{"code":403,"message":"` + perUser + `"}}`, throttled(quota.User, true, "403", 0)},
		{"units of project", 403, nil, google("rateLimitExceeded", perProject), throttled(quota.Project, false, "rateLimitExceeded", 0)},
		{"units of day", 403, nil, google("rateLimitExceeded", strings.Replace(metric, "%s", "day", 1)), daily},
		{"user's day", 403, nil, google("rateLimitExceeded", strings.Replace(metric, "%s", "day per user", 1)), throttled(quota.User, false, "rateLimitExceeded", time.Hour)},
		{"ErrorInfo of user", 429, nil, `{"error":{"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":"QUERIES_PER_MINUTE_PER_USER","quota_unit":"1/min/{project}/{user}"}},{"retryDelay":"2.5s"}]}}`, throttled(quota.User, true, "RATE_LIMIT_EXCEEDED", 2500*time.Millisecond)},
		{"ErrorInfo of project", 429, nil, `{"error":{"message":"Quota exceeded.","details":[{"reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":"QueriesPerMinute","quota_unit":"1/min/{project}"}}]}}`, throttled(quota.Project, false, "RATE_LIMIT_EXCEEDED", 0)},
		{"ErrorInfo of day", 403, nil, `{"error":{"message":"Quota exceeded.","details":[{"reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_unit":"1/d/{project}"}}]}}`, daily},
		{"userRateLimitExceeded", 403, nil, google("userRateLimitExceeded", "User Rate Limit Exceeded"), throttled(quota.User, true, "userRateLimitExceeded", 0)},
		{"rateLimitExceeded", 403, nil, google("rateLimitExceeded", "Rate Limit Exceeded"), throttled(quota.User, true, "rateLimitExceeded", 0)},
		{"quotaExceeded", 403, nil, google("quotaExceeded", "Quota exceeded"), throttled(quota.User, true, "quotaExceeded", 0)},
		{"dailyLimitExceeded", 403, nil, google("dailyLimitExceeded", "Daily Limit Exceeded"), daily},
		{"storage", 403, nil, google("quotaExceeded", "Account storage quota exceeded"), final(connection.ErrQuota, quota.Plain, "quotaExceeded")},
		{"429 with nothing", 429, nil, "", throttled(quota.User, false, "429", 0)},
		{"429 in HTML", 429, http.Header{"Retry-After": {"Fri, 20 Nov 2026 12:03:00 GMT"}}, "<html>slow down</html>", want{connection.ErrThrottled, quota.Page, quota.User, false, true, true, "429", 3 * time.Minute}},
		{"foreign rate", 403, nil, `{"message":"API rate limit exceeded for 10.0.0.1"}`, throttled(quota.User, false, "403", 0)},

		{"domainPolicy", 403, nil, google("domainPolicy", "The domain administrators have disabled Gmail apps."), final(connection.ErrPermission, quota.Policy, "domainPolicy")},
		{"accessNotConfigured", 403, nil, google("accessNotConfigured", "Gmail API has not been used in project 12 before or it is disabled."), final(connection.ErrPermission, quota.Disabled, "accessNotConfigured")},
		{"insufficientPermissions", 403, nil, google("insufficientPermissions", "Request had insufficient authentication scopes."), final(connection.ErrPermission, quota.MissingScope, "insufficientPermissions")},
		{"ACCESS_TOKEN_SCOPE_INSUFFICIENT", 403, nil, `{"error":{"message":"Request had insufficient authentication scopes.","status":"PERMISSION_DENIED","details":[{"reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}`, final(connection.ErrPermission, quota.MissingScope, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")},
		{"not authorized", 403, nil, google("forbidden", "Not Authorized to access this resource/api"), final(connection.ErrPermission, quota.Plain, "forbidden")},
		{"delegation denied", 403, nil, google("forbidden", "Delegation denied for ann@corp.example"), final(connection.ErrConfig, quota.Denied, "forbidden")},
		{"no mailbox", 400, nil, google("failedPrecondition", "Mail service not enabled"), final(connection.ErrNotFound, quota.NoMailbox, "failedPrecondition")},
		{"precondition", 400, nil, google("failedPrecondition", "Precondition check failed."), want{connection.ErrUnavailable, quota.Precondition, quota.None, false, true, true, "failedPrecondition", 0}},
		{"page token", 400, nil, google("invalidArgument", "Invalid pageToken"), final(connection.ErrRejected, quota.PageToken, "invalidArgument")},
		{"argument", 400, nil, google("invalidArgument", "Invalid id value"), final(connection.ErrRejected, quota.Plain, "invalidArgument")},
		{"token", 401, nil, google("authError", "Invalid Credentials"), final(connection.ErrAuth, quota.Token, "authError")},
		{"token of OAuth's shape", 401, nil, `{"error":"invalid_token","error_description":"expired"}`, final(connection.ErrAuth, quota.Token, "invalid_token")},
		{"gone", 404, nil, google("notFound", "Requested entity was not found."), final(connection.ErrNotFound, quota.Plain, "notFound")},
		{"gone, foreign", 404, nil, `{"detail":"no such user"}`, final(connection.ErrNotFound, quota.Plain, "404")},
		{"gone, says a page", 404, nil, "<!doctype html><title>Error 404 (Not Found)!!1</title>", final(connection.ErrProtocol, quota.Page, "404")},
		{"portal", 403, nil, "\n <html>Log in to our network", final(connection.ErrProtocol, quota.Page, "403")},
		{"portal's own status", 511, nil, "<html>", want{kind: connection.ErrProtocol, class: quota.Page, reason: "511"}},
		{"redirect", 302, nil, "", want{kind: connection.ErrProtocol, reason: "302"}},
		{"success that is none", 200, nil, "<html>", want{kind: connection.ErrProtocol, class: quota.Page, reason: "200"}},
		{"too large", 413, nil, "", final(connection.ErrTooLarge, quota.Plain, "413")},
		{"exists", 409, nil, google("aborted", "Label name exists or conflicts"), want{kind: connection.ErrExists, reason: "aborted"}},
		{"timeout", 408, nil, "", later(connection.ErrTimeout, "408")},
		{"500", 500, nil, google("backendError", "Backend Error"), later(connection.ErrUnavailable, "backendError")},
		{"500 that is about a rate", 500, nil, google("rateLimitExceeded", "Rate Limit Exceeded"), later(connection.ErrUnavailable, "rateLimitExceeded")},
		{"502 in HTML", 502, nil, "<html>Bad Gateway</html>", want{kind: connection.ErrUnavailable, class: quota.Page, retry: true, reason: "502"}},
		{"503", 503, http.Header{"Retry-After": {"120"}}, "", want{kind: connection.ErrUnavailable, retry: true, reason: "503", after: 2 * time.Minute}},
		{"504", 504, nil, "upstream", later(connection.ErrUnavailable, "504")},
		{"501", 501, nil, "", want{kind: connection.ErrUnsupported, reason: "501"}},
		{"list of one", 403, nil, `[` + google("domainPolicy", "no") + `]`, final(connection.ErrPermission, quota.Policy, "domainPolicy")},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := quota.Read(test.status, test.header, []byte(test.body), noon)
			got := want{v.Kind, v.Class, v.Scope, v.Units, v.Refused, v.Retry, v.Reason, 0}
			if !v.Until.IsZero() {
				got.after = v.Until.Sub(noon)
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if v.Status != test.status || v.Text == "" {
				t.Errorf("status %d, text %q", v.Status, v.Text)
			}
			e := v.Err(noon)
			if e.Kind != v.Kind || e.Code != v.Reason || e.RetryAfter != got.after || e.Driver != "gmail" || !strings.Contains(e.Error(), v.Text) {
				t.Errorf("as an error: %v", e)
			}
		})
	}
}

// TestG45ForeignBody: a body that is not of Google's shape is classified by the status.
func TestG45ForeignBody(t *testing.T) {
	for _, body := range []string{
		"", " ", "null", "0", `"no"`, "[]", "{}", "[[]]", `{"error":null}`, `{"error":7}`, `{"error":[]}`, `{"error":{}}`, `{"error":{"message":7,"errors":7,"details":7,"status":{}}}`,
		`{"error":{"errors":[7,null,{"reason":7}],"details":[7,{"reason":[]},{"metadata":7}]}}`, `{"message":"no"}`, `{"message":{"error":"no"}}`, "no way", "\xff\xfe\x00", "{",
		`{"error":{"errors":[{"reason":"a b\r\nc"}]}}`, strings.Repeat("[", 1<<16), strings.Repeat(`{"error":`, 1<<12), `{"error":"` + strings.Repeat("x", 1<<16) + `"}`,
	} {
		v := quota.Read(403, nil, []byte(body), noon)
		if v.Kind != connection.ErrPermission || v.Retry || v.Scope != quota.None || v.Reason != "403" || !v.Foreign || v.Text == "" || len(v.Text) > 256 {
			t.Errorf("%.40q: got %+v", body, v)
		}
	}
}

// TestG11ActivationURL: the page on which the API is enabled is found wherever Google puts it, and only there.
func TestG11ActivationURL(t *testing.T) {
	const page = "https://console.developers.google.com/apis/api/gmail.googleapis.com/overview?project=12"
	for _, test := range []struct{ name, body, want string }{
		{"metadata", `{"error":{"message":"x","details":[{"reason":"SERVICE_DISABLED","metadata":{"activationUrl":"` + page + `"}}]}}`, page},
		{"links", `{"error":{"message":"x","details":[{"links":[{"description":"y","url":"` + page + `"}]},{"reason":"SERVICE_DISABLED"}]}}`, page},
		{"extendedHelp", `{"error":{"message":"x","errors":[{"reason":"accessNotConfigured","extendedHelp":"` + page + `"}]}}`, page},
		{"text", google("accessNotConfigured", "Gmail API has not been used in project 12 before or it is disabled. Enable it by visiting "+page+" then retry."), page},
		{"end of text", google("accessNotConfigured", "Enable it by visiting "+page+"."), page},
		{"none", google("accessNotConfigured", "Gmail API is disabled."), ""},
		{"elsewhere", google("accessNotConfigured", "Enable it by visiting https://console.developers.google.com.evil.example/x then retry."), ""},
		{"http", google("accessNotConfigured", "Enable it by visiting http://console.developers.google.com/x then retry."), ""},
		{"user part", google("accessNotConfigured", "Enable it by visiting https://x@console.developers.google.com/x then retry."), ""},
		{"second one", `{"error":{"message":"see https://evil.example/","errors":[{"reason":"accessNotConfigured","extendedHelp":"javascript:alert(1)"}],"details":[{"links":[{"url":"` + page + `"}]}]}}`, page},
	} {
		v := quota.Read(403, nil, []byte(test.body), noon)
		if v.Class != quota.Disabled || v.URL != test.want {
			t.Errorf("%s: class %d, url %q, want %q", test.name, v.Class, v.URL, test.want)
		}
		if hint := v.Err(noon).Hint; strings.Contains(hint, page) != (test.want == page) {
			t.Errorf("%s: hint %q", test.name, hint)
		}
	}
}

// The challenge names the scopes that are missing.
func TestMissingScope(t *testing.T) {
	h := http.Header{"Www-Authenticate": {`Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="https://mail.google.com/ https://www.googleapis.com/auth/gmail.modify"`}}
	v := quota.Read(403, h, []byte(google("insufficientPermissions", "Insufficient Permission")), noon)
	if want := "https://mail.google.com/ https://www.googleapis.com/auth/gmail.modify"; v.MissingScope != want {
		t.Errorf("got %q, want %q", v.MissingScope, want)
	}
}

// A text is one line of at most 256 octets, without what is or looks like a token.
func TestText(t *testing.T) {
	const canary = "canary-93"
	for _, body := range []string{
		"Bearer " + canary + canary, "authorization: Bearer abc." + canary, "Authorization:" + canary, `{"access_token":"` + canary + `"}`, "x access_token=" + canary + "&y", "ya29." + canary,
		"eyJhbGciOi." + canary + ".sig", "see 1//0" + canary + "abcdefgh0123", strings.Repeat(canary, 6), `{"error":{"message":"token ya29.` + canary + ` is odd"}}`,
		"<html>" + strings.Repeat("x", 2030) + " ya29." + canary,
	} {
		if v := quota.Read(500, nil, []byte(body), noon); strings.Contains(v.Text, canary) {
			t.Errorf("%q: text is %q", body, v.Text)
		}
	}
	v := quota.Read(500, nil, []byte(google("odd", "the key pass-77 is no key")), noon).Hide("", "pass-77")
	if want := "the key " + connection.Redacted + " is no key"; v.Text != want {
		t.Errorf("got %q, want %q", v.Text, want)
	}
	v = quota.Read(500, nil, []byte("ä\r\nb\x1b[31m\u2028"+strings.Repeat("ß ", 400)), noon)
	if !utf8.ValidString(v.Text) || len(v.Text) > 256 || len(v.Text) < 250 || strings.ContainsAny(v.Text, "\r\n\x1b\u2028") || !strings.HasSuffix(v.Text, "…") {
		t.Errorf("got %d octets: %q", len(v.Text), v.Text)
	}
}

func FuzzRead(f *testing.F) {
	for _, body := range []string{
		google("rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-11-20T12:14:58.610Z"), google("accessNotConfigured", "visit https://console.cloud.google.com/x"),
		`{"error":{"details":[{"reason":"RATE_LIMIT_EXCEEDED","retryDelay":"9e9h","metadata":{"quota_limit":"x"}}]}}`, `[{"error":"x"}]`, "<html>", "Bearer abcdefgh",
	} {
		for _, status := range []int{200, 400, 401, 403, 404, 429, 503} {
			f.Add(status, "120", body)
		}
	}
	f.Fuzz(func(t *testing.T, status int, retry, body string) {
		v := quota.Read(status, http.Header{"Retry-After": {retry}}, []byte(body), noon)
		switch {
		case v.Kind == connection.ErrUnknown, v.Reason == "", len(v.Reason) > 64, len(v.Text) > 256, !utf8.ValidString(v.Text), strings.ContainsAny(v.Text+v.Reason, "\r\n"):
			t.Errorf("got %+v", v)
		case v.Until.After(noon.Add(24 * time.Hour)), !v.Until.IsZero() && v.Until.Before(noon):
			t.Errorf("to come again at %v", v.Until)
		case v.Scope != quota.None && (!v.Refused || status < 400 || status > 499):
			t.Errorf("status %d is read as a limit: %+v", status, v)
		case v.Kind == connection.ErrNotFound && strings.HasPrefix(strings.TrimSpace(body), "<"):
			t.Errorf("a page says that a message is gone: %+v", v)
		case v.URL != "" && !strings.HasPrefix(v.URL, "https://"):
			t.Errorf("people are sent to %q", v.URL)
		}
		if e := v.Err(noon); e.RetryAfter < 0 || errors.Is(e, quota.ErrQuotaDaily) != (v.Scope == quota.Day) {
			t.Errorf("as an error: %v", e)
		}
	})
}
