package token

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An entry is a token that is kept. One without a token says that the last was refused.
type entry struct {
	key   Key
	token connection.Secret
	until time.Time // when it is replaced
	end   time.Time // when it is good no more
	renew bool
}

// A flight is a request under way, and who waits for it.
type flight struct {
	done    chan struct{} // closed once token and err are set
	token   connection.Secret
	err     error
	waiting int // guarded by Source.mu
	cancel  context.CancelFunc
}

func (s *Source) get(ctx context.Context, k Key) (connection.Secret, error) {
	s.mu.Lock()
	renew := false
	if at := s.kept[k]; at != nil {
		e := at.Value.(*entry)
		if !e.token.IsZero() && s.now().Before(e.until) {
			s.recent.MoveToFront(at)
			token := e.token
			s.mu.Unlock()
			return token, nil
		}
		renew = e.renew
	}
	f := s.flights[k]
	if f == nil {
		// The context is nobody's: what one caller has put into his is not for the others.
		var own context.Context
		f = &flight{done: make(chan struct{})}
		own, f.cancel = context.WithCancel(context.Background())
		s.flights[k] = f
		go s.fly(own, k, f, renew)
	}
	f.waiting++
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		s.leave(k, f)
		return connection.Secret{}, s.ended(ctx.Err())
	}
}

// leave gives a flight up that nobody waits for any more.
func (s *Source) leave(k Key, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	if s.flights[k] == f {
		delete(s.flights, k) // who comes now begins a new one
	}
}

// fly gets one token and hands it to those who wait.
func (s *Source) fly(ctx context.Context, k Key, f *flight, renew bool) {
	defer f.cancel()
	asked := s.now()
	got, err := s.grant.fetch(ctx, s, k, renew)
	s.mu.Lock()
	current := s.flights[k] == f
	if current {
		delete(s.flights, k)
	}
	var tell error
	switch {
	case err == nil:
		f.token = got.token
		s.streak.ended(k)
		if current {
			s.keep(k, got, asked)
		}
	case connection.Temporary(err) && s.old(k, &f.token): // they go on with the old one
	default:
		if ctx.Err() == nil {
			err, tell = s.streak.note(k, s.opts.Admin, err)
		}
		f.err = err
	}
	s.mu.Unlock()
	if tell != nil && s.opts.Common != nil {
		s.opts.Common(tell)
	}
	close(f.done)
}

// keep stores a new token.
func (s *Source) keep(k Key, got issued, asked time.Time) {
	e := &entry{key: k, token: got.token}
	life := min(got.life, longest)
	if life <= 0 {
		e.end = asked.Add(unsaid)
		e.until = e.end
	} else {
		e.end = asked.Add(life)
		e.until = e.end.Add(-min(early, life/2))
	}
	if at := s.kept[k]; at != nil {
		at.Value = e
		s.recent.MoveToFront(at)
		return
	}
	s.kept[k] = s.recent.PushFront(e)
	for len(s.kept) > s.opts.Cache {
		last := s.recent.Back()
		delete(s.kept, s.recent.Remove(last).(*entry).key)
	}
}

// old takes the token that was to be replaced, if it is good for some time yet, and lets the next try wait.
func (s *Source) old(k Key, token *connection.Secret) bool {
	at := s.kept[k]
	if at == nil {
		return false
	}
	e := at.Value.(*entry)
	now := s.now()
	if e.token.IsZero() || !now.Add(retryOld).Before(e.end) {
		return false
	}
	e.until = now.Add(retryOld)
	*token = e.token
	return true
}

// ended is the error of a caller whose context is done.
func (s *Source) ended(err error) error {
	return s.fault(connection.KindOf(err), "", "waiting for an access token: %w", err)
}

// String returns what the Source is, without any secret.
func (s *Source) String() string {
	email, clientID, _ := s.grant.account()
	return fmt.Sprintf("tokens of %s (%s)", email, clientID)
}

// Format implements fmt.Formatter under the rule of String, for every verb.
func (s *Source) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) } // fmt keeps the error

// LogValue implements slog.LogValuer under the rule of String.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }
