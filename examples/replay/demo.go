package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// demonstrate sends the messages of a small archive through a mail server on this machine, which refuses one, loses the
// connection over another, and takes the rest.
func demonstrate(ctx context.Context, out io.Writer) (err error) {
	if _, err := io.WriteString(out, "This is a demonstration, and needs nothing but Go: an archive of four messages, and a mail server on this machine\n"+
		"that refuses one and loses the connection after another. Try -help for the rest.\n\n"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "replay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := openArchive(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var letters []string
	for _, subject := range []string{"one", "two", "three", "four"} {
		letters = append(letters, "From: ann@example.org\r\nTo: list@example.org\r\nMessage-ID: <"+subject+"@example.org>\r\nSubject: "+subject+"\r\n\r\n.Every octet counts.\r\n")
	}
	if err := fill(ctx, store, letters); err != nil {
		return err
	}
	server, err := smtptest.Listen(nil)
	if err != nil {
		return err
	}
	defer server.Close()
	server.Fail(smtptest.End, "554 5.6.0 I do not like this one", 1)
	server.LoseReply(smtptest.End, 1)
	config := server.Config() // what the settings file of -via holds
	config.SendStrategy = smtpclient.NewMessageID
	smtp, err := smtpclient.Open(config, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, smtp.Close()) }()

	o := options{to: "bob@example.org", query: query{folder: "INBOX"}}
	told := sendAll(ctx, store, smtp, choose(ctx, store, o, nil), o, out)
	if ctx.Err() != nil {
		return told
	}
	arrived := server.Messages()
	if _, err := fmt.Fprintf(out, "\nThe server has %s; the last one as it arrived, with a new Message-ID, since servers drop one that they know:\n\n", messages(len(arrived))); err != nil {
		return err
	}
	if len(arrived) != 3 {
		return fmt.Errorf("%s arrived, want 3: %w", messages(len(arrived)), told)
	}
	_, err = fmt.Fprintf(out, "%s\n", strings.ReplaceAll(string(arrived[2].Raw), "\r\n", "\n"))
	return err
}

// fill puts letters into an archive, as examples/archive does.
func fill(ctx context.Context, store connection.Putter, letters []string) error {
	manifest, err := json.Marshal(map[string]any{"run": "demo", "segment": 1, "lines": len(letters), "source": "the demonstration"})
	if err != nil {
		return err
	}
	for i, letter := range letters {
		key, err := messageKey(digest(letter))
		if err != nil {
			return err
		}
		if _, err := store.Put(ctx, key, strings.NewReader(letter), nil); err != nil {
			return err
		}
		line, err := json.Marshal(Entry{Key: key, Size: int64(len(letter)), Ref: connection.Ref{Folder: "INBOX", ID: fmt.Sprint(i + 1)}, Folder: "INBOX"})
		if err != nil {
			return err
		}
		manifest = append(append(manifest, '\n'), line...)
	}
	manifest = append(manifest, '\n')
	_, err = store.Put(ctx, "manifests/demo/"+digest(string(manifest))+".jsonl", strings.NewReader(string(manifest)), nil)
	return err
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
