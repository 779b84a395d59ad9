package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

const megabyte = 1 << 20

// rows names all that can be measured.
func rows() []row {
	small := corpus{count: 20_000, min: 3 << 10, max: 6 << 10}
	fewer := corpus{count: 2_000, min: 3 << 10, max: 6 << 10}
	large := corpus{count: 200, min: megabyte, max: 20 * megabyte}
	return append([]row{
		{"imap-s", "20,000 messages of 3-6 KB from Dovecot to files, in the clear", imapRow(imapWork{corpus: small})},
		{"imap-s-tls", "the same over TLS", imapRow(imapWork{corpus: small, tls: true})},
		{"imap-s-20ms", "the same in the clear over a link of 20 ms there and back", imapRow(imapWork{corpus: small, roundTrip: 20 * time.Millisecond})},
		{"imap-l", "200 messages of 1-20 MB from Dovecot to files, in the clear", imapRow(imapWork{corpus: large})},
		{"imap-l-canned", "200 messages of 1-20 MB from a server whose answers are ready, into nothing", imapCannedRow(large)},
		{"imap-m-fsync", "2,000 messages of 3-6 KB from Dovecot to files on a disk, each synced", imapRow(imapWork{corpus: fewer, sync: true})},
		{"maildir-sweep", "20,000 messages of 3-6 KB read from a Maildir", maildirRow(small)},
	}, slices.Concat(deleteRows(), idleRows(), pop3Rows(), smtpRows(), objectRows())...)
}

// imapWork is what the rows of IMAP differ in.
type imapWork struct {
	corpus    corpus
	tls, sync bool
	roundTrip time.Duration
}

func imapRow(work imapWork) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		work := work
		work.corpus.count = b.count(work.corpus.count)
		srv, err := startDovecot(ctx, b, work.corpus)
		if err != nil {
			return nil, err
		}
		service, mode := "imap", "insecure"
		if work.tls {
			service, mode = "imaps", "tls"
		}
		address, err := b.link(srv.Addr(service), work.roundTrip)
		if err != nil {
			return nil, err
		}
		source := map[string]any{
			"server": address, "mode": mode, "username": srv.User, "password": srv.Password, "ca_pem": srv.CAPEM,
			"allow_plaintext_auth": !work.tls,
		}
		if work.sync {
			b.memory, b.disk = b.disk, b.memory // targets are then on the disk
			b.later(func() error { b.memory, b.disk = b.disk, b.memory; return nil })
		}
		size := work.corpus.octets()
		stored := func(exact bool) func(string, []byte) error {
			return func(target string, _ []byte) error { return countFiles(target, work.corpus.count, size, exact) }
		}
		all := []contender{
			{name: "one UID FETCH 1:*, raw", role: limit, check: stored(true), command: b.child(func(target string) task {
				return task{Kind: "raw-imap", Address: address, TLS: work.tls, CAPEM: srv.CAPEM, User: srv.User, Password: srv.Password, Dir: target, Sync: work.sync}
			})},
			mbsync(srv, address, work, stored(false)),
			{name: "mailconn to files", role: ours, check: stored(true), command: b.child(func(target string) task {
				return task{Kind: "drain", Driver: "imap", Config: source, Dir: target, Sync: work.sync, Sink: "files", Workers: 1}
			})},
			{name: "mailconn to the file store", role: ours, check: stored(true), command: b.child(func(target string) task {
				return task{Kind: "drain", Driver: "imap", Config: source, Dir: target, Sync: work.sync, Sink: "store", Workers: 16}
			})},
		}
		return all, nil
	}
}

// imapCannedRow measures reading alone: the server costs little, and what is read is thrown away.
func imapCannedRow(c corpus) func(context.Context, *bed) ([]contender, error) {
	return func(_ context.Context, b *bed) ([]contender, error) {
		c := c
		c.count = b.count(c.count)
		mail := c.slices()
		srv, err := startServer(mail.serveIMAP)
		if err != nil {
			return nil, err
		}
		b.later(srv.close)
		const user, password = "user", "password"
		source := map[string]any{
			"server": srv.address(), "mode": "insecure", "username": user, "password": password, "allow_plaintext_auth": true,
		}
		read := func(_ string, said []byte) error { return checkTally(said, mail.count, mail.octets()) }
		return []contender{
			{name: "one UID FETCH 1:*, raw", role: limit, check: read, command: b.child(func(string) task {
				return task{Kind: "raw-imap", Address: srv.address(), User: user, Password: password, Sink: "discard"}
			})},
			{name: "mailconn", role: ours, check: read, command: b.child(func(string) task {
				return task{Kind: "drain", Driver: "imap", Config: source, Sink: "discard", Workers: 1}
			})},
		}, nil
	}
}

// startDovecot starts a Dovecot in memory that holds the corpus, for as long as the row is measured.
func startDovecot(ctx context.Context, b *bed, c corpus) (*peertest.DovecotServer, error) {
	srv, err := peertest.StartDovecot(ctx, &peertest.DovecotOptions{Dir: b.memory})
	if err != nil {
		return nil, err
	}
	b.later(srv.Close)
	srv.DeliverTo(srv.User, "INBOX", c.messages())
	return srv, nil
}

// child returns a command that runs this program for a task. Of several runs the last one's profile is kept.
func (b *bed) child(what func(target string) task) func(context.Context, string) (*job, error) {
	return func(ctx context.Context, target string) (*job, error) {
		t := what(target)
		if b.profile != "" {
			t.Profile = filepath.Join(b.profile, b.row+"-"+t.Kind+t.Sink+".pprof")
		}
		input, err := json.Marshal(t)
		return &job{cmd: exec.CommandContext(ctx, b.self, childArgument), input: input}, err
	}
}

func maildirRow(c corpus) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		c := c
		c.count = b.count(c.count)
		dir, err := b.dir(b.memory)
		if err != nil {
			return nil, err
		}
		if err := fillMaildir(dir, c); err != nil {
			return nil, err
		}
		size := c.octets()
		read := func(_ string, said []byte) error { return checkTally(said, c.count, size) }
		all := []contender{
			{name: "8 threads, raw", role: limit, check: read, command: b.child(func(string) task {
				return task{Kind: "raw-maildir", Dir: dir, Workers: 8}
			})},
			tar(dir, size),
			{name: "mailconn", role: ours, check: read, command: b.child(func(string) task {
				return task{Kind: "drain", Driver: "maildir", Config: map[string]any{"path": dir}, Sink: "discard", Workers: 1}
			})},
		}
		return all, nil
	}
}

// tar reads the folder into a pipe: into /dev/null it would not read the files at all.
func tar(dir string, size int64) contender {
	c := contender{name: "tar into a pipe", role: peer}
	program, err := exec.LookPath("tar")
	if err != nil {
		c.missing = "not installed"
		return c
	}
	var counter *countWriter
	c.command = func(ctx context.Context, _ string) (*job, error) {
		counter = &countWriter{}
		cmd := exec.CommandContext(ctx, program, "-cf", "-", "-C", dir, ".")
		cmd.Stdout = counter
		return &job{cmd: cmd}, nil
	}
	c.check = func(string, []byte) error {
		if counter.n < size {
			return fmt.Errorf("an archive of %d octets cannot hold %d", counter.n, size)
		}
		return nil
	}
	return c
}

// countWriter counts what is written to it.
type countWriter struct{ n int64 }

func (w *countWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return len(p), nil
}

// ReadFrom reads in larger pieces than io.Copy would, so that tar does not wait for its reader.
func (w *countWriter) ReadFrom(r io.Reader) (int64, error) {
	buf := make([]byte, megabyte)
	var total int64
	for {
		n, err := r.Read(buf)
		total += int64(n)
		w.n += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// A tally is what a child says it has done.
type tally struct {
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
	PeakRSS  int64 `json:"peak_rss"` // octets; 0 if it cannot be known

	Latency time.Duration `json:"latency,omitempty"` // of what is measured by it
}

func (t tally) check(messages int, octets int64) error {
	if t.Messages != messages || t.Octets != octets {
		return fmt.Errorf("%d messages of %d octets; want %d of %d", t.Messages, t.Octets, messages, octets)
	}
	return nil
}

// checkTally checks what a child says.
func checkTally(said []byte, messages int, octets int64) error {
	var got tally
	if err := json.Unmarshal(said, &got); err != nil {
		return err
	}
	return got.check(messages, octets)
}

// countFiles checks that the folder holds the corpus, one file a message. Names that begin with a dot are programs' own
// state. If not exact, a tenth of the octets may be missing: mbsync takes the CR from each line and adds a field.
func countFiles(dir string, messages int, octets int64, exact bool) error {
	var got tally
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		got.Messages++
		got.Octets += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	if !exact && got.Octets > octets/10*9 {
		got.Octets = octets
	}
	return got.check(messages, octets)
}
