package gmailtest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"
)

// A program that keeps up with a mailbox by its history must notice when Google has forgotten what it last saw.
func ExampleServer_ExpireHistory() {
	srv, err := gmailtest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	client := &http.Client{Transport: bearer{srv.Token("ann@corp.example", gapi.GmailReadonlyScope), http.DefaultTransport}}
	svc, err := gapi.NewService(context.Background(), option.WithHTTPClient(client), option.WithEndpoint(srv.URL()+"/"))
	if err != nil {
		fmt.Println(err)
		return
	}

	seen := srv.HistoryID("ann@corp.example")
	srv.Deliver("ann@corp.example", []byte("Subject: one\r\n\r\n"), []byte("Subject: two\r\n\r\n"))
	page, err := svc.Users.History.List("me").StartHistoryId(seen).Do()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(page.History), "records")

	srv.ExpireHistory("ann@corp.example")
	_, err = svc.Users.History.List("me").StartHistoryId(seen).Do()
	fmt.Println(err)
	// Output:
	// 2 records
	// googleapi: Error 404: Requested entity was not found., notFound
}
