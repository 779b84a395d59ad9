package ewstest_test

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

const discoverURL = "https://autodiscover.corp.test/autodiscover/autodiscover."

// soapDiscover asks for the settings of users.
func soapDiscover(url string, users ...string) string {
	var list strings.Builder
	for _, u := range users {
		list.WriteString("<a:User><a:Mailbox>" + u + "</a:Mailbox></a:User>")
	}
	return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:w="http://www.w3.org/2005/08/addressing" ` +
		`xmlns:a="http://schemas.microsoft.com/exchange/2010/Autodiscover"><s:Header>` +
		`<a:RequestedServerVersion>Exchange2010</a:RequestedServerVersion>` +
		`<w:Action>http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings</w:Action><w:To>` + url + `</w:To>` +
		`</s:Header><s:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users>` + list.String() + `</a:Users><a:RequestedSettings>` +
		`<a:Setting>ExternalEwsUrl</a:Setting><a:Setting>InternalEwsUrl</a:Setting><a:Setting>AlternateMailboxes</a:Setting>` +
		`</a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></s:Body></s:Envelope>`
}

func poxDiscover(address string) string {
	return `<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>` + address +
		`</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>` +
		`</Request></Autodiscover>`
}

// A soapAnswer is what GetUserSettings says, by local names.
type soapAnswer struct {
	Version string `xml:"Header>ServerVersionInfo>MajorVersion"`
	Code    string `xml:"Body>GetUserSettingsResponseMessage>Response>ErrorCode"`
	Users   []struct {
		Code     string `xml:"ErrorCode"`
		Target   string `xml:"RedirectTarget"`
		Settings []struct {
			Name, Value string
			Kind        string   `xml:"type,attr"`
			Alternates  []string `xml:"AlternateMailboxes>AlternateMailbox>SmtpAddress"`
		} `xml:"UserSettings>UserSetting"`
		Errors []struct {
			SettingName, ErrorCode string
		} `xml:"UserSettingErrors>UserSettingError"`
	} `xml:"Body>GetUserSettingsResponseMessage>Response>UserResponses>UserResponse"`
}

func soapAsk(t *testing.T, c *bareClient, users ...string) soapAnswer {
	t.Helper()
	url := discoverURL + "svc"
	r := c.send(t.Context(), http.MethodPost, url, soapDiscover(url, users...))
	var a soapAnswer
	if err := xml.Unmarshal([]byte(r.body), &a); r.status != http.StatusOK || err != nil {
		t.Fatalf("got status %d, %v, %v: %s", r.status, r.err, err, r.body)
	}
	return a
}

func TestSOAPAutodiscover(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Autodiscover: ewstest.Autodiscover{Internal: "https://inside.local/EWS/Exchange.asmx"}})
	c := alice(t, srv)
	srv.SetAnswer("*", "moved@corp.test", ewstest.Answer{RedirectAddress: "moved@other.test"})
	srv.SetAnswer("*", "hosted@corp.test", ewstest.Answer{RedirectURL: "https://hosted.test/autodiscover/autodiscover.svc"})
	srv.SetAnswer("autodiscover.corp.test", "busy@corp.test", ewstest.Answer{Code: "ServerBusy"})
	srv.SetAnswer("*", "archive@corp.test", ewstest.Answer{External: "https://e/", Alternates: []ewstest.Alternate{{Type: "Archive", Address: "guid@corp.test"}}, Missing: []string{"ExternalEwsUrl"}})
	a := soapAsk(t, c, aliceAddress, "nobody@corp.test", "nobody@nowhere.test", "moved@corp.test", "hosted@corp.test", "busy@corp.test", "archive@corp.test")
	if a.Version != "15" || a.Code != "NoError" || len(a.Users) != 7 {
		t.Fatalf("got %+v", a)
	}
	var codes, targets []string
	for _, u := range a.Users {
		codes, targets = append(codes, u.Code), append(targets, u.Target)
	}
	if want := []string{"NoError", "InvalidUser", "InvalidDomain", "RedirectAddress", "RedirectUrl", "ServerBusy", "NoError"}; !slices.Equal(codes, want) {
		t.Errorf("got codes %q, want %q", codes, want)
	}
	if targets[3] != "moved@other.test" || targets[4] != "https://hosted.test/autodiscover/autodiscover.svc" {
		t.Errorf("got targets %q", targets)
	}
	own := a.Users[0]
	if len(own.Settings) != 2 || own.Settings[0].Value != serverURL || own.Settings[1].Value != "https://inside.local/EWS/Exchange.asmx" ||
		own.Settings[0].Kind != "StringSetting" || len(own.Errors) != 1 || own.Errors[0].SettingName != "AlternateMailboxes" || own.Errors[0].ErrorCode != "SettingIsNotAvailable" {
		t.Errorf("got %+v", own)
	}
	if other := a.Users[6]; len(other.Settings) != 1 || !slices.Equal(other.Settings[0].Alternates, []string{"guid@corp.test"}) || len(other.Errors) != 2 {
		t.Errorf("got %+v", other)
	}
}

func TestSOAPAutodiscoverFailsAsAWhole(t *testing.T) {
	srv, _ := server(t, nil)
	srv.SetAnswer("*", "*", ewstest.Answer{RequestCode: "ServerBusy", Times: 2})
	c := alice(t, srv)
	for i, want := range []string{"ServerBusy", "ServerBusy", "NoError"} {
		if a := soapAsk(t, c, aliceAddress); a.Code != want || (len(a.Users) > 0) != (want == "NoError") {
			t.Errorf("request %d: got %+v, want %s", i, a, want)
		}
	}
}

// What a real server refuses is recorded and refused.
func TestSOAPAutodiscoverIsStrict(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{AllowBadRequests: true})
	c, url := alice(t, srv), discoverURL+"svc"
	good := soapDiscover(url, aliceAddress)
	swap := func(old, replacement string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the request", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	settings := good[strings.Index(good, "<a:RequestedSettings>"):strings.Index(good, "</a:Request>")]
	for name, body := range map[string]string{
		"settings first":       strings.Replace(strings.Replace(good, settings, "", 1), "<a:Request>", "<a:Request>"+settings, 1),
		"no settings":          swap(settings, ""),
		"another action":       swap("Autodiscover/GetUserSettings", "GetUserSettings"),
		"no action":            strings.ReplaceAll(good, "w:Action", "w:Other"),
		"another host":         swap("https://autodiscover.corp.test", "https://corp.test"),
		"http":                 swap("https://autodiscover", "http://autodiscover"),
		"an unknown version":   swap("Exchange2010", "Exchange2017"),
		"an unknown setting":   swap("ExternalEwsUrl", "ExternalEWSUrl"),
		"no users":             swap("<a:User><a:Mailbox>"+aliceAddress+"</a:Mailbox></a:User>", ""),
		"a wrong namespace":    swap("exchange/2010/Autodiscover", "exchange/2010/autodiscover"),
		"an element too many":  swap("</a:Request>", "<a:Other/></a:Request>"),
		"two addresses a user": swap("</a:User>", "<a:Mailbox>x@corp.test</a:Mailbox></a:User>"),
	} {
		before := len(srv.BadRequests())
		if r := c.send(t.Context(), http.MethodPost, url, body); r.status != http.StatusInternalServerError || !strings.Contains(r.body, "faultstring") {
			t.Errorf("%s: got status %d: %s", name, r.status, r.body)
		}
		if got := len(srv.BadRequests()); got != before+1 {
			t.Errorf("%s: %d bad requests were recorded", name, got-before)
		}
	}
	for name, headers := range map[string][]string{"a media type": {"Content-Type", "application/xml"}} {
		if r := c.send(t.Context(), http.MethodPost, url, good, headers...); r.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: got status %d", name, r.status)
		}
	}
}

// A poxAnswer is what POX says, by local names.
type poxAnswer struct {
	Action      string `xml:"Response>Account>Action"`
	RedirectTo  string `xml:"Response>Account>RedirectAddr"`
	RedirectURL string `xml:"Response>Account>RedirectUrl"`
	Address     string `xml:"Response>User>AutoDiscoverSMTPAddress"`
	Code        string `xml:"Response>Error>ErrorCode"`
	Protocols   []struct {
		Type   string
		EwsURL string `xml:"EwsUrl"`
		ASURL  string `xml:"ASUrl"`
	} `xml:"Response>Account>Protocol"`
}

func poxAsk(t *testing.T, c *bareClient, body string) poxAnswer {
	t.Helper()
	r := c.send(t.Context(), http.MethodPost, discoverURL+"xml", body)
	var a poxAnswer
	if err := xml.Unmarshal([]byte(r.body), &a); r.status != http.StatusOK || err != nil {
		t.Fatalf("got status %d, %v, %v: %s", r.status, r.err, err, r.body)
	}
	return a
}

func TestPOXAutodiscover(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{AllowBadRequests: true})
	c := alice(t, srv)
	srv.SetAnswer("*", "moved@corp.test", ewstest.Answer{RedirectAddress: "moved@other.test"})
	srv.SetAnswer("*", "hosted@corp.test", ewstest.Answer{RedirectURL: "https://hosted.test/autodiscover/autodiscover.xml"})
	srv.SetAnswer("*", "old@corp.test", ewstest.Answer{External: "https://e/", Internal: "https://i/", OldNames: true, Address: "real@corp.test"})
	srv.SetAnswer("*", "broken@corp.test", ewstest.Answer{Code: "500"})
	if a := poxAsk(t, c, poxDiscover(aliceAddress)); a.Action != "settings" || a.Address != aliceAddress || a.Protocols[0].Type != "EXPR" || a.Protocols[0].EwsURL != serverURL {
		t.Errorf("got %+v", a)
	}
	if a := poxAsk(t, c, poxDiscover("moved@corp.test")); a.Action != "redirectAddr" || a.RedirectTo != "moved@other.test" {
		t.Errorf("got %+v", a)
	}
	if a := poxAsk(t, c, poxDiscover("hosted@corp.test")); a.Action != "redirectUrl" || a.RedirectURL != "https://hosted.test/autodiscover/autodiscover.xml" {
		t.Errorf("got %+v", a)
	}
	a := poxAsk(t, c, poxDiscover("old@corp.test"))
	var kinds []string
	for _, p := range a.Protocols {
		kinds = append(kinds, p.Type+" "+p.ASURL+p.EwsURL)
	}
	if want := []string{"EXCH https://i/", "EXPR https://e/", "EXHTTP https://e/", "WEB "}; !slices.Equal(kinds, want) || a.Address != "real@corp.test" {
		t.Errorf("got %q and %q, want %q", kinds, a.Address, want)
	}
	good := poxDiscover(aliceAddress)
	for body, code := range map[string]string{
		poxDiscover("nobody@corp.test"): "404", poxDiscover("broken@corp.test"): "500",
		strings.Replace(good, "responseschema/2006a", "responseschema/2006", 1):                          "600",
		strings.Replace(good, "<EMailAddress>alice@corp.test</EMailAddress>", "", 1):                     "600",
		strings.Replace(good, "</Request>", "<EMailAddress>alice@corp.test</EMailAddress></Request>", 1): "600",
		strings.Replace(good, "outlook/requestschema/2006", "mobilesync/requestschema/2006", 1):          "600",
	} {
		if a := poxAsk(t, c, body); a.Code != code {
			t.Errorf("got %+v, want error %s: %s", a, code, body)
		}
	}
}

func TestAutodiscoverIsThereOrNot(t *testing.T) {
	for name, test := range map[string]struct {
		o        ewstest.Options
		soap, px int
	}{
		"both":       {ewstest.Options{}, http.StatusOK, http.StatusOK},
		"2007":       {ewstest.Options{Version: "2007_SP1"}, http.StatusNotFound, http.StatusOK},
		"no SOAP":    {ewstest.Options{Autodiscover: ewstest.Autodiscover{NoSOAP: true}}, http.StatusNotFound, http.StatusOK},
		"no POX":     {ewstest.Options{Autodiscover: ewstest.Autodiscover{NoPOX: true}}, http.StatusOK, http.StatusNotFound},
		"other host": {ewstest.Options{Hosts: map[string]ewstest.Host{"autodiscover.corp.test": {Handler: ewstest.AnswerPage("parked")}}}, http.StatusOK, http.StatusOK},
	} {
		srv, _ := server(t, &test.o)
		c := alice(t, srv)
		if r := c.send(t.Context(), http.MethodPost, discoverURL+"svc", soapDiscover(discoverURL+"svc", aliceAddress)); r.status != test.soap {
			t.Errorf("%s: SOAP: got status %d", name, r.status)
		}
		if r := c.send(t.Context(), http.MethodPost, discoverURL+"xml", poxDiscover(aliceAddress)); r.status != test.px {
			t.Errorf("%s: POX: got status %d", name, r.status)
		}
		c.auth = ""
		if r := c.send(t.Context(), http.MethodPost, discoverURL+"xml", poxDiscover(aliceAddress)); name == "both" && r.status != http.StatusUnauthorized {
			t.Errorf("%s: without a password: got status %d", name, r.status)
		}
	}
}

func TestPlainRedirect(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Hosts: map[string]ewstest.Host{
		"autodiscover.corp.test": {PlainRedirect: "https://hosted.test/autodiscover/autodiscover.xml"},
		"autodiscover.b.test":    {PlainRedirect: "http://autodiscover.b.test/autodiscover/autodiscover.xml", PlainStatus: http.StatusMovedPermanently},
	}})
	c := newBareClient(t, srv)
	for _, test := range []struct {
		method, url string
		status      int
		location    string
	}{
		{http.MethodGet, "http://autodiscover.corp.test/autodiscover/autodiscover.xml", http.StatusFound, "https://hosted.test/autodiscover/autodiscover.xml"},
		{http.MethodGet, "http://autodiscover.b.test/autodiscover/autodiscover.xml", http.StatusMovedPermanently, "http://autodiscover.b.test/autodiscover/autodiscover.xml"},
		{http.MethodPost, "http://autodiscover.corp.test/autodiscover/autodiscover.xml", http.StatusForbidden, ""},
		{http.MethodGet, "http://autodiscover.corp.test/autodiscover/autodiscover.svc", http.StatusForbidden, ""},
		{http.MethodGet, "http://corp.test/autodiscover/autodiscover.xml", http.StatusForbidden, ""},
	} {
		if r := c.send(t.Context(), test.method, test.url, ""); r.status != test.status || r.header.Get("Location") != test.location {
			t.Errorf("%s %s: got status %d, location %q", test.method, test.url, r.status, r.header.Get("Location"))
		}
	}
}

// Faults befall autodiscover as they do EWS.
func TestAutodiscoverFails(t *testing.T) {
	srv, _ := server(t, nil)
	srv.Fail(ewstest.On("POX").Times(1), ewstest.Unavailable("3"))
	srv.Fail(ewstest.On("GetUserSettings").Host("autodiscover.corp.test"), ewstest.HangUp())
	c := alice(t, srv)
	if r := c.send(t.Context(), http.MethodPost, discoverURL+"xml", poxDiscover(aliceAddress)); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "3" {
		t.Errorf("got status %d, %q", r.status, r.header)
	}
	poxAsk(t, c, poxDiscover(aliceAddress))
	if r := c.send(t.Context(), http.MethodPost, discoverURL+"svc", soapDiscover(discoverURL+"svc", aliceAddress)); r.err == nil {
		t.Errorf("got status %d", r.status)
	}
	other := "https://corp.test/autodiscover/autodiscover.svc"
	if r := c.send(t.Context(), http.MethodPost, other, soapDiscover(other, aliceAddress)); r.status != http.StatusOK {
		t.Errorf("another host: got status %d, %v", r.status, r.err)
	}
}
