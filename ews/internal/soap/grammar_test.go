package soap_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// The fake's grammar is written from the schema, and knows nothing of this package.
func TestEveryRequestPassesTheGrammar(t *testing.T) {
	headers := []soap.Identity{
		{},
		{Kind: soap.ByPrimaryAddress, Value: "joe@corp.test"},
		{Kind: soap.ByAnyAddress, Value: "joe@corp.test"},
		{Kind: soap.ByPrincipalName, Value: "joe@corp.local"},
		{Kind: soap.BySID, Value: "S-1-5-21-1-2-3-1001"},
	}
	for name, c := range requests() {
		for i, version := range soap.Versions() {
			if version.Below(c.since) || version == soap.Exchange2007 {
				continue
			}
			body, err := soap.Encode(soap.Header{Version: version, As: headers[i%len(headers)]}, c.op)
			if err != nil {
				t.Errorf("%s, %s: %v", name, version, err)
				continue
			}
			octets, err := io.ReadAll(body.Open())
			if err != nil || int64(len(octets)) != body.Len() {
				t.Errorf("%s, %s: %d octets and %v, want %d", name, version, len(octets), err, body.Len())
			}
			if err := ewstest.CheckRequest(string(version), octets); err != nil {
				t.Errorf("%s, %s: %v\n%s", name, version, err, octets)
			}
		}
	}
}

// A folder's name is refused for exactly the versions whose schema lacks it.
func TestFolderNamesAgreeWithTheGrammar(t *testing.T) {
	for _, name := range strings.Fields(`calendar contacts deleteditems drafts inbox journal notes outbox sentitems tasks msgfolderroot publicfoldersroot
		root junkemail searchfolders voicemail recoverableitemsroot recoverableitemsdeletions recoverableitemsversions recoverableitemspurges
		recoverableitemsdiscoveryholds archiveroot archivemsgfolderroot archivedeleteditems archiveinbox archiverecoverableitemsroot
		archiverecoverableitemsdeletions archiverecoverableitemsversions archiverecoverableitemspurges archiverecoverableitemsdiscoveryholds
		syncissues conflicts localfailures serverfailures recipientcache quickcontacts conversationhistory adminauditlogs todosearch mycontacts
		directory imcontactlist peopleconnect favorites Inbox posteingang`) {
		for _, version := range soap.Versions() {
			body, err := soap.Encode(soap.Header{Version: version}, soap.GetFolder{Folders: []soap.FolderID{soap.Inbox("")}})
			if err != nil {
				t.Fatal(err)
			}
			request, err := io.ReadAll(body.Open())
			if err != nil {
				t.Fatal(err)
			}
			want := ewstest.CheckRequest("", []byte(strings.Replace(string(request), "inbox", name, 1)))
			_, err = soap.Encode(soap.Header{Version: version}, soap.GetFolder{Folders: []soap.FolderID{{Distinguished: name}}})
			if (err == nil) != (want == nil) {
				t.Errorf("%s, %s: got %v, the grammar says %v", name, version, err, want)
			}
		}
	}
}

// FuzzEncode puts any text wherever a request takes text. Either it is refused, because XML cannot hold it, or encoding/xml reads
// the same text, and the fake's grammar takes the request.
func FuzzEncode(f *testing.F) {
	f.Add("joe@corp.test", "AAMkA+/=", "H4sI", "R&D <\"x\">", []byte("octets"))
	f.Add("a\x00", "b\x01", "c\xff", "d\ufffe", []byte{})
	f.Add("a", "\xc3", "b", "\xa9", []byte("two halves of a character"))
	f.Add("\r\n\t", "'", "]]>", "<!--", []byte{0})
	f.Fuzz(func(t *testing.T, who, id, state, name string, octets []byte) {
		content := soap.Content{R: strings.NewReader(string(octets)), Size: int64(len(octets))}
		ids := []soap.ItemID{{ID: id, ChangeKey: state}}
		folder := soap.FolderID{ID: id}
		for _, c := range []struct {
			op    soap.Operation
			texts []string // in their order in the request
		}{
			{soap.GetItem{Items: ids, Shape: soap.ItemShape{Properties: []soap.Path{soap.Tag(0x7d, "String")}}}, []string{id, state}},
			{soap.SyncFolderItems{Folder: folder, SyncState: state, Max: 512}, []string{id, state, "512"}},
			{soap.CreateFolder{Parent: folder, Folders: []soap.NewFolder{{Name: name}}}, []string{id, name}},
			{soap.FindItem{Restriction: soap.Contains(soap.Field("item:Subject"), name), Parents: []soap.FolderID{folder}}, []string{name, id}},
			{soap.CreateItem{Disposition: soap.SaveOnly, Folder: folder, Items: []soap.NewItem{{MIME: content}}}, []string{id, encode(string(octets))}},
		} {
			op, want := c.op, strings.Join(c.texts, "")
			body, err := soap.Encode(soap.Header{Version: soap.Exchange2013, As: soap.Identity{Kind: soap.ByPrincipalName, Value: who}}, op)
			wrong := who == "" || id == "" && op.Name() != "CreateItem" || name == "" && op.Name() == "CreateFolder"
			for _, text := range append(c.texts, who) {
				wrong = wrong || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !legal(r) })
			}
			if err != nil {
				if !wrong || !errors.Is(err, connection.ErrInvalid) {
					t.Fatalf("%s: %v", op.Name(), err)
				}
				continue
			}
			request, err := io.ReadAll(body.Open())
			if err != nil || wrong || int64(len(request)) != body.Len() {
				t.Fatalf("%s: got %d of %d octets and %v: %q", op.Name(), len(request), body.Len(), err, request)
			}
			if got := texts(t, request); got != who+want {
				t.Fatalf("%s: got %q, want %q", op.Name(), got, who+want)
			}
			if err := ewstest.CheckRequest("", request); err != nil {
				t.Fatalf("%s: %v\n%s", op.Name(), err, request)
			}
		}
	})
}

// texts joins what the caller put into a request: ids and constants, and the text of some elements.
func texts(t *testing.T, request []byte) string {
	var b strings.Builder
	d := xml.NewDecoder(strings.NewReader(string(request)))
	in := ""
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // the end is bare
			return b.String()
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, request)
		}
		switch token := token.(type) {
		case xml.StartElement:
			in = token.Name.Local
			for _, a := range token.Attr {
				if a.Name.Local == "Id" || a.Name.Local == "ChangeKey" || a.Name.Local == "Value" {
					b.WriteString(a.Value)
				}
			}
		case xml.CharData:
			if in != "BaseShape" {
				b.Write(token)
			}
		}
	}
}
