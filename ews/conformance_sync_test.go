package ews_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net/mail"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// writer is whose mailbox the rules of Sync, Append and Send use: the sender of all their messages.
const writer = "ann@example.org"

// writerRig is as rig, for the mailbox of the rules' sender.
func (c conformance) writerRig(t testing.TB) (*rig, *ewstest.Mailbox) {
	r := &rig{Server: ewstest.NewServer(t, &ewstest.Options{
		Auth:   ewstest.Authentication{Schemes: c.scheme},
		Quirks: ewstest.Quirks{NoSendAsCheck: true}, // the rules send as whoever their corpus names
	})}
	mb := r.AddMailbox(writer, ewstest.MailboxOptions{Password: canary})
	r.env = r.Env()
	r.cfg = ews.Config{
		Server: "exchange.example.org", DisableAutodiscover: true, Username: writer, Password: connection.NewSecret(canary),
		DeleteMode: ews.DeleteHard, Auth: c.auth(),
	}
	r.cfg.CAPEM = r.CA()
	if c.impersonate {
		r.impersonating()
		r.cfg.Mailboxes = []string{writer}
	}
	if c.scheme == ewstest.Bearer {
		r.AddToken(canary, ewstest.Token{User: r.cfg.Username, AppOnly: c.impersonate})
		r.cfg.Password = connection.Secret{}
	}
	return r, mb
}

// The promises of syncing and appending, by each way to log in, as the mailbox's owner and by impersonation.
func TestConformanceSync(t *testing.T) {
	for _, c := range everyLogin {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			var r *rig
			var mb *ewstest.Mailbox
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(t testing.TB) { r, mb = c.writerRig(t) },
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					conn := open(t, r.cfg, r.under(env))
					if c.impersonate {
						return syncing{conn, ofWriter{conn}, ofWriter{conn}, conn}
					}
					return syncing{conn, conn, conn, conn}
				},
				Fill: func(_ testing.TB, raw ...[]byte) { mb.Deliver("Inbox", raw...) },
				Left: func(testing.TB) [][]byte {
					var all [][]byte
					for _, m := range r.Messages(writer, "Inbox") {
						all = append(all, m.Raw)
					}
					return all
				},
				Folder:    "Inbox",
				Normalize: notEmpty,
				Secret:    canary,
				Soon:      5 * time.Second, // several run at once
				Skip:      c.checkedElsewhere(),
			})
		})
	}
}

// The promises of sending, in the same ways.
func TestConformanceSend(t *testing.T) {
	for _, c := range everyLogin {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			var r *rig
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(t testing.TB) { r, _ = c.writerRig(t) },
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					conn := open(t, r.cfg, r.under(env))
					return submitting{conn, conn}
				},
				Outbox: func(testing.TB) []connectiontest.Sent {
					var all []connectiontest.Sent
					for _, s := range r.Sent() {
						to := slices.Compact(slices.Sorted(slices.Values(s.Recipients))) // nobody gets a message twice
						all = append(all, connectiontest.Sent{From: s.Mailbox, To: to, Raw: withoutBcc(s.Raw)})
					}
					return all
				},
				Normalize: func(s connectiontest.Sample) ([]byte, string) {
					if _, err := mail.ReadMessage(bytes.NewReader(append([]byte("A: b\r\n"), s.Raw...))); err != nil && noHeader[s.Name] == "" {
						return nil, "the server for tests finds no recipients in a header that it cannot parse"
					}
					return nil, ""
				},
				Secret: canary,
				Soon:   5 * time.Second,
				Skip:   c.checkedElsewhere(),
			})
		})
	}
}

var everyLogin = []conformance{
	{scheme: ewstest.Basic, cuts: true, stalls: true},
	{scheme: ewstest.Basic, impersonate: true},
	{scheme: ewstest.NTLM},
	{scheme: ewstest.NTLM, impersonate: true, cuts: true},
	{scheme: ewstest.Bearer},
	{scheme: ewstest.Bearer, impersonate: true},
}

// checkedElsewhere are the rules that TestConformance has, and those that each way to log in need not repeat.
func (c conformance) checkedElsewhere() map[string]string {
	skip := map[string]string{}
	for _, rule := range []string{
		connectiontest.OpenDoesNoIO, connectiontest.TestReports, connectiontest.TestChangesNothing, connectiontest.CloseTwice, connectiontest.FoldersListed,
	} {
		skip[rule] = "checked by TestConformance"
	}
	if !c.cuts { // these move the whole corpus, or sync dozens of times
		for _, rule := range []string{
			connectiontest.SyncBytes, connectiontest.SyncCheckpoint, connectiontest.AppendBytes, connectiontest.SendBytes, connectiontest.CutSend,
		} {
			skip[rule] = "checked with Basic directly and with NTLM by impersonation"
		}
	}
	if !c.stalls {
		skip[connectiontest.StallEnds] = "checked with Basic directly"
	}
	return skip
}

// noHeader are samples without a header, in front of which the Bcc is a header of its own.
var noHeader = map[string]string{"one-octet": "x", "only-cr": "\r", "dot-first": ".\r\nfirst line\r\n"}

// addedBcc is what is put in front of a message that does not name all its recipients.
var addedBcc = regexp.MustCompile(`^Bcc: [^\r\n]*(\r?\n [^\r\n]*)*\r?\n`)

// withoutBcc returns a message as its recipients get to see it.
func withoutBcc(raw []byte) []byte {
	raw = addedBcc.ReplaceAll(raw, nil)
	for _, text := range noHeader {
		if string(raw) == "\r\n"+text {
			return []byte(text)
		}
	}
	return raw
}

func notEmpty(s connectiontest.Sample) ([]byte, string) {
	if len(s.Raw) == 0 {
		return nil, "Exchange has no message of zero octets"
	}
	return nil, ""
}

// syncing and submitting are what these rules are about.
type syncing struct {
	connection.Connection
	connection.Syncer
	connection.Appender
	connection.Deleter
}

type submitting struct {
	connection.Connection
	connection.Sender
}

// ofWriter is a connection of an account without a mailbox, which names the writer's wherever one may be named.
type ofWriter struct{ *ews.Conn }

func (n ofWriter) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	o := connection.SyncOptions{}
	if opts != nil {
		o = *opts
	}
	o.Mailbox = writer
	return n.Conn.Sync(ctx, since, &o)
}

func (n ofWriter) Append(ctx context.Context, folder string, body io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	o := connection.AppendOptions{}
	if opts != nil {
		o = *opts
	}
	o.Mailbox = writer
	return n.Conn.Append(ctx, folder, body, &o)
}
