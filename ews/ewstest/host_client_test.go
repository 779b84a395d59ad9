package ewstest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/go-ntlmssp"

	"github.com/mailconn/mailconn/connection"
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

// A bareClient is a client of HTTP. All its requests to a host use one connection, until that ends.
type bareClient struct {
	t    *testing.T
	http *http.Client
	auth string // header of each request, "" without
}

func newBareClient(t *testing.T, srv *ewstest.Server) *bareClient {
	t.Helper()
	p := &pinned{env: srv.Env(), conns: make(map[string]*pin)}
	t.Cleanup(p.CloseIdleConnections)
	return &bareClient{t: t, http: &http.Client{
		Transport:     p,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// pinned sends requests one after the other. An http.Transport may make another connection at any time, if the machine is
// slow.
type pinned struct {
	env   *connection.Env
	mu    sync.Mutex
	conns map[string]*pin // by scheme and host
}

type pin struct {
	net.Conn
	r *bufio.Reader
}

// RoundTrip implements http.RoundTripper.
func (p *pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.URL.Scheme + "://" + req.URL.Host
	p.mu.Lock()
	c := p.conns[key]
	p.mu.Unlock()
	if c == nil {
		conn, err := p.dial(req)
		if err != nil {
			return nil, err
		}
		c = &pin{conn, bufio.NewReader(conn)}
		p.mu.Lock()
		p.conns[key] = c
		p.mu.Unlock()
	}
	stop := context.AfterFunc(req.Context(), func() { p.drop(key) })
	err := req.Write(c)
	if err != nil {
		stop()
		p.drop(key)
		return nil, err
	}
	resp, err := http.ReadResponse(c.r, req)
	if err != nil {
		stop()
		p.drop(key)
		return nil, err
	}
	resp.Body = &pinnedBody{ReadCloser: resp.Body, done: func(whole bool) {
		stop()
		if !whole || resp.Close {
			p.drop(key)
		}
	}}
	return resp, nil
}

func (p *pinned) dial(req *http.Request) (net.Conn, error) {
	secure := req.URL.Scheme == "https"
	address := req.URL.Host
	if req.URL.Port() == "" {
		address = net.JoinHostPort(address, map[bool]string{false: "80", true: "443"}[secure])
	}
	conn, err := p.env.Dial(req.Context(), "tcp", address)
	if err != nil || !secure {
		return conn, err
	}
	conf := p.env.TLS.Clone()
	conf.ServerName = req.URL.Hostname()
	c := tls.Client(conn, conf)
	if err := c.HandshakeContext(req.Context()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (p *pinned) drop(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[key]; c != nil {
		_ = c.Close() // the server may have closed it
		delete(p.conns, key)
	}
}

// CloseIdleConnections ends all connections.
func (p *pinned) CloseIdleConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close() // the server may have closed it
	}
	clear(p.conns)
}

// A pinnedBody tells whether it was read whole.
type pinnedBody struct {
	io.ReadCloser
	done  func(whole bool)
	whole bool
}

func (b *pinnedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.whole = b.whole || err == io.EOF //nolint:errorlint // only the bare io.EOF is the end
	return n, err
}

// Close does not read what is left, as the body beneath would.
func (b *pinnedBody) Close() error {
	b.done(b.whole)
	return nil
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
