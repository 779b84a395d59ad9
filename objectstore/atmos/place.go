package atmos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
	"github.com/mailconn/mailconn/objectstore"
)

// placeTries is how often a path is looked at again that others change at the same time.
const placeTries = 6

// place gives the temporary file of that ID its name.
func (b *backend) place(ctx context.Context, tmp, rel, id string, ifAbsent bool) error {
	if ifAbsent {
		switch _, err := b.head(ctx, rel+beside); {
		case err == nil:
			return &connection.Error{Kind: connection.ErrExists}
		case connection.KindOf(err) != connection.ErrNotFound:
			return err
		}
	}
	for try := range placeTries {
		err := b.move(ctx, tmp, rel, false)
		switch {
		case err == nil:
			return nil
		case connection.KindOf(err) == connection.ErrNotFound && strings.Contains(rel, "/"):
			if err := b.makeRoom(ctx, rel, try == 0); err != nil {
				return err
			}
			continue
		case connection.KindOf(err) != connection.ErrExists:
			return err
		}
		there, headErr := b.head(ctx, rel)
		switch {
		case connection.KindOf(headErr) == connection.ErrNotFound: // removed meanwhile
			continue
		case headErr != nil:
			return headErr
		case there.dir:
			rel = strings.TrimSuffix(rel, beside) + beside
			continue
		case ifAbsent:
			return err
		case there.Lock.RetainUntil.After(time.Now()):
			return lockedError(there.Lock)
		}
		switch err = b.move(ctx, tmp, rel, true); connection.KindOf(err) {
		case connection.ErrExists, connection.ErrNotFound: // a directory by now, or gone with it
		default:
			if err == nil {
				err = b.settle(ctx, rel, id)
			}
			return err
		}
	}
	return &connection.Error{Kind: connection.ErrUnavailable, Err: errors.New("others change what is under this key all the time")}
}

// move renames a file, over another with force.
func (b *backend) move(ctx context.Context, from, to string, force bool) error {
	h := http.Header{"Content-Type": {"application/octet-stream"}, "X-Emc-Path": {b.bucket + "/" + to}}
	if force {
		h.Set("X-Emc-Force", "true")
	}
	_, err := b.call(ctx, request{method: http.MethodPost, path: b.namespace(from), query: "rename", header: h})
	return err
}

func lockedError(lock connection.Lock) error {
	return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("retained until " + lock.RetainUntil.UTC().Format(time.RFC3339))}
}

// makeRoom makes the directories above a file. If simply asking for them does not help, a file is in the way: it moves
// aside.
func (b *backend) makeRoom(ctx context.Context, rel string, simply bool) error {
	if simply {
		return b.makeDir(ctx, rel[:strings.LastIndexByte(rel, '/')+1])
	}
	for i := range len(rel) {
		if rel[i] != '/' {
			continue
		}
		there, err := b.head(ctx, rel[:i])
		switch {
		case err == nil && !there.dir:
			// Over one that is there already: that one is older.
			if err := b.move(ctx, rel[:i], rel[:i]+beside, true); err != nil && connection.KindOf(err) != connection.ErrNotFound {
				return err
			}
		case err != nil && connection.KindOf(err) != connection.ErrNotFound:
			return err
		}
		if err := b.makeDir(ctx, rel[:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory with its parents. What is there already is no error.
func (b *backend) makeDir(ctx context.Context, rel string) error {
	_, err := b.call(ctx, request{method: http.MethodPost, path: b.namespace(rel), header: http.Header{"Content-Type": {"application/octet-stream"}}})
	switch connection.KindOf(err) {
	case connection.ErrExists:
		return nil
	case connection.ErrUncertain: // it does no harm twice
		return &connection.Error{Kind: connection.ErrNetwork, RetryAfter: connection.RetryAfter(err), Err: err}
	}
	return err
}

// settleTime is how long a replacement may take to show. EMC's own tests wait 5 s for it.
const settleTime = 30 * time.Second

// settle waits until a replaced file shows. Some servers answer before they have done it.
func (b *backend) settle(ctx context.Context, rel, id string) error {
	deadline := time.Now().Add(settleTime)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		now, err := b.head(ctx, rel)
		switch {
		case err == nil && now.id == id:
			return nil
		case err != nil && connection.KindOf(err) != connection.ErrNotFound && !connection.Temporary(err):
			return &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("replaced, but it cannot be seen: %w", err)}
		case time.Now().After(deadline):
			return &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("replaced, but the store still shows the old object after %s", settleTime)}
		}
		objectstore.Progress(ctx)
		if err := backoff.Wait(ctx, wait); err != nil {
			return &connection.Error{Kind: connection.ErrUncertain, Err: err}
		}
	}
}
