package connection_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// take removes a message behind Drain's back, as its owner or another program would.
func (q *queue) take(ref connection.Ref) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refs = slices.DeleteFunc(q.refs, func(r connection.Ref) bool { return r == ref })
}

// TestDrainForgetsAFailedMessageThatVanished: somebody else removes a message that waits for its next try. It must keep
// neither a Drain from ending nor one that follows busy.
func TestDrainForgetsAFailedMessageThatVanished(t *testing.T) {
	for _, follow := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			q, v := newQueue(3), newVault()
			v.fail = func(ref connection.Ref, _ int) error {
				if ref.ID != "0001" {
					return nil
				}
				q.take(ref)
				return errors.New("cannot parse")
			}
			looks := 0
			src := &countedSource{queue: q, begun: func() {
				if looks++; looks > 20 {
					cancel() // it would never end
				}
			}}
			_, err := connection.Drain(ctx, src, v.store, &connection.DrainOptions{Fetch: connection.FetchOptions{Follow: follow}})
			if looks > 3 {
				t.Errorf("follow %t: the source was read %d times for a message that is not there", follow, looks)
			}
			if !follow && err != nil {
				t.Errorf("got %v, want success: nothing is left at the source", err)
			}
			v.check(t, q, 2)
		})
	}
}

// A countedSource tells when a Fetch begins.
type countedSource struct {
	*queue
	begun func()
}

func (s *countedSource) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	s.begun()
	return s.queue.Fetch(ctx, opts)
}

// TestDrainTriesAgainAfterTheSourceFailed: a message that is due keeps being due while the source is away.
func TestDrainTriesAgainAfterTheSourceFailed(t *testing.T) {
	for _, follow := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			q, v := newQueue(4), newVault()
			v.fail = func(ref connection.Ref, try int) error {
				if ref.ID == "0002" && try == 1 {
					return errors.New("cannot parse")
				}
				return nil
			}
			q.fetchErr = func(pass int) error {
				if pass == 2 {
					return &connection.Error{Kind: connection.ErrNetwork}
				}
				return nil
			}
			_, err := connection.Drain(ctx, q, v.store, &connection.DrainOptions{Fetch: connection.FetchOptions{Follow: follow}})
			if !follow && err != nil {
				t.Error(err)
			}
			v.check(t, q, 4)
		})
	}
}

// TestDrainDoesNotWaitForYears: a server whose clock is wrong asks for a wait that nobody would live to see the end of.
func TestDrainDoesNotWaitForYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, v := newQueue(4), newVault()
		q.fetchErr = func(pass int) error {
			if pass == 1 {
				return &connection.Error{Kind: connection.ErrThrottled, RetryAfter: math.MaxInt64}
			}
			return nil
		}
		began := time.Now()
		if _, err := connection.Drain(t.Context(), q, v.store, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < time.Hour || took > 25*time.Hour {
			t.Errorf("waited %s, want a day at most", took)
		}
		v.check(t, q, 4)
	})
}

// TestSpoolTakesTheLargestLimits: a limit that cannot be counted past is no limit, and never an empty message.
func TestSpoolTakesTheLargestLimits(t *testing.T) {
	for name, opts := range map[string]connection.SpoolOptions{
		"memory": {Memory: math.MaxInt64},
		"max":    {Max: math.MaxInt64},
		"both":   {Memory: math.MaxInt64, Max: math.MaxInt64},
		"disk":   {Memory: -1, Max: math.MaxInt64, Dir: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := connection.Spool(&connection.Message{Body: strings.NewReader("whole"), Size: -1}, &opts)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			if raw, err := io.ReadAll(s.Reader()); string(raw) != "whole" || s.Size != 5 || err != nil {
				t.Errorf("got %q of %d octets, %v; want the whole body", raw, s.Size, err)
			}
		})
	}
}
