package ewstest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestEveryNameLeadsToTheServer(t *testing.T) {
	srv, _ := server(t, nil)
	c := alice(t, srv)
	for _, url := range []string{"https://a.test/ews/exchange.asmx", "https://mail.b.test/EWS/Exchange.asmx", srv.URL(true) + "/EWS/Exchange.asmx"} {
		if r := c.send(t.Context(), http.MethodPost, url, getInbox); r.status != http.StatusOK {
			t.Errorf("%s: got status %d, %v", url, r.status, r.err)
		}
	}
	if got := srv.Dialled(); len(got) != 3 || got[0] != "a.test:443" || got[1] != "mail.b.test:443" {
		t.Errorf("dialled %q", got)
	}
}

func TestHostsThatMisbehave(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Hosts: map[string]ewstest.Host{
		"unknown.test": {Unknown: true}, "refuses.test": {Refuse: true}, "plain.test": {RefuseTLS: true}, "secure.test": {RefusePlain: true},
		"wrong.test": {Certificate: ewstest.CertificateWrongName}, "old.test": {Certificate: ewstest.CertificateExpired},
		"self.test": {Certificate: ewstest.CertificateSelfSigned}, "tls10.test": {MaxTLS: tls.VersionTLS10},
		"page.test": {Handler: ewstest.AnswerPage("Welcome")}, "gone.test": {Handler: ewstest.AnswerStatus(http.StatusNotFound)},
		"denied.test": {Handler: ewstest.AnswerStatus(http.StatusUnauthorized)},
	}})
	c := newBareClient(t, srv)
	for _, test := range []struct {
		url    string
		status int
		want   string // in the error
		is     error
	}{
		{"https://unknown.test/", 0, "no such host", nil},
		{"https://refuses.test/", 0, "", syscall.ECONNREFUSED},
		{"http://refuses.test/", 0, "", syscall.ECONNREFUSED},
		{"https://plain.test/", 0, "", syscall.ECONNREFUSED},
		{"http://plain.test/", http.StatusForbidden, "", nil},
		{"http://secure.test/", 0, "", syscall.ECONNREFUSED},
		{"https://secure.test/", http.StatusNotFound, "", nil},
		{"https://any.test:444/", 0, "", syscall.ECONNREFUSED},
		{"https://wrong.test/", 0, "elsewhere.invalid", nil},
		{"https://old.test/", 0, "expired", nil},
		{"https://self.test/", 0, "unknown authority", nil},
		{"https://tls10.test/", 0, "protocol version", nil},
		{"https://page.test/ews/exchange.asmx", http.StatusOK, "", nil},
		{"https://gone.test/ews/exchange.asmx", http.StatusNotFound, "", nil},
		{"https://denied.test/ews/exchange.asmx", http.StatusUnauthorized, "", nil},
	} {
		r := c.send(t.Context(), http.MethodGet, test.url, "")
		if r.status != test.status || test.is != nil && !errors.Is(r.err, test.is) || test.want != "" && (r.err == nil || !strings.Contains(r.err.Error(), test.want)) {
			t.Errorf("%s: got status %d, error %v", test.url, r.status, r.err)
		}
	}
	srv.SetHost("*", ewstest.Host{Unknown: true})
	if r := c.send(t.Context(), http.MethodGet, "https://other.test/", ""); r.err == nil {
		t.Error("a name that * makes unknown was found")
	}
}

func TestHostsThatSayNothing(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Hosts: map[string]ewstest.Host{"drops.test": {Drop: true}, "silent.test": {Silent: true}}})
	for name, connected := range map[string]bool{"drops.test": false, "silent.test": true} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		conn, err := srv.Env().Dial(ctx, "tcp", name+":443")
		cancel()
		if connected != (err == nil) {
			t.Errorf("%s: connecting: %v", name, err)
		}
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if _, err := conn.Write(make([]byte, 100000)); err != nil {
			t.Errorf("%s: writing: %v", name, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: read %d octets, %v", name, n, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestHTTP2IsRefused(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Hosts: map[string]ewstest.Host{"*": {HTTP2: true}}})
	env := srv.Env()
	transport := &http.Transport{DialContext: env.Dial, TLSClientConfig: env.TLS.Clone(), Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, serverURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		t.Fatalf("got %s", resp.Status)
	}
	if !strings.Contains(err.Error(), "HTTP_1_1_REQUIRED") {
		t.Errorf("got %v", err)
	}
	alice(t, srv).must(getInbox) // over HTTP/1.1
}

func TestLookupSRV(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{SRV: map[string][]ewstest.SRV{
		"_autodiscover._tcp.corp.test": {{Target: "b.corp.test", Port: 443, Priority: 20}, {Target: "a.corp.test", Port: 444, Priority: 10, Weight: 5}},
	}})
	name, got, err := srv.LookupSRV(t.Context(), "autodiscover", "tcp", "Corp.test")
	if err != nil || name != "_autodiscover._tcp.Corp.test." || len(got) != 2 ||
		*got[0] != (net.SRV{Target: "b.corp.test", Port: 443, Priority: 20}) || *got[1] != (net.SRV{Target: "a.corp.test", Port: 444, Priority: 10, Weight: 5}) {
		t.Errorf("got %q, %v, %v", name, got, err)
	}
	notFound := &net.DNSError{}
	if _, _, err := srv.LookupSRV(t.Context(), "autodiscover", "tcp", "other.test"); !errors.As(err, &notFound) || !notFound.IsNotFound {
		t.Errorf("another domain: got %v", err)
	}
}

func TestReadsOfOneOctet(t *testing.T) {
	srv, _ := server(t, nil)
	for _, size := range []ewstest.ReadSize{1, 7, -50} {
		srv.SetRead(size)
		conn, err := srv.Env().Dial(t.Context(), "tcp", "exchange.corp.test:80")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: exchange.corp.test\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		var answer []byte
		sizes := make(map[int]bool)
		for {
			p := make([]byte, 1000)
			n, err := conn.Read(p)
			answer = append(answer, p[:n]...)
			sizes[n] = true
			if err != nil {
				break
			}
		}
		if !strings.HasPrefix(string(answer), "HTTP/1.1 403") || size > 0 && (!sizes[int(size)] || sizes[int(size)+1]) || size < 0 && (len(sizes) < 5 || sizes[51]) {
			t.Errorf("read size %d: got reads of %v, answer %q", size, sizes, answer[:12])
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Nothing is left when a Server is closed, whatever was going on.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	srv, err := ewstest.Listen(&ewstest.Options{Hosts: map[string]ewstest.Host{"silent.test": {Silent: true}}})
	if err != nil {
		t.Fatal(err)
	}
	mb := srv.AddMailbox(aliceAddress, ewstest.MailboxOptions{Password: alicePassword})
	mb.Deliver("Inbox", []byte("Subject: x\r\n\r\nx\r\n"))
	srv.Fail(ewstest.On("GetFolder").Nth(2), ewstest.StallAfter(100))
	c := alice(t, srv)
	c.must(getInbox)
	ended := make(chan result)
	go func() { ended <- c.call(getInbox) }()
	wait(t, func() bool { return srv.Calls("GetFolder") == 2 })
	silent, err := srv.Env().Dial(t.Context(), "tcp", "silent.test:443")
	if err != nil {
		t.Fatal(err)
	}
	srv.Close()
	srv.Close()
	if r := <-ended; r.err == nil {
		t.Errorf("the request that stalled got status %d: %q", r.status, r.body)
	}
	if err := silent.Close(); err != nil {
		t.Error(err)
	}
	c.http.CloseIdleConnections()
	wait(t, func() bool { return runtime.NumGoroutine() <= before })
}

// wait waits for a condition.
func wait(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatal("what the test waits for did not come within a minute")
		case <-tick.C:
		}
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	srv, _ := server(t, nil)
	a, b := alice(t, srv), alice(t, srv)
	a.must(getInbox)
	a.must(getInbox)
	b.must(getInbox)
	var conns []int
	for _, r := range srv.Requests() {
		conns = append(conns, r.Conn)
	}
	if !slices.Equal(conns, []int{1, 1, 2}) || srv.Connections() != 2 {
		t.Errorf("got requests on %v, %d connections", conns, srv.Connections())
	}
}
