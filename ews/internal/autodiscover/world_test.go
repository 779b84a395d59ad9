package autodiscover_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

// A world is the DNS and the web servers that a search meets. It fails the test when credentials go where they must not.
type world struct {
	t *testing.T

	mu      sync.Mutex
	pages   map[string]page // by URL
	hosts   map[string]page // of all URLs of a host that are not in pages
	hostile map[string]bool // hosts that must see no credentials
	srv     map[string][]*net.SRV
	seen    []string // "POST https://…", in order
}

// A page answers a request for the mailbox with this address.
type page func(ctx context.Context, address string) (*autodiscover.Reply, error)

func newWorld(t *testing.T) *world {
	return &world{t: t, pages: make(map[string]page), hosts: make(map[string]page), hostile: make(map[string]bool), srv: make(map[string][]*net.SRV)}
}

// svc and xmlAt are the URLs of a host's autodiscover.
func svc(host string) string   { return "https://" + host + "/autodiscover/autodiscover.svc" }
func xmlAt(host string) string { return "https://" + host + "/autodiscover/autodiscover.xml" }
func plain(host string) string { return "http://" + host + "/autodiscover/autodiscover.xml" }

func (w *world) finder(change ...func(*autodiscover.Options)) *autodiscover.Finder {
	o := autodiscover.Options{Do: w.do, LookupSRV: w.lookup}
	for _, c := range change {
		c(&o)
	}
	return autodiscover.New(o)
}

// lookup implements Options.LookupSRV.
func (w *world) lookup(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if service != "autodiscover" || proto != "tcp" {
		w.t.Errorf("looked for the service _%s._%s", service, proto)
	}
	w.seen = append(w.seen, "SRV "+name)
	records, ok := w.srv[name]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, records, nil
}

// do implements Options.Do.
func (w *world) do(ctx context.Context, r *autodiscover.Request) (*autodiscover.Reply, error) {
	w.mu.Lock()
	answer := w.pages[r.URL.String()]
	if answer == nil {
		answer = w.hosts[r.URL.Hostname()]
	}
	w.seen = append(w.seen, r.Method+" "+r.URL.String())
	switch {
	case r.URL.Scheme != "https" && !r.Anonymous:
		w.t.Errorf("credentials went to %s", r.URL)
	case w.hostile[r.URL.Hostname()] && !r.Anonymous:
		w.t.Errorf("credentials went to %s, which nothing vouches for", r.URL)
	}
	w.mu.Unlock()
	address := r.Address
	if r.Method == http.MethodPost {
		address = w.check(r)
	}
	if answer == nil {
		return nil, &connection.Error{
			Op: "autodiscover", Driver: "ews", Kind: connection.ErrNetwork,
			Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true},
		}
	}
	return answer(ctx, address)
}

// check holds a request against what the two languages demand, and returns the mailbox it asks for.
func (w *world) check(r *autodiscover.Request) string {
	if r.ContentType != "text/xml; charset=utf-8" || r.Anonymous {
		w.t.Errorf("%s: content type %q, anonymous %t", r.URL, r.ContentType, r.Anonymous)
	}
	if strings.HasSuffix(r.URL.Path, ".xml") {
		var q struct {
			XMLName xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006 Autodiscover"`
			Request struct {
				EMailAddress             string
				AcceptableResponseSchema string
			}
		}
		err := xml.Unmarshal(r.Body, &q)
		if want := "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"; err != nil || q.Request.AcceptableResponseSchema != want {
			w.t.Errorf("%s: request %v: %s", r.URL, err, r.Body)
		}
		return q.Request.EMailAddress
	}
	const a, wsa = "http://schemas.microsoft.com/exchange/2010/Autodiscover ", "http://www.w3.org/2005/08/addressing "
	var names []string
	texts := make(map[string][]string)
	d := xml.NewDecoder(strings.NewReader(string(r.Body)))
	var name string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.t.Errorf("%s: request: %v", r.URL, err)
			break
		}
		switch token := token.(type) {
		case xml.StartElement:
			name = token.Name.Space + " " + token.Name.Local
			names = append(names, name)
		case xml.CharData:
			if name != "" {
				texts[name] = append(texts[name], string(token))
			}
		case xml.EndElement:
			name = ""
		}
	}
	order := []string{a + "RequestedServerVersion", wsa + "Action", wsa + "To", a + "GetUserSettingsRequestMessage", a + "Request", a + "Users", a + "User", a + "Mailbox", a + "RequestedSettings", a + "Setting"}
	at := -1
	for _, want := range order {
		i := slices.Index(names, want)
		if i <= at {
			w.t.Errorf("%s: %s is missing or not in its place: %q", r.URL, want, names)
		}
		at = i
	}
	if action := texts[wsa+"Action"]; !slices.Equal(action, []string{"http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings"}) {
		w.t.Errorf("%s: action %q", r.URL, action)
	}
	if to := texts[wsa+"To"]; !slices.Equal(to, []string{r.URL.String()}) {
		w.t.Errorf("%s: to %q", r.URL, to)
	}
	if asked := texts[a+"Setting"]; !slices.Contains(asked, "ExternalEwsUrl") || !slices.Contains(asked, "AlternateMailboxes") {
		w.t.Errorf("%s: settings %q", r.URL, asked)
	}
	if users := texts[a+"Mailbox"]; len(users) == 1 {
		return users[0]
	}
	return ""
}

// requests returns what was asked so far.
func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// count returns how many requests there were for a URL.
func (w *world) count(u string) (n int) {
	for _, r := range w.requests() {
		if strings.HasSuffix(r, " "+u) {
			n++
		}
	}
	return n
}

func reply(status int, body string) page {
	return func(context.Context, string) (*autodiscover.Reply, error) {
		return &autodiscover.Reply{Status: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func location(status int, to string) page {
	return func(context.Context, string) (*autodiscover.Reply, error) {
		return &autodiscover.Reply{Status: status, Header: http.Header{"Location": {to}}, Body: http.NoBody}, nil
	}
}

func failing(kind connection.Kind, text string) page {
	return func(context.Context, string) (*autodiscover.Reply, error) {
		return nil, &connection.Error{Op: "autodiscover", Driver: "ews", Kind: kind, Err: errors.New(text)}
	}
}

// later gives p's answer after d.
func later(d time.Duration, p page) page {
	return func(ctx context.Context, address string) (*autodiscover.Reply, error) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return p(ctx, address)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unauthorized refuses the credentials.
func unauthorized() page { return failing(connection.ErrAuth, "401") }

// silent never answers.
func silent(ctx context.Context, _ string) (*autodiscover.Reply, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// soapUser is an answer of GetUserSettings about one mailbox.
func soapUser(user string) page {
	return reply(http.StatusOK, `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>`+
		`<h:ServerVersionInfo xmlns:h="http://schemas.microsoft.com/exchange/2010/Autodiscover"><h:MajorVersion>15</h:MajorVersion><h:Version>Exchange2016</h:Version></h:ServerVersionInfo></s:Header>`+
		`<s:Body><GetUserSettingsResponseMessage xmlns="http://schemas.microsoft.com/exchange/2010/Autodiscover"><Response xmlns:i="http://www.w3.org/2001/XMLSchema-instance">`+
		`<ErrorCode>NoError</ErrorCode><ErrorMessage/><UserResponses><UserResponse>`+user+`</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>`)
}

func setting(name, value string) string {
	return `<UserSetting i:type="StringSetting"><Name>` + name + `</Name><Value>` + value + `</Value></UserSetting>`
}

// soapSettings gives these settings.
func soapSettings(settings ...string) page {
	return soapUser(`<ErrorCode>NoError</ErrorCode><ErrorMessage>No error.</ErrorMessage><RedirectTarget i:nil="true"/><UserSettingErrors/><UserSettings>` +
		strings.Join(settings, "") + `</UserSettings>`)
}

// ews gives an external EWS URL at a host.
func ews(host string) page {
	return soapSettings(setting("ExternalEwsUrl", "https://"+host+"/EWS/Exchange.asmx"))
}

func soapError(code, target string) page {
	return soapUser(`<ErrorCode>` + code + `</ErrorCode><ErrorMessage>told so</ErrorMessage><RedirectTarget>` + target + `</RedirectTarget><UserSettingErrors/><UserSettings/>`)
}

func poxAccount(account string) page {
	return reply(http.StatusOK, `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">`+
		`<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"><User><DisplayName>Joe</DisplayName><AutoDiscoverSMTPAddress>joe@company.test</AutoDiscoverSMTPAddress></User>`+
		`<Account><AccountType>email</AccountType>`+account+`</Account></Response></Autodiscover>`)
}

func poxEWS(host string) page {
	return poxAccount(`<Action>settings</Action><Protocol><Type>EXPR</Type><EwsUrl>https://` + host + `/EWS/Exchange.asmx</EwsUrl></Protocol>`)
}

func poxError(code string) page {
	return reply(http.StatusOK, `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">`+
		`<Response><Error Time="12:00:00" Id="1"><ErrorCode>`+code+`</ErrorCode><Message>Invalid Request</Message><DebugData/></Error></Response></Autodiscover>`)
}

const webPage = `<!DOCTYPE html><html><head><title>Parked</title></head><body>Buy this domain<br></body></html>`

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// wantURL looks for joe@company.test and compares.
func wantURL(t *testing.T, f *autodiscover.Finder, want string) *autodiscover.Found {
	t.Helper()
	found, err := f.Find(t.Context(), "joe@company.test")
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	if got := found.URL.String(); got != want {
		t.Fatalf("Find gave %s, want %s; tried:\n%s", got, want, lines(found.Trail))
	}
	return found
}

// wantError looks for joe@company.test in vain.
func wantError(t *testing.T, f *autodiscover.Finder, kind connection.Kind, hint string) {
	t.Helper()
	_ = failure(t, f, kind, hint)
}

// failure is wantError for a further look at the error.
func failure(t *testing.T, f *autodiscover.Finder, kind connection.Kind, hint string) *connection.Error {
	t.Helper()
	found, err := f.Find(t.Context(), "joe@company.test")
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Hint, hint) {
		t.Fatalf("Find: %v, %v; want %v with a hint about %q", found, err, kind, hint)
	}
	return e
}

func lines(trail []autodiscover.Attempt) string {
	var b strings.Builder
	for _, a := range trail {
		fmt.Fprintln(&b, a)
	}
	return b.String()
}
