package gmailtest_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// FuzzRequest looks for requests that the server cannot stand. Whatever comes, it answers.
func FuzzRequest(f *testing.F) {
	for _, c := range [][3]string{
		{"gmail/v1/users/me/messages", "fields=messages(id,payload/parts(*)),nextPageToken&labelIds=INBOX&q=is:unread from:ann", ""},
		{"gmail/v1/users/me/history", "startHistoryId=1&historyTypes=labelAdded&maxResults=1&pageToken=x", ""},
		{"gmail/v1/users/a%2Fb/labels/Label_1", "alt=json&prettyPrint=false", `{"name":"x"}`},
		{"admin/directory/v1/users", "customer=my_customer&query=orgUnitPath='/a\\'b' email:x*&pageToken=MTIz", ""},
		{"admin/directory/v1/groups/g/members", "roles=OWNER,MEMBER&includeDerivedMembership=true", ""},
		{"token", "", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=e30.e30.e30"},
		{"token", "", "grant_type=refresh_token&client_id=a;b=%zz"},
		{"v1/projects/-/serviceAccounts/x:signJwt", "", `{"payload":"{}"}`},
		{"upload/gmail/v1/users/me/messages", "uploadType=multipart", "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--"},
		{"batch/gmail/v1", "", "--b\r\nContent-Type: application/http\r\n\r\nGET /gmail/v1/users/me/profile\r\n--b--"},
		{"a/feeds/compliance/audit/mail/monitor/corp.example/ann", "", "<entry/>"},
	} {
		f.Add(c[0], c[1], c[2])
	}
	srv, err := gmailtest.Listen(&gmailtest.Options{Memory: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.Close)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example", Admin: true})
	srv.Deliver("ann@corp.example", []byte("Subject: x\r\n\r\nbody\r\n"))
	srv.AddGroup("g", "ann@corp.example", "g")
	client := &http.Transport{DialContext: srv.Env().Dial}
	f.Cleanup(client.CloseIdleConnections)
	token := srv.Token("ann@corp.example", gmailtest.Scopes()...)
	f.Fuzz(func(t *testing.T, path, query, body string) {
		u, err := url.Parse(srv.URL() + "/" + path)
		if err != nil {
			return // not a URL: nothing that a client could ask for
		}
		u.RawQuery = query
		for _, verb := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			req, err := http.NewRequestWithContext(t.Context(), verb, u.String(), strings.NewReader(body))
			if err != nil {
				return // nor a request
			}
			kind := "application/json"
			switch {
			case strings.HasPrefix(path, "token"):
				kind = "application/x-www-form-urlencoded"
			case strings.HasPrefix(body, "--b"):
				kind = "multipart/mixed; boundary=b"
			}
			req.Header.Set("Content-Type", kind)
			resp, err := bearer{token, client}.RoundTrip(req)
			if err != nil {
				t.Errorf("%s %s: %v", verb, u, err)
				continue
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, why := range srv.BadRequests() {
			if strings.Contains(why, "panicked") {
				t.Fatal(why)
			}
		}
	})
}

// FuzzAssertion looks for assertions that are taken without the key.
func FuzzAssertion(f *testing.F) {
	srv, err := gmailtest.Listen(&gmailtest.Options{Memory: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.Close)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	email, _ := srv.ServiceAccount()
	claims := `{"iss":"` + email + `","sub":"ann@corp.example","scope":"` + readonly + `","aud":"` + srv.TokenURL() + `","iat":1,"exp":3601}`
	for _, header := range []string{`{"alg":"RS256"}`, `{"alg":"none"}`, `{"alg":"HS256","kid":"x"}`, `[]`, ``} {
		f.Add(header, claims, []byte("x"))
	}
	client := &http.Transport{DialContext: srv.Env().Dial}
	f.Cleanup(client.CloseIdleConnections)
	f.Fuzz(func(t *testing.T, header, claims string, signature []byte) {
		text := ""
		for _, part := range [][]byte{[]byte(header), []byte(claims), signature} {
			text += "." + base64.RawURLEncoding.EncodeToString(part)
		}
		form := url.Values{"grant_type": {jwtGrant}, "assertion": {text[1:]}}
		req, err := http.NewRequestWithContext(t.Context(), "POST", srv.TokenURL(), strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // an error's
		if resp.StatusCode < 400 {
			t.Errorf("%s %s %x was taken", header, claims, signature)
		}
	})
}
