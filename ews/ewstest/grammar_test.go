package ewstest

import (
	"errors"
	"strings"
	"testing"
)

// envelopeOf makes a request of a header and an operation, with the usual prefixes.
func envelopeOf(header, op string) string {
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="` + nsSOAP + `" xmlns:t="` + nsTypes + `" xmlns:m="` + nsMessages +
		`" xmlns:w="http://www.w3.org/2005/08/addressing"><s:Header>` + header + `</s:Header><s:Body>` + op + `</s:Body></s:Envelope>`
}

const header2016 = `<t:RequestServerVersion Version="Exchange2016"/>`

// codeOf returns the code of a fault, "" without an error.
func codeOf(err error) string {
	if f := (*fault)(nil); errors.As(err, &f) {
		return f.code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestOrderOfElements(t *testing.T) {
	op := `<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId><t:FolderId Id="AQMk"/></m:SyncFolderId>` +
		`<m:SyncState>H4sI</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems>`
	if err := CheckRequest("", []byte(envelopeOf(header2016, op))); err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(op, "<m:SyncState>H4sI</m:SyncState>", "", 1)
	wrong = strings.Replace(wrong, "</m:SyncFolderItems>", "<m:SyncState>H4sI</m:SyncState></m:SyncFolderItems>", 1)
	err := CheckRequest("", []byte(envelopeOf(header2016, wrong)))
	want := "has invalid child element 'SyncState' in namespace '" + nsMessages + "'. List of possible elements expected: 'SyncScope' in namespace '" + nsMessages + "'."
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	short := strings.Replace(op, "<m:MaxChangesReturned>512</m:MaxChangesReturned>", "", 1)
	err = CheckRequest("", []byte(envelopeOf(header2016, short)))
	want = "has incomplete content. List of possible elements expected: 'Ignore, MaxChangesReturned' in namespace '" + nsMessages + "'."
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestValues(t *testing.T) {
	const find = `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>%boolean</t:IncludeMimeContent>` +
		`<t:AdditionalProperties>%path</t:AdditionalProperties></m:ItemShape><m:CalendarView StartDate="%date" EndDate="2026-01-01T00:00:00Z"/>` +
		`<m:ParentFolderIds><t:DistinguishedFolderId Id="%folder"/></m:ParentFolderIds></m:FindItem>`
	const changes = `<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId><t:FolderId Id="a"/></m:SyncFolderId>` +
		`<m:MaxChangesReturned>%int</m:MaxChangesReturned></m:SyncFolderItems>`
	const stream = `<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>a</t:SubscriptionId></m:SubscriptionIds><m:ConnectionTimeout>%int</m:ConnectionTimeout></m:GetStreamingEvents>`
	const pull = `<m:Subscribe><m:PullSubscriptionRequest><t:FolderIds><t:FolderId Id="a"/></t:FolderIds><t:EventTypes><t:EventType>%event</t:EventType></t:EventTypes><t:Timeout>%int</t:Timeout></m:PullSubscriptionRequest></m:Subscribe>`
	const create = `<m:CreateItem MessageDisposition="SaveOnly"><m:Items><t:Message><t:MimeContent>%base64</t:MimeContent></t:Message></m:Items></m:CreateItem>`
	usual := map[string]string{
		"%boolean": "true", "%path": `<t:FieldURI FieldURI="item:Size"/>`, "%date": "2026-01-01T00:00:00Z", "%folder": "inbox", "%int": "1",
		"%event": "NewMailEvent", "%base64": "aGk=",
	}
	for _, test := range []struct {
		document, what string
		good, bad      []string
	}{
		{find, "%boolean", []string{"true", "false", "1", "0", " true "}, []string{"True", "yes", "", "2"}},
		{find, "%date", []string{"2026-12-31T23:59:59.123456789+01:00", "2026-01-01T00:00:00"}, []string{"2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01 00:00:00Z", ""}},
		{find, "%folder", []string{"archiveinbox", "publicfoldersroot"}, []string{"Inbox", "trash", ""}},
		{find, "%path", []string{
			`<t:FieldURI FieldURI="message:InternetMessageId"/>`, `<t:IndexedFieldURI FieldURI="item:InternetMessageHeader" FieldIndex="X-Tag"/>`,
			`<t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/>`, `<t:ExtendedFieldURI PropertyTag="3591" PropertyType="Integer"/>`,
			`<t:ExtendedFieldURI DistinguishedPropertySetId="Common" PropertyId="34051" PropertyType="Integer"/>`,
			`<t:ExtendedFieldURI PropertySetId="00020329-0000-0000-C000-000000000046" PropertyName="x" PropertyType="String"/>`,
		}, []string{
			``, `<t:FieldURI FieldURI="item:size"/>`, `<t:FieldURI FieldURI="Size"/>`, `<t:FieldURI/>`, `<t:IndexedFieldURI FieldURI="item:InternetMessageHeader"/>`,
			`<t:ExtendedFieldURI PropertyTag="0xE0700003" PropertyType="Integer"/>`, `<t:ExtendedFieldURI PropertyTag="0x0E07"/>`,
			`<t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Int"/>`, `<t:ExtendedFieldURI PropertySetId="x" PropertyName="x" PropertyType="String"/>`,
			`<t:ExtendedFieldURI PropertyType="Integer"/>`, `<t:ExtendedFieldURI PropertyTag="0x0E07" PropertyName="x" PropertyType="Integer"/>`,
			`<t:ExtendedFieldURI DistinguishedPropertySetId="Common" PropertyType="Integer"/>`,
			`<t:ExtendedFieldURI DistinguishedPropertySetId="Common" PropertyId="1" PropertyName="x" PropertyType="Integer"/>`,
		}},
		{changes, "%int", []string{"1", "512"}, []string{"0", "513", "-1", "x", ""}},
		{stream, "%int", []string{"1", "30"}, []string{"0", "31"}},
		{pull, "%int", []string{"1", "1440"}, []string{"0", "1441"}},
		{pull, "%event", []string{"CreatedEvent", "FreeBusyChangedEvent"}, []string{"Created", "StatusEvent", ""}},
		{create, "%base64", []string{"", "aGk=", "a\r\nGk ="}, []string{"aGk", "a-k=", "hello"}},
	} {
		document := test.document
		for name, value := range usual {
			if name != test.what {
				document = strings.ReplaceAll(document, name, value)
			}
		}
		for _, value := range append(test.good, test.bad...) {
			err := CheckRequest("", []byte(envelopeOf(header2016, strings.ReplaceAll(document, test.what, value))))
			good := len(test.good) > 0
			for _, bad := range test.bad {
				good = good && bad != value
			}
			if (err == nil) != good {
				t.Errorf("%s %q: got %v", test.what, value, err)
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	const op = `<m:Unsubscribe><m:SubscriptionId>a</m:SubscriptionId></m:Unsubscribe>`
	const connecting = `<t:ExchangeImpersonation><t:ConnectingSID>`
	const end = `</t:ConnectingSID></t:ExchangeImpersonation>`
	for header, want := range map[string]string{
		"":         "",
		header2016: "",
		header2016 + connecting + `<t:SID>S-1-5</t:SID>` + end:                                                     "",
		header2016 + connecting + `<t:SmtpAddress>a@b.c</t:SmtpAddress>` + end:                                     "",
		header2016 + `<t:MailboxCulture>en-US</t:MailboxCulture>`:                                                  "",
		header2016 + `<t:DateTimePrecision>Seconds</t:DateTimePrecision>`:                                          "",
		header2016 + `<t:TimeZoneContext><t:TimeZoneDefinition Id="UTC"/></t:TimeZoneContext>`:                     "",
		header2016 + `<w:Action>x</w:Action>`:                                                                      "",
		`<t:RequestServerVersion/>`:                                                                                "ErrorSchemaValidation",
		header2016 + header2016:                                                                                    "ErrorSchemaValidation",
		header2016 + `<t:ExchangeImpersonations/>`:                                                                 "ErrorSchemaValidation",
		header2016 + `<t:DateTimePrecision>Minutes</t:DateTimePrecision>`:                                          "ErrorSchemaValidation",
		header2016 + connecting + end:                                                                              "ErrorSchemaValidation",
		header2016 + connecting + `<t:SID></t:SID>` + end:                                                          "ErrorSchemaValidation",
		header2016 + connecting + `<t:SID>S</t:SID><t:PrincipalName>a@b.c</t:PrincipalName>` + end:                 "ErrorSchemaValidation",
		`<t:RequestServerVersion Version="Exchange2007"/>` + connecting + `<t:SmtpAddress>a</t:SmtpAddress>` + end: "ErrorSchemaValidation",
		`<t:RequestServerVersion Version="V2017_07_11"/>`:                                                          "ErrorInvalidServerVersion: no version V2017_07_11",
	} {
		if got := codeOf(CheckRequest("", []byte(envelopeOf(header, op)))); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	if err := CheckRequest("", []byte(envelopeOf("", `<m:GetUserPhoto/>`))); codeOf(err) != "" || err == nil {
		t.Errorf("unknown operation: %v", err)
	}
	if err := CheckRequest("", []byte(`<x`)); err == nil {
		t.Error("what is not well-formed is taken")
	}
	export := []byte(envelopeOf("", `<m:ExportItems><m:ItemIds><t:ItemId Id="a"/></m:ItemIds></m:ExportItems>`))
	if err := CheckRequest("Exchange2010", export); codeOf(err) != "ErrorSchemaValidation" {
		t.Errorf("ExportItems with 2010: %v", err)
	}
	if err := CheckRequest("Exchange2010_SP1", export); err != nil {
		t.Errorf("ExportItems with 2010_SP1: %v", err)
	}
}

// TestYoungElements declares every version, and expects that what is younger is refused and the rest taken.
func TestYoungElements(t *testing.T) {
	folder := func(id string) string {
		return `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds><t:DistinguishedFolderId Id="` + id + `"/></m:FolderIds></m:GetFolder>`
	}
	const shape = `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>`
	const parent = `<t:DistinguishedFolderId Id="inbox"/>`
	item := `<m:ItemIds><t:ItemId Id="a"/></m:ItemIds>`
	for op, since := range map[string]version{
		folder("inbox"):                          v2007,
		folder("recoverableitemsroot"):           v2010,
		folder("recoverableitemspurges"):         v2010,
		folder("archivemsgfolderroot"):           v2010SP1,
		folder("archiverecoverableitemspurges"):  v2010SP1,
		folder("archiveinbox"):                   v2013SP1,
		folder("recoverableitemsdiscoveryholds"): v2013SP1,
		`<m:SyncFolderItems>` + shape + `<m:SyncFolderId>` + parent + `</m:SyncFolderId><m:MaxChangesReturned>1</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>`: v2010,
		`<m:FindItem Traversal="Shallow">` + shape + `<m:ParentFolderIds>` + parent + `</m:ParentFolderIds><m:QueryString>a</m:QueryString></m:FindItem>`:                                         v2010,
		`<m:ExportItems>` + item + `</m:ExportItems>`: v2010SP1,
		`<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>a</t:SubscriptionId></m:SubscriptionIds><m:ConnectionTimeout>1</m:ConnectionTimeout></m:GetStreamingEvents>`:                                                                     v2010SP1,
		`<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds>` + parent + `</t:FolderIds><t:EventTypes><t:EventType>NewMailEvent</t:EventType></t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`:                                  v2010SP1,
		`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:MimeContentUTF8"/></t:AdditionalProperties></m:ItemShape>` + item + `</m:GetItem>`:                                              v2013,
		`<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="folder:DistinguishedFolderId"/></t:AdditionalProperties></m:FolderShape><m:FolderIds>` + parent + `</m:FolderIds></m:GetFolder>`: v2013,
		`<m:GetSearchableMailboxes/>`: v2013,
		`<m:FindPeople><m:IndexedPageItemView Offset="0" BasePoint="Beginning"/></m:FindPeople>`:        v2013SP1,
		`<m:DeleteItem DeleteType="HardDelete">` + item + `</m:DeleteItem>`:                             v2007,
		`<m:DeleteItem DeleteType="HardDelete" SuppressReadReceipts="true">` + item + `</m:DeleteItem>`: v2013SP1,
	} {
		for v := range version(len(versionNames)) {
			want := ""
			if v < since {
				want = "ErrorSchemaValidation"
			}
			if got := codeOf(CheckRequest(v.String(), []byte(envelopeOf("", op)))); got != want {
				t.Errorf("%s with %s: got %q, want %q", op, v, got, want)
			}
		}
	}
}

func TestGrammarIsWhole(t *testing.T) {
	g := theGrammar()
	var known func(where string, p *particle)
	known = func(where string, p *particle) {
		for _, part := range p.parts {
			known(where, part)
		}
		if p.kind != elementParticle || p.of == "any" || g.types[p.of] != nil {
			return
		}
		defer func() {
			if bad := recover(); bad != nil {
				t.Errorf("%s: %s: %v", where, p.name, bad)
			}
		}()
		g.holds(p.of, "x", v2016)
	}
	for _, rules := range []map[string]*model{g.headers, g.operations, g.types} {
		for name, r := range rules {
			if r.content != nil {
				known(name, r.content)
			}
			for _, a := range r.attrs {
				known(name, &particle{name: "@" + a.name, of: a.value})
			}
			if r.text != "" {
				known(name, &particle{name: "its text", of: r.text})
			}
		}
	}
	for name := range operations {
		if g.operations[name] == nil {
			t.Errorf("no grammar for %s", name)
		}
	}
	if len(g.operations) != len(operations) {
		t.Errorf("got %d operations in the grammar, want %d", len(g.operations), len(operations))
	}
}
