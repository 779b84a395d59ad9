package gmailtest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// inner is one answer of a batch.
type inner struct {
	status int
	body   string
}

// batch sends requests, each with its Content-ID, and returns the answers by Content-ID.
func batch(t *testing.T, srv *gmailtest.Server, requests map[string]string) (status int, answers map[string]inner) {
	t.Helper()
	var body bytes.Buffer
	for id, r := range requests {
		fmt.Fprintf(&body, "--b\r\nContent-Type: application/http\r\nContent-ID: <%s>\r\n\r\n%s\r\n", id, r)
	}
	body.WriteString("--b--\r\n")
	resp := put(t, srv, "POST", "/batch/gmail/v1", map[string]string{"Content-Type": "multipart/mixed; boundary=b"}, body.String())
	_, params, err := mime.ParseMediaType(resp.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if resp.status != http.StatusOK {
		return resp.status, nil
	}
	answers = make(map[string]inner)
	for mr := multipart.NewReader(strings.NewReader(resp.body), params["boundary"]); ; {
		part, err := mr.NextPart()
		if err == io.EOF { //nolint:errorlint // a bare io.EOF is the end
			return resp.status, answers
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(part), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Body.Close(); err != nil {
			t.Fatal(err)
		}
		answers[part.Header.Get("Content-Id")] = inner{r.StatusCode, string(b)}
	}
}

func TestBatch(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{})
	ids := srv.Deliver(ann, letter("1"), letter("2"))
	srv.Fail(gmailtest.On("messages.get").ID(ids[1]), gmailtest.TooManyConcurrent())
	status, got := batch(t, srv, map[string]string{
		"a": "GET /gmail/v1/users/me/messages/" + ids[0] + "?format=minimal&fields=id,labelIds HTTP/1.1\r\nAccept-Encoding: gzip\r\nUser-Agent: test (gzip)\r\n\r\n",
		"b": "GET /gmail/v1/users/me/messages/" + ids[1] + "?format=minimal\r\n\r\n",
		"c": "GET /gmail/v1/users/me/messages/18c0\r\n\r\n",
		"d": "POST /gmail/v1/users/me/messages/" + ids[0] + "/modify\r\nContent-Type: application/json\r\n\r\n{\"addLabelIds\":[\"STARRED\"]}",
	})
	if status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	for id, want := range map[string]int{"a": 200, "b": 429, "c": 404, "d": 200} {
		if r, ok := got["<response-"+id+">"]; !ok || r.status != want {
			t.Errorf("%s: got %d %s, want %d", id, r.status, r.body, want)
		}
	}
	if r := got["<response-a>"]; !strings.Contains(r.body, ids[0]) || strings.Contains(r.body, "snippet") {
		t.Errorf("got %s, want id and labels", r.body)
	}
	if labels := srv.Messages(ann)[0].Labels; !strings.Contains(strings.Join(labels, " "), "STARRED") {
		t.Errorf("got %v", labels)
	}
	if n := srv.Calls("messages.get"); n != 3 {
		t.Errorf("got %d calls in the log, want each", n)
	}
	if units := srv.Units(ann); units != 20+20+5 { // the refused one is free
		t.Errorf("got %d units", units)
	}
}

func TestBatchWithoutContentID(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{})
	got := put(t, srv, "POST", "/batch/gmail/v1", map[string]string{"Content-Type": "multipart/mixed; boundary=b"},
		"--b\r\nContent-Type: application/http\r\n\r\nGET /gmail/v1/users/me/profile\r\n\r\n\r\n--b--")
	if got.status != http.StatusOK || !strings.Contains(got.body, ann) || strings.Contains(got.body, "response-") {
		t.Errorf("got %d %s, want an answer without a name", got.status, got.body)
	}
}

func TestBatchRefusals(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{AllowBadRequests: true, Mail: gmailtest.MailOptions{BatchLimit: 2}})
	get := "GET /gmail/v1/users/me/profile\r\n\r\n"
	if status, got := batch(t, srv, map[string]string{"a": get, "b": get}); status != http.StatusOK || len(got) != 2 {
		t.Errorf("got %d with %d answers", status, len(got))
	}
	for name, requests := range map[string]map[string]string{
		"too many":      {"a": get, "b": get, "c": get},
		"none":          {},
		"absolute":      {"a": "GET https://gmail.googleapis.com/gmail/v1/users/me/profile\r\n\r\n"},
		"another place": {"a": "GET /batch/gmail/v1\r\n\r\n"},
		"upload":        {"a": "POST /upload/gmail/v1/users/me/messages\r\n\r\n"},
		"no line":       {"a": ""},
		"odd line":      {"a": "GET\r\n\r\n"},
		"odd verb":      {"a": "G;T /gmail/v1/users/me/profile\r\n\r\n"},
		"odd fields":    {"a": "GET /gmail/v1/users/me/profile\r\nno colon\r\n\r\n"},
	} {
		if status, _ := batch(t, srv, requests); status != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", name, status)
		}
	}
	for contentType, body := range map[string]string{
		"application/json": "{}", "multipart/mixed; boundary=c": "--c\r\nContent-Type: application/http\r\n\r\n" + get,
		"multipart/mixed; boundary=b": "--b\r\nContent-Type: text/plain\r\n\r\n" + get + "\r\n--b--",
	} {
		if resp := put(t, srv, "POST", "/batch/gmail/v1", map[string]string{"Content-Type": contentType}, body); resp.status != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", contentType, resp.status)
		}
	}
	if resp := put(t, srv, "GET", "/batch/gmail/v1", nil, ""); resp.status != http.StatusNotFound {
		t.Errorf("GET: got %d, want 404", resp.status)
	}
	_, got := batch(t, srv, map[string]string{"a": "GET /gmail/v1/users/me/profile\r\nAuthorization: Bearer nonsense\r\n\r\n", "b": get})
	if a, b := got["<response-a>"].status, got["<response-b>"].status; a != http.StatusUnauthorized || b != http.StatusOK {
		t.Errorf("got %d and %d, want 401 for the part with a token of its own", a, b)
	}
}
