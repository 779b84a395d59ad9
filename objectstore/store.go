package objectstore

import (
	"context"
	"errors"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// A Store makes a [Backend] reliable: Put, Get, Stat, List and Delete under the contracts of connection.ObjectStore, and
// Copy, Lock, Restore, Presign, Incomplete and AbortIncomplete under those of the interfaces of package connection, where
// the Backend can; elsewhere they are ErrUnsupported, and [Store.Capabilities] tells so beforehand. A driver embeds it in
// its Conn and adds Info and Test. Its methods may be called from several goroutines.
type Store struct {
	backend Backend
	opts    Options
	tuning  Tuning
	env     *connection.Env

	parts partPool

	known    sync.Mutex // guards features
	features Features

	life context.Context //nolint:containedctx // ends with Close, and every verb with it
	end  context.CancelCauseFunc
	verb sync.WaitGroup
	mu   sync.Mutex // guards verb.Add against Close
}

// New returns a Store over b. It does no I/O. env may be nil.
func New(b Backend, opts Options, env *connection.Env) *Store {
	s := &Store{backend: b, opts: opts, tuning: opts.Tuning.withDefaults(), env: env, features: opts.Features}
	s.parts.tokens = make(chan struct{}, s.tuning.PartWorkers)
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// Close ends what is under way with ErrClosed and waits for it. Bodies that are being read end likewise, and are still to
// be closed. A second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	s.end(connection.ErrClosed)
	s.mu.Unlock()
	s.verb.Wait()
	return nil
}

func (s *Store) eventID() string {
	if s.opts.ID != "" {
		return s.opts.ID
	}
	return s.opts.Driver
}

// checkKey applies the rules for keys, and what the settings make of them.
func (s *Store) checkKey(key string) error { return checkKey(key, s.tuning.AllowAnyKey) }

// fail makes the error that leaves a verb from the last cause. ctx is the verb's: if it ended, that is what happened,
// unless the outcome is uncertain.
func (s *Store) fail(ctx context.Context, op, key string, err error) error {
	e := &connection.Error{Op: op, Driver: s.opts.Driver, Endpoint: s.opts.Endpoint, Key: key, Kind: connection.KindOf(err), Err: err}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e.Code, e.RetryAfter, e.Hint = inner.Code, inner.RetryAfter, inner.Hint
		if direct, ok := err.(*connection.Error); ok && direct.Driver == "" { //nolint:errorlint // of the Backend or of this package, not wrapped
			e.Err = direct.Err
		}
	}
	if ctx.Err() == nil {
		return e
	}
	cause := context.Cause(ctx)
	if e.Kind != connection.ErrUncertain {
		e.Kind, e.Code, e.Hint = connection.KindOf(cause), "", ""
	}
	if !errors.Is(err, cause) {
		e.Err = errors.Join(cause, e.Err)
	}
	return e
}
