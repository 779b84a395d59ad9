package connectiontest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// plantedWhole are bugs of a connection as a whole.
var plantedWhole = []planted{
	{
		bug: "returns no report with an error", rule: TestReports,
		harness: mailbox(func(b *bent) {
			b.test = func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
				r, err := b.Mailbox.Test(ctx, opts)
				if err != nil {
					return nil, err
				}
				return r, nil
			}
		}),
		also: []string{BrokenIsExplained},
	},
	{
		bug: "gives no hint", rule: BrokenIsExplained,
		harness: mailbox(func(b *bent) {
			b.test = func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
				r, err := b.Mailbox.Test(ctx, opts)
				for i := range r.Steps {
					r.Steps[i].Hint = ""
				}
				return r, err
			}
		}),
		also: []string{TestReports},
	},
	{
		bug: "leaves its test message", rule: TestChangesNothing,
		harness: mailbox(func(b *bent) {
			b.test = func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
				if opts != nil && opts.Write {
					b.Deliver(letter(1000))
				}
				return b.Mailbox.Test(ctx, opts)
			}
		}),
	},
	{
		bug: "dials when it is opened", rule: OpenDoesNoIO,
		harness: func() Harness {
			h := mailboxHarness(asIs[*Mailbox])
			open := h.Open
			h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
				if env.Dial != nil {
					if c, err := env.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
						must(c.Close())
					}
				}
				return open(t, env)
			}
			return h
		},
	},
	{
		bug: "fails at the second Close", rule: CloseTwice,
		harness: mailbox(func(b *bent) {
			b.close = func() error {
				if err := b.begin(context.Background(), "close"); err != nil {
					return err
				}
				return b.Mailbox.Close()
			}
		}),
	},
	{
		bug: "works after Close", rule: ClosedSaysClosed,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				if opts != nil && opts.Follow {
					return b.Mailbox.Fetch(ctx, opts)
				}
				return b.Reopen().Fetch(ctx, opts)
			}
		}),
		also: []string{CloseEnds, NoGoroutineLeft},
	},
	{
		bug: "does not end a loop that waits when it is closed", rule: CloseEnds,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				if opts != nil && opts.Follow && b.begin(ctx, "fetch") == nil {
					return b.Reopen().Fetch(ctx, opts)
				}
				return b.Mailbox.Fetch(ctx, opts)
			}
		}),
		also: []string{NoGoroutineLeft},
	},
	{
		bug: "returns a bare error", rule: ErrorsAreTyped,
		harness: mailbox(func(b *bent) {
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return b.Mailbox.Delete(ctx, refs...)
			}
		}),
	},
	{
		bug: "prints the secret in an error", rule: SecretsNeverPrint,
		harness: mailbox(func(b *bent) {
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				if err := b.Mailbox.Delete(ctx, refs...); err != nil {
					return b.error("delete", connection.Ref{}, "", connection.KindOf(err), fmt.Errorf("LOGIN ann %s: %w", canary, err))
				}
				return nil
			}
		}),
	},
	{
		bug: "logs the login in base64", rule: SecretsNeverPrint,
		harness: func() Harness {
			h := mailboxHarness(asIs[*Mailbox])
			open := h.Open
			h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
				blob := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + canary))
				env.Log().Log(t.Context(), connection.LevelTrace, "sent", "line", "AUTHENTICATE PLAIN "+blob)
				return open(t, env)
			}
			return h
		},
	},
	{
		bug: "shows the password to fmt", rule: SecretsNeverPrint,
		harness: func() Harness {
			return mailboxHarness(func(m *Mailbox) connection.Connection {
				return &struct {
					*Mailbox
					password string
				}{m, canary}
			})
		},
	},
	{
		bug: "tells the secret in an event", rule: SecretsNeverPrint,
		harness: func() Harness {
			h := mailboxHarness(asIs[*Mailbox])
			open := h.Open
			h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
				env.Emit(connection.Event{Kind: connection.EventNotice, Detail: "welcome, " + canary})
				return open(t, env)
			}
			return h
		},
	},
	{
		bug: "refuses a canceled context without saying so", rule: CanceledAtOnce,
		harness: onAppend(func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			if ctx.Err() != nil {
				return connection.Ref{}, b.error("append", connection.Ref{}, "", connection.ErrNetwork, errors.New("the line is closed"))
			}
			return b.Mailbox.Append(ctx, folder, r, opts)
		}),
	},
}
