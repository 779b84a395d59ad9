package gmailtest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/mailconn/mailconn/connection"
	driver "github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

func Example() {
	srv, err := gmailtest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.Deliver("ann@corp.example", []byte("Subject: Hello\r\n\r\nHello, Ann.\r\n"))

	conn, err := driver.Open(srv.Config(), srv.Env())
	if err != nil {
		fmt.Println(err)
		return
	}
	for m, err := range conn.Fetch(context.Background(), &connection.FetchOptions{Mailbox: "ann@corp.example"}) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(m.Folder, m.Size)
	}
	if err := conn.Close(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(srv.Calls("messages.get"), len(srv.BadRequests()))
	// Output:
	// INBOX 31
	// 1 0
}

// One user is throttled once.
func ExampleServer_Fail() {
	srv, err := gmailtest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	token := srv.Token("ann@corp.example")
	srv.Fail(gmailtest.On("messages.list").User("ann@corp.example").Times(1), gmailtest.TooManyConcurrent())

	client := &http.Client{Transport: &http.Transport{DialContext: srv.Env().Dial}}
	defer client.CloseIdleConnections()
	for range 2 {
		resp, err := client.Get(srv.URL() + "/gmail/v1/users/me/messages?access_token=" + token)
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := resp.Body.Close(); err != nil {
			fmt.Println(err)
		}
	}
	for _, r := range srv.Requests() {
		fmt.Println(r.Method, r.User, r.Status, r.Units)
	}
	// Output:
	// messages.list ann@corp.example 429 0
	// messages.list ann@corp.example 200 5
}
