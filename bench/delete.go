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
		{"imap-drain-20ms", "20,000 messages of 3-6 KB read into nothing and deleted on Dovecot, over a link of 20 ms there and back", drainRow(small, 20*time.Millisecond)},
	}
}

// A deletion is what contenders empty.
type deletion struct {
	corpus corpus
	srv    *peertest.DovecotServer
	direct task           // to the server, not over the link
	far    task           // over it
	config map[string]any // of the driver
}

func startDeletion(ctx context.Context, b *bed, c corpus, roundTrip time.Duration) (*deletion, error) {
	c.count = b.count(c.count)
	srv, err := startDovecot(ctx, b, corpus{}) // which makes the folder
	if err != nil {
		return nil, err
	}
	d := &deletion{corpus: c, srv: srv, direct: task{Address: srv.Addr("imap"), User: srv.User, Password: srv.Password}}
	d.far = d.direct
	if d.far.Address, err = b.link(d.direct.Address, roundTrip); err != nil {
		return nil, err
	}
	d.config = map[string]any{
		"server": d.far.Address, "mode": "insecure", "username": srv.User, "password": srv.Password, "allow_plaintext_auth": true,
		"delete_mode": "expunge", "expunge_every": 500,
	}
	return d, nil
}

// empty checks that nothing is left.
func (d *deletion) empty(string, []byte) error {
	if n := d.srv.Count(d.srv.User, "INBOX"); n != 0 {
		return fmt.Errorf("%d messages are left", n)
	}
	return nil
}

// filled returns a command that finds the corpus in the folder, and the server's index up to date.
func (d *deletion) filled(b *bed, t task) func(context.Context, string) (*job, error) {
	run := b.child(func(string) task { return t })
	return func(ctx context.Context, target string) (*job, error) {
		if err := refill(d.srv, d.corpus, d.direct); err != nil {
			return nil, err
		}
		return run(ctx, target)
	}
}

func deleteRow(c corpus, roundTrip time.Duration) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		d, err := startDeletion(ctx, b, c, roundTrip)
		if err != nil {
			return nil, err
		}
		raw := d.far
		raw.Kind = "raw-delete"
		all := []contender{{name: "one STORE, one EXPUNGE, raw", role: limit, check: d.empty, command: d.filled(b, raw)}}
		for _, batch := range []int{50, 500} {
			all = append(all, contender{
				name: fmt.Sprintf("mailconn, %d a call", batch), role: ours, check: d.empty,
				command: d.filled(b, task{Kind: "delete", Driver: "imap", Config: d.config, Batch: batch}),
			})
		}
		return all, nil
	}
}

// drainRow measures what an archiver of a journal mailbox does: each message is deleted once it is stored.
func drainRow(c corpus, roundTrip time.Duration) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		d, err := startDeletion(ctx, b, c, roundTrip)
		if err != nil {
			return nil, err
		}
		size := d.corpus.octets()
		drained := func(target string, said []byte) error {
			return errors.Join(checkTally(said, d.corpus.count, size), d.empty(target, said))
		}
		raw := d.far
		raw.Kind, raw.Sink = "raw-drain", "discard"
		return []contender{
			{name: "one FETCH, one STORE, one EXPUNGE, raw", role: limit, check: drained, command: d.filled(b, raw)},
			{name: "mailconn", role: ours, check: drained, command: d.filled(b, task{
				Kind: "drain", Driver: "imap", Config: d.config, Sink: "discard", Workers: 1, Delete: true,
			})},
		}, nil
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

// rawDrain is the limit of reading and then deleting.
func rawDrain(t task) (tally, error) {
	return talkIMAP(t, "SELECT INBOX", "UID FETCH 1:* (UID BODY.PEEK[])", `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
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
