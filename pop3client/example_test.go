package pop3client_test

import (
	"context"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// A POP3 account is emptied: each message is deleted only after the sink has stored it.
func ExampleOpen() {
	srv, err := pop3test.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Deliver([]byte("Subject: one\r\n\r\n1\r\n"), []byte("Subject: two\r\n\r\n2\r\n"))

	cfg := srv.Config() // of a real server: pop3client.Journal(server, username, password)
	cfg.DeleteMode = pop3client.DeleteDelete
	src, err := pop3client.Open(cfg, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := func(_ context.Context, m *connection.Message) error { // nil only when the message is safe
		raw, err := io.ReadAll(m.Body)
		if err == nil {
			fmt.Printf("%q\n", raw)
		}
		return err
	}
	stats, err := connection.Drain(context.Background(), src, store, nil)
	if err != nil {
		fmt.Println(err)
	}
	if err := src.Close(); err != nil { // the QUIT that deletes: its error matters
		fmt.Println(err)
	}
	fmt.Println(stats.Stored, "stored,", len(srv.Messages()), "left")
	// Output:
	// "Subject: one\r\n\r\n1\r\n"
	// "Subject: two\r\n\r\n2\r\n"
	// 2 stored, 0 left
}
