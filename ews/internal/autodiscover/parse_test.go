package autodiscover_test

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

func TestEverythingThatSOAPTells(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("company.test")] = soapSettings(
		setting("ExternalEwsUrl", " https://Mail.Company.test:443/EWS/Exchange.asmx#x\n"), setting("InternalEwsUrl", "https://cas.corp.local/EWS/Exchange.asmx"),
		setting("EwsSupportedSchemas", "Exchange2007, Exchange2007_SP1,Exchange2016"), setting("GroupingInformation", "Site1"),
		setting("PublicFolderInformation", "pf@company.test"), setting("AutoDiscoverSMTPAddress", "Joe.Doe@company.test"),
		`<UserSetting i:type="AlternateMailboxCollectionSetting"><Name>AlternateMailboxes</Name><AlternateMailboxes>`+
			`<AlternateMailbox><Type>Archive</Type><DisplayName>Archive - Joe</DisplayName><SmtpAddress>guid@company.test</SmtpAddress><OwnerSmtpAddress>joe@company.test</OwnerSmtpAddress></AlternateMailbox>`+
			`<AlternateMailbox><Type>Delegate</Type><SmtpAddress>ann@company.test</SmtpAddress></AlternateMailbox></AlternateMailboxes></UserSetting>`)
	got := wantURL(t, w.finder(), found)
	got.Trail = nil
	want := &autodiscover.Found{
		URL: got.URL, When: got.When, Address: "Joe.Doe@company.test", Group: "Site1", PublicFolders: "pf@company.test",
		Schemas: []string{"Exchange2007", "Exchange2007_SP1", "Exchange2016"},
		Archives: []autodiscover.Alternate{
			{Type: "Archive", Display: "Archive - Joe", Address: "guid@company.test", Owner: "joe@company.test"}, {Type: "Delegate", Address: "ann@company.test"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEverythingThatPOXTells(t *testing.T) {
	protocol := func(kind, element, u string) string {
		return "<Protocol><Type>" + kind + "</Type><" + element + ">" + u + "</" + element + "></Protocol>"
	}
	const other = "https://other.company.test/EWS/Exchange.asmx"
	for name, account := range map[string]string{
		"EXPR before EXCH":     protocol("EXCH", "EwsUrl", other) + protocol("EXPR", "EwsUrl", found),
		"ASUrl":                protocol("EXCH", "ASUrl", other) + protocol("EXPR", "ASUrl", found),
		"EwsUrl before ASUrl":  "<Protocol><Type>EXPR</Type><ASUrl>" + other + "</ASUrl><EwsUrl>" + found + "</EwsUrl></Protocol>",
		"EXCH alone":           protocol("EXCH", "EwsUrl", found),
		"EXPR before EXHTTP":   protocol("EXHTTP", "EwsUrl", other) + protocol("EXPR", "EwsUrl", found),
		"EXHTTP alone":         protocol("EXHTTP", "EwsUrl", found) + protocol("POP3", "EwsUrl", other),
		"WEB, nested":          "<Protocol><Type>WEB</Type><Internal><Protocol><Type>EXCH</Type><ASUrl>" + other + "</ASUrl></Protocol></Internal><External><Protocol><Type>EXPR</Type><ASUrl>" + found + "</ASUrl></Protocol></External></Protocol>",
		"WEB, internal nested": "<Protocol><Type>WEB</Type><Internal><Protocol><Type>EXCH</Type><ASUrl>" + found + "</ASUrl></Protocol></Internal></Protocol>",
		"settings in capitals": "<Action>SETTINGS</Action>" + protocol("EXPR", "EwsUrl", found),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pages[xmlAt("company.test")] = poxAccount(account)
			if got := wantURL(t, w.finder(), found); got.Address != "joe@company.test" {
				t.Errorf("address %q", got.Address)
			}
		})
	}
	w := newWorld(t)
	w.pages[xmlAt("company.test")] = poxAccount("<AlternativeMailbox><Type>Archive</Type><DisplayName>A</DisplayName><SmtpAddress>a@b.test</SmtpAddress></AlternativeMailbox>" +
		"<PublicFolderInformation><SmtpAddress>pf@company.test</SmtpAddress></PublicFolderInformation>" + protocol("EXPR", "EwsUrl", found) +
		"<Protocol><Type>EXCH</Type><GroupingInformation>Site1</GroupingInformation></Protocol>")
	got := wantURL(t, w.finder(), found)
	if got.PublicFolders != "pf@company.test" || got.Group != "Site1" || len(got.Archives) != 1 || got.Archives[0] != (autodiscover.Alternate{Type: "Archive", Display: "A", Address: "a@b.test"}) {
		t.Errorf("found %+v", got)
	}
}

// TestDirtyAnswers mends what XML forbids and servers send.
func TestDirtyAnswers(t *testing.T) {
	document := func(w *world) string {
		reply, err := w.pages[svc("company.test")](t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	w := newWorld(t)
	w.pages[svc("company.test")] = soapSettings(setting("UserDisplayName", "NAME"), setting("ExternalEwsUrl", found))
	good := document(w)
	for name, edit := range map[string]func(string) string{
		"BOM":               func(s string) string { return "\xef\xbb\xbf" + s },
		"no declaration":    func(s string) string { return s[strings.Index(s, "?>")+2:] },
		"XML 1.1":           func(s string) string { return strings.Replace(s, `"1.0"`, `"1.1"`, 1) },
		"says it is UTF-16": func(s string) string { return strings.Replace(s, `"utf-8"`, `"utf-16"`, 1) },
		"references": func(s string) string {
			return strings.Replace(s, "NAME", "&#x0;&#x1A;&#xFFFE;&#55296;&#x41;&#99999999999999;", 1)
		},
		"raw octets":         func(s string) string { return strings.Replace(s, "NAME", "\x01\xff\xed\xa0\x80\x0b", 1) },
		"unknown entity":     func(s string) string { return strings.Replace(s, "NAME", "a&nbsp;b &bogus;", 1) },
		"CDATA and comments": func(s string) string { return strings.Replace(s, "NAME", "<!-- x --><![CDATA[<a>]]>", 1) },
		"white space":        func(s string) string { return "\r\n " + strings.ReplaceAll(s, "><", ">\r\n\t<") + "\r\n" },
		"other prefixes":     func(s string) string { return strings.NewReplacer("<s:", "<SOAP:", "</s:", "</SOAP:").Replace(s) },
		"elements of its own": func(s string) string {
			return strings.Replace(s, "<UserSettings>", "<New x='1'><Value/></New><UserSettings>", 1)
		},
		"codes in white space":  func(s string) string { return strings.ReplaceAll(s, "NoError", "\n NoError\t") },
		"no codes":              func(s string) string { return strings.ReplaceAll(s, "<ErrorCode>NoError</ErrorCode>", "") },
		"a reference that ends": func(s string) string { return strings.Replace(s, "NAME", "&#; &#x; &# &#xZZ; &#12", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pages[svc("company.test")] = reply(200, edit(good))
			wantURL(t, w.finder(), found)
		})
	}
	for name, bad := range map[string]string{
		"empty":           "",
		"cut":             good[:len(good)-20],
		"UTF-16":          "\xff\xfe<\x00",
		"two documents":   good + good,
		"a DOCTYPE":       `<!DOCTYPE x [<!ENTITY a "aaaa">]>` + good[strings.Index(good, "?>")+2:],
		"deep":            strings.Replace(good, "NAME", strings.Repeat("<a>", 100)+strings.Repeat("</a>", 100), 1),
		"wide":            strings.Replace(good, "NAME", strings.Repeat("<b/>", 200_000), 1),
		"large":           strings.Replace(good, "NAME", strings.Repeat("x", 2<<20), 1),
		"crossed":         "<a><b></a></b>",
		"another answer":  `<x:Envelope xmlns:x="x"><x:Body><Other/></x:Body></x:Envelope>`,
		"no envelope":     "<Autodiscover/>",
		"fault":           `<s:Envelope xmlns:s="x"><s:Body><s:Fault><faultcode>a:DeserializationFailed</faultcode><faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>`,
		"nobody":          strings.ReplaceAll(strings.ReplaceAll(good, "<UserResponse>", "<Nobody>"), "</UserResponse>", "</Nobody>"),
		"two of them":     strings.Replace(good, "</UserResponses>", "<UserResponse/></UserResponses>", 1),
		"text":            "hello",
		"HTML":            webPage,
		"HTML, lower":     "<html><body><p>x</body></html>",
		"another account": "\x00",
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			w := newWorld(t)
			w.pages[svc("company.test")] = reply(200, bad)
			w.pages[svc("autodiscover.company.test")] = reply(404, bad)
			e := failure(t, w.finder(), connection.ErrConfig, "disable_autodiscover")
			if text := e.Error(); strings.ContainsAny(text, "\r\n\x00") || !utf8.ValidString(text) || len(text) > 4000 {
				t.Errorf("error text %q", text)
			} else if name == "large" && !strings.Contains(text, "longer than") {
				t.Errorf("error text %q does not say what is wrong", text)
			}
			w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test")
			wantURL(t, w.finder(), found)
		})
	}
}

// TestEndlessAnswer is cut off, and its connection closed.
func TestEndlessAnswer(t *testing.T) {
	w := newWorld(t)
	body := &endless{}
	w.pages[svc("company.test")] = func(context.Context, string) (*autodiscover.Reply, error) {
		return &autodiscover.Reply{Status: http.StatusOK, Body: body}, nil
	}
	w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
	wantURL(t, w.finder(), found)
	if body.read > 4<<20 || !body.closed {
		t.Errorf("read %d octets, closed: %t", body.read, body.closed)
	}
}

type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}

// TestAddressInTheRequest writes addresses that XML cannot hold as they are.
func TestAddressInTheRequest(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 10)
	w.hosts["company.test"] = func(_ context.Context, address string) (*autodiscover.Reply, error) {
		asked <- address
		return &autodiscover.Reply{Status: 404, Body: http.NoBody}, nil
	}
	const address = `o'neil&"sons"<b>@company.test`
	if _, err := w.finder().Find(t.Context(), address); err == nil {
		t.Error("found something")
	}
	for range 2 { // SOAP and POX
		if got := <-asked; got != address {
			t.Errorf("asked for %q, want %q", got, address)
		}
	}
}
