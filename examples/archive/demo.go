package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailconn/mailconn/examples/internal/mailarchive"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// demoMessages is how many messages the demonstration moves, demoSeed which.
const (
	demoMessages = 300
	demoSeed     = 1
)

// demonstrate does the whole job on a mail server of its own: fill it, archive it, and check every octet.
func (j *job) demonstrate(ctx context.Context) (err error) {
	j.say("This is a demonstration, and needs nothing but Go. A mail server is started on this machine and gets %d\n"+
		"messages of all sorts; they are moved into an archive, and then every octet is checked.\n", demoMessages)
	server, err := imaptest.Listen(nil)
	if err != nil {
		return fmt.Errorf("the demonstration's mail server: %w", err)
	}
	defer server.Close()
	var held []string // keys of what the server holds
	for raw := range imaptest.SampleMessages(demoMessages, demoSeed) {
		server.Deliver(raw)
		sum := sha256.Sum256(raw)
		held = append(held, mailarchive.MessageKey(hex.EncodeToString(sum[:])))
	}

	// These are the settings that a file of -from would hold.
	config := server.Config()
	config.ID, config.Name, config.DeleteMode = "demo", "The demonstration's mail server", imapclient.DeleteExpunge
	source, err := imapclient.Open(config, j.env)
	if err != nil {
		return err
	}
	if j.to == "" {
		if j.to, err = os.MkdirTemp("", "mail-archive-"); err != nil {
			return fmt.Errorf("a folder for the archive: %w", err)
		}
	}
	store, err := openStore(j.to, j.env)
	if err != nil {
		return errors.Join(err, closed("the mail server", source))
	}
	defer func() { err = errors.Join(err, closed("-to", store)) }()
	j.total = int64(len(held))
	_, err = j.drain(ctx, source, store)
	if err = errors.Join(err, closed("the mail server", source)); err != nil { // closing expunges what is left to
		return err
	}

	j.say("\nNow everything is read again.")
	if _, err := j.check(ctx, store); err != nil {
		return err
	}
	for _, key := range held {
		if _, err := store.Stat(ctx, key); err != nil {
			return fmt.Errorf("a message that the server held is not in the archive: %w", err)
		}
	}
	if left := len(server.Messages()); left > 0 {
		return fmt.Errorf("%s are still on the server", counted(int64(left), "message"))
	}
	j.say("All %d messages that the server held are in the archive, octet for octet, and none is on the server any more.", len(held))
	j.event("demonstrated", map[string]any{"messages": len(held), "archive": j.to})
	j.tryNext()
	return nil
}

func (j *job) tryNext() {
	if !isFolder(j.to) {
		return
	}
	j.say(`
What to try next:
  ls %[1]s
      the archive: messages by their SHA-256, and manifests that say where each came from
  echo >> "$(find %[2]s -name '*.eml' | head -n 1)"; go run ./examples/archive -verify %[1]s
      damage a message, and see it found
  cp examples/archive/settings/imap-journal.json my-mail.json      (then put your server into it)
  go run ./examples/archive -test -from my-mail.json
      test the connection to your own mail server, step by step
  go run ./examples/archive -keep -from my-mail.json -to my-archive
      copy its mail, deleting nothing; without -keep it is moved`, j.to, filepath.Join(j.to, "messages"))
}
