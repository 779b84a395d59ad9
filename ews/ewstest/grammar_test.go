package ewstest

import (
	"strings"
	"testing"
)

// envelopeOf makes a request of a header and an operation, with the usual prefixes.
func envelopeOf(header, op string) string {
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="` + nsSOAP + `" xmlns:t="` + nsTypes + `" xmlns:m="` + nsMessages + `">` +
		`<s:Header>` + header + `</s:Header><s:Body>` + op + `</s:Body></s:Envelope>`
}

const header2016 = `<t:RequestServerVersion Version="Exchange2016"/>`

func TestGrammarTakesTheSpecsSample(t *testing.T) {
	op := `<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId><t:FolderId Id="AQMk"/></m:SyncFolderId>` +
		`<m:SyncState>H4sI</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems>`
	if err := CheckRequest("", []byte(envelopeOf(header2016, op))); err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(op, "<m:SyncState>H4sI</m:SyncState>", "", 1)
	wrong = strings.Replace(wrong, "</m:SyncFolderItems>", "<m:SyncState>H4sI</m:SyncState></m:SyncFolderItems>", 1)
	err := CheckRequest("", []byte(envelopeOf(header2016, wrong)))
	if err == nil || !strings.Contains(err.Error(), "invalid child element 'SyncState'") {
		t.Fatalf("wrong order: got %v", err)
	}
	t.Log(err)
}
