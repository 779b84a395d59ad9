package soap_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

func fault(inside string) string {
	return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>` + inside + `</s:Fault></s:Body></s:Envelope>`
}

func readFault(t *testing.T, document, op string) *soap.Fault {
	t.Helper()
	_, err := read(soap.NewReader(strings.NewReader(document), op))
	var f *soap.Fault
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a fault:\n%s", err, document)
	}
	return f
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ inside, want string }{
		"2010, with MessageXml": {
			`<faultcode xmlns:a="x">a:ErrorSchemaValidation</faultcode><faultstring xml:lang="en-US">The request failed schema validation.</faultstring><detail>` +
				`<e:ResponseCode xmlns:e="y">ErrorSchemaValidation</e:ResponseCode><e:Message xmlns:e="y">The request failed schema validation.</e:Message>` +
				`<t:MessageXml xmlns:t="z"><t:LineNumber>4</t:LineNumber><t:LinePosition>12</t:LinePosition><t:Violation>The element 'GetItem' is wrong.</t:Violation></t:MessageXml></detail>`,
			"ErrorSchemaValidation|The request failed schema validation.|ErrorSchemaValidation|4:12|The element 'GetItem' is wrong.||map[]",
		},
		"2007, directly in detail": {
			`<faultcode>soap11:Client</faultcode><faultstring>no</faultstring><detail><e:ResponseCode>ErrorSchemaValidation</e:ResponseCode><e:Line>1</e:Line><e:Position>630</e:Position><e:Violation>wrong</e:Violation></detail>`,
			"ErrorSchemaValidation|no|Client|1:630|wrong||map[]",
		},
		"busy": {
			"<faultcode>\r\n  a:ErrorServerBusy </faultcode><faultstring>busy</faultstring><detail><e:ResponseCode> ErrorServerBusy\r\n</e:ResponseCode><t:MessageXml><t:Value Name=\"BackOffMilliseconds\">297749</t:Value><t:Value Name='Policy'>MaxConcurrency</t:Value></t:MessageXml></detail>",
			"ErrorServerBusy|busy|ErrorServerBusy|0:0|||map[BackOffMilliseconds:297749 Policy:MaxConcurrency]",
		},
		"inner code": {
			`<faultcode>a:ErrorInternalServerError</faultcode><detail><e:ResponseCode>ErrorInternalServerError</e:ResponseCode><e:Message>text in detail</e:Message><t:MessageXml><t:Value Name="InnerErrorResponseCode">ErrorServerBusy</t:Value></t:MessageXml></detail>`,
			"ErrorInternalServerError|text in detail|ErrorInternalServerError|0:0||ErrorServerBusy|map[InnerErrorResponseCode:ErrorServerBusy]",
		},
		"code only in faultcode":  {"<faultcode>a:ErrorImpersonateUserDenied</faultcode><faultstring>may not</faultstring>", "ErrorImpersonateUserDenied|may not|ErrorImpersonateUserDenied|0:0|||map[]"},
		"neither detail nor code": {"<faultcode>s:Server</faultcode><faultstring>Unknown request 'X'.</faultstring><detail/>", "|Unknown request 'X'.|Server|0:0|||map[]"},
	} {
		for how, r := range chunks(fault(c.inside)) {
			_, err := read(soap.NewReader(r, "GetItem"))
			var f *soap.Fault
			if !errors.As(err, &f) {
				t.Errorf("%s, %s: got %v", name, how, err)
				continue
			}
			equal(t, name, fmt.Sprintf("%s|%s|%s|%d:%d|%s|%s|%v", f.Code, f.Text, f.Actor, f.Line, f.Position, f.Violation, f.InnerCode, f.Values), c.want)
		}
	}
}

func TestE12FaultInsteadOfAnAnswer(t *testing.T) {
	// With which HTTP status it comes does not matter here: content decides.
	f := readFault(t, fault("<faultcode>s:Client</faultcode><faultstring>no</faultstring><detail><ResponseCode>ErrorInvalidServerVersion</ResponseCode></detail>"), "GetItem")
	equal(t, "code", f.Code, "ErrorInvalidServerVersion")
	f = readFault(t, envelopeStart+"<s:Fault><faultcode>ErrorX</faultcode></s:Fault>"+envelopeEnd, "GetItem")
	equal(t, "code", f.Code, "ErrorX")
}

func TestE12FaultBehindMessages(t *testing.T) {
	document := strings.Replace(answer("GetItem", item("a", encode(mime))), envelopeEnd, "<s:Fault><faultcode>ErrorX</faultcode></s:Fault>"+envelopeEnd, 1)
	all, err := read(newReader(strings.NewReader(document), "GetItem", "a"))
	var f *soap.Fault
	if len(all) != 1 || all[0].Err != nil || !errors.As(err, &f) {
		t.Errorf("got %d messages and %v", len(all), err)
	}
}

func TestE52UnknownRequest(t *testing.T) {
	f := readFault(t, fault("<faultcode>SOAP-ENV:Server</faultcode><faultstring>Unknown request 'ExportItems'.</faultstring>"), "ExportItems")
	equal(t, "unknown request", f.UnknownRequest(), true)
	equal(t, "code", f.Code, "")
	equal(t, "text", f.Error(), "soap fault: Unknown request 'ExportItems'.")
	f = readFault(t, fault("<faultcode>SOAP-ENV:Server</faultcode><faultstring>It broke.</faultstring>"), "ExportItems")
	equal(t, "unknown request", f.UnknownRequest(), false)
}

func TestE60CodeOnlyInFaultcode(t *testing.T) {
	f := readFault(t, fault("<faultcode xmlns:a='x'> a:ErrorImpersonateUserDenied\r\n</faultcode><faultstring>The account does not have permission to impersonate.</faultstring>"), "GetFolder")
	equal(t, "code", f.Code, "ErrorImpersonateUserDenied")
}

func TestE16BackOff(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Millisecond, "300000": 5 * time.Minute, " 297749 ": 297749 * time.Millisecond, "12.5": 12500 * time.Microsecond,
		"-1": -1, "": -1, "soon": -1, "NaN": -1, "1e300": 1<<63 - 1, "99999999999999999999": 1<<63 - 1,
	} {
		value := `<t:Value Name="BackOffMilliseconds">` + text + `</t:Value>`
		f := readFault(t, fault("<faultcode>ErrorServerBusy</faultcode><detail><t:MessageXml>"+value+"</t:MessageXml></detail>"), "GetItem")
		got, ok := f.BackOff()
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: got %v, %t, want %v", text, got, ok, want)
		}
		document := answer("GetItem", strings.Replace(failure("GetItem", "ErrorServerBusy"), "<m:DescriptiveLinkKey>", "<m:MessageXml>"+value+"</m:MessageXml><m:DescriptiveLinkKey>", 1))
		inMessage, ok2 := mustRead(t, document, "GetItem")[0].Response.BackOff()
		if inMessage != got || ok2 != ok {
			t.Errorf("%q: a response message gives %v, %t, want %v, %t", text, inMessage, ok2, got, ok)
		}
	}
	if _, ok := (&soap.Fault{}).BackOff(); ok {
		t.Error("a fault without values asks for a pause")
	}
}

func TestFailedMessage(t *testing.T) {
	document := answer("SyncFolderItems", `<m:SyncFolderItemsResponseMessage ResponseClass="Error"><m:MessageText>Synchronization state data is corrupt.</m:MessageText>`+
		`<m:ResponseCode>ErrorInvalidSyncStateData</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey><m:MessageXml><t:Value Name="InnerErrorResponseCode">ErrorX</t:Value>`+
		`<t:LineNumber>2</t:LineNumber><t:LinePosition>3</t:LinePosition><t:Violation>v</t:Violation><t:FieldURI FieldURI="item:Size"/></m:MessageXml><m:SyncState/><m:IncludesLastItemInRange>true</m:IncludesLastItemInRange></m:SyncFolderItemsResponseMessage>`)
	r := mustRead(t, document, "SyncFolderItems")[0].Response
	equal(t, "message", fmt.Sprint(r.OK(), r.Code, r.Text, r.InnerCode(), r.Line, r.Column, r.Violation), "falseErrorInvalidSyncStateDataSynchronization state data is corrupt.ErrorX2 3v")
	silent := mustRead(t, answer("DeleteItem", "<m:M/>", "<m:M><m:ResponseCode>ErrorX</m:ResponseCode></m:M>", "<m:M><m:ResponseCode>NoError</m:ResponseCode></m:M>"), "DeleteItem")
	equal(t, "without class", fmt.Sprint(silent[0].Response.OK(), silent[1].Response.OK(), silent[2].Response.OK()), "true false true")
}

func TestPayloadOfAFailureIsNoMessage(t *testing.T) {
	const code = "<m:ResponseCode>ErrorX</m:ResponseCode>"
	before := strings.NewReplacer(` ResponseClass="Success"`, "", "NoError", "ErrorX").Replace(item("a", encode(mime)))
	got := mustRead(t, answer("GetItem", before), "GetItem", "a")[0].Response
	equal(t, "payload", got.Body() == nil && !got.OK(), true)
	behind := strings.Replace(strings.Replace(before, code, "", 1), "</m:Items>", "</m:Items>"+code, 1)
	all, err := read(newReader(strings.NewReader(answer("GetItem", behind, item("b", encode("next")))), "GetItem", "a", "b"))
	if err != nil || len(all) != 2 || all[1].Octets != "next" {
		t.Fatalf("got %+v and %v", all, err)
	}
	wantKind(t, all[0].Err, connection.ErrProtocol)
}

func TestServerVersionInfo(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		want   soap.ServerVersionInfo
		known  bool
	}{
		"types prefix":   {`<t:ServerVersionInfo MajorVersion="8" MinorVersion="1"/>`, soap.ServerVersionInfo{Major: 8, Minor: 1}, true},
		"leading zeros":  {`<h:ServerVersionInfo MajorVersion="15" MinorVersion="01" MajorBuildNumber="042" MinorBuildNumber="007"/>`, soap.ServerVersionInfo{Major: 15, Minor: 1, MajorBuild: 42, MinorBuild: 7}, true},
		"no numbers":     {`<h:ServerVersionInfo MajorVersion="x" MinorVersion="-1" MajorBuildNumber="" Version="V2017_07_11"/>`, soap.ServerVersionInfo{Version: "V2017_07_11"}, true},
		"another header": {`<h:Other/>`, soap.ServerVersionInfo{}, false},
	} {
		document := strings.Replace(answer("DeleteItem", success("DeleteItem", "")), "<s:Header>", "<s:Header>"+c.header+"</s:Header><s:Ignored>", 1)
		document = strings.Replace(document, "</s:Header><s:Body>", "</s:Ignored><s:Body>", 1)
		r := soap.NewReader(strings.NewReader(document), "DeleteItem")
		if _, err := r.Next(); err != nil {
			t.Fatal(name, err)
		}
		got, known := r.Server()
		equal(t, name, got, c.want)
		equal(t, name, known, c.known)
	}
	r := soap.NewReader(strings.NewReader(strings.Replace(fault("<faultcode>ErrorX</faultcode>"), "<s:Body>", `<s:Header><h:ServerVersionInfo MajorVersion="14"/></s:Header><s:Body>`, 1)), "GetItem")
	if _, err := r.Next(); err == nil {
		t.Fatal("a fault is no error")
	}
	got, _ := r.Server()
	equal(t, "of a fault", got.Major, 14)
}

func TestErrorsAreShort(t *testing.T) {
	page := "<html><body>" + strings.Repeat("<p>No\x00w\r\n", 1000)
	_, err := read(soap.NewReader(strings.NewReader(page), "GetItem"))
	wantKind(t, err, connection.ErrProtocol)
	if err == nil || len(err.Error()) > 500 || !strings.Contains(err.Error(), "No w No") {
		t.Errorf("got %v", err)
	}
	f := &soap.Fault{Code: "ErrorX", InnerCode: "ErrorY", Text: strings.Repeat("long\r\n", 1000), Line: 3, Position: 4, Violation: "it is wrong"}
	if text := f.Error(); len(text) > 500 || strings.ContainsAny(text, "\r\n") || !strings.Contains(text, "ErrorX (ErrorY): long long") || !strings.Contains(text, "at line 3, position 4: it is wrong") {
		t.Errorf("got %q", text)
	}
}

func TestE36StreamingEvents(t *testing.T) {
	event := func(prefix, id string) string {
		return strings.ReplaceAll(answer("GetStreamingEvents", success("GetStreamingEvents", `<m:Notifications><m:Notification><t:SubscriptionId>s</t:SubscriptionId><t:CreatedEvent><t:ItemId Id="`+id+`"/></t:CreatedEvent></m:Notification></m:Notifications>`)), "s:", prefix)
	}
	status := func(status string) string {
		return answer("GetStreamingEvents", success("GetStreamingEvents", "<m:ConnectionStatus>"+status+"</m:ConnectionStatus>"))
	}
	document := status("OK") + event("soap11:", "1") + "\r\n" + event("", "2") + "\ufeff" + event("SOAP-ENV:", "3") + strings.Replace(event("e:", "4"), "</m:ResponseMessages>", success("GetStreamingEvents", "<m:ConnectionStatus>OK</m:ConnectionStatus>")+"</m:ResponseMessages>", 1) + status("Closed") + "\n"
	for how, r := range chunks(document) {
		var got []string
		events := soap.NewEventReader(r)
		for {
			resp, err := events.Next()
			if err == io.EOF { //nolint:errorlint // the end is bare
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			got = append(got, resp.ConnectionStatus)
			for _, n := range resp.Notifications {
				got = append(got, n.Events[0].Item)
			}
		}
		equal(t, how, strings.Join(got, " "), "OK  1  2  3  4 OK Closed")
		if info, ok := events.Server(); !ok || info.Major != 15 {
			t.Errorf("%s: server %+v, %t", how, info, ok)
		}
	}
}

func TestE36EventsComeAsTheyHappen(t *testing.T) {
	in, out := io.Pipe()
	next := make(chan bool)
	go func() {
		rest := ""
		for i := range 3 {
			document := answer("GetStreamingEvents", success("GetStreamingEvents", fmt.Sprintf("<m:ConnectionStatus>%d</m:ConnectionStatus>", i)))
			first, behind, _ := strings.Cut(document, "</m:ResponseMessages>")
			_, _ = io.WriteString(out, rest+first) // the stream stops at the end of the response message
			rest = "</m:ResponseMessages>" + behind
			<-next
		}
		_ = out.Close() // never fails
	}()
	events := soap.NewEventReader(in)
	for i := range 3 {
		resp, err := events.Next()
		if err != nil || resp.ConnectionStatus != fmt.Sprint(i) {
			t.Fatalf("got %+v and %v", resp, err)
		}
		next <- true
	}
	_, err := events.Next()
	wantKind(t, err, connection.ErrProtocol)
}

func TestE36StreamThatEnds(t *testing.T) {
	one := answer("GetStreamingEvents", success("GetStreamingEvents", ""))
	for name, c := range map[string]struct {
		document string
		end      bool
	}{
		"between envelopes": {one + one, true},
		"white space":       {one + "\r\n", true},
		"declaration":       {one + `<?xml version="1.0"?>`, true},
		"within a tag":      {one + "<s:Enve", false},
		"within one":        {one + one[:len(one)-5], false},
		"no envelope":       {"", false},
		"garbage":           {one + "garbage", false},
		"fault":             {one + fault("<faultcode>ErrorX</faultcode>"), false},
	} {
		events := soap.NewEventReader(strings.NewReader(c.document))
		var err error
		for err == nil {
			_, err = events.Next()
		}
		if (err == io.EOF) != c.end { //nolint:errorlint // the end is bare
			t.Errorf("%s: got %v", name, err)
		}
		if _, again := events.Next(); again != err { //nolint:errorlint // it is the very same
			t.Errorf("%s: got %v, then %v", name, err, again)
		}
	}
}

func TestE36LimitsHoldForEachEnvelope(t *testing.T) {
	text := strings.Repeat("x", 600<<10)
	one := answer("GetStreamingEvents", success("GetStreamingEvents", "<m:MessageText>"+text+"</m:MessageText>"))
	events := soap.NewEventReader(strings.NewReader(strings.Repeat(one, 40))) // more than a single answer may have
	n := 0
	for {
		_, err := events.Next()
		if err == io.EOF { //nolint:errorlint // the end is bare
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	equal(t, "messages", n, 40)
}
