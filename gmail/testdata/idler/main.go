// Command idler is both ends of a domain in which nothing happens, so that a test can see what that costs.
//
// "idler server 5000" is a Google with so many mailboxes, each with one message. It prints settings for a client, and for each line
// of its standard input what requests it has had since the last one.
//
// "idler client" reads such settings from the first line of its standard input, and for each line that follows mirrors all
// mailboxes once and prints what became of that.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

func main() {
	if err := run(context.Background(), os.Args[1:], bufio.NewReader(os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in *bufio.Reader) error {
	switch {
	case len(args) == 2 && args[0] == "server":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return serve(n, in)
	case len(args) == 1 && args[0] == "client":
		return poll(ctx, in)
	}
	return errors.New("usage: idler server MAILBOXES | idler client")
}

func serve(mailboxes int, in *bufio.Reader) error {
	srv, err := gmailtest.Listen(nil)
	if err != nil {
		return err
	}
	defer srv.Close()
	for i := range mailboxes {
		address := fmt.Sprintf("user%d@corp.example", i)
		srv.AddUser(gmailtest.User{Email: address})
		srv.Deliver(address, []byte("Subject: x\r\n\r\n"))
	}
	config, err := json.Marshal(map[string]any{
		"credentials": string(srv.ServiceAccountJSON()), "admin": "admin@corp.example", "endpoint": srv.URL(), "custom_endpoints": true,
	})
	if err != nil {
		return err
	}
	settings, err := json.Marshal(connection.Settings{Driver: "gmail", Config: config})
	if err != nil {
		return err
	}
	fmt.Println(string(settings))
	for {
		if _, err := in.ReadBytes('\n'); err != nil {
			return end(err)
		}
		fmt.Println("units", srv.Units(""), "gets", srv.Calls("messages.get"), "lists", srv.Calls("messages.list"))
		srv.ResetLog()
	}
}

func poll(ctx context.Context, in *bufio.Reader) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	settings, err := connection.ParseSettings(line)
	if err != nil {
		return err
	}
	c, err := connection.NewRegistry(gmail.Driver()).Open(settings, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	source, err := connection.As[connection.MailboxSyncer](c)
	if err != nil {
		return err
	}
	all := &archive{checkpoints: make(map[string]connection.Checkpoint)}
	for {
		if _, err := in.ReadBytes('\n'); err != nil {
			return end(err)
		}
		most := 0
		stats, err := connection.Mirror(ctx, source, all, all, &connection.MirrorOptions{
			Workers:  16,
			Progress: func(connection.MirrorStats) { most = max(most, runtime.NumGoroutine()) },
		})
		if err != nil {
			return err
		}
		fmt.Println("mailboxes", stats.Mailboxes, "added", stats.Added, "goroutines", most)
	}
}

// end is nil for the end of the input.
func end(err error) error {
	if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		return nil
	}
	return err
}

// An archive keeps checkpoints, and nothing else.
type archive struct {
	mu          sync.Mutex
	checkpoints map[string]connection.Checkpoint
}

// Store implements [connection.ChangeSink].
func (a *archive) Store(_ context.Context, _ string, c *connection.Change) error {
	if c.Op != connection.Added {
		return nil
	}
	_, err := io.Copy(io.Discard, c.Message.Body)
	return err
}

// Known implements [connection.ChangeSink].
func (a *archive) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	return make([]bool, len(refs)), nil
}

// Load implements [connection.CheckpointStore].
func (a *archive) Load(_ context.Context, mailbox string) (connection.Checkpoint, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.checkpoints[mailbox], nil
}

// Save implements [connection.CheckpointStore].
func (a *archive) Save(_ context.Context, mailbox string, old, now connection.Checkpoint) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.checkpoints[mailbox] != old {
		return connection.ErrChanged
	}
	a.checkpoints[mailbox] = now
	return nil
}
