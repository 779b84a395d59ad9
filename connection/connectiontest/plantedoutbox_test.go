package connectiontest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A bentOutbox does what its function says.
type bentOutbox struct {
	*Outbox
	send func(ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error)
}

func (b *bentOutbox) Send(ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
	return b.send(ctx, env, r, opts)
}

func onSend(f func(o *Outbox, ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error)) func() Harness {
	return func() Harness {
		return outboxHarness(func(o *Outbox) connection.Connection {
			return &bentOutbox{o, func(ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
				return f(o, ctx, env, r, opts)
			}}
		})
	}
}

var plantedOutboxes = []planted{
	{
		bug: "takes the dots away", rule: SendBytes,
		harness: onSend(func(o *Outbox, ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
			raw, err := io.ReadAll(r)
			if err != nil {
				return o.Send(ctx, env, failing{err}, opts)
			}
			if bytes.Contains(raw, []byte("\n.")) {
				raw, opts = bytes.ReplaceAll(raw, []byte("\n."), []byte("\n")), nil
			}
			return o.Send(ctx, env, bytes.NewReader(raw), opts)
		}),
		also: []string{SendAll},
	},
	{
		bug: "sends what it got when the reader fails", rule: SendAll,
		harness: onSend(func(o *Outbox, ctx context.Context, env connection.Envelope, r io.Reader, _ *connection.SendOptions) (*connection.Receipt, error) {
			raw, err := io.ReadAll(r)
			receipt, sendErr := o.Send(ctx, env, bytes.NewReader(raw), nil)
			if err != nil {
				return nil, o.failed("send", connection.Ref{}, "", err)
			}
			return receipt, sendErr
		}),
	},
	{
		bug: "keeps quiet about recipients that were refused", rule: SendRejected,
		harness: onSend(func(o *Outbox, ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
			receipt, err := o.Send(ctx, env, r, opts)
			if err == nil {
				receipt.Accepted, receipt.Rejected = env.To, nil
			}
			return receipt, err
		}),
	},
	{
		bug: "puts addresses into commands as they are", rule: SendInject,
		harness: onSend(func(o *Outbox, ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
			clean := func(s string) string {
				return strings.Map(func(r rune) rune { return max(r, '!') }, strings.NewReplacer("<", "", ">", "").Replace(s))
			}
			env.From = clean(env.From)
			env.To = slices.Clone(env.To)
			for i, to := range env.To {
				env.To[i] = clean(to)
			}
			return o.Send(ctx, env, r, opts)
		}),
	},
}
