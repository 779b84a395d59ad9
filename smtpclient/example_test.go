package smtpclient_test

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

// A message goes to two recipients, of whom the server refuses one. The receipt says what became of each.
func ExampleOpen() {
	srv, err := smtptest.Listen(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Refuse("nobody@example.org", "550 5.1.1 no such user")
	config := srv.Config() // a host reads it from its settings

	out, err := smtpclient.Open(config, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := out.Close(); err != nil {
			log.Print(err)
		}
	}()
	envelope := connection.Envelope{From: out.From(), To: []string{"bob@example.org", "nobody@example.org"}}
	receipt, err := out.Send(context.Background(), envelope, strings.NewReader("Subject: hello\r\n\r\nHello.\r\n"), nil)
	if err != nil && !errors.Is(err, connection.ErrRejected) {
		log.Fatal(err)
	}
	fmt.Println("accepted", receipt.Accepted)
	for _, r := range receipt.Rejected {
		fmt.Println("refused", r.Address)
	}
	// Output:
	// accepted [bob@example.org]
	// refused nobody@example.org
}
