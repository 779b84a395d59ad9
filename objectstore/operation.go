package objectstore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An operation is one verb under way: what Env.Observe is told of it when it ends.
type operation struct {
	s        *Store
	name     string
	key      string
	began    time.Time
	requests atomic.Int64
	octets   atomic.Int64
	ctx      context.Context //nolint:containedctx // ends with the caller's, with Close, and by cancel
	cancel   func()
}

type operationKey struct{}

// join enters a verb. The caller calls s.verb.Done when the verb has returned, and cancel when nothing of it is left.
func (s *Store) join(ctx context.Context, name, key string) (*operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(context.Cause(s.life), ctx.Err()); err != nil {
		return nil, s.fail(ctx, name, key, err)
	}
	s.verb.Add(1)
	o := &operation{s: s, name: name, key: key, began: time.Now()}
	verb, end := context.WithCancelCause(context.WithValue(ctx, operationKey{}, o))
	stop := context.AfterFunc(s.life, func() { end(connection.ErrClosed) })
	o.ctx, o.cancel = verb, func() { stop(); end(connection.ErrClosed) }
	return o, nil
}

// do runs a verb under a context that also ends with Close, and makes the error that leaves it.
func (s *Store) do(ctx context.Context, name, key string, verb func(ctx context.Context) error) error {
	o, err := s.join(ctx, name, key)
	if err != nil {
		return err
	}
	defer s.verb.Done()
	defer o.cancel()
	if err = verb(o.ctx); err != nil {
		err = s.fail(o.ctx, name, key, err)
	}
	o.tell(err)
	return err
}

// tell emits the event that the operation has ended.
func (o *operation) tell(err error) {
	o.s.env.Emit(connection.Event{
		Kind: connection.EventOperation, Connection: o.s.eventID(), Detail: o.name, Key: o.key,
		Count: o.requests.Load(), Bytes: o.octets.Load(), Elapsed: time.Since(o.began), Err: err,
	})
}

// countRequest counts an attempt for the operation that ctx belongs to.
func countRequest(ctx context.Context) {
	if o, ok := ctx.Value(operationKey{}).(*operation); ok {
		o.requests.Add(1)
	}
}

// countOctets counts what was moved and not wasted.
func countOctets(ctx context.Context, n int64) {
	if o, ok := ctx.Value(operationKey{}).(*operation); ok {
		o.octets.Add(n)
	}
}
