package ewstest_test

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// An element is any element of an answer.
type element struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Kids    []element  `xml:",any"`
}

// at goes down by local names; an element that is not there is empty.
func (e element) at(path ...string) element {
next:
	for _, name := range path {
		for _, k := range e.Kids {
			if k.XMLName.Local == name {
				e = k
				continue next
			}
		}
		return element{}
	}
	return e
}

func (e element) text(path ...string) string { return strings.TrimSpace(e.at(path...).Text) }

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// all returns every element of a local name at and below e.
func (e element) all(name string) []element {
	var found []element
	if e.XMLName.Local == name {
		found = append(found, e)
	}
	for _, k := range e.Kids {
		found = append(found, k.all(name)...)
	}
	return found
}

// A client speaks EWS as plainly as can be.
type client struct {
	t              *testing.T
	srv            *ewstest.Server
	http           *http.Client
	user, password string
	version        string
	as             string // what stands in ConnectingSID
	status         int    // of the last answer
}

const password = "correct horse"

func newClient(t *testing.T, srv *ewstest.Server, user string) *client {
	t.Helper()
	env := srv.Env()
	transport := &http.Transport{DialContext: env.Dial, TLSClientConfig: env.TLS, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, srv: srv, http: &http.Client{Transport: transport}, user: user, password: password, version: "Exchange2016"}
}

// document makes a request of an operation.
func (c *client) document(op string) string {
	head := ""
	if c.version != "" {
		head = `<t:RequestServerVersion Version="` + c.version + `"/>`
	}
	if c.as != "" {
		head += `<t:ExchangeImpersonation><t:ConnectingSID>` + c.as + `</t:ConnectingSID></t:ExchangeImpersonation>`
	}
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"` +
		` xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages">` +
		`<s:Header>` + head + `</s:Header><s:Body>` + op + `</s:Body></s:Envelope>`
}

// post sends a document, and returns the body of the answer.
func (c *client) post(document string, header ...string) []byte {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "https://exchange.corp.test/EWS/Exchange.asmx", strings.NewReader(document))
	if err != nil {
		c.t.Fatal(err)
	}
	r.SetBasicAuth(c.user, c.password)
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	r.Header.Set("X-AnchorMailbox", c.user)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.status = resp.StatusCode
	return body
}

// call runs an operation, and returns the child of soap:Body.
func (c *client) call(format string, args ...any) element {
	c.t.Helper()
	body := c.post(c.document(fmt.Sprintf(format, args...)))
	body = bytes.ReplaceAll(body, []byte("&#x1;"), []byte("\ufffd")) // XML forbids it, Exchange sends it
	var envelope element
	if err := xml.NewDecoder(bytes.NewReader(body)).Decode(&envelope); err != nil {
		c.t.Fatalf("answer: %v\n%s", err, body)
	}
	inner := envelope.at("Body")
	if len(inner.Kids) != 1 {
		c.t.Fatalf("answer: %s", body)
	}
	return inner.Kids[0]
}

// ok runs an operation all of whose response messages must be successes, and returns them.
func (c *client) ok(format string, args ...any) []element {
	c.t.Helper()
	answer := c.call(format, args...)
	messages := answer.at("ResponseMessages").Kids
	if len(messages) == 0 {
		c.t.Fatalf("no response messages: %+v", answer)
	}
	for _, m := range messages {
		if m.attr("ResponseClass") != "Success" {
			c.t.Fatalf("%s: %s: %s", m.attr("ResponseClass"), m.text("ResponseCode"), m.text("MessageText"))
		}
	}
	return messages
}

// fails runs an operation whose only response message, or whose fault, must have a code.
func (c *client) fails(code, format string, args ...any) element {
	c.t.Helper()
	answer := c.call(format, args...)
	got := answer.text("detail", "ResponseCode")
	if messages := answer.at("ResponseMessages").Kids; len(messages) == 1 {
		answer, got = messages[0], messages[0].text("ResponseCode")
	}
	if got != code {
		c.t.Fatalf("got code %q, want %q: %+v", got, code, answer)
	}
	return answer
}

const (
	idOnly = `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>`
	inbox  = `<t:DistinguishedFolderId Id="inbox"/>`
)

func itemIDs(ids ...string) string {
	text := "<m:ItemIds>"
	for _, id := range ids {
		text += `<t:ItemId Id="` + id + `"/>`
	}
	return text + "</m:ItemIds>"
}

func message(subject string) []byte {
	return []byte("From: Bob <bob@corp.test>\r\nTo: alice@corp.test\r\nSubject: " + subject + "\r\nMessage-ID: <" + subject + "@corp.test>\r\n" +
		"Date: Mon, 02 Mar 2026 10:00:00 +0100\r\nX-Tag: t\r\n\r\nHello.\r\n")
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
