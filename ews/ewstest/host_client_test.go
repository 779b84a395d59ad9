package ewstest_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/go-ntlmssp"

	"github.com/mailconn/mailconn/ews/ewstest"
)

const (
	aliceAddress  = "alice@corp.test"
	alicePassword = "pässwörd"
	serverURL     = "https://exchange.corp.test/EWS/Exchange.asmx"
)

// server starts a server that has alice's mailbox.
func server(t *testing.T, o *ewstest.Options) (*ewstest.Server, *ewstest.Mailbox) {
	t.Helper()
	srv := ewstest.NewServer(t, o)
	return srv, srv.AddMailbox(aliceAddress, ewstest.MailboxOptions{Password: alicePassword, UPN: "al@corp.local"})
}

// A bareClient is a client of HTTP, with one connection for each host.
type bareClient struct {
	t    *testing.T
	http *http.Client
	auth string // header of each request, "" without
}

func newBareClient(t *testing.T, srv *ewstest.Server) *bareClient {
	t.Helper()
	env := srv.Env()
	transport := &http.Transport{DialContext: env.Dial, TLSClientConfig: env.TLS, MaxConnsPerHost: 1, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &bareClient{t: t, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// alice returns a client that sends alice's password.
func alice(t *testing.T, srv *ewstest.Server) *bareClient {
	t.Helper()
	c := newBareClient(t, srv)
	c.auth = basic(aliceAddress, alicePassword)
	return c
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// A result is an answer that was read to its end, or as far as that went.
type result struct {
	status int
	header http.Header
	body   string
	err    error
}

// send sends a request; headers are pairs.
func (c *bareClient) send(ctx context.Context, method, url, body string, headers ...string) result {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	for ; len(headers) > 1; headers = headers[2:] {
		req.Header.Set(headers[0], headers[1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return result{err: err}
	}
	text, err := io.ReadAll(resp.Body)
	if closing := resp.Body.Close(); err == nil {
		err = closing
	}
	return result{resp.StatusCode, resp.Header, string(text), err}
}

// call sends an EWS request.
func (c *bareClient) call(body string, headers ...string) result {
	c.t.Helper()
	return c.send(c.t.Context(), http.MethodPost, serverURL, body, headers...)
}

// must is call for requests that must be answered with 200.
func (c *bareClient) must(body string, headers ...string) result {
	c.t.Helper()
	r := c.call(body, headers...)
	if r.err != nil || r.status != http.StatusOK {
		c.t.Fatalf("got status %d, error %v: %s", r.status, r.err, r.body)
	}
	return r
}

// envelope puts an operation into an Envelope; as is the mailbox to impersonate, "" for none.
func envelope(as, operation string) string {
	if as != "" {
		as = "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>" + as + "</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>"
	}
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages">` +
		`<s:Header><t:RequestServerVersion Version="Exchange2010_SP2"/>` + as + `</s:Header><s:Body>` + operation + `</s:Body></s:Envelope>`
}

// getInbox asks for the inbox.
var getInbox = envelope("", `<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape>`+
	`<m:FolderIds><t:DistinguishedFolderId Id="inbox"/></m:FolderIds></m:GetFolder>`)

// getItems asks for items with their content.
func getItems(ids ...string) string {
	var list strings.Builder
	for _, id := range ids {
		list.WriteString(`<t:ItemId Id="` + id + `"/>`)
	}
	return envelope("", `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape>`+
		`<m:ItemIds>`+list.String()+`</m:ItemIds></m:GetItem>`)
}

// ntlm runs NTLM on the client's connection, with the request in the second leg, and returns both answers. change alters the
// challenge before it is answered.
func (c *bareClient) ntlm(scheme, name, password, body string, change func([]byte) []byte) (first, second result) {
	c.t.Helper()
	negotiate, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		c.t.Fatal(err)
	}
	first = c.call("", "Authorization", scheme+" "+base64.StdEncoding.EncodeToString(negotiate))
	_, token, _ := strings.Cut(first.header.Get("WWW-Authenticate"), " ")
	challenge, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(challenge) == 0 {
		c.t.Fatalf("no challenge: status %d, %q, %v", first.status, first.header, first.err)
	}
	if change != nil {
		challenge = change(challenge)
	}
	answer, err := ntlmssp.NewAuthenticateMessage(challenge, name, password, nil)
	if err != nil {
		return first, result{err: err}
	}
	return first, c.call(body, "Authorization", scheme+" "+base64.StdEncoding.EncodeToString(answer))
}
