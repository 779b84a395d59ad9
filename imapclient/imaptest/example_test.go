package imaptest_test

import (
	"fmt"

	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// Outside a test, Listen starts the server. Any IMAP client can talk to it.
func ExampleListen() {
	srv, err := imaptest.Listen(&imaptest.Options{Mode: connection.ModeInsecure})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	for raw := range imaptest.SampleMessages(300, 1) {
		srv.Deliver(raw)
	}
	srv.Fail("SELECT", "NO [UNAVAILABLE] try later", 1)

	client, err := goclient.DialInsecure(srv.Addr(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := client.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	if err := client.Login(imaptest.DefaultUsername, imaptest.DefaultPassword).Wait(); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		fmt.Println(err)
	}
	inbox, err := client.Select("INBOX", nil).Wait()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(inbox.NumMessages, "messages")
	for _, command := range srv.Transcript("LOGIN", "SELECT", "STORE") {
		fmt.Println(command.Name, command.Args)
	}
	// Output:
	// imap: NO [UNAVAILABLE] try later
	// 300 messages
	// LOGIN archive@example.org [redacted]
	// SELECT INBOX
	// SELECT INBOX
}

func ExampleSampleMessages() {
	var count, octets int
	for raw := range imaptest.SampleMessages(1000, 42) {
		count++
		octets += len(raw)
	}
	fmt.Println(count, "messages,", octets>>20, "MiB")
	// Output: 1000 messages, 6 MiB
}
