package alldrivers_test

import (
	"encoding/json"
	"fmt"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

// Settings as a host stores them open whatever they name.
func ExampleNew() {
	registry := alldrivers.New()
	for _, s := range []connection.Settings{
		{ID: "1", Driver: "imap", Config: json.RawMessage(`{"server": "mail.example.org", "username": "journal", "password": "change me"}`)},
		{ID: "2", Driver: "imap", Config: json.RawMessage(`{"server": "mail.example.org", "username": "journal", "pasword": "change me"}`)},
	} {
		c, err := registry.Open(s, nil)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c.Info().Driver, c.Info().Endpoint)
	}
	// Output:
	// imap mail.example.org:993
	// imap open: invalid setting: config: "pasword": unknown field; did you mean "password"?
}
