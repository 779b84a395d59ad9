package maildir_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/mailconn/mailconn/maildir"
)

// All users' Maildirs are read; {user} names the mailbox. Nothing is changed.
func ExampleOpen() {
	home, err := os.MkdirTemp("", "home-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(home) }()
	for _, user := range []string{"ann", "bob"} {
		dir := filepath.Join(home, user, "Maildir")
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				log.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "new", "1767225600.M1P1.host"), []byte("Subject: for "+user+"\r\n\r\n"), 0o600); err != nil {
			log.Fatal(err)
		}
	}

	c, err := maildir.Open(maildir.Config{Path: filepath.ToSlash(home) + "/{user}/Maildir"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range c.Fetch(context.Background(), nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Ref.Mailbox, m.Folder, m.Size)
	}
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// ann INBOX 20
	// bob INBOX 20
}
