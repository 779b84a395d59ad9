package connectiontest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// The wire is a small protocol, one request a connection, in front of the doubles: a driver that dials, so that the
// rules of the network have something to break. A head is a line of JSON; Size octets follow it.

type wireHead struct {
	Op, Key string               `json:",omitempty"`
	Refs    []connection.Ref     `json:",omitempty"`
	Follow  bool                 `json:",omitempty"`
	Env     *connection.Envelope `json:",omitempty"`
	Message *connection.Message  `json:",omitempty"`
	Error   string               `json:",omitempty"`
	Kind    connection.Kind      `json:",omitempty"`
	Size    int64                `json:",omitempty"`
	End     bool                 `json:",omitempty"`
}

// wireBugs are what the client can do wrong.
type wireBugs struct {
	shortBody  bool // the end of the line is the end of the message
	ignoreCtx  bool // a silent line is waited for
	deletesNil bool // a lost reply is success
	putsNil    bool
	sendsAgain bool // a lost reply is a reason to send again
	shortGet   bool
}

// A wire is the client: of mail, of objects or of an outbox.
type wire struct {
	double
	server *wireServer
	env    *connection.Env
	bugs   wireBugs
}

type (
	wireMail   struct{ *wire }
	wireStore  struct{ *wire }
	wireOutbox struct{ *wire }
)

// talk sends a request and returns the line's reader, and what releases it. sent says that the request went out whole.
func (w *wire) talk(ctx context.Context, q wireHead, raw []byte) (r *bufio.Reader, release func(), sent bool, err error) {
	if err := w.begin(ctx, q.Op); err != nil {
		return nil, nil, false, err
	}
	conn, err := w.env.Dial(ctx, "tcp", w.server.listener.Addr().String())
	if err != nil {
		return nil, nil, false, w.lost(ctx, q.Op, err)
	}
	over := make(chan struct{})
	done := ctx.Done()
	if w.bugs.ignoreCtx {
		done = nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-done:
		case <-w.closed:
		case <-over:
		}
		_ = conn.Close() // the line may be broken already
	}()
	release = func() { close(over); <-ended }
	q.Size = int64(len(raw))
	if err := writeHead(conn, q, raw); err != nil {
		release()
		return nil, nil, false, w.lost(ctx, q.Op, err)
	}
	return bufio.NewReader(conn), release, true, nil
}

// lost says why the line is gone.
func (w *wire) lost(ctx context.Context, op string, err error) error {
	if begun := w.begin(ctx, op); begun != nil {
		return begun
	}
	return w.error(op, connection.Ref{}, "", connection.ErrNetwork, fmt.Errorf("the line broke: %w", err))
}

// ask is talk for verbs with one answer.
func (w *wire) ask(ctx context.Context, q wireHead, raw []byte) (octets []byte, sent bool, err error) {
	r, release, sent, err := w.talk(ctx, q, raw)
	if err != nil {
		return nil, sent, err
	}
	defer release()
	var h wireHead
	if err := readHead(r, &h); err != nil {
		return nil, sent, w.lost(ctx, q.Op, err)
	}
	octets = make([]byte, h.Size)
	n, err := io.ReadFull(r, octets)
	if err != nil && !w.bugs.shortGet {
		return nil, sent, w.lost(ctx, q.Op, err)
	}
	if h.Kind != connection.ErrUnknown {
		return nil, false, w.error(q.Op, connection.Ref{}, q.Key, h.Kind, errors.New(h.Error))
	}
	return octets[:n], sent, nil
}

// uncertain turns the loss of a line behind a request that went out whole into doubt.
func (w *wire) uncertain(ctx context.Context, op string, sent bool, err error) error {
	if sent && errors.Is(err, connection.ErrNetwork) {
		return w.error(op, connection.Ref{}, "", connection.ErrUncertain, err)
	}
	return err
}

func (w *wire) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	r := &connection.Report{Info: w.Info(), Started: time.Now()}
	_, _, err := w.ask(ctx, wireHead{Op: "test"}, nil)
	s := connection.Step{Name: "connect", Status: connection.StatusOK}
	if err != nil {
		s.Status, s.Err, s.Hint = connection.StatusFailed, err, "server: is it the right one, and up?"
	}
	r.Steps = append(r.Steps, s)
	if opts != nil && opts.Progress != nil {
		opts.Progress(s)
	}
	return r, err
}

func (w wireMail) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
	}
	return func(yield func(*connection.Message, error) bool) {
		r, release, _, err := w.talk(ctx, wireHead{Op: "fetch", Follow: o.Follow}, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer release()
		for n := 0; o.Limit == 0 || n < o.Limit; {
			var h wireHead
			if err := readHead(r, &h); err != nil {
				yield(nil, w.lost(ctx, "fetch", err))
				return
			}
			if h.End {
				return
			}
			b := &wireBody{w: w.wire, ctx: ctx, r: r, left: h.Size}
			h.Message.Body = b
			if o.Skip == nil || !o.Skip(h.Message.Ref) {
				n++
				if !yield(h.Message, nil) {
					return
				}
			}
			_, err := io.Copy(io.Discard, b)
			b.over = true
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

type wireBody struct {
	w    *wire
	ctx  context.Context
	r    *bufio.Reader
	left int64
	over bool
}

func (b *wireBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, b.w.error("fetch", connection.Ref{}, "", connection.ErrInvalid, errors.New("the body is not valid any more"))
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !b.w.bugs.shortBody {
		err = b.w.lost(b.ctx, "fetch", err)
	} else if err != nil {
		err = io.EOF
	}
	return n, err
}

func (w wireMail) Delete(ctx context.Context, refs ...connection.Ref) error {
	_, sent, err := w.ask(ctx, wireHead{Op: "delete", Refs: refs}, nil)
	if w.bugs.deletesNil && errors.Is(err, connection.ErrNetwork) {
		return nil
	}
	return w.uncertain(ctx, "delete", sent, err)
}

func (w wireStore) Put(ctx context.Context, key string, r io.Reader, _ *connection.PutOptions) (connection.ObjectInfo, error) {
	raw, err := w.readAll(ctx, "put", r, 0)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	_, sent, err := w.ask(ctx, wireHead{Op: "put", Key: key}, raw)
	if w.bugs.putsNil && errors.Is(err, connection.ErrNetwork) {
		err = nil
	}
	return connection.ObjectInfo{Key: key, Size: int64(len(raw))}, w.uncertain(ctx, "put", sent, err)
}

func (w wireStore) Get(ctx context.Context, key string, _ *connection.GetOptions) (*connection.Object, error) {
	raw, _, err := w.ask(ctx, wireHead{Op: "get", Key: key}, nil)
	if err != nil {
		return nil, err
	}
	return &connection.Object{ObjectInfo: connection.ObjectInfo{Key: key, Size: int64(len(raw))}, Body: io.NopCloser(bytes.NewReader(raw))}, nil
}

func (w wireStore) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	raw, _, err := w.ask(ctx, wireHead{Op: "get", Key: key}, nil)
	return connection.ObjectInfo{Key: key, Size: int64(len(raw))}, err
}

// List asks the server's memory, behind a request so that the line matters.
func (w wireStore) List(ctx context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	return func(yield func(connection.ObjectInfo, error) bool) {
		if _, _, err := w.ask(ctx, wireHead{Op: "test"}, nil); err != nil {
			yield(connection.ObjectInfo{}, err)
			return
		}
		w.server.objects.List(ctx, opts)(yield)
	}
}

func (w wireStore) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if _, sent, err := w.ask(ctx, wireHead{Op: "remove", Key: key}, nil); err != nil {
			return w.uncertain(ctx, "delete", sent, err)
		}
	}
	return w.begin(ctx, "delete")
}

func (w wireOutbox) Send(ctx context.Context, env connection.Envelope, r io.Reader, _ *connection.SendOptions) (*connection.Receipt, error) {
	raw, err := w.readAll(ctx, "send", r, 0)
	if err != nil {
		return nil, err
	}
	_, sent, err := w.ask(ctx, wireHead{Op: "send", Env: &env}, raw)
	if w.bugs.sendsAgain && errors.Is(err, connection.ErrNetwork) {
		_, sent, err = w.ask(ctx, wireHead{Op: "send", Env: &env}, raw)
	}
	if err != nil {
		return nil, w.uncertain(ctx, "send", sent, err)
	}
	return &connection.Receipt{Accepted: env.To}, nil
}

// lineHarness reaches the wire; as says which of its clients.
func lineHarness(bugs wireBugs, as func(*wire) connection.Connection) func() Harness {
	return func() Harness {
		var s *wireServer
		return Harness{
			Reset: func(t testing.TB) { s = newWireServer(t) },
			Open: func(_ testing.TB, env *connection.Env) connection.Connection {
				return as(&wire{double: newDouble("wire", &faultFunc{}), server: s, env: env, bugs: bugs})
			},
			Fill:     func(_ testing.TB, raw ...[]byte) { s.mail.Deliver(raw...) },
			Left:     func(testing.TB) [][]byte { return s.mail.Messages() },
			Outbox:   func(testing.TB) []Sent { return s.outbox.Sent() },
			Eventual: 300 * time.Millisecond, // the server learns of a line that is cut when it is told
		}
	}
}

func asMail(w *wire) connection.Connection   { return wireMail{w} }
func asStore(w *wire) connection.Connection  { return wireStore{w} }
func asOutbox(w *wire) connection.Connection { return wireOutbox{w} }

// lineRules are those that the wire is made for.
var lineRules = []string{CutFetch, CutDelete, CutDrain, CutPut, CutGet, CutSend, StallEnds, ErrorsAreTyped, NoGoroutineLeft}

var plantedLines = []planted{
	{bug: "takes the end of the line for the end of the message", rule: CutFetch, harness: lineHarness(wireBugs{shortBody: true}, asMail), only: lineRules, also: []string{CutDrain}},
	{bug: "archives what the line let through", rule: CutDrain, harness: lineHarness(wireBugs{shortBody: true}, asMail), only: lineRules, also: []string{CutFetch}},
	{bug: "takes a lost reply to Delete for success", rule: CutDelete, harness: lineHarness(wireBugs{deletesNil: true}, asMail), only: lineRules, also: []string{CutDrain, StallEnds}},
	{bug: "takes a lost line for a stored object", rule: CutPut, harness: lineHarness(wireBugs{putsNil: true}, asStore), only: lineRules},
	{bug: "takes the end of the line for the end of the object", rule: CutGet, harness: lineHarness(wireBugs{shortGet: true}, asStore), only: lineRules, also: []string{CutPut, StallEnds}},
	{bug: "sends again when the reply is lost", rule: CutSend, harness: lineHarness(wireBugs{sendsAgain: true}, asOutbox), only: lineRules},
	{bug: "waits for a silent line whatever its context says", rule: StallEnds, harness: lineHarness(wireBugs{ignoreCtx: true}, asMail), only: lineRules, also: []string{NoGoroutineLeft}},
}

func TestWireKeepsThePromisesOfTheNetwork(t *testing.T) {
	for name, as := range map[string]func(*wire) connection.Connection{"mail": asMail, "objects": asStore, "outbox": asOutbox} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for rule, text := range brokenBy(t, lineHarness(wireBugs{}, as), lineRules) {
				t.Errorf("%s:\n%s", rule, text)
			}
		})
	}
}
