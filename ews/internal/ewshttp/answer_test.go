package ewshttp_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

func TestAnswers(t *testing.T) {
	const fault = `<?xml version="1.0"?><s:Envelope><s:Body><s:Fault/></s:Body></s:Envelope>`
	const login = `<!DOCTYPE html><html><head><title>Sign in</title><script>var x = "<p>";</script></head><body>Please &#10; <b>log in</b></body></html>`
	unsafe := func(r *ewshttp.Request) { r.Safe = false }
	for name, test := range map[string]struct {
		status int
		header http.Header
		body   string
		set    func(*ewshttp.Request)
		kind   connection.Kind // ErrUnknown: a Response
		parts  []string
	}{
		"200 XML":                       {200, nil, reply, nil, connection.ErrUnknown, nil},
		"200 XML called text":           {200, http.Header{"Content-Type": {"text/plain"}}, reply, nil, connection.ErrUnknown, nil},
		"200 nothing":                   {200, nil, "", nil, connection.ErrUnknown, nil},
		"500 fault":                     {500, nil, fault, nil, connection.ErrUnknown, nil},
		"500 fault with a BOM":          {500, nil, "\xef\xbb\xbf \r\n" + fault, nil, connection.ErrUnknown, nil},
		"E15 login page":                {200, nil, login, nil, connection.ErrProtocol, []string{"web page", "Sign in", "log in"}},
		"E15 login page called XML":     {200, http.Header{"Content-Type": {"text/xml"}}, login, nil, connection.ErrProtocol, []string{"web page"}},
		"default namespace":             {200, nil, `<?xml version="1.0"?><!-- <html> --><Envelope><Header><ServerVersionInfo/></Header><Body/></Envelope>`, nil, connection.ErrUnknown, nil},
		"page behind a comment":         {200, nil, "<!--[if IE]> <Envelope> <![endif]-->\n<HTML lang='en'><p>hello", nil, connection.ErrProtocol, []string{"web page", "hello"}},
		"comment without an end":        {200, nil, "<!-- " + strings.Repeat("<html>", 500), nil, connection.ErrUnknown, nil},
		"500 heading":                   {500, nil, "<h1>Bad thing</h1>", nil, connection.ErrUnavailable, []string{"Bad thing"}},
		"XHTML":                         {200, nil, `<?xml version="1.0"?>` + login, nil, connection.ErrProtocol, []string{"web page"}},
		"E15 page of errors":            {302, http.Header{"Location": {"https://mail.corp.test/EWS/genericErrorPage.htm?aspxerrorpath=/ews"}}, "", nil, connection.ErrThrottled, nil},
		"redirect to a login":           {302, http.Header{"Location": {"/owa/auth/logon.aspx?token=hush"}}, "", nil, connection.ErrProtocol, []string{"/owa/auth/logon.aspx", "web page"}},
		"307":                           {307, http.Header{"Location": {"https://other.test/EWS"}}, "", nil, connection.ErrProtocol, []string{"other.test"}},
		"400":                           {400, nil, "bad", nil, connection.ErrProtocol, nil},
		"403":                           {403, nil, "no", nil, connection.ErrPermission, []string{"username: "}},
		"404":                           {404, nil, "<h1>Not Found</h1>", nil, connection.ErrProtocol, []string{"server: ", "/EWS/Exchange.asmx", "Not Found"}},
		"405":                           {405, nil, "", nil, connection.ErrProtocol, []string{"server: "}},
		"404.13":                        {404, nil, "<h2>HTTP Error 404.13 - Not Found</h2>", nil, connection.ErrTooLarge, nil},
		"407":                           {407, nil, "", nil, connection.ErrProtocol, []string{"proxy"}},
		"413":                           {413, nil, "", nil, connection.ErrTooLarge, nil},
		"429":                           {429, http.Header{"Retry-After": {"3"}}, "", nil, connection.ErrThrottled, nil},
		"500 too long":                  {500, nil, "<html><title>Runtime Error</title>" + strings.Repeat("<p>Sorry.</p>", 100) + "Maximum request\nlength exceeded.</html>", nil, connection.ErrTooLarge, nil},
		"500 of ASP.NET":                {500, nil, "<html><title>Server Error in '/EWS' Application.</title></html>", nil, connection.ErrThrottled, nil},
		"500 page":                      {500, nil, "<html>oops</html>", nil, connection.ErrUnavailable, []string{"oops"}},
		"500 page, request is not safe": {500, nil, "<html>oops</html>", unsafe, connection.ErrUncertain, nil},
		"500 nothing":                   {500, nil, "", nil, connection.ErrUnavailable, nil},
		"502":                           {502, nil, "", nil, connection.ErrUnavailable, nil},
		"502, request is not safe":      {502, nil, "", unsafe, connection.ErrUncertain, nil},
		"504, request is not safe":      {504, nil, "", unsafe, connection.ErrUncertain, nil},
		"524, request is not safe":      {524, nil, "", unsafe, connection.ErrUncertain, nil},
		"503, request is not safe":      {503, nil, "", unsafe, connection.ErrUnavailable, nil},
		"507":                           {507, nil, "", nil, connection.ErrUnavailable, nil},
		"204":                           {204, nil, "", nil, connection.ErrProtocol, nil},
		"unknown coding":                {200, http.Header{"Content-Encoding": {"br"}}, reply, nil, connection.ErrProtocol, []string{"br"}},
		"echoes the password":           {403, nil, "no " + password + "!", nil, connection.ErrPermission, []string{connection.Redacted}},
		"echoes what was sent":          {404, nil, "Basic am9lQGNvcnAudGVzdDpwYXNzIHfDtnJkLTkz?", nil, connection.ErrProtocol, []string{"Basic " + connection.Redacted + "?"}},
		"any status":                    {404, nil, "not here", func(r *ewshttp.Request) { r.AnyStatus = true }, connection.ErrUnknown, nil},
		"any status, redirect":          {302, http.Header{"Location": {"https://other.test/"}}, "", func(r *ewshttp.Request) { r.AnyStatus = true }, connection.ErrUnknown, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, basic)
			s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}
			c := s.client(nil, auth("basic"))
			r := s.request(func(r *ewshttp.Request) { r.Safe = true })
			if test.set != nil {
				test.set(r)
			}
			if test.kind != connection.ErrUnknown {
				e := fails(t, c, r, test.kind, test.parts...)
				if strings.Contains(e.text, "hush") {
					t.Errorf("the query is in %q", e.text)
				}
				if test.kind == connection.ErrThrottled && e.retryAfter <= 0 {
					t.Error("no wait")
				}
				return
			}
			resp, err := c.Do(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); resp.Status != test.status || got != test.body {
				t.Errorf("got %d %q", resp.Status, got)
			}
			if got := resp.Header.Get("Location"); got != test.header.Get("Location") {
				t.Errorf("location %q", got)
			}
		})
	}
}

// Exchange Online says no: the error says why.
func TestExchangeOnlineIsRetired(t *testing.T) {
	for _, status := range []int{401, 403} {
		s := newServer(t, nil)
		s.before = func(w http.ResponseWriter, _ *http.Request, _ *visit) bool {
			w.WriteHeader(status)
			return true
		}
		for _, host := range []string{"outlook.office365.com", "x.outlook.com"} {
			conf := trusting(s.ca)
			conf.ServerName = "example.com"
			c := s.client(&connection.Env{Dial: s.dial, TLS: conf}, auth("basic"), func(o *ewshttp.Options) { o.TLS = nil })
			r := s.request(func(r *ewshttp.Request) { r.URL.Host = host })
			if e := fails(t, c, r, connection.ErrUnsupported, "EWSAllowedAppIDs", "msgraph"); e.code != ewshttp.CodeRetired {
				t.Errorf("code %q", e.code)
			}
		}
	}
}

func packed(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.Bytes()
}

func TestGzip(t *testing.T) {
	long := "<Envelope>" + strings.Repeat("0123456789", 10000) + "</Envelope>"
	whole := packed(long)
	spoilt := bytes.Clone(whole)
	spoilt[len(spoilt)-6] ^= 1 // of the checksum
	for name, test := range map[string]struct {
		asked bool
		body  []byte
		kind  connection.Kind
	}{
		"asked for":     {true, whole, connection.ErrUnknown},
		"not asked for": {false, whole, connection.ErrUnknown},
		"cut":           {true, whole[:len(whole)-20], connection.ErrNetwork},
		"damaged":       {true, spoilt, connection.ErrProtocol},
		"not gzip":      {true, []byte(long), connection.ErrProtocol},
		"empty":         {true, nil, connection.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.answer = func(w http.ResponseWriter, r *http.Request, _ *visit) {
				if asked := strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"); asked != test.asked {
					t.Errorf("Accept-Encoding: %q", r.Header.Get("Accept-Encoding"))
				}
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(test.body)
			}
			c := s.client(nil, auth("basic"))
			resp, err := c.Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Gzip, r.Safe = test.asked, true }))
			var got []byte
			if err == nil {
				got, err = io.ReadAll(resp.Body)
				closeIt(t, resp.Body)
			}
			want := long
			if test.body == nil {
				want = ""
			}
			if test.kind != connection.ErrUnknown {
				wantError(t, err, test.kind)
			} else if err != nil || string(got) != want {
				t.Errorf("%d octets, %v", len(got), err)
			}
		})
	}
}

// What a server promises or packs does not decide how much is read.
func TestE17Bombs(t *testing.T) {
	t.Run("gzip", func(t *testing.T) {
		s := newServer(t, nil)
		s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
			w.Header().Set("Content-Encoding", "gzip")
			member := packed("<Envelope>" + string(make([]byte, 4<<20)))
			for range 30 { // RFC 1952 lets members follow each other
				if _, err := w.Write(member); err != nil {
					return
				}
			}
		}
		resp, err := s.client(nil, auth("basic")).Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Gzip = true }))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		wantError(t, err, connection.ErrProtocol, "MiB")
		if n > 80<<20 {
			t.Errorf("%d octets", n)
		}
		closeIt(t, resp.Body)
	})
	t.Run("Content-Length", func(t *testing.T) {
		s := newServer(t, nil)
		s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
			w.Header().Set("Content-Length", strconv.Itoa(1<<60))
			_, _ = io.WriteString(w, reply)
			panic(http.ErrAbortHandler)
		}
		resp, err := s.client(nil, auth("basic")).Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Safe = true }))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			closeIt(t, resp.Body)
		}
		wantError(t, err, connection.ErrNetwork)
	})
	t.Run("header", func(t *testing.T) {
		s := newServer(t, nil)
		s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
			for i := range 400 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1<<10))
			}
			_, _ = io.WriteString(w, reply)
		}
		fails(t, s.client(nil, auth("basic")), s.request(func(r *ewshttp.Request) { r.Safe = true }), connection.ErrNetwork)
	})
}

// The answer breaks off: never a short one, and for what may have been done, doubt.
func TestCutAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		safe bool
		cut  func(w http.ResponseWriter)
		kind connection.Kind
	}{
		"in the body":                    {true, func(w http.ResponseWriter) { _, _ = io.WriteString(w, reply+strings.Repeat(" ", 1000)) }, connection.ErrNetwork},
		"before it":                      {true, func(http.ResponseWriter) {}, connection.ErrNetwork},
		"in the body, request not safe":  {false, func(w http.ResponseWriter) { _, _ = io.WriteString(w, reply+strings.Repeat(" ", 1000)) }, connection.ErrUncertain},
		"before it, request is not safe": {false, func(http.ResponseWriter) {}, connection.ErrUncertain},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, ntlm)
			s.answer = func(w http.ResponseWriter, _ *http.Request, v *visit) {
				if v.header.Get("X-Cut") == "" {
					_, _ = io.WriteString(w, reply)
					return
				}
				w.Header().Set("Content-Type", "text/xml")
				test.cut(w)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			c := s.client(nil, auth("ntlm"))
			r := s.request(func(r *ewshttp.Request) { r.Safe, r.Header = test.safe, http.Header{"X-Cut": {"1"}} })
			resp, err := c.Do(t.Context(), r)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				closeIt(t, resp.Body)
			}
			wantError(t, err, test.kind)
			get(t, c, s.request())
		})
	}
}

// A request that was answered by a cut on an idle connection is made again if it is safe, and only then.
func TestStaleConnection(t *testing.T) {
	for name, set := range map[string]func(*server){"ntlm": ntlm, "basic": basic} {
		for _, safe := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, safe %v", name, safe), func(t *testing.T) {
				cut := false
				inBubble(t, func(s *server) {
					set(s)
					s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
						if cut {
							cut = false
							panic(http.ErrAbortHandler)
						}
						w.Header().Set("Content-Type", "text/xml")
						_, _ = io.WriteString(w, reply)
					}
				}, func(t *testing.T, s *server, c *ewshttp.Client) {
					get(t, c, s.request())
					cut = true
					r := s.request(func(r *ewshttp.Request) { r.Safe = safe })
					if safe {
						get(t, c, r)
						return
					}
					fails(t, c, r, connection.ErrUncertain)
					if n := strings.Count(s.steps(), "+body"); n != 2 {
						t.Errorf("sent %d times: %s", n-1, s.steps())
					}
				}, auth(name))
			})
		}
	}
}

// Only part of an answer was wanted: the session goes on, over the same connection if little was left.
func TestAnswerLeftUnread(t *testing.T) {
	for name, octets := range map[string]int{"little": 1000, "much": 4 << 20} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(s *server) {
				ntlm(s)
				s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
					w.Header().Set("Content-Type", "text/xml")
					_, _ = io.WriteString(w, reply+strings.Repeat(" ", octets))
				}
			}, func(t *testing.T, s *server, c *ewshttp.Client) {
				for range 2 {
					resp := open(t, c, s.request())
					if _, err := io.ReadFull(resp.Body, make([]byte, len(reply))); err != nil {
						t.Fatal(err)
					}
					closeIt(t, resp.Body)
					if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF { //nolint:errorlint // a bare io.EOF would say that all was read
						t.Errorf("after Close: %v", err)
					}
					closeIt(t, resp.Body)
				}
				want := "NTLM NTLM+body -+body"
				if name == "much" {
					want = "NTLM NTLM+body NTLM NTLM+body"
				}
				if got := s.steps(); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}, auth("ntlm"))
		})
	}
}
