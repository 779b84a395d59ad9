package ewstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// What a program makes of an answer does not depend on how the answer is written, nor on how it is cut up on its way.
func ExampleServer_SetDialect() {
	srv, err := ewstest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	mb := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: "correct horse"})
	mb.Deliver("Inbox", []byte("Subject: hello\r\n\r\nHello.\r\n"))
	srv.SetDialect(ewstest.Dialects()["everything"])
	srv.SetShred(ewstest.Shred{Hostile: true})
	srv.SetRead(1)

	conn, err := ews.Open(srv.Config(), srv.Env())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("closed:", conn.Close()) }()
	for m, err := range conn.Fetch(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		raw, err := io.ReadAll(io.LimitReader(m.Body, 1000))
		fmt.Printf("%q %v\n", raw, err)
	}
	// Output:
	// "Subject: hello\r\n\r\nHello.\r\n" <nil>
	// closed: <nil>
}

// Requests fail as a test wants it: here the second one of a kind.
func ExampleServer_Fail() {
	srv, err := ewstest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: "correct horse"}).Deliver("Inbox", []byte("Subject: hello\r\n\r\nHello.\r\n"))
	srv.Fail(ewstest.On("SyncFolderItems").Nth(2), ewstest.Refuse("ErrorAccessDenied", "Access is denied."))

	conn, err := ews.Open(srv.Config(), srv.Env())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("closed:", conn.Close()) }()
	for range 2 {
		messages := 0
		for _, err := range conn.Fetch(context.Background(), nil) {
			if failed := (*connection.Error)(nil); errors.As(err, &failed) {
				fmt.Println(failed.Kind, failed.Code)
				continue
			}
			messages++
		}
		fmt.Println(messages, "messages")
	}
	// Output:
	// 1 messages
	// permission denied ErrorAccessDenied
	// 0 messages
	// closed: <nil>
}

// A network of its own: autodiscover is answered by another server than that which its first answer names.
func ExampleServer_SetAnswer() {
	srv, err := ewstest.Listen(&ewstest.Options{
		Hosts: map[string]ewstest.Host{"corp.test": {Certificate: ewstest.CertificateWrongName}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: "correct horse"}).Deliver("Inbox", []byte("Subject: hello\r\n\r\nHello.\r\n"))
	srv.SetAnswer("autodiscover.corp.test", "alice@corp.test", ewstest.Answer{RedirectURL: "https://cas2.corp.test/autodiscover/autodiscover.svc"})
	srv.SetAnswer("cas2.corp.test", "alice@corp.test", ewstest.Answer{External: "https://cas2.corp.test/EWS/Exchange.asmx"})

	cfg := srv.Config()
	cfg.Server, cfg.DisableAutodiscover, cfg.LookupSRV = "", false, srv.LookupSRV
	conn, err := ews.Open(cfg, srv.Env())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("closed:", conn.Close()) }()
	for m, err := range conn.Fetch(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Size, "octets")
	}
	for _, r := range srv.Requests() {
		if r.Operation == "GetItem" {
			fmt.Println("read from", r.Host)
			break
		}
	}
	// Output:
	// 26 octets
	// read from cas2.corp.test
	// closed: <nil>
}
