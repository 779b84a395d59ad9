package ewstest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// lenient starts a server to which a test may send what is wrong.
func lenient(t *testing.T, opts ewstest.Options) (*ewstest.Server, *client) {
	t.Helper()
	opts.AllowBadRequests = true
	srv, _, c := alone(t, &opts)
	return srv, c
}

const openInbox = `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>` + inbox + `</m:FolderIds></m:GetFolder>`

func TestHTTPIsHeldAgainstItsRules(t *testing.T) {
	srv, c := lenient(t, ewstest.Options{MaxRequest: 4096, NeedAnchor: true})
	send := func(method, path, body string, header ...string) (status int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://exchange.corp.test"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(c.user, password)
		r.Header.Set("Content-Type", "text/xml; charset=utf-8")
		r.Header.Set("X-AnchorMailbox", "alice@corp.test")
		for i := 0; i < len(header); i += 2 {
			if r.Header.Set(header[i], header[i+1]); header[i+1] == "" {
				r.Header.Del(header[i])
			}
			if header[i] == "Transfer-Encoding" {
				r.ContentLength = -1
			}
		}
		resp, err := c.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	good := c.document(openInbox)
	for _, test := range []struct {
		name   string
		got    int
		status int
		bad    string // of BadRequests
	}{
		{"good", send("POST", "/EWS/Exchange.asmx", good), 200, ""},
		{"another case", send("POST", "/ews/exchange.ASMX", good), 200, ""},
		{"GET", send("GET", "/EWS/Exchange.asmx", ""), 405, ""},
		{"PUT", send("PUT", "/EWS/Exchange.asmx", good), 405, "method PUT"},
		{"chunked", send("POST", "/EWS/Exchange.asmx", good, "Transfer-Encoding", "chunked"), 400, "without Content-Length"},
		{"media type", send("POST", "/EWS/Exchange.asmx", good, "Content-Type", "application/xml; charset=utf-8"), 415, "Content-Type"},
		{"no charset", send("POST", "/EWS/Exchange.asmx", good, "Content-Type", "text/xml"), 415, "Content-Type"},
		{"no anchor", send("POST", "/EWS/Exchange.asmx", good, "X-AnchorMailbox", ""), 503, "no X-AnchorMailbox"},
		{"too large", send("POST", "/EWS/Exchange.asmx", good+strings.Repeat(" ", 4096)), 500, "too large"},
		{"no XML", send("POST", "/EWS/Exchange.asmx", "hello"), 500, "root level"},
		{"unclosed", send("POST", "/EWS/Exchange.asmx", strings.TrimSuffix(good, "</s:Envelope>")), 500, "unexpected EOF"},
		{"DTD", send("POST", "/EWS/Exchange.asmx", `<!DOCTYPE x><x/>`), 500, "DTD"},
		{"undeclared prefix", send("POST", "/EWS/Exchange.asmx", `<q:x/>`), 500, "undeclared prefix"},
		{"no UTF-8", send("POST", "/EWS/Exchange.asmx", "<x>\xff</x>"), 500, "UTF-8"},
		{"two roots", send("POST", "/EWS/Exchange.asmx", "<x/><x/>"), 500, "multiple root"},
		{"no envelope", send("POST", "/EWS/Exchange.asmx", "<x/>"), 500, "not an Envelope"},
		{"SOAP 1.2", send("POST", "/EWS/Exchange.asmx", strings.ReplaceAll(good, "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")), 500, "not an Envelope"},
		{"two operations", send("POST", "/EWS/Exchange.asmx", c.document(openInbox+openInbox)), 500, "one operation"},
	} {
		equal(t, test.name, test.got, test.status)
	}
	bad := strings.Join(srv.BadRequests(), "\n")
	for _, want := range []string{
		"method PUT", "without Content-Length", `Content-Type "application/xml; charset=utf-8"`, `Content-Type "text/xml"`, "no X-AnchorMailbox", "too large",
		"root level", "unexpected EOF", "DTD", "undeclared prefix", "UTF-8", "multiple root", "not an Envelope", "one operation",
	} {
		if !strings.Contains(bad, want) {
			t.Errorf("not among the bad requests: %s", want)
		}
	}
	equal(t, "bad requests", len(srv.BadRequests()), 15)
}

func TestSchemaFaults(t *testing.T) {
	wrong := strings.Replace(openInbox, "m:FolderIds>", "m:FolderIDs>", 2)
	_, c := lenient(t, ewstest.Options{})
	fault := c.fails("ErrorSchemaValidation", "%s", wrong)
	equal(t, "status", c.status, http.StatusInternalServerError)
	want := "The element 'GetFolder' in namespace 'http://schemas.microsoft.com/exchange/services/2006/messages' has invalid child element 'FolderIDs' in namespace " +
		"'http://schemas.microsoft.com/exchange/services/2006/messages'. List of possible elements expected: 'FolderIds' in namespace 'http://schemas.microsoft.com/exchange/services/2006/messages'."
	equal(t, "text", fault.text("faultstring"), "The request failed schema validation: "+want)
	equal(t, "violation", fault.text("detail", "MessageXml", "Violation"), want)
	equal(t, "line", fault.text("detail", "MessageXml", "LineNumber"), "1")
	if fault.text("detail", "MessageXml", "LinePosition") == "" {
		t.Error("no position")
	}

	_, c = lenient(t, ewstest.Options{Version: "2007_SP1"})
	c.version = "Exchange2007_SP1"
	fault = c.fails("ErrorSchemaValidation", "%s", wrong)
	equal(t, "code of 2007", fault.text("faultcode"), "soap11:Client")
	equal(t, "violation of 2007", fault.text("detail", "Violation"), want)
	equal(t, "line of 2007", fault.text("detail", "Line"), "1")
}

func TestVersions(t *testing.T) {
	srv, c := lenient(t, ewstest.Options{Version: "2010_SP1"})
	old := srv.AddMailbox("old@corp.test", ewstest.MailboxOptions{Password: password, Version: "2007_SP1"})
	ids := old.Deliver("Inbox", message("a"))
	c.version = "Exchange2013"
	c.fails("ErrorInvalidServerVersion", openInbox)
	c.version = "Exchange2010_SP1"
	c.ok(openInbox)
	c.version = ""
	c.ok(openInbox)
	if got := srv.Requests(); got[1].Version != "Exchange2010_SP1" || got[2].Version != "" {
		t.Errorf("versions: %+v", got)
	}
	archive := strings.Replace(openInbox, "inbox", "archivemsgfolderroot", 1)
	c.fails("ErrorSchemaValidation", "%s", archive) // taken as 2007
	c.version = "Exchange2010_SP1"
	c.fails("ErrorFolderNotFound", "%s", archive)
	c.fails("ErrorSchemaValidation", `<m:DeleteItem DeleteType="HardDelete" SuppressReadReceipts="true">%s</m:DeleteItem>`, itemIDs(ids...))
	c.fails("ErrorSchemaValidation", `<m:FindPeople><m:IndexedPageItemView Offset="0" BasePoint="Beginning"/></m:FindPeople>`)
	c.version = "Exchange2007_SP1"
	c.fails("ErrorSchemaValidation", `<m:ExportItems>%s</m:ExportItems>`, itemIDs(ids...))
	sync := `<m:SyncFolderItems>` + idOnly + `<m:SyncFolderId>` + inbox + `</m:SyncFolderId><m:MaxChangesReturned>1</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>`
	c.fails("ErrorSchemaValidation", "%s", sync)

	c = newClient(t, srv, "old@corp.test")
	c.version = "Exchange2010"
	c.fails("ErrorInvalidSchemaVersionForMailboxVersion", openInbox)
	c.version = "Exchange2007_SP1"
	c.ok(openInbox)

	_, c = lenient(t, ewstest.Options{Version: "2010", IgnoreVersion: true})
	c.ok(openInbox)
}

func TestOperationsThatAreNotThere(t *testing.T) {
	srv, _, c := alone(t, &ewstest.Options{Without: []string{"ExportItems"}})
	fault := c.fails("", `<m:ExportItems>%s</m:ExportItems>`, itemIDs("a"))
	equal(t, "switched off", fault.text("faultstring"), "Unknown request 'ExportItems'.")
	fault = c.fails("", `<m:GetUserPhoto/>`)
	equal(t, "unknown", fault.text("faultstring"), "Unknown request 'GetUserPhoto'.")
	equal(t, "operation", srv.Requests()[1].Operation, "GetUserPhoto")
	if _, err := ewstest.Listen(&ewstest.Options{Without: []string{"GetItems"}}); err == nil {
		t.Error("a misspelt operation can be switched off")
	}
	if _, err := ewstest.Listen(&ewstest.Options{Version: "2003"}); err == nil {
		t.Error("a server of 2003 can be started")
	}
}

func TestImpersonation(t *testing.T) {
	srv := ewstest.NewServer(t, nil)
	srv.AddAccount("svc@corp.test", ewstest.AccountOptions{Password: password})
	alice := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: password, UPN: "alice@corp.local", SID: "S-1-5-21-1", Aliases: []string{"a@corp.test"}})
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: password})
	srv.GrantImpersonation("svc@corp.test", "alice@corp.test")
	ids := alice.Deliver("Inbox", message("a"))
	c := newClient(t, srv, "svc@corp.test")
	fault := c.fails("ErrorMissingEmailAddress", openInbox)
	if !strings.HasPrefix(fault.text("MessageText"), "When making a request as an account that does not have a mailbox") {
		t.Errorf("text: %s", fault.text("MessageText"))
	}
	for kind, name := range map[string]string{
		"PrimarySmtpAddress": "Alice@corp.test", "SmtpAddress": "a@corp.test", "PrincipalName": "alice@corp.local", "SID": "S-1-5-21-1",
	} {
		c.as = "<t:" + kind + ">" + name + "</t:" + kind + ">"
		got := c.ok(openInbox)
		equal(t, kind, got[0].all("FolderId")[0].attr("Id"), alice.Folder("Inbox").ID())
		last := srv.Requests()[len(srv.Requests())-1]
		equal(t, kind+" in the record", last.Mailbox+" "+last.User, name+" svc@corp.test")
	}
	c.as = `<t:PrimarySmtpAddress>a@corp.test</t:PrimarySmtpAddress>`
	c.fails("ErrorNonExistentMailbox", openInbox)
	c.as = `<t:PrimarySmtpAddress>nobody@corp.test</t:PrimarySmtpAddress>`
	c.fails("ErrorNonExistentMailbox", openInbox)
	c.as = `<t:PrimarySmtpAddress>bob@corp.test</t:PrimarySmtpAddress>`
	c.fails("ErrorImpersonateUserDenied", openInbox)
	equal(t, "status", c.status, http.StatusInternalServerError)
	srv.GrantImpersonation("svc@corp.test")
	c.ok(openInbox)
	c.fails("ErrorAccessDenied", `<m:GetItem>%s%s</m:GetItem>`, idOnly, itemIDs(ids...))
	srv.Revoke("svc@corp.test", "bob@corp.test")
	c.fails("ErrorImpersonateUserDenied", openInbox)
	c.as = ""
	c.fails("ErrorAccessDenied", `<m:GetItem>%s%s</m:GetItem>`, idOnly, itemIDs(ids...))
}

func TestDelegateAccess(t *testing.T) {
	srv := ewstest.NewServer(t, nil)
	srv.AddAccount("svc@corp.test", ewstest.AccountOptions{Password: password})
	alice := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: password})
	c := newClient(t, srv, "svc@corp.test")
	named := strings.Replace(openInbox, `Id="inbox"/>`, `Id="inbox"><t:Mailbox><t:EmailAddress>alice@corp.test</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>`, 1)
	c.fails("ErrorAccessDenied", "%s", named)
	srv.GrantDelegate("svc@corp.test", "alice@corp.test")
	got := c.ok("%s", named)
	equal(t, "folder", got[0].all("FolderId")[0].attr("Id"), alice.Folder("Inbox").ID())
}

func TestArchiveAndRecoverableItems(t *testing.T) {
	_, alice, c := alone(t, nil)
	archive := strings.Replace(openInbox, "inbox", "archivemsgfolderroot", 1)
	c.fails("ErrorFolderNotFound", "%s", archive)
	alice.Archive().Folder("Old").Deliver(message("o"))
	got := c.ok("%s", archive)
	equal(t, "archive", got[0].all("FolderId")[0].attr("Id"), alice.Archive().ID())
	equal(t, "in it", len(alice.Archive().Folder("Old").Messages()), 1)
	got = c.ok("%s", strings.Replace(openInbox, "inbox", "recoverableitemsroot", 1))
	equal(t, "dumpster", got[0].all("FolderId")[0].attr("Id"), alice.Recoverable().ID())
	alice.Fail("ErrorMailboxMoveInProgress")
	c.fails("ErrorMailboxMoveInProgress", openInbox)
}
