package gmailtest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
)

// A selection of fields is what comes, and nothing else.
func TestFields(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example", Name: "Ann Other"})
	token := srv.Token("admin@corp.example", readUsers)
	for fields, want := range map[string]string{
		"id":                                  `{"id":"X"}`,
		"id,name/fullName":                    `{"id":"X","name":{"fullName":"Ann Other"}}`,
		"name(givenName,familyName),archived": `{"name":{"givenName":"Ann","familyName":"Other"},"archived":false}`,
		"name/givenName,name/familyName":      `{"name":{"givenName":"Ann","familyName":"Other"}}`,
		"name,name/fullName":                  `{"name":{"givenName":"Ann","familyName":"Other","fullName":"Ann Other"}}`,
		"emails(primary)":                     `{"emails":[{"primary":true}]}`,
		"emails/address":                      `{"emails":[{"address":"ann@corp.example"}]}`,
		"name(*)":                             `{"name":{"givenName":"Ann","familyName":"Other","fullName":"Ann Other"}}`,
		"deletionTime":                        `{}`,
	} {
		status, _, body := ask(t, srv, "GET", "/admin/directory/v1/users/ann@corp.example?prettyPrint=false&fields="+url.QueryEscape(fields), token, "", "")
		got := regexp.MustCompile(`"id":"\d+"`).ReplaceAllString(strings.TrimSpace(string(body)), `"id":"X"`)
		if status != 200 || got != want {
			t.Errorf("%s: got %d %s, want %s", fields, status, got, want)
		}
	}
}

func TestBadFields(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true})
	token := srv.Token("ann@corp.example")
	list := []string{
		"", ",", "x", "id", "messages(", "messages()", "messages(id", "messages)", "messages(id))", "messages/", "/messages", "messages(id)x", "messages/raw/x",
		"messages(id,,raw)", "nextPageToken/x", "messages(" + strings.Repeat("payload(parts(", 40), strings.Repeat("messages/", 40), "messages id", "*(",
	}
	for _, fields := range list {
		status, _, body := ask(t, srv, "GET", "/gmail/v1/users/me/messages?fields="+url.QueryEscape(fields), token, "", "")
		if status != 400 || !bytes.Contains(body, []byte("Invalid field selection")) {
			t.Errorf("%q: got %d %s", fields, status, body)
		}
	}
	if got := len(srv.BadRequests()); got != len(list) {
		t.Errorf("%d of %d are bad requests", got, len(list))
	}
}

// What the API does not have is refused with 400, and what it has not at all with a page.
func TestStrictness(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true})
	token := srv.Token("ann@corp.example")
	for query, text := range map[string]string{
		"colour=red":                           `Unknown name \"colour\": Cannot bind query parameter`,
		"format=raw":                           "Unknown name",
		"alt=xml":                              "Invalid value at 'alt'",
		"alt=media":                            "Invalid value at 'alt'",
		"prettyPrint=no":                       "Invalid value at 'prettyPrint'",
		"maxResults=501":                       "Invalid value at 'maxResults'",
		"maxResults=x":                         "Invalid value at 'maxResults'",
		"maxResults=1&maxResults=2":            "Invalid value at 'maxResults'",
		"includeSpamTrash=perhaps":             "Invalid value at 'includeSpamTrash'",
		"quotaUser=" + strings.Repeat("x", 41): "Invalid value at 'quotaUser'",
	} {
		if status, _, body := ask(t, srv, "GET", "/gmail/v1/users/me/messages?"+query, token, "", ""); status != 400 || !bytes.Contains(body, []byte(text)) {
			t.Errorf("%s: got %d %s", query, status, body)
		}
	}
	if got := len(srv.BadRequests()); got != 10 {
		t.Errorf("got %d bad requests: %q", got, srv.BadRequests())
	}
	for _, query := range []string{"alt=json", "%24.xgafv=2", "key=abc", "quotaUser=" + strings.Repeat("x", 40), "labelIds=INBOX&labelIds=UNREAD"} {
		if status, _, body := ask(t, srv, "GET", "/gmail/v1/users/me/messages?"+query, token, "", ""); status != 200 {
			t.Errorf("%s: got %d %s", query, status, body)
		}
	}
	for _, c := range [][2]string{{"GET", "/gmail/v1/users/me/nothing"}, {"POST", "/gmail/v1/users/me/profile"}, {"GET", "/gmail/v1/users//messages"}, {"GET", "/gmail/v2/users/me/messages"}, {"GET", "/"}, {"GET", "/upload/gmail/v1/users/me/messages"}} {
		if status, header, _ := ask(t, srv, c[0], c[1], token, "", ""); status != 404 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: got %d %v", c, status, header)
		}
	}
	for body, text := range map[string]string{
		`{"ids":["a"],"x":1}`: `Unknown name \"x\": Cannot find field.`,
		`{"ids":`:             "Invalid JSON payload received.",
		`{"ids":["a"]} {}`:    "Invalid JSON payload received.",
		`{"ids":"a"}`:         "Invalid JSON payload received.",
	} {
		status, _, answer := ask(t, srv, "POST", "/gmail/v1/users/me/messages/batchDelete", token, "application/json", body)
		if status != 400 || !bytes.Contains(answer, []byte(text)) {
			t.Errorf("%s: got %d %s", body, status, answer)
		}
	}
	if status, _, answer := ask(t, srv, "POST", "/gmail/v1/users/me/messages/batchDelete", token, "text/plain", `{"ids":["a"]}`); status != 400 {
		t.Errorf("as text: got %d %s", status, answer)
	}
	if status, _, _ := ask(t, srv, "GET", "/gmail/v1/users/me/profile?access_token="+token, "", "", ""); status != 200 {
		t.Errorf("with the token as a parameter: got %d", status)
	}
}

// plainly asks for a message as it is sent, and returns the answer as it came.
func plainly(t *testing.T, srv *gmailtest.Server, path, agent string) (http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", agent)
	resp, err := bearer{srv.Token("ann@corp.example"), transport(t, srv)}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header, body
}

// Compression is for those who accept it and say so in their name too.
func TestGzip(t *testing.T) {
	for _, c := range []struct {
		agent  string
		never  bool
		zipped bool
	}{{"program (gzip)", false, true}, {"program", false, false}, {"program (gzip)", true, false}} {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Rendering: gmailtest.Rendering{NoGzip: c.never}})
		srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
		header, body := plainly(t, srv, profilePath, c.agent)
		if got := header.Get("Content-Encoding") == "gzip"; got != c.zipped {
			t.Errorf("%+v: compressed %v", c, got)
		}
		if c.zipped {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Contains(body, []byte(`"emailAddress": "ann@corp.example"`)) {
			t.Errorf("%+v: got %s", c, body)
		}
	}
}

// Every way to write a message is a way to read it, for those who know base64 and JSON.
func TestRenderings(t *testing.T) {
	raw := bytes.Repeat([]byte{0xff, 0xef, 0xbe, '\r', '\n'}, 40_001) // in base64 it has / and +, or _ and -
	for style, sign := range map[gmailtest.Rendering]string{
		{}:                                 `Cg=="`,
		{Base64: gmailtest.Base64Unpadded}: `Cg"`,
		{Base64: gmailtest.Base64Escaped}:  `Cg\u003d\u003d"`,
		{Base64: gmailtest.Base64Std}:      `:"/+++`,
		{Base64: gmailtest.Base64StdSlash}: `:"\/+++`,
		{IgnoreFields: true}:               `"snippet"`,
		{Decoys: true}:                     `"raw2"`,
		{Shuffle: true}:                    `"raw"`,
		{Shuffle: true, Decoys: true, IgnoreFields: true, Base64: gmailtest.Base64Escaped}: `"snippet"`,
	} {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Rendering: style})
		srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
		id := srv.Deliver("ann@corp.example", raw)[0]
		path := "/gmail/v1/users/me/messages/" + id + "?format=raw&prettyPrint=false&fields=raw,id"
		_, body := plainly(t, srv, path, "test")
		if !bytes.Contains(body, []byte(sign)) {
			t.Errorf("%+v: no %s in %.200s", style, sign, body)
		}
		var m gapi.Message
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatalf("%+v: %v", style, err)
		}
		text := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(m.Raw)
		got, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%+v: got %d octets, %v, want %d", style, len(got), err, len(raw))
		}
		svc := gmail(t, srv, srv.Token("ann@corp.example"))
		if _, err := svc.Users.Messages.Get("me", id).Format("raw").Do(googleapi.QuotaUser("1")); err != nil {
			t.Errorf("%+v: %v", style, err)
		}
	}
}

// The keys of shuffled answers come in one order and another.
func TestShuffle(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Rendering: gmailtest.Rendering{Shuffle: true}})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	seen := make(map[string]bool)
	for range 50 {
		_, body := plainly(t, srv, profilePath+"?prettyPrint=false", "test")
		seen[string(body)] = true
	}
	if len(seen) < 2 {
		t.Errorf("always %v", seen)
	}
}
