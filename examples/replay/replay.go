package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

// An outcome is what became of one message.
type outcome string

const (
	sent    outcome = "sent"
	would   outcome = "would send"
	partial outcome = "sent to some"
	refused outcome = "refused"  // the server has it not, and said why
	failed  outcome = "not sent" // the server has it not; the same may work later
	unknown outcome = "unknown"  // the server may have it; look there before sending it again
)

// replay sends the messages that the options name.
func replay(ctx context.Context, o options, stdin io.Reader, out io.Writer) (err error) {
	store, err := openArchive(o.archive)
	if err != nil {
		return fmt.Errorf("-archive: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var server sender
	if o.via != "" {
		if server, err = openSender(o.via); err != nil {
			return fmt.Errorf("-via: %w", err)
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		if report, err := server.Test(ctx, nil); err != nil {
			return fmt.Errorf("-via: %w\n%s", err, report)
		} else if o.test {
			_, err = fmt.Fprintln(out, report)
			return err
		}
	}
	counts := make(map[outcome]int)
	for e, err := range choose(ctx, store, o, stdin) {
		if err != nil {
			return err
		}
		what, detail := would, describe(e)
		if !o.dryRun {
			what, detail = resend(ctx, store, server, e, o)
		} else if _, err := store.Stat(ctx, e.Key); err != nil {
			what, detail = failed, err.Error()
		}
		counts[what]++
		if _, err := fmt.Fprintf(out, "%-10s %s  %s\n", what, e.Key, detail); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return summarize(out, counts)
}

func summarize(out io.Writer, counts map[outcome]int) error {
	total := 0
	text := ""
	for _, what := range []outcome{sent, would, partial, refused, failed, unknown} {
		if n := counts[what]; n > 0 {
			total += n
			text += fmt.Sprintf(", %d %s", n, what)
		}
	}
	if _, err := fmt.Fprintf(out, "%d messages%s\n", total, text); err != nil {
		return err
	}
	if total == 0 {
		return errors.New("no message of the archive was meant")
	}
	if n := total - counts[sent] - counts[would]; n > 0 {
		return fmt.Errorf("%d messages were not sent to everybody; see above", n)
	}
	return nil
}

// resend sends one message, and says what became of it.
func resend(ctx context.Context, store connection.Getter, server sender, e Entry, o options) (outcome, string) {
	object, err := store.Get(ctx, e.Key, nil)
	if err != nil {
		return failed, err.Error()
	}
	defer func() { _ = object.Body.Close() }() // it was only read
	envelope := connection.Envelope{From: o.from, To: o.recipients()}
	if envelope.From == "" && e.Envelope != nil {
		envelope.From = e.Envelope.From
	}
	if own, ok := server.(interface{ From() string }); ok && envelope.From == "" {
		envelope.From = own.From()
	}
	// A damaged object is ErrCorrupt at its end, and Send sends nothing before it has read the end.
	receipt, err := server.Send(ctx, envelope, object.Body, &connection.SendOptions{Size: object.Size})
	switch {
	case errors.Is(err, connection.ErrUncertain):
		return unknown, err.Error()
	case err != nil && connection.Temporary(err):
		return failed, err.Error()
	case err != nil:
		return refused, err.Error()
	case len(receipt.Rejected) > 0:
		return partial, fmt.Sprintf("to %s, as %s; refused: %v", receipt.Accepted, receipt.MessageID, receipt.Rejected[0].Err)
	}
	return sent, fmt.Sprintf("as %s: %s", receipt.MessageID, receipt.Reply)
}

func describe(e Entry) string {
	if e.Ref.IsZero() && e.Folder == "" {
		return ""
	}
	return fmt.Sprintf("%s, received %s, %d octets", e.Ref, e.Received.Format("2006-01-02 15:04:05 MST"), e.Size)
}

// A sender is a connection that sends.
type sender interface {
	connection.Connection
	connection.Sender
}

func openSender(file string) (sender, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	settings, err := connection.ParseSettings(data)
	if err != nil {
		return nil, err
	}
	return open[sender](settings)
}

// openArchive opens a folder, or what a settings file describes. It makes nothing.
func openArchive(name string) (connection.ObjectStore, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		settings, err := connection.ParseSettings(data)
		if err != nil {
			return nil, err
		}
		return open[connection.ObjectStore](settings)
	}
	location, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]string{"location": location})
	if err != nil {
		return nil, err
	}
	return open[connection.ObjectStore](connection.Settings{Driver: "file", Config: config})
}

// open opens a connection and asserts that it can do what T says.
func open[T connection.Connection](settings connection.Settings) (T, error) {
	var none T
	c, err := alldrivers.New().Open(settings, nil)
	if err != nil {
		return none, err
	}
	t, err := connection.As[T](c)
	if err != nil {
		return none, errors.Join(err, c.Close())
	}
	return t, nil
}
