package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

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
	failed  outcome = "not sent" // the server has it not; what failed is said
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
	return sendAll(ctx, store, server, choose(ctx, store, o, stdin), o, out)
}

// sendAll sends the messages chosen, one after the other, and tells what became of each. It stops where the next ones
// would fare no better.
func sendAll(ctx context.Context, store connection.ObjectStore, server sender, chosen iter.Seq2[Entry, error], o options, out io.Writer) error {
	counts := make(map[outcome]int)
	var stop error
	for e, err := range chosen {
		if err != nil {
			stop = err
			break
		}
		what, detail := would, describe(e)
		if !o.dryRun {
			what, detail, stop = resend(ctx, store, server, e, o)
		} else if _, err := store.Stat(ctx, e.Key); err != nil {
			what, detail = failed, err.Error()
		} else {
			envelope := o.envelope(e, server)
			detail += fmt.Sprintf("; from <%s> to %s", envelope.From, strings.Join(envelope.To, ", "))
		}
		counts[what]++
		if _, err := fmt.Fprintf(out, "%-12s %s  %s\n", what, e.Key, strings.TrimPrefix(detail, "; ")); err != nil {
			return err
		}
		if stop == nil && ctx.Err() != nil {
			stop = context.Cause(ctx)
		}
		if stop != nil {
			break
		}
	}
	return errors.Join(stop, summarize(out, counts, stop != nil))
}

// summarize prints how many messages fared how. It is an error if any was not sent to everybody.
func summarize(out io.Writer, counts map[outcome]int, stopped bool) error {
	total := 0
	text := ""
	for _, what := range []outcome{sent, would, partial, refused, failed, unknown} {
		if n := counts[what]; n > 0 {
			total += n
			text += fmt.Sprintf(", %d %s", n, what)
		}
	}
	if stopped {
		text += "; stopped before the rest"
	}
	if _, err := fmt.Fprintf(out, "%s%s\n", messages(total), text); err != nil {
		return err
	}
	if total == 0 && !stopped {
		return errors.New("the archive has no such message")
	}
	if n := total - counts[sent] - counts[would]; n > 0 {
		return fmt.Errorf("%s not sent to everybody; see above", messages(n))
	}
	return nil
}

func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// envelope is from whom and to whom e goes.
func (o *options) envelope(e Entry, server sender) connection.Envelope {
	envelope := connection.Envelope{From: o.from, To: o.recipients()}
	if envelope.From == "" && e.Envelope != nil {
		envelope.From = e.Envelope.From
	}
	if own, ok := server.(interface{ From() string }); ok && envelope.From == "" {
		envelope.From = own.From()
	}
	return envelope
}

// resend sends one message, and says what became of it. stop is an error that the next messages would meet as well.
func resend(ctx context.Context, store connection.Getter, server sender, e Entry, o options) (what outcome, detail string, stop error) {
	object, err := store.Get(ctx, e.Key, nil)
	if err != nil {
		return failed, err.Error(), nil
	}
	defer func() { _ = object.Body.Close() }() // it was only read
	// A damaged message is an error at its end, and Send sends nothing before it has read the end.
	body := &verified{r: object.Body, hash: sha256.New(), key: e.Key}
	receipt, err := server.Send(ctx, o.envelope(e, server), body, &connection.SendOptions{Size: object.Size})
	var told *connection.Error
	switch kind := connection.KindOf(err); {
	case errors.Is(err, connection.ErrUncertain):
		return unknown, err.Error(), nil
	case kind == connection.ErrAuth, kind == connection.ErrTLS:
		return failed, err.Error(), err
	case errors.As(err, &told) && told.Code != "" && !connection.Temporary(err):
		return refused, err.Error(), nil
	case err != nil:
		return failed, err.Error(), nil
	case len(receipt.Rejected) > 0:
		return partial, fmt.Sprintf("to %s, as %s; refused: %v", strings.Join(receipt.Accepted, ", "), receipt.MessageID, receipt.Rejected[0].Err), nil
	}
	return sent, fmt.Sprintf("as %s: %s", receipt.MessageID, receipt.Reply), nil
}

// verified reads a message and ends in ErrCorrupt if it does not hash to its name: not every store can tell.
type verified struct {
	r    io.Reader
	hash hash.Hash
	key  string
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.hash.Write(p[:n]) // a hash takes everything
	if err == io.EOF {  //nolint:errorlint // only a bare io.EOF is the end
		if sum := hex.EncodeToString(v.hash.Sum(nil)); !strings.Contains(v.key, sum) {
			return n, fmt.Errorf("%w: %s hashes to %s: it is damaged in the archive", connection.ErrCorrupt, v.key, sum)
		}
	}
	return n, err
}

func describe(e Entry) string {
	if e.Ref.IsZero() && e.Folder == "" {
		return ""
	}
	text := e.Ref.String()
	if !e.Received.IsZero() {
		text += ", received " + e.Received.Format("2006-01-02 15:04:05 MST")
	}
	return fmt.Sprintf("%s, %d octets", text, e.Size)
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
		return nil, fmt.Errorf("%w; an archive is made by examples/archive", err)
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
