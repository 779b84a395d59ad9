package gmail

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// batchSize is how many requests go into one: 100 is the limit, 50 is advised, and beyond 25 Gmail was seen to answer that
// too many of a user's requests run at once.
const batchSize = 20

// RefreshLabels yields each of refs as a Message with its labels of now: Folder, Labels and Flags are set, Body is nil, Size
// is -1. They come by mailbox, in the order of refs otherwise, and nothing is downloaded. A message that is gone is an *Error of
// kind ErrNotFound with its Ref, and the loop goes on; so it does after an *Error that names a mailbox alone, which skips the
// rest of that mailbox. It costs as many units as messages.get of each, in fewer requests: one for 20. Single-use.
func (c *Conn) RefreshLabels(ctx context.Context, refs ...connection.Ref) iter.Seq2[*connection.Message, error] {
	const op = "refresh labels"
	var used atomic.Bool
	refs = slices.Clone(refs)
	return func(yield func(*connection.Message, error) bool) {
		if used.Swap(true) {
			yield(nil, c.usedTwice(op))
			return
		}
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		for _, group := range byMailbox(refs) {
			r := &refresh{conn: c, op: op, mailbox: group[0].Mailbox}
			if !r.run(ctx, group, yield) {
				return
			}
		}
	}
}

// byMailbox groups refs by their mailboxes, in the order in which those come first.
func byMailbox(refs []connection.Ref) (groups [][]connection.Ref) {
	at := make(map[string]int)
	for _, ref := range refs {
		i, ok := at[ref.Mailbox]
		if !ok {
			i = len(groups)
			at[ref.Mailbox] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], ref)
	}
	return groups
}

// A refresh is RefreshLabels of one mailbox.
type refresh struct {
	conn    *Conn
	op      string
	mailbox string
	box     *box
	single  bool // the server knows no batches
}

// run yields what it finds, and reports whether the loop goes on.
func (r *refresh) run(ctx context.Context, refs []connection.Ref, yield func(*connection.Message, error) bool) bool {
	c := r.conn
	var err error
	if r.box, err = c.box(ctx, r.mailbox); err != nil {
		return r.skip(ctx, err, yield)
	}
	for part := range slices.Chunk(refs, batchSize) {
		found, err := r.look(ctx, part)
		if err != nil {
			return r.skip(ctx, err, yield)
		}
		for i, ref := range part {
			if found[i].err != nil {
				if !yield(nil, c.fail(r.op, ref, found[i].err)) {
					return false
				}
				continue
			}
			m, err := r.message(ctx, ref, found[i].labels)
			if err != nil {
				return r.skip(ctx, err, yield)
			}
			if !yield(m, nil) {
				return false
			}
		}
	}
	return true
}

// skip yields the error that ends the work on this mailbox. In single-mailbox use, and once ctx is done, it is the last.
func (r *refresh) skip(ctx context.Context, err error, yield func(*connection.Message, error) bool) bool {
	if ctx.Err() != nil {
		yield(nil, r.conn.ended(ctx, r.op, connection.Ref{}))
		return false
	}
	return yield(nil, r.conn.fail(r.op, connection.Ref{Mailbox: r.mailbox}, err)) && r.mailbox != ""
}

func (r *refresh) message(ctx context.Context, ref connection.Ref, labelIDs []string) (*connection.Message, error) {
	labels, err := r.conn.labels(ctx, r.box, labelIDs...)
	if err != nil {
		return nil, err
	}
	m := &connection.Message{Ref: ref, Size: -1}
	m.Folder, m.Labels, m.Flags, _ = labels.sort(labelIDs)
	return m, nil
}

// A state is what a server says of one message: its labels, or an error of that message alone.
type state struct {
	labels []string
	err    error
}

// look asks for the labels of the messages of refs, which are at most batchSize. What the server refuses for the moment is
// asked for again.
func (r *refresh) look(ctx context.Context, refs []connection.Ref) ([]state, error) {
	found := make([]state, len(refs))
	open := make([]int, len(refs)) // of refs: not yet answered
	for i := range open {
		open[i] = i
	}
	for len(open) > 0 && !r.single {
		left, err := r.batch(ctx, refs, open, found)
		switch {
		case errors.Is(err, errNoBatches):
			r.single = true
		case err != nil:
			return nil, err
		default:
			open = left
		}
	}
	for _, i := range open {
		if found[i] = r.one(ctx, refs[i].ID); found[i].err != nil && !ofMessage(found[i].err) {
			return nil, found[i].err
		}
	}
	return found, nil
}

// ofMessage reports whether an error of messages.get is of that message alone.
func ofMessage(err error) bool {
	switch connection.KindOf(err) {
	case connection.ErrNotFound, connection.ErrInvalid, connection.ErrRejected, connection.ErrCorrupt:
		return !errors.Is(err, ErrNoMailbox)
	default:
		return false
	}
}

// one asks for the labels of one message by a request of its own.
func (r *refresh) one(ctx context.Context, id string) (s state) {
	s.err = r.conn.do(ctx, r.box, refreshCall(1), func(ctx context.Context) error {
		m, err := r.conn.gmail.Users.Messages.Get("me", id).Format("minimal").Fields("id", "labelIds").Context(ctx).Do()
		if err == nil {
			s.labels = m.LabelIds
		}
		return err
	})
	return s
}

func refreshCall(times int) call {
	return call{method: "messages.get", scope: scopeRead, safe: true, work: quota.Delta, times: times}
}

// errNoBatches: the server has no such thing as a batch.
var errNoBatches = errors.New("the server knows no batches")

// batch asks for the messages of refs that open names, in one request, and puts into found what the server says. It returns
// those of open that it refuses for the moment. When it answers none, the refusal is that of the whole request, for do to
// wait and repeat.
func (r *refresh) batch(ctx context.Context, refs []connection.Ref, open []int, found []state) (left []int, err error) {
	c := r.conn
	err = c.do(ctx, r.box, refreshCall(len(open)), func(ctx context.Context) error {
		request := newBatch(quotaUser(r.box.id))
		for _, i := range open {
			request.add(i, refs[i].ID)
		}
		body, contentType := request.close()
		resp, err := c.send(ctx, http.MethodPost, "/batch/gmail/v1", nil, contentType, body)
		if err != nil {
			return unlessNoBatches(err)
		}
		answers, err := readBatch(resp.Header.Get("Content-Type"), resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		left = nil
		var refused *batchAnswer
		var refusal quota.Verdict
		for _, i := range open {
			a := answers[i]
			switch {
			case a == nil:
				left = append(left, i)
				continue
			case a.status/100 == 2:
				found[i] = a.state(refs[i].ID)
				continue
			}
			v := c.read(a.status, a.header, a.body).Hide(exchangeOf(ctx).token)
			switch err := v.Err(c.now()); {
			case v.Retry, a.status == http.StatusUnauthorized:
				left, refused, refusal = append(left, i), a, v
			case ofMessage(err):
				found[i].err = err
			default: // what holds for one message holds for the mailbox
				return refusedWhole(ctx, a, v)
			}
		}
		switch {
		case len(left) < len(open):
			if refused != nil {
				c.quota.Told(r.box.id, refusal)
			}
			return nil
		case refused != nil:
			return refusedWhole(ctx, refused, refusal)
		}
		return &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: errors.New("a batch was answered without the answers")}
	})
	return left, err
}

// unlessNoBatches returns err, or errNoBatches if that is what the server means by it.
func unlessNoBatches(err error) error {
	var e *statusError
	if errors.As(err, &e) && (e.status == http.StatusNotFound || e.status == http.StatusMethodNotAllowed || e.status == http.StatusNotImplemented) {
		return &connection.Error{Driver: DriverName, Kind: connection.ErrUnsupported, Err: errNoBatches}
	}
	return err
}

// refusedWhole makes what was refused of a batch the refusal of the call under way, and returns its error.
func refusedWhole(ctx context.Context, a *batchAnswer, v quota.Verdict) error {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		x.refused, x.status, x.verdict = true, a.status, v
	}
	return &statusError{a.status, "as a part of a batch"}
}
