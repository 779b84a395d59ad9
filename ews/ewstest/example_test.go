package ewstest_test

import (
	"context"
	"fmt"

	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

func Example() {
	srv, err := ewstest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	alice := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: "correct horse"})
	alice.Deliver("Inbox", []byte("Subject: Hello\r\n\r\nHello, Alice.\r\n"))

	conn, err := ews.Open(srv.Config(), srv.Env())
	if err != nil {
		fmt.Println(err)
		return
	}
	for m, err := range conn.Fetch(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(m.Folder, m.Size)
	}
	if err := conn.Close(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(srv.Calls("GetItem") > 0, len(srv.BadRequests()))
	// Output:
	// Inbox 33
	// true 0
}
