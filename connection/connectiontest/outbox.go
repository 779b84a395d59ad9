package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// An Outbox is a connection that takes messages and keeps them in memory: a double for the tests of programs that send.
// It keeps the promises of package connection and is safe for concurrent use. Make one with [NewOutbox].
type Outbox struct {
	double
	state *outboxState
}

type outboxState struct {
	fault faultFunc

	mu      sync.Mutex
	refused []string
	sent    []Sent
}

var _ interface {
	connection.Connection
	connection.Sender
} = (*Outbox)(nil)

// NewOutbox returns an empty Outbox that refuses the recipients given.
func NewOutbox(refused ...string) *Outbox {
	s := &outboxState{refused: refused}
	return &Outbox{double: newDouble("outbox", &s.fault), state: s}
}

// Reopen returns a new connection to the same outbox.
func (o *Outbox) Reopen() *Outbox {
	return &Outbox{double: newDouble("outbox", &o.state.fault), state: o.state}
}

// Sent returns what was sent, oldest first. To holds only the recipients that were not refused.
func (o *Outbox) Sent() []Sent {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	return slices.Clone(o.state.sent)
}

// Inject makes verbs fail: f is asked with the verb ("send", "test") and the sender's address, and the error it returns
// becomes the verb's. f may block, and is called by several goroutines at once; nil ends it.
func (o *Outbox) Inject(f func(op, from string) error) {
	o.state.fault.mu.Lock()
	defer o.state.fault.mu.Unlock()
	o.state.fault.f = f
}

// Test implements connection.Connection.
func (o *Outbox) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	return o.test(ctx, opts, "open", fmt.Sprintf("%d messages sent", len(o.Sent())))
}

// Send implements connection.Sender.
func (o *Outbox) Send(ctx context.Context, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
	var opt connection.SendOptions
	if opts != nil {
		opt = *opts
	}
	fail := func(kind connection.Kind, err error) (*connection.Receipt, error) {
		return nil, o.error("send", connection.Ref{}, "", kind, err)
	}
	if err := o.begin(ctx, "send"); err != nil {
		return nil, err
	}
	if opt.NewMessageID {
		return fail(connection.ErrUnsupported, errors.New("new_message_id: this double changes no message"))
	}
	if len(env.To) == 0 {
		return fail(connection.ErrInvalid, errors.New("no recipient"))
	}
	for _, address := range append([]string{env.From}, env.To...) {
		if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' }) {
			return fail(connection.ErrInvalid, errors.New("an address holds a space, a bracket or a control character"))
		}
	}
	if err := o.planned("send", env.From); err != nil {
		return nil, o.failed("send", connection.Ref{}, "", err)
	}
	raw, err := o.readAll(ctx, "send", r, opt.Size)
	if err != nil {
		return nil, err
	}
	receipt := &connection.Receipt{Reply: "kept in memory"}
	for _, to := range env.To {
		if slices.Contains(o.state.refused, to) {
			err := o.error("send", connection.Ref{}, "", connection.ErrRejected, errors.New("no such recipient"))
			receipt.Rejected = append(receipt.Rejected, connection.Rejection{Address: to, Err: err})
			continue
		}
		receipt.Accepted = append(receipt.Accepted, to)
	}
	if len(receipt.Accepted) == 0 {
		return receipt, o.error("send", connection.Ref{}, "", connection.ErrRejected, errors.New("every recipient was refused"))
	}
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	o.state.sent = append(o.state.sent, Sent{From: env.From, To: slices.Clone(receipt.Accepted), Raw: bytes.Clone(raw)})
	return receipt, nil
}
