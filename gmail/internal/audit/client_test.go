package audit_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/audit"
)

// serve runs a feed that answers by h, and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *audit.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	base, err := url.Parse(srv.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return &audit.Client{HTTP: srv.Client(), Base: base, Domain: "corp.example", UserAgent: "mailconn"}
}

// answer serves one body.
func answer(t *testing.T, status int, body string) *audit.Client {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client may have seen enough
	})
}

const (
	from = "/a/feeds/compliance/audit/mail/monitor/corp.example/ann"
	one  = `<apps:property name='requestId' value='7'/><apps:property name='destUserName' value='journal'/><apps:property name='beginDate' value='2026-12-01 00:00'/>
		<apps:property name='endDate' value='2027-12-01 10:30'/><apps:property name='incomingEmailMonitorLevel' value='FULL_MESSAGE'/>
		<apps:property name='outgoingEmailMonitorLevel' value='HEADER_ONLY'/>`
)

func begin() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) }
func end() time.Time   { return time.Date(2027, 12, 1, 10, 30, 0, 0, time.UTC) }

func monitor() audit.Monitor {
	return audit.Monitor{Source: "ann", Destination: "journal", Begin: begin(), End: end(), Incoming: audit.Full, Outgoing: audit.Headers}
}

func listed() audit.Monitor {
	m := monitor()
	m.RequestID = "7"
	return m
}

// The samples of the documentation declare no prefix, use one on some elements only, and close other elements than they open.
func TestG62FeedIsReadByLocalNames(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
	}{
		"prefixed": {200, `<?xml version='1.0' encoding='UTF-8'?><atom:feed xmlns:atom='http://www.w3.org/2005/Atom' xmlns:apps='http://schemas.google.com/apps/2006'>
			<openSearch:startIndex>1</openSearch:startIndex><atom:entry><atom:id>x</atom:id>` + one + `</atom:entry></atom:feed>`},
		"unprefixed":         {201, `<feed xmlns='http://www.w3.org/2005/Atom'><entry>` + strings.ReplaceAll(one, "apps:", "") + `</entry></feed>`},
		"ends do not fit":    {201, `<feed><atom:entry><atom:id>x</id><atom:link rel='self' href='y'></atom:lnk>` + one + `</entry></atom:feed>`},
		"entry not closed":   {200, `<feed><entry>` + one + `</feed>`},
		"nothing is closed":  {200, `<feed><entry>` + one},
		"values not quoted":  {200, `<feed><entry>` + strings.Replace(one, `'7'`, `7`, 1) + `</entry></feed>`},
		"an HTML entity":     {200, `<feed><title>a&nbsp;b</title><entry>` + one + `</entry></feed>`},
		"another encoding":   {200, `<?xml version="1.0" encoding="iso-8859-1"?><feed><entry>` + one + `</entry></feed>`},
		"a byte order mark":  {200, "\ufeff<feed><entry>" + one + `</entry></feed>`},
		"an entry alone":     {200, `<entry>` + one + `</entry>`},
		"an entry of others": {200, `<feed><entry><property name='fileUrl0' value='z'/></entry><entry>` + one + `</entry></feed>`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answer(t, test.status, test.body).List(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			if want := []audit.Monitor{listed()}; !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestG62ListFollowsNext(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		next := ""
		if r.URL.RawQuery == "" {
			next = `<link rel='next' type='application/atom+xml' href='` + from + `?start=2&amp;x=1'/>`
		}
		_, _ = fmt.Fprintf(w, "<feed>%s<entry>%s</entry></feed>", next, one) // the client may have seen enough
	})
	got, err := c.List(t.Context(), "ann")
	if want := []audit.Monitor{listed(), listed()}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if want := []string{"GET " + from, "GET " + from + "?start=2&x=1"}; !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestListGoesNowhereElse(t *testing.T) {
	for name, href := range map[string]string{
		"another host":      "http://evil.example/feed",
		"another scheme":    "ftp://127.0.0.1/feed",
		"the same page":     from,
		"no URL":            "http://[",
		"always a new page": "",
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				n++
				to := href
				if to == "" {
					to = fmt.Sprintf("%s?start=%d", from, n)
				}
				_, _ = fmt.Fprintf(w, "<feed><link rel='next' href='%s'/></feed>", to) // the client may have seen enough
			})
			if _, err := c.List(t.Context(), "ann"); !errors.Is(err, connection.ErrProtocol) {
				t.Errorf("got %v, want a protocol violation", err)
			}
			if n > 100 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestSetSendsEveryProperty(t *testing.T) {
	type property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	var sent struct {
		XMLName    xml.Name   `xml:"http://www.w3.org/2005/Atom entry"`
		Properties []property `xml:"http://schemas.google.com/apps/2006 property"`
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Method + " " + r.URL.EscapedPath() + " " + r.Header.Get("Content-Type"); got != "POST /a/feeds/compliance/audit/mail/monitor/corp.example/a%2Fb application/atom+xml" {
			t.Errorf("asked %q", got)
		}
		if err := xml.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "<atom:entry>%s</atom:entry>", strings.Replace(one, "'journal'", "'Jour&apos;nal'", 1)) // the client may have seen enough
	})
	m := monitor()
	m.Source, m.Destination, m.Chat = "a/b", "jour'nal", audit.Full
	got, err := c.Set(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want := listed()
	want.Source, want.Destination = "a/b", "Jour'nal"
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	properties := []property{
		{"destUserName", "jour'nal"},
		{"beginDate", "2026-12-01 00:00"},
		{"endDate", "2027-12-01 10:30"},
		{"incomingEmailMonitorLevel", "FULL_MESSAGE"},
		{"outgoingEmailMonitorLevel", "HEADER_ONLY"},
		{"chatMonitorLevel", "FULL_MESSAGE"},
	}
	if !reflect.DeepEqual(sent.Properties, properties) {
		t.Errorf("sent %+v, want %+v", sent.Properties, properties)
	}
}

// An answer that shows nothing is one all the same.
func TestSetTakesAnEmptyEntry(t *testing.T) {
	if got, err := answer(t, http.StatusCreated, "<entry/>").Set(t.Context(), monitor()); err != nil || got != monitor() {
		t.Errorf("got %+v, %v; want what was asked for", got, err)
	}
}

func TestBadArgumentsAreNotSent(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	change := func(f func(*audit.Monitor)) audit.Monitor {
		m := monitor()
		f(&m)
		return m
	}
	for name, m := range map[string]audit.Monitor{
		"no source":        change(func(m *audit.Monitor) { m.Source = "" }),
		"an address":       change(func(m *audit.Monitor) { m.Source = "ann@corp.example" }),
		"another path":     change(func(m *audit.Monitor) { m.Source = ".." }),
		"no destination":   change(func(m *audit.Monitor) { m.Destination = "" }),
		"a line":           change(func(m *audit.Monitor) { m.Destination = "a\r\nb" }),
		"the same mailbox": change(func(m *audit.Monitor) { m.Source = "Journal" }),
		"no end":           change(func(m *audit.Monitor) { m.End = time.Time{} }),
		"over at once":     change(func(m *audit.Monitor) { m.End = m.Begin }),
	} {
		if _, err := c.Set(t.Context(), m); !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("%s: got %v, want an invalid argument", name, err)
		}
	}
	if _, err := c.List(t.Context(), "a@b"); !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("list: got %v, want an invalid argument", err)
	}
	if err := c.Remove(t.Context(), "ann", ""); !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("remove: got %v, want an invalid argument", err)
	}
}

func TestRemove(t *testing.T) {
	const unknown = `<AppsForYourDomainErrors><error errorCode="1301" invalidInput="ann" reason="EntityDoesNotExist"/></AppsForYourDomainErrors>`
	for name, test := range map[string]struct {
		status int
		body   string
	}{
		"no content": {204, ""}, "empty": {200, " "}, "an entry": {200, "<entry/>"}, "gone already": {404, unknown}, "gone, as 400": {400, unknown},
	} {
		if err := answer(t, test.status, test.body).Remove(t.Context(), "ann", "journal"); err != nil {
			t.Errorf("%s: got %v, want nil", name, err)
		}
	}
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete || r.URL.Path != from+"/journal" {
			t.Errorf("asked %s %s", r.Method, r.URL.Path)
		}
	})
	if err := c.Remove(t.Context(), "ann", "journal"); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	code := func(n int, reason string) string {
		return fmt.Sprintf(`<?xml version="1.0"?><AppsForYourDomainErrors><error errorCode="%d" invalidInput="ann" reason="%s"/></AppsForYourDomainErrors>`, n, reason)
	}
	const page = "<!DOCTYPE html><html><title>Error 404 (Not Found)</title></html>"
	for name, test := range map[string]struct {
		status int
		body   string
		kind   connection.Kind
		code   string
		gone   bool
	}{
		"unauthorized":        {403, code(1002, "Unauthorized"), connection.ErrPermission, "1002", false},
		"user suspended":      {400, code(1101, "UserSuspended"), connection.ErrPermission, "1101", false},
		"domain suspended":    {400, code(1202, "DomainSuspended"), connection.ErrPermission, "1202", false},
		"feature unavailable": {400, code(1203, "DomainFeatureUnavailable"), connection.ErrUnsupported, "1203", true},
		"exists":              {400, code(1300, "EntityExists"), connection.ErrExists, "1300", false},
		"does not exist":      {404, code(1301, "EntityDoesNotExist"), connection.ErrNotFound, "1301", false},
		"invalid":             {400, code(1303, "EntityNameNotValid"), connection.ErrInvalid, "1303", false},
		"invalid value":       {400, code(1801, "InvalidValue"), connection.ErrInvalid, "1801", false},
		"not for this user":   {400, code(1410, "ServiceNotForUser"), connection.ErrUnsupported, "1410", true},
		"unknown, as 403":     {403, code(1000, "UnknownError"), connection.ErrUnavailable, "1000", false},
		"unknown":             {503, code(1000, "UnknownError"), connection.ErrUnavailable, "1000", false},
		"an error with 200":   {200, code(1203, "DomainFeatureUnavailable"), connection.ErrUnsupported, "1203", true},
		"plain text":          {403, "You are not authorized to access this API", connection.ErrPermission, "403", false},
		"wrong scope":         {401, "<html>Token invalid - AuthSub token has wrong scope</html>", connection.ErrAuth, "401", false},
		"throttled":           {429, page, connection.ErrThrottled, "429", false},
		"busy":                {503, page, connection.ErrUnavailable, "503", false},
		"page":                {404, page, connection.ErrNotFound, "404", true},
		"gone":                {410, "", connection.ErrNotFound, "410", true},
		"not implemented":     {501, "no", connection.ErrUnsupported, "501", true},
		"not found in Atom":   {404, "<feed/>", connection.ErrNotFound, "404", false},
		"a page with 200":     {200, page, connection.ErrProtocol, "200", true},
		"deprecated":          {403, "This API is Deprecated.", connection.ErrPermission, "403", true},
		"nothing":             {200, "", connection.ErrProtocol, "200", false},
		"JSON":                {400, `{"error":{"code":400}}`, connection.ErrRejected, "400", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := answer(t, test.status, test.body).Set(t.Context(), monitor())
			var e *connection.Error
			var r *audit.Refusal
			if !errors.As(err, &e) || !errors.As(err, &r) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if e.Kind != test.kind || e.Code != test.code || r.Status != test.status {
				t.Errorf("got %v [%s], status %d; want %v [%s], status %d", e.Kind, e.Code, r.Status, test.kind, test.code, test.status)
			}
			if r.Gone != test.gone || audit.IsGone(err) != test.gone {
				t.Errorf("gone: got %t, want %t", r.Gone, test.gone)
			}
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		kind connection.Kind
	}{
		"too long":    {"<feed>" + strings.Repeat("<entry>", 200_000), connection.ErrTooLarge},
		"too deep":    {"<feed>" + strings.Repeat("<x>", 40), connection.ErrProtocol},
		"no XML":      {"<feed><entry <<", connection.ErrProtocol},
		"text before": {"hello <feed/>", connection.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := answer(t, http.StatusOK, test.body).List(t.Context(), "ann"); !errors.Is(err, test.kind) {
				t.Errorf("got %.200v, want %v", err, test.kind)
			}
		})
	}
	long := strings.Repeat("secret ", 100)
	if _, err := answer(t, http.StatusForbidden, long).List(t.Context(), "ann"); len(err.Error()) > 400 {
		t.Errorf("the error shows %d octets of a foreign body", len(err.Error()))
	}
}

func TestRetryAfter(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := c.List(t.Context(), "ann"); connection.RetryAfter(err) != 2*time.Minute {
		t.Errorf("got %v, want a wait of two minutes", err)
	}
}

// No answer makes the parser run on, or give something that was not asked for.
func FuzzList(f *testing.F) {
	f.Add([]byte("<feed><entry>" + one + "</entry><link rel='next' href='?x'/></feed>"))
	f.Add([]byte(`<AppsForYourDomainErrors><error errorCode="1301" reason="x"/></AppsForYourDomainErrors>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &audit.Client{HTTP: &http.Client{Transport: fixed(body)}, Base: &url.URL{Scheme: "https", Host: "feed.example", Path: "/"}, Domain: "corp.example"}
		all, err := c.List(t.Context(), "ann")
		for _, m := range all {
			if m.Source != "ann" || m.Destination == "" {
				t.Errorf("got the monitor %+v", m)
			}
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d octets", len(err.Error()))
		}
	})
}

type fixed []byte

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(f))), Request: r}, nil
}
