package autodiscover_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/publicsuffix"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

// fuzz gives data as every answer that the path's host gives, and checks what must hold whatever a server says: the
// search ends after a bounded number of requests, credentials go to https hosts of the mailbox's own organisation or of
// Exchange Online alone, and what is found is an https URL.
func fuzz(t *testing.T, file string, data []byte) {
	var mu sync.Mutex
	requests := 0
	f := autodiscover.New(autodiscover.Options{
		Do: func(_ context.Context, r *autodiscover.Request) (*autodiscover.Reply, error) {
			mu.Lock()
			requests++
			mu.Unlock()
			host := r.URL.Hostname()
			home, err := publicsuffix.EffectiveTLDPlusOne(host)
			switch {
			case r.Anonymous && r.Method == http.MethodGet:
			case r.URL.Scheme != "https" || r.URL.User != nil || r.Anonymous:
				t.Errorf("request to %s", r.URL)
			case err != nil || home != "company.test" && home != "outlook.com" && home != "office365.com":
				t.Errorf("credentials went to %s", r.URL)
			}
			if host == "refuses.company.test" {
				return nil, &connection.Error{Kind: connection.ErrAuth, Err: errors.New("401")}
			}
			if !strings.HasSuffix(strings.ToLower(r.URL.Path), file) {
				return nil, &connection.Error{Kind: connection.ErrNetwork, Err: errors.New("refused")}
			}
			return &autodiscover.Reply{Status: http.StatusOK, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(string(data)))}, nil
		},
		// After a refusal no two hosts are asked at once, so that the same data always takes the same way.
		URLs: []*url.URL{{Scheme: "https", Host: "refuses.company.test", Path: "/autodiscover/autodiscover.svc"}},
		LookupSRV: func(context.Context, string, string, string) (string, []*net.SRV, error) {
			return "", nil, &net.DNSError{IsNotFound: true}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if strings.Contains(string(data), "ServerBusy") {
		cancel() // the search would wait, for real
	}
	found, err := f.Find(ctx, "joe@company.test")
	var e *connection.Error
	switch {
	case err == nil && (found.URL.Scheme != "https" || found.URL.Host == "" || found.URL.User != nil):
		t.Errorf("found %s", found.URL)
	case err != nil && (!errors.As(err, &e) || strings.ContainsAny(err.Error(), "\r\n")):
		t.Errorf("error %q", err)
	}
	if requests > 100 {
		t.Errorf("%d requests", requests)
	}
}

func seeds(f *testing.F, pages ...page) {
	f.Helper()
	for _, p := range pages {
		reply, err := p(f.Context(), "")
		if err != nil {
			f.Fatal(err)
		}
		data, err := io.ReadAll(reply.Body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(webPage))
	f.Add([]byte("\xff\xfe"))
	f.Add([]byte("<a>&#x0;&#"))
}

func FuzzSOAP(f *testing.F) {
	seeds(f, ews("mail.company.test"), soapError("RedirectUrl", "https://cas.company.test/autodiscover/autodiscover.svc"), soapError("RedirectUrl", "https://evil.test/autodiscover.svc"),
		soapError("RedirectUrl", "//evil.test/autodiscover.svc"), soapError("RedirectUrl", "https://company.test@evil.test/autodiscover.svc"), soapError("RedirectAddress", "joe@evil.test"),
		soapError("RedirectAddress", "joe@eu.company.test"), soapError("InvalidUser", ""), soapSettings(setting("ExternalEwsUrl", "http://x")))
	f.Fuzz(func(t *testing.T, data []byte) { fuzz(t, ".svc", data) })
}

func FuzzPOX(f *testing.F) {
	seeds(f, poxEWS("mail.company.test"), poxError("600"), poxAccount("<Action>redirectAddr</Action><RedirectAddr>joe@evil.test</RedirectAddr>"),
		poxAccount("<Action>redirectUrl</Action><RedirectUrl>https://evil.test/autodiscover/autodiscover.xml</RedirectUrl>"),
		poxAccount("<Action>redirectUrl</Action><RedirectUrl>https://autodiscover-s.outlook.com/autodiscover/autodiscover.xml</RedirectUrl>"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzz(t, ".xml", data) })
}
