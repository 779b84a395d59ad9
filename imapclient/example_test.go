package imapclient_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A journal mailbox is emptied: each message is removed when the sink has stored it, and not before.
func ExampleJournal() {
	srv, err := imaptest.Listen(&imaptest.Options{Mode: connection.ModeSTARTTLS})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Deliver([]byte("Subject: one\r\n\r\n"), []byte("Subject: two\r\n\r\n"))

	cfg := imapclient.Journal(srv.Addr(), imaptest.DefaultUsername, connection.NewSecret(imaptest.DefaultPassword))
	c, err := imapclient.Open(cfg, srv.Env())
	if err != nil {
		log.Fatal(err)
	}
	store := func(_ context.Context, m *connection.Message) error {
		n, err := io.Copy(io.Discard, m.Body) // a real sink returns nil when the message is on stable storage
		fmt.Println(m.Folder, n, "octets")
		return err
	}
	if _, err := connection.Drain(context.Background(), c, store, nil); err != nil {
		log.Print(err)
	}
	if err := c.Close(); err != nil { // expunges what is outstanding
		log.Print(err)
	}
	fmt.Println(len(srv.Messages()), "left")
	// Output:
	// INBOX 16 octets
	// INBOX 16 octets
	// 0 left
}

// Fetch alone changes nothing at the server: an import.
func ExampleConn_Fetch() {
	srv, err := imaptest.Listen(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.DeliverTo("Archive/2024", imaptest.Message{Raw: []byte("Subject: one\r\n\r\n")})

	c, err := imapclient.Open(srv.Config(), srv.Env())
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range c.Fetch(context.Background(), &connection.FetchOptions{Folders: []string{"Archive/2024"}}) {
		if err != nil {
			log.Print(err) // about one message if it has a Ref, else the last
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(m.Body, 1<<20))
		if err != nil {
			log.Print(err)
			continue
		}
		fmt.Printf("%s: %q\n", m.Folder, raw)
	}
	if err := c.Close(); err != nil {
		log.Print(err)
	}
	// Output:
	// Archive/2024: "Subject: one\r\n\r\n"
}
