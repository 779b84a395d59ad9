package ews_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// One account reads the mailboxes of others.
func ExampleConn_Fetch() {
	srv, err := ewstest.Listen(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.AddAccount("svc@corp.test", ewstest.AccountOptions{Password: "correct horse"})
	srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{}).Deliver("Inbox", []byte("Subject: lunch\r\n\r\nAt noon?\r\n"))
	srv.GrantImpersonation("svc@corp.test", "alice@corp.test")

	c, err := ews.Open(ews.Config{
		Server: "exchange.corp.test", DisableAutodiscover: true,
		Username: "svc@corp.test", Password: connection.NewSecret("correct horse"),
	}, srv.Env())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing was promised that Close could fail to keep
	for m, err := range c.Fetch(context.Background(), &connection.FetchOptions{Mailbox: "alice@corp.test"}) {
		if err != nil {
			log.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			log.Fatal(err)
		}
		first, _, _ := strings.Cut(string(raw), "\r\n")
		fmt.Println(m.Folder, first)
	}
	// Output: Inbox Subject: lunch
}

// A journal mailbox is emptied: what is in the reports is stored, and removed when it is.
func ExampleJournal() {
	srv, err := ewstest.Listen(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	box := srv.AddMailbox("journal@corp.test", ewstest.MailboxOptions{Password: "correct horse"})
	box.Deliver("Inbox", []byte("X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n"+
		"Sender: ann@corp.test\r\nMessage-Id: <1@corp.test>\r\nTo: bob@corp.test\r\nBcc: chief@corp.test\r\n\r\n"+
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: lunch\r\n\r\nAt noon?\r\n\r\n--b--\r\n"))

	c, err := ews.Open(ews.Journal("exchange.corp.test", "journal@corp.test", connection.NewSecret("correct horse")), srv.Env())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing was promised that Close could fail to keep
	store := func(_ context.Context, m *connection.Message) error {
		raw, err := io.ReadAll(m.Body)
		fmt.Printf("%s to %s: %q\n", m.Envelope.From, m.Envelope.To, raw)
		return err
	}
	stats, err := connection.Drain(context.Background(), c, store, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Stored, "stored,", len(srv.Messages("journal@corp.test", "Inbox")), "left")
	// Output:
	// ann@corp.test to [bob@corp.test chief@corp.test]: "Subject: lunch\r\n\r\nAt noon?\r\n"
	// 1 stored, 0 left
}
