package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// The addresses of the rules.
const (
	sender    = "ann@example.org"
	recipient = "bob@example.org"
	second    = "carol@example.org"
)

func (x *exam) sender() connection.Sender { return x.open().(connection.Sender) }

func (x *exam) send(s connection.Sender, env connection.Envelope, r io.Reader, opts *connection.SendOptions) (receipt *connection.Receipt, err error) {
	x.within(x.h.patience(), "Send", func() {
		receipt, err = s.Send(x.ctx, env, r, opts)
		x.noteError("send", err)
		if err == nil && receipt == nil {
			x.stop("Send returned neither a receipt nor an error")
		}
	})
	return receipt, err
}

// sentIs fails the rule if not exactly want arrived.
func (x *exam) sentIs(when string, want [][]byte) {
	var diff string
	if !poll(x.h.Eventual, func() bool { diff = difference(x.sent(), want); return diff == "" }) {
		x.fail("%s what arrived is not what must:\n%s", when, diff)
	}
}

func (x *exam) sent() [][]byte {
	var all [][]byte
	for _, s := range x.h.Outbox(x.t) {
		all = append(all, s.Raw)
	}
	return all
}

func checkSend(x *exam) {
	s := x.sender()
	give, want := x.carried()
	env := connection.Envelope{From: sender, To: []string{recipient, second}}
	for i, raw := range give {
		var opts *connection.SendOptions
		if i%2 == 0 {
			opts = &connection.SendOptions{Size: int64(len(raw))}
		}
		receipt, err := x.send(s, env, &canceling{bytes.NewReader(raw), func() {}}, opts)
		x.ok("send of "+describe(raw), err)
		if len(receipt.Rejected) > 0 || !slices.Equal(slices.Sorted(slices.Values(receipt.Accepted)), env.To) {
			x.fail("the receipt says accepted %q, rejected %v; want all of %q accepted", receipt.Accepted, receipt.Rejected, env.To)
		}
	}
	x.sentIs("after Send of the corpus", want)
	for _, got := range x.h.Outbox(x.t) {
		if got.From != env.From || !slices.Equal(slices.Sorted(slices.Values(got.To)), env.To) {
			x.fail("the envelope arrived as %q to %q, want %q to %q", got.From, got.To, env.From, env.To)
		}
	}
}

func checkSendAll(x *exam) {
	s := x.sender()
	env := connection.Envelope{From: sender, To: []string{recipient}}
	raw := x.large(1, 300<<10)
	for _, n := range []int{0, 1, 1000, len(raw) * 5 / 6, len(raw)} {
		_, err := x.send(s, env, broken(raw, n), nil)
		switch {
		case err == nil:
			x.fail("Send of a message whose reader fails after %d octets returned nil", n)
		case !errors.Is(err, errSource):
			x.fail("the error of Send does not hold its reader's: %v", err)
		case errors.Is(err, connection.ErrUncertain):
			x.fail("a message that was not sent whole is not uncertain: %v", err)
		}
	}
	for _, size := range []int64{int64(len(raw)) + 1, int64(len(raw)) - 1} {
		if _, err := x.send(s, env, bytes.NewReader(raw), &connection.SendOptions{Size: size}); err == nil {
			x.fail("Send of %d octets with Size %d returned nil", len(raw), size)
		}
	}
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	x.within(x.h.patience(), "Send whose context ends", func() {
		_, err := s.Send(ctx, env, &canceling{bytes.NewReader(raw), cancel}, nil)
		x.wantCtx("send", err, ctx)
	})
	if _, err := x.send(s, connection.Envelope{From: sender}, bytes.NewReader(raw), nil); err == nil {
		x.fail("Send to nobody returned nil")
	}
	x.sentIs("after Sends that all failed", nil)
	_, err := x.send(s, env, bytes.NewReader(raw), nil)
	x.ok("send, after failed ones", err)
	x.sentIs("after a good Send behind failed ones", x.plain([][]byte{raw}))
}

func checkSendRejected(x *exam) {
	s := x.sender()
	raw := letter(0)
	env := connection.Envelope{From: sender, To: []string{recipient, x.h.Refused, second}}
	receipt, err := x.send(s, env, bytes.NewReader(raw), nil)
	x.ok("send with one recipient that is refused", err)
	if len(receipt.Rejected) != 1 || receipt.Rejected[0].Address != x.h.Refused || receipt.Rejected[0].Err == nil {
		x.fail("the receipt's Rejected is %v, want %s with an error", receipt.Rejected, x.h.Refused)
	}
	for _, r := range receipt.Rejected {
		x.noteError("send, recipient "+r.Address, r.Err)
	}
	if !slices.Equal(slices.Sorted(slices.Values(receipt.Accepted)), []string{recipient, second}) {
		x.fail("the receipt's Accepted is %q, want the two others", receipt.Accepted)
	}
	x.sentIs("after Send with one recipient that is refused", x.plain([][]byte{raw}))
	env.To = []string{x.h.Refused}
	_, err = x.send(s, env, bytes.NewReader(letter(1)), nil)
	x.wantKind("send with no recipient that is taken", err, connection.ErrRejected)
	x.sentIs("after Send with no recipient that is taken", x.plain([][]byte{raw}))
}

func checkSendInjection(x *exam) {
	s := x.sender()
	for _, bad := range []string{"bob@example.org>\r\nRCPT TO:<eve@example.org", "bob@example.org\nDATA", "bob@example.org> SIZE=9 X=<", "bob\x00@example.org", "bob@example.org\r"} {
		for _, env := range []connection.Envelope{{From: sender, To: []string{recipient, bad}}, {From: bad, To: []string{recipient}}} {
			if _, err := x.send(s, env, bytes.NewReader(letter(0)), nil); err == nil {
				x.fail("Send took the envelope %s", fmt.Sprintf("%q", env))
			}
		}
	}
	x.sentIs("after Sends with addresses that carry commands", nil)
}
