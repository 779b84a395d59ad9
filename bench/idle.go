package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/internal/peertest"
)

// idleRows names what can be measured of waiting.
func idleRows() []row {
	return []row{{"imap-idle", "from the delivery of a message on Dovecot until IDLE tells of it (raw), or it is read (ours); medians of 10", idleRow(10)}}
}

// calm is how long nothing happens before a message is delivered, so that IDLE is under way by then.
const calm = time.Second

func idleRow(rounds int) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		rounds := b.count(rounds)
		srv, err := peertest.StartDovecot(ctx, &peertest.DovecotOptions{Dir: b.memory})
		if err != nil {
			return nil, err
		}
		b.later(srv.Close)
		srv.DeliverTo(srv.User, "INBOX", func(func([]byte) bool) {}) // which makes the folder
		base := task{Address: srv.Addr("imap"), User: srv.User, Password: srv.Password, Dir: srv.Maildir(srv.User), Messages: rounds}
		run := func(t task, kind string) func(context.Context, string) (*job, error) {
			t.Kind = kind
			start := b.child(func(string) task { return t })
			return func(ctx context.Context, target string) (*job, error) {
				if err := emptyMaildir(t.Dir); err != nil {
					return nil, err
				}
				return start(ctx, target)
			}
		}
		seen := func(_ string, said []byte) error { return checkTally(said, rounds, int64(rounds*len(idleMail))) }
		follow := base
		follow.Driver, follow.Config = "imap", map[string]any{
			"server": base.Address, "mode": "insecure", "username": base.User, "password": base.Password, "allow_plaintext_auth": true,
			"idle": true, "polling_interval": "1m", "polling_idle_max": "1m", // IDLE alone
		}
		return []contender{
			{name: "a raw socket", role: limit, check: seen, timed: toldLatency, command: run(base, "raw-idle")},
			{name: "mailconn", role: ours, check: seen, timed: toldLatency, command: run(follow, "idle")},
		}, nil
	}
}

// toldLatency is the time that a child tells of, instead of that of its whole life.
func toldLatency(said []byte) (time.Duration, error) {
	var got tally
	err := json.Unmarshal(said, &got)
	return got.Latency, err
}

var idleMail = []byte("From: a@example.org\r\nSubject: new\r\n\r\nA message.\r\n")

// emptyMaildir removes what the contender before has left.
func emptyMaildir(dir string) error {
	for _, sub := range []string{"new", "cur"} {
		all, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			return err
		}
		for _, name := range all {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver puts a message into a Maildir. It calls soon in the moment before the message is there.
func deliver(maildir string, soon func(at time.Time)) error {
	name := fmt.Sprintf("%d.Q%d.bench", time.Now().Unix(), time.Now().UnixNano())
	tmp := filepath.Join(maildir, "tmp", name)
	if err := os.WriteFile(tmp, idleMail, 0o644); err != nil {
		return err
	}
	soon(time.Now())
	return os.Rename(tmp, filepath.Join(maildir, "new", name))
}

// rawIdle is the limit of waiting: a socket on which IDLE is under way all the time.
func rawIdle(ctx context.Context, t task) (done tally, err error) {
	conn, err := net.Dial("tcp", t.Address)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r := bufio.NewReader(conn)
	await := func(command string, end func(line []byte) bool) error {
		if _, err := io.WriteString(conn, command); err != nil {
			return err
		}
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return err
			}
			if end(line) {
				return nil
			}
		}
	}
	begins := func(with string) func([]byte) bool {
		return func(line []byte) bool { return bytes.HasPrefix(line, []byte(with)) }
	}
	exists := func(line []byte) bool { return bytes.Contains(line, []byte(" EXISTS")) }
	err = errors.Join(await("", begins("* OK")), await("a LOGIN "+t.User+" "+t.Password+"\r\n", begins("a OK")),
		await("b SELECT INBOX\r\n", begins("b OK")), await("c IDLE\r\n", begins("+")))
	var all []time.Duration
	for err == nil && len(all) < t.Messages {
		select {
		case <-time.After(calm):
		case <-ctx.Done():
			return done, ctx.Err()
		}
		var began time.Time
		if err = deliver(t.Dir, func(at time.Time) { began = at }); err != nil {
			break
		}
		err = await("", exists)
		all = append(all, time.Since(began))
		done.Messages++
		done.Octets += int64(len(idleMail))
	}
	slices.Sort(all)
	done.Latency = middle(all)
	return done, err
}

// idle is this module at work: a Fetch that follows.
func idle(ctx context.Context, t task) (done tally, err error) {
	c, err := open(alldrivers.New(), t.Driver, t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	src, err := connection.As[connection.Fetcher](c)
	if err != nil {
		return tally{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	delivered := make(chan time.Time, 1)
	deliverSoon := func() {
		time.AfterFunc(calm, func() {
			if err := deliver(t.Dir, func(at time.Time) { delivered <- at }); err != nil {
				cancel(err)
			}
		})
	}
	var all []time.Duration
	deliverSoon()
	for m, err := range src.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
		if err != nil {
			return done, errors.Join(err, context.Cause(ctx))
		}
		n, err := io.Copy(io.Discard, m.Body)
		if err != nil {
			return done, err
		}
		all = append(all, time.Since(<-delivered))
		done.Messages++
		done.Octets += n
		if done.Messages == t.Messages {
			break
		}
		deliverSoon()
	}
	slices.Sort(all)
	done.Latency = middle(all)
	return done, nil
}
