package filestore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// Keys are spread over so many locks, each a file in .tmp.
const (
	lockShards = 64
	lockPrefix = "lock-"
)

// How often a lock that another process holds is asked for.
const (
	lockPollMin = time.Millisecond
	lockPollMax = 50 * time.Millisecond
)

// lockKey keeps all others, in this process and in others, from changing key in more than one step. The function
// returned unlocks.
func (c *Conn) lockKey(ctx context.Context, t *tree, key string) (unlock func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	shard := h.Sum32() % lockShards
	select {
	case c.locks[shard] <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		if err != nil {
			<-c.locks[shard]
		}
	}()
	tmp, err := t.get([]string{tmpDir}, true)
	if err != nil {
		return nil, err
	}
	f, err := tmp.lockFile(fmt.Sprintf("%s%02x", lockPrefix, shard))
	t.put(tmp)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		err = tryLock(f)
		if err == nil {
			return func() {
				_ = f.Close() // which unlocks; nothing was written
				<-c.locks[shard]
			}, nil
		}
		if !errors.Is(err, errLockHeld) {
			_ = f.Close()
			return nil, &connection.Error{
				Kind: connection.ErrUnsupported, Err: err,
				Hint: fmt.Sprintf("location: the file system of %q has no file locks", c.location),
			}
		}
		if err = c.alive(ctx); err == nil {
			err = backoff.Wait(ctx, backoff.Policy{Min: lockPollMin, Max: lockPollMax}.Delay(attempt, 0))
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
	}
}

var errLockHeld = errors.New("locked by another process")
