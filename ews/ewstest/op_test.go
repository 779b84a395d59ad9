package ewstest_test

import (
	"encoding/base64"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// alone starts a server with the mailbox alice@corp.test, and a client that is alice.
func alone(t *testing.T, opts *ewstest.Options) (*ewstest.Server, *ewstest.Mailbox, *client) {
	t.Helper()
	srv := ewstest.NewServer(t, opts)
	alice := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: password})
	return srv, alice, newClient(t, srv, "alice@corp.test")
}

func TestGetItemGivesTheOctets(t *testing.T) {
	_, alice, c := alone(t, nil)
	raw := message("one")
	ids := alice.Deliver("Inbox", raw)
	got := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape>%s</m:GetItem>`, itemIDs(ids...))
	item := got[0].at("Items", "Message")
	octets, err := base64.StdEncoding.DecodeString(item.text("MimeContent"))
	if err != nil || string(octets) != string(raw) {
		t.Errorf("MIME: got %q, %v", octets, err)
	}
	equal(t, "first child", item.Kids[0].XMLName.Local, "MimeContent")
	equal(t, "id behind it", item.Kids[1].attr("Id"), ids[0])
}
