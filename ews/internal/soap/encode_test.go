package soap_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

func encodeAt(t *testing.T, version soap.Version, op soap.Operation) string {
	t.Helper()
	body, err := soap.Encode(soap.Header{Version: version}, op)
	if err != nil {
		t.Fatalf("%s: %v", op.Name(), err)
	}
	octets, err := io.ReadAll(body.Open())
	if err != nil || int64(len(octets)) != body.Len() || body.Op() != op.Name() {
		t.Fatalf("%s: got %d octets of %s and %v, want %d", op.Name(), len(octets), body.Op(), err, body.Len())
	}
	_, after, _ := strings.Cut(string(octets), "<s:Body>")
	inside, _, _ := strings.Cut(after, "</s:Body>")
	return inside
}

func TestRequestsAsTheyAreSent(t *testing.T) {
	body, err := soap.Encode(soap.Header{Version: soap.Exchange2013, As: soap.Identity{Kind: soap.ByPrimaryAddress, Value: "joe@company.com"}},
		soap.SyncFolderItems{Folder: soap.FolderID{ID: "AQMk"}, SyncState: "H4sI", Max: 512})
	if err != nil {
		t.Fatal(err)
	}
	octets, err := io.ReadAll(body.Open())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "request", string(octets), `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"`+
		` xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages">`+
		`<s:Header><t:RequestServerVersion Version="Exchange2013"/><t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>joe@company.com</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation></s:Header>`+
		`<s:Body><m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId><t:FolderId Id="AQMk"/></m:SyncFolderId>`+
		`<m:SyncState>H4sI</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems></s:Body></s:Envelope>`)

	yes := true
	flags := soap.Property{Path: soap.Tag(0x0e07, "Integer"), Value: "1"}
	for want, op := range map[string]soap.Operation{
		`<m:DeleteItem DeleteType="HardDelete" SendMeetingCancellations="SendToNone" AffectedTaskOccurrences="AllOccurrences" SuppressReadReceipts="true"><m:ItemIds><t:ItemId Id="a&quot;b"/></m:ItemIds></m:DeleteItem>`: soap.DeleteItem{Type: soap.HardDelete, Items: []soap.ItemID{{ID: `a"b`}}},
		`<m:CreateItem MessageDisposition="SaveOnly"><m:SavedItemFolderId><t:DistinguishedFolderId Id="inbox"><t:Mailbox><t:EmailAddress>joe@corp.test</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId></m:SavedItemFolderId>` +
			`<m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">YWJjZA==</t:MimeContent><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/><t:Value>1</t:Value></t:ExtendedProperty>` +
			`<t:IsRead>true</t:IsRead></t:Message></m:Items></m:CreateItem>`: soap.CreateItem{Disposition: soap.SaveOnly, Folder: soap.Inbox("joe@corp.test"), Items: []soap.NewItem{{MIME: soap.Content{R: strings.NewReader("abcdef"), Size: 4}, Extended: []soap.Property{flags}, Read: &yes}}},
		`<m:UpdateItem ConflictResolution="AutoResolve" MessageDisposition="SaveOnly" SuppressReadReceipts="true"><m:ItemChanges><t:ItemChange><t:ItemId Id="a" ChangeKey="k"/><t:Updates><t:SetItemField><t:FieldURI FieldURI="message:IsRead"/>` +
			`<t:Message><t:IsRead>true</t:IsRead></t:Message></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`: soap.UpdateItem{Changes: []soap.ItemChange{{ID: soap.ItemID{ID: "a", ChangeKey: "k"}, Read: &yes}}},
		`<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>a&lt;b</t:SubscriptionId></m:SubscriptionIds><m:ConnectionTimeout>30</m:ConnectionTimeout></m:GetStreamingEvents>`: soap.GetStreamingEvents{Subscriptions: []string{"a<b"}, Minutes: 30},
		`<m:Unsubscribe><m:SubscriptionId>a&#13;b</m:SubscriptionId></m:Unsubscribe>`:                                                                                                  soap.Unsubscribe{Subscription: "a\rb"},
	} {
		equal(t, op.Name(), encodeAt(t, soap.Exchange2013SP1, op), want)
	}
}

func TestReceiptsBelowTheirSwitch(t *testing.T) {
	for _, op := range []soap.Operation{soap.DeleteItem{Type: soap.SoftDelete, Items: []soap.ItemID{{ID: "a"}}}, soap.MoveItem{To: soap.Inbox(""), Items: []soap.ItemID{{ID: "a"}}, ReturnIDs: true}} {
		old, young := encodeAt(t, soap.Exchange2010, op), encodeAt(t, soap.Exchange2013SP1, op)
		if strings.Contains(old, "SuppressReadReceipts") || strings.Contains(old, "ReturnNewItemIds") || len(young) <= len(old) {
			t.Errorf("2010: %s\n2013 SP1: %s", old, young)
		}
	}
}

func TestYoungerPartsAreRefused(t *testing.T) {
	for name, c := range requests() {
		for _, version := range soap.Versions() {
			_, err := soap.Encode(soap.Header{Version: version}, c.op)
			if version.Below(c.since) && c.since != soap.Exchange2007SP1 {
				if err == nil || !errors.Is(err, connection.ErrUnsupported) {
					t.Errorf("%s, %s: got %v", name, version, err)
				}
			} else if err != nil {
				t.Errorf("%s, %s: %v", name, version, err)
			}
		}
	}
}

func TestWrongRequestsAreRefused(t *testing.T) {
	id, inbox := []soap.ItemID{{ID: "a"}}, []soap.FolderID{soap.Inbox("")}
	itself := soap.Not(nil)
	*itself = *soap.And(itself)
	big := strings.NewReader("")
	for name, op := range map[string]soap.Operation{
		"no changes":          soap.SyncFolderItems{Folder: inbox[0]},
		"too many changes":    soap.SyncFolderItems{Folder: inbox[0], Max: 513},
		"no folder":           soap.SyncFolderItems{Max: 1},
		"two folders":         soap.SyncFolderItems{Max: 1, Folder: soap.FolderID{ID: "a", Distinguished: "inbox"}},
		"no folders":          soap.GetFolder{},
		"no items":            soap.GetItem{},
		"no id":               soap.GetItem{Items: []soap.ItemID{{ChangeKey: "k"}}},
		"base shape":          soap.GetItem{Items: id, Shape: soap.ItemShape{Base: "idonly"}},
		"body type":           soap.GetItem{Items: id, Shape: soap.ItemShape{BodyType: "html"}},
		"no path":             soap.GetItem{Items: id, Shape: soap.ItemShape{Properties: []soap.Path{{}}}},
		"traversal":           soap.FindItem{Parents: inbox, Traversal: soap.Deep},
		"page":                soap.FindItem{Parents: inbox, Page: &soap.Page{Offset: -1}},
		"restriction itself":  soap.FindItem{Parents: inbox, Restriction: itself},
		"empty restriction":   soap.FindItem{Parents: inbox, Restriction: &soap.Restriction{}},
		"empty and":           soap.FindItem{Parents: inbox, Restriction: soap.And()},
		"not nothing":         soap.FindItem{Parents: inbox, Restriction: soap.Not(nil)},
		"disposition":         soap.CreateItem{Items: []soap.NewItem{{}}},
		"nothing to create":   soap.CreateItem{Disposition: soap.SendOnly},
		"negative size":       soap.CreateItem{Disposition: soap.SendOnly, Items: []soap.NewItem{{MIME: soap.Content{R: big, Size: -1}}}},
		"absurd size":         soap.CreateItem{Disposition: soap.SendOnly, Items: []soap.NewItem{{MIME: soap.Content{R: big, Size: 1 << 62}}}},
		"property's path":     soap.CreateItem{Disposition: soap.SaveOnly, Items: []soap.NewItem{{Extended: []soap.Property{{Path: soap.Field("item:Size")}}}}},
		"no update":           soap.UpdateItem{Changes: []soap.ItemChange{{ID: id[0]}}},
		"no updates":          soap.UpdateItem{},
		"conflicts":           soap.UpdateItem{Conflicts: "never", Changes: []soap.ItemChange{{ID: id[0], Extended: []soap.Property{{Path: soap.Tag(1, "String")}}}}},
		"delete type":         soap.DeleteItem{Items: id},
		"attachment":          soap.GetAttachment{},
		"attachment id":       soap.GetAttachment{Attachments: []string{""}},
		"no upload":           soap.UploadItems{},
		"upload action":       soap.UploadItems{Items: []soap.Upload{{Folder: id[0]}}},
		"upload folder":       soap.UploadItems{Items: []soap.Upload{{Action: soap.CreateNew}}},
		"folder name":         soap.CreateFolder{Parent: inbox[0], Folders: []soap.NewFolder{{}}},
		"no folder to create": soap.CreateFolder{Parent: inbox[0]},
		"events":              soap.Subscribe{Folders: inbox, Timeout: 1},
		"event":               soap.Subscribe{Folders: inbox, Timeout: 1, Events: []string{"NewMail"}},
		"timeout":             soap.Subscribe{Folders: inbox, Timeout: 1441, Events: []string{"NewMailEvent"}},
		"subscriptions":       soap.GetStreamingEvents{Minutes: 1},
		"minutes":             soap.GetStreamingEvents{Subscriptions: []string{"a"}, Minutes: 31},
		"subscription":        soap.Unsubscribe{},
		"watermark":           soap.GetEvents{Subscription: "a"},
		"entry":               soap.ResolveNames{},
		"scope":               soap.ResolveNames{Entry: "a", Scope: "all"},
		"list":                soap.ExpandDL{},
		"people":              soap.FindPeople{},
		"format":              soap.ConvertId{IDs: []soap.AlternateID{{Format: "EwsId", ID: "a", Mailbox: "b"}}},
		"no ids":              soap.ConvertId{Format: "EwsId"},
		"control character":   soap.ResolveNames{Entry: "a\x01"},
		"NUL":                 soap.GetItem{Items: []soap.ItemID{{ID: "a\x00"}}},
		"U+FFFE":              soap.CreateFolder{Parent: inbox[0], Folders: []soap.NewFolder{{Name: "a\ufffeb"}}},
		"invalid UTF-8":       soap.SyncFolderItems{Folder: inbox[0], Max: 1, SyncState: "a\xffb"},
		"surrogate":           soap.FindItem{Parents: inbox, Restriction: soap.Equal(soap.Field("item:Subject"), "\xed\xa0\x80")},
	} {
		body, err := soap.Encode(soap.Header{Version: soap.Exchange2016}, op)
		if body != nil || !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, h := range map[string]soap.Header{
		"no version":    {},
		"version":       {Version: "V2017_07_11"},
		"identity":      {Version: soap.Exchange2016, As: soap.Identity{Kind: "Smtp", Value: "a"}},
		"nobody":        {Version: soap.Exchange2016, As: soap.Identity{Kind: soap.BySID}},
		"identity text": {Version: soap.Exchange2016, As: soap.Identity{Kind: soap.BySID, Value: "\x02"}},
	} {
		if _, err := soap.Encode(h, soap.GetItem{Items: id}); !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := soap.Encode(soap.Header{Version: soap.Exchange2016}, soap.ResolveNames{Entry: "\ufffd\U0001f600"}); err != nil {
		t.Errorf("U+FFFD itself: %v", err)
	}
}

func TestBodyReadsTheSameEachTime(t *testing.T) {
	for size := range 4 {
		octets := strings.Repeat("0123456789", 3_000)[:30_000-size]
		body, err := soap.Encode(soap.Header{Version: soap.Exchange2016}, soap.UploadItems{Items: []soap.Upload{
			{Action: soap.CreateNew, Folder: soap.ItemID{ID: "f"}, Data: soap.Content{R: strings.NewReader(octets), Size: int64(len(octets))}},
			{Action: soap.CreateNew, Folder: soap.ItemID{ID: "f"}, Data: soap.Content{R: strings.NewReader("ab"), Size: 2}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(body.Open())
		if err != nil || !bytes.Contains(want, []byte(encode(octets)+"</t:Data>")) || !bytes.Contains(want, []byte("<t:Data>YWI=</t:Data>")) || int64(len(want)) != body.Len() {
			t.Fatalf("%d octets: got %d of %d and %v", len(octets), len(want), body.Len(), err)
		}
		var wait sync.WaitGroup
		for chunk := 1; chunk < 8; chunk++ {
			wait.Go(func() {
				var got bytes.Buffer
				if _, err := io.CopyBuffer(onlyWriter{&got}, body.Open(), make([]byte, chunk)); err != nil || !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%d octets by %d: got %d octets and %v", len(octets), chunk, got.Len(), err)
				}
			})
		}
		wait.Wait()
		if err := iotest.TestReader(body.Open(), want); err != nil {
			t.Error(err)
		}
	}
}

func TestContentThatIsTooShort(t *testing.T) {
	cause := errors.New("disk gone")
	for name, c := range map[string]struct {
		r    io.ReaderAt
		want error
	}{"short": {strings.NewReader("abc"), io.ErrUnexpectedEOF}, "broken": {brokenAt{cause}, cause}} {
		body, err := soap.Encode(soap.Header{Version: soap.Exchange2016}, soap.CreateItem{Disposition: soap.SendOnly, Items: []soap.NewItem{{MIME: soap.Content{R: c.r, Size: 4}}}})
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, body.Open())
		if !errors.Is(err, c.want) || n >= body.Len() {
			t.Errorf("%s: got %d of %d octets and %v", name, n, body.Len(), err)
		}
	}
}

type brokenAt struct{ err error }

func (b brokenAt) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestPathKeys(t *testing.T) {
	for want, path := range map[string]soap.Path{
		"0x7d": soap.Tag(0x007d, "String"),
		"00020386-0000-0000-c000-000000000046/X-List": soap.NamedProperty("00020386-0000-0000-C000-000000000046", "X-List", "String"),
		"set/34051": soap.NumberedProperty("SET", 34051, "Integer"),
		"":          soap.Field("item:Size"),
	} {
		equal(t, "key", path.Key(), want)
	}
	for _, written := range []string{"0x7D", "0x007d", "0x007D", "125"} {
		document := strings.Replace(answers()["GetItem"].document, "0x007d", written, 1)
		equal(t, written, mustRead(t, document, "GetItem")[0].Response.Items[0].Extended[soap.Tag(0x7d, "String").Key()], "Received: by x\r\n")
	}
}

func TestVersions(t *testing.T) {
	all := soap.Versions()
	for i, v := range all {
		for j, other := range all {
			equal(t, string(v+" below "+other), v.Below(other), i < j)
		}
		down, ok := v.Down()
		if want := i > 1; ok != want || ok && down != all[i-1] {
			t.Errorf("%s: down to %s, %t", v, down, ok)
		}
	}
	if down, ok := soap.Version("V2017_07_11").Down(); ok {
		t.Errorf("an unknown version goes down to %s", down)
	}
	for setting, want := range map[string]soap.Version{
		"2007_SP1": soap.Exchange2007SP1, "2010": soap.Exchange2010, "2010_SP1": soap.Exchange2010SP1, "2010_SP2": soap.Exchange2010SP2, "2013": soap.Exchange2013,
		"2013_SP1": soap.Exchange2013SP1, "2016": soap.Exchange2016, "2019": soap.Exchange2016, "SE": soap.Exchange2016, "2007": "", "2015": "", "2003": "", "auto": "", "": "",
	} {
		got, ok := soap.Serves(setting)
		if ok != (want != "") || ok && got != want {
			t.Errorf("setting %q: got %s, %t", setting, got, ok)
		}
	}
}

func TestParseBuild(t *testing.T) {
	for build, want := range map[[3]int]soap.Version{
		{8, 0, 685}: soap.Exchange2007, {8, 1, 240}: soap.Exchange2007SP1, {8, 3, 83}: soap.Exchange2007SP1,
		{14, 0, 639}: soap.Exchange2010, {14, 1, 218}: soap.Exchange2010SP1, {14, 2, 247}: soap.Exchange2010SP2, {14, 3, 123}: soap.Exchange2010SP2,
		{15, 0, 516}: soap.Exchange2013, {15, 0, 846}: soap.Exchange2013, {15, 0, 847}: soap.Exchange2013SP1, {15, 0, 1497}: soap.Exchange2013SP1,
		{15, 1, 225}: soap.Exchange2016, {15, 2, 1544}: soap.Exchange2016, {15, 20, 8000}: soap.Exchange2016, {16, 0, 0}: soap.Exchange2016,
		{}: "", {6, 5, 0}: "", {9, 0, 0}: "",
	} {
		equal(t, "build", soap.ParseBuild(soap.ServerVersionInfo{Major: build[0], Minor: build[1], MajorBuild: build[2]}), want)
	}
}
