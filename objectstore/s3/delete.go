package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Delete implements objectstore.Backend. In a bucket with versions it writes a marker, and says so by an event.
func (b *backend) Delete(ctx context.Context, key string) error {
	switch err := b.unlocked(ctx, key); {
	case connection.KindOf(err) == connection.ErrNotFound:
		return b.gone(ctx, key)
	case err != nil:
		return err
	}
	return b.delete(ctx, key)
}

// gone returns nil if nothing is under key. It is asked when an answer says 404 that bears no code, such as any to HEAD:
// that may be a proxy's word. GET has a body for the server's own.
func (b *backend) gone(ctx context.Context, key string) error {
	reply, err := b.Get(ctx, key, &objectstore.GetRequest{Length: 1})
	switch {
	case err == nil:
		_ = reply.Body.Close() // nothing of it is wanted
	case connection.KindOf(err) == connection.ErrNotFound:
		return nil
	case connection.KindOf(err) != connection.ErrArchived && !errors.Is(err, objectstore.ErrRange):
		return err
	}
	return &connection.Error{Kind: connection.ErrUnavailable, Err: errors.New("the answer was 404, but the object is there")}
}

func (b *backend) delete(ctx context.Context, key string) error {
	in := &sdk.DeleteObjectInput{Bucket: &b.cfg.Bucket, Key: &key}
	err := b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.DeleteObject(ctx, in)
		if err == nil {
			b.marked(key, out.DeleteMarker)
		}
		return err
	})
	switch {
	case hasCode(err, "NoSuchKey"):
		return nil
	case connection.KindOf(err) == connection.ErrNotFound:
		return b.gone(ctx, key)
	}
	return worm(b.missing(ctx, err))
}

// marked tells that a key is only hidden.
func (b *backend) marked(key string, marker *bool) {
	if marker != nil && *marker {
		b.env.Emit(connection.Event{Kind: connection.EventMarker, Connection: b.eventID(), Key: key, Count: 1})
	}
}

// MaxDelete implements objectstore.BulkDeleter.
func (b *backend) MaxDelete() int { return maxKeys }

// DeleteMany implements objectstore.BulkDeleter. A server that cannot is asked for one key after the other.
func (b *backend) DeleteMany(ctx context.Context, keys []string) ([]error, error) {
	if b.noBulk.Load() {
		return b.each(ctx, keys, func(key string) error { return b.Delete(ctx, key) }), nil
	}
	errs := make([]error, len(keys))
	if locks, err := b.mayLock(ctx); err != nil {
		return nil, err
	} else if locks {
		errs = b.each(ctx, keys, func(key string) error {
			err := b.unlockedNow(ctx, key)
			if connection.KindOf(err) != connection.ErrNotFound {
				return err
			}
			if err := b.gone(ctx, key); err != nil {
				return err
			}
			return err
		})
	}
	free := make(map[string]int, len(keys))
	in := &sdk.DeleteObjectsInput{Bucket: &b.cfg.Bucket, Delete: &types.Delete{}}
	for i, key := range keys {
		if connection.KindOf(errs[i]) == connection.ErrNotFound {
			errs[i] = nil
			continue
		}
		if _, twice := free[key]; errs[i] == nil && !twice {
			free[key] = i
			in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: &key})
		}
	}
	if len(free) == 0 {
		return errs, nil
	}
	err := b.do(ctx, exchange{root: "DeleteResult"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.DeleteObjects(ctx, in, withContentMD5)
		if err == nil {
			b.outcome(out, free, errs)
		}
		return err
	})
	if lacksBulk(err) {
		b.noBulk.Store(true)
		b.env.Emit(connection.Event{Kind: connection.EventQuirk, Connection: b.eventID(), Detail: "the server has no bulk delete: " + err.Error()})
		return b.each(ctx, keys, func(key string) error { return b.Delete(ctx, key) }), nil
	}
	return errs, b.missing(ctx, err)
}

// lacksBulk reports whether a server refuses a request for several keys as such. Google Cloud Storage says InvalidArgument
// ("Cannot create buckets using a POST"), Scality InvalidURI.
func lacksBulk(err error) bool {
	e := told(err)
	if e == nil {
		return false
	}
	switch e.Code {
	case "NotImplemented", "MethodNotAllowed", "MissingContentMD5", "MalformedXML", "InvalidRequest", "InvalidArgument", "InvalidURI", "InvalidDigest", "BadDigest", "400", "405", "501":
		return true
	}
	return false
}

// outcome reads the answer. A key that it does not name may still be there.
func (b *backend) outcome(out *sdk.DeleteObjectsOutput, free map[string]int, errs []error) {
	for _, gone := range out.Deleted {
		key := text(gone.Key)
		if _, ok := free[key]; ok {
			delete(free, key)
			b.marked(key, gone.DeleteMarker)
		}
	}
	for _, failed := range out.Errors {
		key := text(failed.Key)
		i, ok := free[key]
		if !ok {
			continue
		}
		delete(free, key)
		if text(failed.Code) == "NoSuchKey" {
			continue
		}
		a := &answer{status: http.StatusOK, xmlError: xmlError{Code: text(failed.Code), Message: text(failed.Message)}}
		errs[i] = worm(b.hint(b.target.Load(), a, a.error(http.MethodPost, nil)))
	}
	for key, i := range free {
		errs[i] = &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("the answer does not name the key %q", key)}
	}
}

// withContentMD5 adds the header that many servers want where the library sends a checksum of newer kinds.
var withContentMD5 = sdk.WithAPIOptions(smithyhttp.AddContentChecksumMiddleware)

// each runs f for the keys, several at a time, and tells the watchdog of each that is done: all of them are one attempt.
func (b *backend) each(ctx context.Context, keys []string, f func(key string) error) []error {
	workers := b.cfg.Workers
	if workers == 0 {
		workers = objectstore.DefaultWorkers
	}
	errs := make([]error, len(keys))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(workers, len(keys)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = f(keys[i])
				objectstore.Progress(ctx)
			}
		})
	}
	for i := range keys {
		next <- i
	}
	close(next)
	wg.Wait()
	return errs
}
