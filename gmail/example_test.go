package gmail_test

import (
	"context"
	"fmt"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// A service account opens all mailboxes of a domain: who is there, and what the folders of one are called.
func ExampleOpen() {
	srv, err := gmailtest.Listen(nil) // in a program: Google
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", Suspended: true})
	srv.AddLabel("ann@corp.example", "Clients/Miller")

	c, err := gmail.Open(gmail.Config{
		Credentials: connection.NewSecret(string(srv.ServiceAccountJSON())), // the text of the key file
		Admin:       "admin@corp.example",
		Endpoint:    srv.URL(), CustomEndpoints: true, // not for Google
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := c.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	ctx := context.Background()
	for m, err := range c.Mailboxes(ctx, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Aliases[0])
		for f, err := range c.Folders(ctx, m.Name) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(" ", f.Name)
		}
	}
	// Output:
	// ann@corp.example
	//   INBOX
	//   SENT
	//   DRAFT
	//   TRASH
	//   SPAM
	//   CHAT
	//   STARRED
	//   IMPORTANT
	//   Archive
	//   Clients/Miller
}

// A person's consent opens her mailbox alone. Test says what stands in the way, and what to do about it.
func ExampleConn_Test() {
	srv, err := gmailtest.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	consent := srv.OAuth2("ann@corp.example")
	srv.RevokeConsent("ann@corp.example")

	c, err := gmail.Open(gmail.Config{
		OAuth2: &gmail.OAuth2{
			ClientID: consent.ClientID, ClientSecret: connection.NewSecret(consent.ClientSecret), RefreshToken: connection.NewSecret(consent.RefreshToken),
			TokenURI: consent.TokenURI, // not for Google
		},
		Endpoint: srv.URL(), CustomEndpoints: true, // not for Google
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := c.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	report, err := c.Test(context.Background(), nil)
	for _, s := range report.Steps {
		if s.Status == connection.StatusFailed {
			fmt.Println(s.Name, "failed:", connection.KindOf(err))
		}
	}
	// Output: mailbox failed: authentication refused
}
