package ewstest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// getInboxes asks for so many folders in one request.
func getInboxes(n int) string {
	const one = `<t:DistinguishedFolderId Id="inbox"/>`
	return strings.Replace(getInbox, one, strings.Repeat(one, n), 1)
}

// codes returns the ResponseCode of each item of an answer.
func codes(body string) (list []string) {
	for {
		_, rest, ok := strings.Cut(body, "ResponseCode>")
		if !ok {
			return list
		}
		code, rest, _ := strings.Cut(rest, "<")
		list, body = append(list, code), rest[strings.Index(rest, ">"):]
	}
}

func TestMatches(t *testing.T) {
	srv, _ := server(t, nil)
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: "b"})
	a, b := alice(t, srv), newBareClient(t, srv)
	b.auth = basic("bob@corp.test", "b")
	for name, test := range map[string]struct {
		match ewstest.Match
		want  string // for six requests of alice's in turn, with one of bob's behind each: F for failed
	}{
		"all":            {ewstest.On("*"), "FFFFFF FFFFFF"},
		"another":        {ewstest.On("GetItem"), "------ ------"},
		"second":         {ewstest.On("GetFolder").Nth(2).Times(1), "------ F-----"},
		"from the third": {ewstest.On("GetFolder").Nth(3), "-FFFFF -FFFFF"},
		"twice":          {ewstest.On("GetFolder").Times(2), "F----- F-----"},
		"bob":            {ewstest.On("GetFolder").User("BOB@corp.test"), "------ FFFFFF"},
		"bob's mailbox":  {ewstest.On("").Mailbox("bob@corp.test").Nth(2), "------ -FFFFF"},
		"another host":   {ewstest.On("").Host("other.corp.test"), "------ ------"},
		"this host":      {ewstest.On("").Host("exchange.corp.test").Times(1), "F----- ------"},
		"about":          {ewstest.On("").About("inbox").Times(1), "F----- ------"},
		"about another":  {ewstest.On("").About("sentitems"), "------ ------"},
	} {
		srv.Heal()
		srv.Fail(test.match, ewstest.Refuse("ErrorInternalServerError", "as the test asked"))
		got := [2]string{}
		for range 6 {
			for i, c := range []*bareClient{a, b} {
				switch r := c.call(getInbox); r.status {
				case http.StatusOK:
					got[i] += "-"
				case http.StatusInternalServerError:
					got[i] += "F"
				}
			}
		}
		if got := got[0] + " " + got[1]; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestChanceIsRepeatable(t *testing.T) {
	run := func(seed uint64) (pattern string) {
		srv, _ := server(t, &ewstest.Options{Seed: seed})
		srv.Fail(ewstest.On("*").Chance(0.5), ewstest.Page(http.StatusInternalServerError, "x"))
		c := alice(t, srv)
		for range 40 {
			pattern += fmt.Sprint(c.call(getInbox).status / 100)
		}
		return pattern
	}
	first := run(1)
	if again := run(1); again != first || !strings.Contains(first, "2") || !strings.Contains(first, "5") {
		t.Errorf("got %s and %s", first, again)
	}
	if other := run(2); other == first {
		t.Errorf("another seed gives %s too", other)
	}
}

func TestFaultsInPlaceOfAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		fault  ewstest.Fault
		status int
		header string // "Key: value"
		text   string
	}{
		"busy":           {ewstest.Busy(12e9), 500, "", `<t:Value Name="BackOffMilliseconds">12000</t:Value>`},
		"busy, no time":  {ewstest.BusyWithoutTime(), 500, "", "Suggested backoff time 0 ms."},
		"refused":        {ewstest.Refuse("ErrorMailboxMoveInProgress", "moving", "A", "b"), 500, "", `<t:Value Name="A">b</t:Value>`},
		"no code":        {ewstest.Refuse("", "Unknown request 'X'."), 500, "", "Unknown request 'X'."},
		"page":           {ewstest.Page(500, "Server Error in '/EWS' Application."), 500, "Content-Type: text/html; charset=utf-8", "Server Error in '/EWS'"},
		"login page":     {ewstest.Page(200, "Sign in"), 200, "Content-Type: text/html; charset=utf-8", "Sign in"},
		"unavailable":    {ewstest.Unavailable("-1"), 503, "Retry-After: -1", ""},
		"a date":         {ewstest.Unavailable("Mon, 06 Jan 2025 10:00:00 GMT"), 503, "Retry-After: Mon, 06 Jan 2025 10:00:00 GMT", ""},
		"error page":     {ewstest.ErrorPage(), 302, "Location: /ews/genericerrorpage.htm?aspxerrorpath=/ews/exchange.asmx", ""},
		"redirect":       {ewstest.Redirect("https://owa.test/"), 302, "Location: https://owa.test/", ""},
		"unauthorized":   {ewstest.Unauthorized(), 401, `Www-Authenticate: Basic realm="exchange.corp.test"`, ""},
		"a header":       {ewstest.Header("X-Test", "yes"), 200, "X-Test: yes", "NoError"},
		"rewritten":      {ewstest.Rewrite(func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "NoError", "NoSuch")) }), 200, "", "NoSuch"},
		"in a dialect":   {ewstest.In(ewstest.Dialect{Prefixes: ewstest.PrefixSOAP}), 200, "", "<SOAP:Envelope"},
		"garbage behind": {ewstest.Garbage("<html>"), 200, "", "</s:Envelope><html>"},
	} {
		srv, _ := server(t, nil)
		srv.Fail(ewstest.On("GetFolder"), test.fault)
		r := alice(t, srv).call(getInbox)
		key, value, _ := strings.Cut(test.header, ": ")
		if r.err != nil || r.status != test.status || key != "" && r.header.Get(key) != value || !strings.Contains(r.body, test.text) {
			t.Errorf("%s: got %d, %v, %q, %s", name, r.status, r.err, r.header, r.body)
		}
		if requests := srv.Requests(); requests[0].Status != test.status {
			t.Errorf("%s: status %d is recorded", name, requests[0].Status)
		}
	}
}

func TestFaultsOfItems(t *testing.T) {
	const fine = "NoError"
	for name, test := range map[string]struct {
		fault ewstest.Fault
		codes []string
		text  string
	}{
		"one item":      {ewstest.FailItem(1, "ErrorItemCorrupt"), []string{fine, "ErrorItemCorrupt", fine, fine}, `ResponseClass="Error"`},
		"the tail":      {ewstest.FailItems(2, "ErrorBatchProcessingStopped"), []string{fine, fine, "ErrorBatchProcessingStopped", "ErrorBatchProcessingStopped"}, ""},
		"busy tail":     {ewstest.BusyItems(3, 5e9), []string{fine, fine, fine, "ErrorServerBusy"}, `Name="BackOffMilliseconds">5000<`},
		"inner error":   {ewstest.InnerError("ErrorServerBusy"), []string{"ErrorInternalServerError", "ErrorInternalServerError", "ErrorInternalServerError", "ErrorInternalServerError"}, `Name="InnerErrorResponseCode">ErrorServerBusy<`},
		"a warning":     {ewstest.WarnItem(0, "ErrorBatchProcessingStopped"), []string{"ErrorBatchProcessingStopped", fine, fine, fine}, `ResponseClass="Warning"`},
		"missing items": {ewstest.OmitItems(1), []string{fine}, ""},
		"none at all":   {ewstest.OmitItems(0), nil, "ResponseMessages"},
	} {
		srv, _ := server(t, nil)
		srv.Fail(ewstest.On("GetFolder"), test.fault)
		r := alice(t, srv).must(getInboxes(4))
		if got := codes(r.body); fmt.Sprint(got) != fmt.Sprint(test.codes) || !strings.Contains(r.body, test.text) {
			t.Errorf("%s: got %q, want %q: %s", name, got, test.codes, r.body)
		}
	}
}

func TestBatchesAreStopped(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Throttle: ewstest.Throttle{Batch: 2}})
	if got := codes(alice(t, srv).must(getInboxes(3)).body); fmt.Sprint(got) != "[NoError NoError ErrorBatchProcessingStopped]" {
		t.Errorf("got %q", got)
	}
}

func TestItemsInAnothersPlace(t *testing.T) {
	srv, mb := server(t, nil)
	ids := mb.Deliver("Inbox", []byte("Subject: a\r\n\r\na\r\n"), []byte("Subject: b\r\n\r\nb\r\n"))
	c := alice(t, srv)
	a, b := fmt.Sprintf(`Id="%s"`, ids[0]), fmt.Sprintf(`Id="%s"`, ids[1])
	order := func() (int, int) {
		body := c.must(getItems(ids...)).body
		return strings.Index(body, a), strings.Index(body, b)
	}
	if i, j := order(); i < 0 || j < i {
		t.Fatalf("untouched: %d, %d", i, j)
	}
	srv.Fail(ewstest.On("GetItem").Times(1), ewstest.SwapItems(0, 1))
	if i, j := order(); j < 0 || i < j {
		t.Errorf("swapped: %d, %d", i, j)
	}
	srv.Heal()
	srv.Fail(ewstest.On("GetItem"), ewstest.OtherID(0, "other"))
	if body := c.must(getItems(ids...)).body; strings.Contains(body, a) || !strings.Contains(body, b) || !strings.Contains(body, `Id="other"`) {
		t.Errorf("another id: %s", body)
	}
}

// What breaks off is told apart: a close is an unexpected end of HTTP, a reset is one of TCP.
func TestConnectionsBreak(t *testing.T) {
	whole := func(t *testing.T) string {
		srv, _ := server(t, nil)
		return alice(t, srv).must(getInbox).body
	}(t)
	for name, test := range map[string]struct {
		fault    ewstest.Fault
		executed int // requests that were executed, of the two
		body     int // octets, -1 = no answer
	}{
		"hang up":            {ewstest.HangUp(), 1, -1},
		"lost":               {ewstest.Lose(), 2, -1},
		"cut":                {ewstest.CutAfter(300), 2, 300},
		"cut at once":        {ewstest.CutAfter(0), 2, 0},
		"cut at the end":     {ewstest.CutAfter(int64(len(whole))), 2, len(whole)},
		"reset":              {ewstest.ResetAfter(300), 2, 300},
		"too large a length": {ewstest.WrongLength(10), 2, len(whole)},
	} {
		srv, _ := server(t, nil)
		c := alice(t, srv)
		srv.Fail(ewstest.On("GetFolder").Times(1), test.fault)
		r := c.call(getInbox)
		if r.err == nil || errors.Is(r.err, io.EOF) && test.body >= 0 {
			t.Errorf("%s: got status %d and error %v", name, r.status, r.err)
		}
		if reset := strings.Contains(fmt.Sprint(r.err), "reset"); name != "hang up" && name != "lost" && reset != (name == "reset") {
			t.Errorf("%s: got %v", name, r.err)
		}
		if test.body >= 0 && name != "reset" && (len(r.body) != test.body || !strings.HasPrefix(whole, r.body)) {
			t.Errorf("%s: got %d octets, want %d", name, len(r.body), test.body)
		}
		c.must(getInbox)
	}
}

func TestTooSmallALength(t *testing.T) {
	srv, _ := server(t, nil)
	srv.Fail(ewstest.On("GetFolder"), ewstest.WrongLength(-20))
	if r := alice(t, srv).call(getInbox); r.err != nil || strings.HasSuffix(r.body, ">") {
		t.Errorf("got %v, %s", r.err, r.body)
	}
}

func TestUnclosed(t *testing.T) {
	srv, _ := server(t, nil)
	srv.Fail(ewstest.On("GetFolder"), ewstest.Unclosed())
	if r := alice(t, srv).call(getInbox); r.err != nil || !strings.HasSuffix(r.body, "</m:GetFolderResponse>") {
		t.Errorf("got %v, %s", r.err, r.body)
	}
}

// What has no end goes on for longer than anybody wants to read.
func TestEndlessAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		fault ewstest.Fault
		text  string
	}{
		"attribute": {ewstest.EndlessAttribute(), "aaaaaaaaaaaaaaaa"}, "text": {ewstest.EndlessText(), "some text and no end "},
		"nesting": {ewstest.Deep(), "<Deep><Deep><Deep>"}, "gzip": {ewstest.GzipBomb(), ""},
	} {
		srv, _ := server(t, nil)
		srv.Fail(ewstest.On("GetFolder"), test.fault)
		c := alice(t, srv)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, serverURL, strings.NewReader(getInbox))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/xml; charset=utf-8")
		req.Header.Set("Authorization", c.auth)
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if zipped := resp.Header.Get("Content-Encoding") == "gzip"; zipped != (name == "gzip") {
			t.Errorf("%s: got %q", name, resp.Header)
		}
		p := make([]byte, 200_000)
		if name == "gzip" {
			p = p[:2000] // of some MB
		}
		if _, err := io.ReadFull(resp.Body, p); err != nil || !strings.Contains(string(p[len(p)-100:]), test.text) {
			t.Errorf("%s: read %v, ends with %q", name, err, p[len(p)-100:])
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStallEndsWithTheClient(t *testing.T) {
	srv, _ := server(t, nil)
	srv.Fail(ewstest.On("GetFolder"), ewstest.StallAfter(100))
	c := alice(t, srv)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, serverURL, strings.NewReader(getInbox))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.Header.Set("Authorization", c.auth)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	if srv.Requests()[0].Uncommitted {
		t.Error("the answer is over before the client left")
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	wait(t, func() bool { return srv.Requests()[0].Uncommitted })
}

func TestSlowAnswers(t *testing.T) {
	clock := newClock()
	srv, _ := server(t, &ewstest.Options{Clock: clock})
	srv.Fail(ewstest.On("GetFolder"), ewstest.SlowTo(1000))
	c := alice(t, srv)
	got := make(chan result, 1)
	go func() { got <- c.call(getInbox) }()
	steps := 0
	wait(t, func() bool {
		select {
		case r := <-got:
			if r.err != nil || steps < len(r.body)/100-1 {
				t.Errorf("got %d octets in %d steps of a tenth of a second, %v", len(r.body), steps, r.err)
			}
			return true
		default:
			if clock.waiting() {
				clock.advance(1e8)
				steps++
			}
			return false
		}
	})
}
