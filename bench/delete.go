package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/internal/peertest"
)

// deleteRows names what can be measured of deleting.
func deleteRows() []row {
	small := corpus{count: 20_000, min: 3 << 10, max: 6 << 10}
	return []row{
		{"imap-delete", "20,000 messages of 3-6 KB deleted on Dovecot, expunged 500 at a time", deleteRow(small, 0)},
		{"imap-delete-20ms", "the same over a link of 20 ms there and back", deleteRow(small, 20*time.Millisecond)},
	}
}

func deleteRow(c corpus, roundTrip time.Duration) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		c := c
		c.count = b.count(c.count)
		srv, err := startDovecot(ctx, b, corpus{count: 1, min: c.min, max: c.max})
		if err != nil {
			return nil, err
		}
		base := task{Address: srv.Addr("imap"), User: srv.User, Password: srv.Password}
		address, err := b.link(base.Address, roundTrip)
		if err != nil {
			return nil, err
		}
		config := map[string]any{
			"server": address, "mode": "insecure", "username": srv.User, "password": srv.Password, "allow_plaintext_auth": true,
			"delete_mode": "expunge", "expunge_every": 500,
		}
		empty := func(string, []byte) error {
			if n := srv.Count(srv.User, "INBOX"); n != 0 {
				return fmt.Errorf("%d messages are left", n)
			}
			return nil
		}
		// filled returns a command that finds the corpus in the folder, and the server's index up to date.
		filled := func(t task) func(context.Context, string) (*job, error) {
			run := b.child(func(string) task { return t })
			return func(ctx context.Context, target string) (*job, error) {
				if err := refill(srv, c, base); err != nil {
					return nil, err
				}
				return run(ctx, target)
			}
		}
		raw := base
		raw.Kind, raw.Address = "raw-delete", address
		all := []contender{{name: "one STORE, one EXPUNGE, raw", role: limit, check: empty, command: filled(raw)}}
		for _, batch := range []int{50, 500} {
			all = append(all, contender{
				name: fmt.Sprintf("mailconn, %d a call", batch), role: ours, check: empty,
				command: filled(task{Kind: "delete", Driver: "imap", Config: config, Batch: batch}),
			})
		}
		return all, nil
	}
}

// refill delivers what is missing of the corpus, and has the server look at it.
func refill(srv *peertest.DovecotServer, c corpus, t task) error {
	c.count -= srv.Count(srv.User, "INBOX")
	if c.count > 0 {
		srv.DeliverTo(srv.User, "INBOX", c.messages())
	}
	_, err := talkIMAP(t, "SELECT INBOX")
	return err
}

// rawDelete is the limit of deleting: everything with two commands.
func rawDelete(t task) (tally, error) {
	return talkIMAP(t, "SELECT INBOX", `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
}

// talkIMAP logs in and sends commands, each of which must be answered with OK.
func talkIMAP(t task, commands ...string) (done tally, err error) {
	conn, err := net.Dial("tcp", t.Address)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r := bufio.NewReaderSize(conn, readAhead)
	if _, err := r.ReadSlice('\n'); err != nil {
		return tally{}, err
	}
	for _, command := range slices.Concat([]string{"LOGIN " + t.User + " " + t.Password}, commands, []string{"LOGOUT"}) {
		if _, err := io.WriteString(conn, "a "+command+"\r\n"); err != nil {
			return done, err
		}
		if err := done.answer(r, t); err != nil {
			word, _, _ := strings.Cut(command, " ") // not the password
			return done, fmt.Errorf("%s: %w", word, err)
		}
	}
	return done, nil
}

// remove deletes all that is in a source, without reading it, so many messages with one call.
func remove(ctx context.Context, t task) (done tally, err error) {
	c, err := open(alldrivers.New(), t.Driver, t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	src, err := connection.As[connection.Source](c)
	if err != nil {
		return tally{}, err
	}
	var refs []connection.Ref
	note := func(ref connection.Ref) bool {
		refs = append(refs, ref)
		return true
	}
	for _, err := range src.Fetch(ctx, &connection.FetchOptions{Skip: note}) {
		if err != nil {
			return tally{}, err
		}
	}
	for batch := range slices.Chunk(refs, t.Batch) {
		if err := src.Delete(ctx, batch...); err != nil {
			return done, err
		}
		done.Messages += len(batch)
	}
	return done, nil
}
