package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// The demonstration's servers: a mailbox with mail of all sorts, and a server that takes what is replayed.
const (
	demoMailbox  = "mailbox"
	demoOutbox   = "outbox"
	demoMessages = 300
)

// A demo holds the servers that run in this process. They are new, and full, at each start.
type demo struct {
	mu      sync.Mutex // somebody may click twice
	mailbox *imaptest.Server
	outbox  *smtptest.Server
}

// start makes the connections of the demonstration, or points those that are there already at the new servers.
func (d *demo) start(s *state) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mailbox == nil {
		mailbox, err := imaptest.Listen(nil)
		if err != nil {
			return fmt.Errorf("the demonstration's mail server: %w", err)
		}
		for raw := range imaptest.SampleMessages(demoMessages, 1) {
			mailbox.Deliver(raw)
		}
		outbox, err := smtptest.Listen(nil)
		if err != nil {
			mailbox.Close()
			return fmt.Errorf("the demonstration's mail server: %w", err)
		}
		d.mailbox, d.outbox = mailbox, outbox
	}
	source := entry{Settings: d.mailbox.Settings(), Demo: demoMailbox}
	source.Name = "Demonstration: mailbox"
	config := make(map[string]any)
	if err := json.Unmarshal(source.Config, &config); err != nil {
		return err
	}
	config["delete_mode"] = imapclient.DeleteExpunge
	var err error
	if source.Config, err = json.Marshal(config); err != nil {
		return err
	}
	target := entry{Settings: d.outbox.Settings(), Demo: demoOutbox}
	target.Name = "Demonstration: outgoing mail"
	return errors.Join(adopt(s, source), adopt(s, target))
}

// adopt stores e in the place of an older demonstration.
func adopt(s *state, e entry) error {
	e.ID = ""
	for _, old := range s.all() {
		if old.Demo == e.Demo {
			e.ID, e.Disabled = old.ID, old.Disabled
		}
	}
	_, err := s.put(e)
	return err
}

// resume starts the servers again if there are connections to them.
func (d *demo) resume(s *state) error {
	for _, e := range s.all() {
		if e.Demo != "" {
			return d.start(s)
		}
	}
	return nil
}

func (d *demo) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mailbox != nil {
		d.mailbox.Close()
		d.outbox.Close()
	}
}
