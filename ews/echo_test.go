package ews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
)

// A server that repeats the credential in what it says, as debugging pages and proxies do: no error, no report and no event
// shows it.
func TestEchoedCredential(t *testing.T) {
	const password = "correct-horse"
	xml := func(s string) string {
		return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` + s + `</s:Body></s:Envelope>`
	}
	for name, page := range map[string]string{
		"fault":          xml(`<s:Fault><faultcode>s:Client</faultcode><faultstring>bad ECHO</faultstring><detail><ResponseCode>ErrorInvalidIdMalformed</ResponseCode></detail></s:Fault>`),
		"detail":         xml(`<s:Fault><faultcode>s:Client</faultcode><detail><ResponseCode>ErrorSchemaValidation</ResponseCode><Message>bad ECHO</Message><Violation>worse: ECHO</Violation></detail></s:Fault>`),
		"message":        xml(`<GetFolderResponse><ResponseMessages><M ResponseClass="Error"><MessageText>bad ECHO</MessageText><ResponseCode>ErrorAccessDenied</ResponseCode></M></ResponseMessages></GetFolderResponse>`),
		"no SOAP":        "bad ECHO",
		"POX":            `<Autodiscover><Response><Error><ErrorCode>500</ErrorCode><Message>bad ECHO</Message></Error></Response></Autodiscover>`,
		"POX, long":      `<Autodiscover><Response><Error><ErrorCode>500</ErrorCode><Message>` + strings.Repeat("x", 190-len("Basic c3ZjQGV4")) + ` ECHO</Message></Error></Response></Autodiscover>`,
		"POX, elsewhere": `<Autodiscover><Response><Account><Action>ECHO</Action></Account></Response></Autodiscover>`,
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // whatever it holds
				_, pw, ok := r.BasicAuth()
				if !ok {
					w.Header().Set("WWW-Authenticate", "Basic")
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.Header().Set("Content-Type", "text/xml")
				_, _ = io.WriteString(w, strings.ReplaceAll(page, "ECHO", r.Header.Get("Authorization")+" or "+pw))
			}))
			defer srv.Close()
			var seen strings.Builder
			cfg := ews.Config{Server: srv.URL, AllowAnyHost: true, Username: "svc@example.invalid", Password: connection.NewSecret(password), Auth: ews.AuthBasic}
			if cfg.DisableAutodiscover = !strings.HasPrefix(name, "POX"); !cfg.DisableAutodiscover {
				cfg.AutodiscoverURLs = []string{srv.URL + "/autodiscover/autodiscover.xml"}
			}
			cfg.LookupSRV = func(context.Context, string, string, string) (string, []*net.SRV, error) {
				return "", nil, errors.New("no records")
			}
			web := srv.Client()
			web.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address != srv.Listener.Addr().String() {
					return nil, errors.New("no such host")
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			env := &connection.Env{HTTPClient: web, Observe: func(ev connection.Event) { fmt.Fprintln(&seen, ev.Detail, ev.Err) }}
			c, err := ews.Open(cfg, env)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			for _, err := range c.Folders(t.Context(), "") {
				fmt.Fprintln(&seen, err)
			}
			report, err := c.Test(t.Context(), nil)
			out, jsonErr := json.Marshal(report)
			if err == nil || jsonErr != nil {
				t.Fatal(err, jsonErr)
			}
			fmt.Fprintln(&seen, report, err, string(out))
			got := seen.String()
			for _, secret := range []string{password, "c3ZjQGV4YW1wbGU", "Y29ycmVjdC1ob3JzZQ"} {
				if strings.Contains(got, secret) {
					t.Errorf("%s shows:\n%s", secret, got)
				}
			}
			if !strings.Contains(got, connection.Redacted) {
				t.Errorf("nothing was echoed:\n%s", got)
			}
		})
	}
}
