package smtptest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// A message is sent, and then one whose outcome nobody knows but the server.
func Example() {
	srv, err := smtptest.Listen(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	out, err := smtpclient.Open(srv.Config(), nil)
	if err != nil {
		log.Fatal(err)
	}
	envelope := connection.Envelope{From: out.From(), To: []string{"bob@example.org"}}
	receipt, err := out.Send(context.Background(), envelope, strings.NewReader("Subject: hello\r\n\r\nHello.\r\n"), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Reply)

	srv.LoseReply(smtptest.End, 1)
	_, err = out.Send(context.Background(), envelope, strings.NewReader("Subject: again\r\n\r\n"), nil)
	fmt.Println(errors.Is(err, connection.ErrUncertain), len(srv.Messages()))
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 250 2.0.0 taken as 1
	// true 2
}
