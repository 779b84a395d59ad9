package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// What nobody can tell is ErrUncertain: the copy whose answer is lost, where the store keeps no digest.
func TestCopyInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := newGifted()
		g.set("src", "content", nil)
		g.fail("copy", slices.Repeat([]fault{lostReply}, 20)...)
		if _, err := s.Copy(t.Context(), "dst", "src", nil); !errors.Is(err, connection.ErrUncertain) {
			t.Errorf("got %v, want ErrUncertain", err)
		}
	})
}

func TestCopyThatIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g, s := newGifted()
		g.set("src", "content", nil)
		g.fail("copy", fault{mute: true})
		go func() { synctest.Wait(); cancel() }()
		_, err := s.Copy(ctx, "dst", "src", nil)
		if !errors.Is(err, connection.ErrUncertain) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want ErrUncertain with context.Canceled", err)
		}
	})
}

// An object of the same octets that is not under the lock asked for is not what this Put would have made.
func TestPutMeetsTheSameOctetsUnlocked(t *testing.T) {
	until := connection.Lock{RetainUntil: time.Now().Add(100 * time.Hour)}
	hold := connection.Lock{LegalHold: true}
	for name, tc := range map[string]struct {
		asked, held connection.Lock
		want        connection.Kind
	}{
		"retained":     {until, until, 0},
		"not retained": {until, hold, connection.ErrExists},
		"held":         {hold, hold, 0},
		"not held":     {hold, until, connection.ErrExists},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, s := newGifted()
				info := g.set("k", "content", &objectstore.PutRequest{SHA256: sum("content")})
				info.Lock = tc.held
				g.objects["k"] = stored{[]byte("content"), info}
				g.fail("put", network)
				_, err := s.Put(t.Context(), "k", strings.NewReader("content"), &connection.PutOptions{IfAbsent: true, Lock: tc.asked})
				if connection.KindOf(err) != tc.want {
					t.Errorf("got %v, want %v", err, tc.want)
				}
			})
		})
	}
}

// After a stall the reason why a read does not go on is what the server says then, and it is said at once.
func TestGetSaysWhyItDoesNotGoOn(t *testing.T) {
	stalled := fault{cut: 4, acted: true}
	for name, tc := range map[string]struct {
		next fault
		want connection.Kind
	}{
		"refused":  {fault{err: kind(connection.ErrAuth, "Expired")}, connection.ErrAuth},
		"replaced": {fault{err: kind(connection.ErrChanged, "PreconditionFailed")}, connection.ErrChanged},
		"removed":  {fault{err: kind(connection.ErrNotFound, "NoSuchKey")}, connection.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.set("k", "content", nil)
				m.fail("get", stalled, tc.next)
				began := time.Now()
				got, err := read(t.Context(), newStore(m, nil), "k", nil)
				if got != "cont" || connection.KindOf(err) != tc.want || len(m.requests) != 2 {
					t.Errorf("got %q, error %v, requests %v; want %v after two requests", got, err, m.requests, tc.want)
				}
				if d := time.Since(began); d > 90*time.Second {
					t.Errorf("it took %s, with a no_data_timeout of a minute", d)
				}
			})
		})
	}
}

// A reader that pauses for longer than max_elapsed has its read resumed all the same: the time was its own.
func TestGetIsResumedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.set("k", "content", nil)
		m.fail("get", fault{cut: 4, err: kind(connection.ErrNetwork, "Reset")}, network)
		o, err := newStore(m, nil).Get(t.Context(), "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		start := make([]byte, 4)
		if _, err := io.ReadFull(o.Body, start); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * objectstore.DefaultMaxElapsed)
		rest, err := io.ReadAll(o.Body)
		if got := string(start) + string(rest); got != "content" || err != nil {
			t.Errorf("got %q, error %v", got, err)
		}
		if err := o.Body.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A Delete of many keys at a server that is down gives up near max_elapsed, and not after that for each key.
func TestDeleteGivesUp(t *testing.T) {
	slow := network
	slow.hook = func(string) { <-time.After(time.Second) }
	down := slices.Repeat([]fault{slow}, 100_000)
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	for name, backend := range map[string]func(*memory) objectstore.Backend{
		"one at a time": func(m *memory) objectstore.Backend { return m },
		"in bulk":       func(m *memory) objectstore.Backend { return bulkMemory{m} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.fail("delete", down...)
				m.fail("bulk", down...)
				began := time.Now()
				err := newStore(backend(m), nil).Delete(t.Context(), keys...)
				if d := time.Since(began); d > 2*objectstore.DefaultMaxElapsed {
					t.Errorf("it took %s", d)
				}
				n := 0
				for e := range connection.Errors(err) {
					if e.Kind != connection.ErrNetwork || e.Key == "" {
						t.Fatalf("got %v, want ErrNetwork with the key", e)
					}
					n++
				}
				if n != len(keys) {
					t.Errorf("%d keys have errors, want all %d", n, len(keys))
				}
			})
		})
	}
}

// To find out what became of a put that stalled takes no longer than what its attempts have left of max_elapsed, but for
// the one request that is under way; and what nobody could find out is in doubt, whatever the last attempt met.
func TestDoubtHasAnEnd(t *testing.T) {
	for name, faults := range map[string][]fault{
		"all stall":            slices.Repeat([]fault{{mute: true}}, 100),
		"the others throttled": append([]fault{{mute: true}}, slices.Repeat([]fault{throttled}, 100)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.fail("put", faults...)
				m.fail("stat", slices.Repeat([]fault{{mute: true}}, 100)...)
				began := time.Now()
				_, err := newStore(m, nil).Put(t.Context(), "k", strings.NewReader("content"), nil)
				if !errors.Is(err, connection.ErrUncertain) {
					t.Errorf("got %v, want ErrUncertain", err)
				}
				if d := time.Since(began); d > objectstore.DefaultMaxElapsed+100*time.Second {
					t.Errorf("it took %s", d)
				}
			})
		})
	}
}

// hashing is a Backend that reads what it stores to hash it, as libraries do that sign a body, and then does not come to
// send it.
type hashing struct{ *memory }

func (h hashing) Put(ctx context.Context, key string, body io.ReadSeeker, _ *objectstore.PutRequest) (connection.ObjectInfo, error) {
	_, err := io.Copy(io.Discard, body)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	_, err = h.begin(ctx, "put", key, "")
	return connection.ObjectInfo{}, err
}

// Octets that were only hashed were not sent: such a put is not in doubt.
func TestWhatWasHashedWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail("put", slices.Repeat([]fault{{mute: true}}, 100)...)
		var told []int64
		_, err := newStore(hashing{m}, nil).Put(t.Context(), "k", strings.NewReader("content"), &connection.PutOptions{Progress: func(n int64) { told = append(told, n) }})
		if connection.KindOf(err) != connection.ErrTimeout {
			t.Errorf("got %v, want ErrTimeout", err)
		}
		if told[len(told)-1] != 0 {
			t.Errorf("progress was %v, want 0 at the end", told)
		}
	})
}
