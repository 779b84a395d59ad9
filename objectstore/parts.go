package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// abortWithin is how long an upload that failed is being removed, whatever became of the caller's context.
const abortWithin = 30 * time.Second

// maxPut returns the largest object that the engine takes by one request.
func maxPut(p PartPutter) int64 {
	if l := p.PartLimits(); l.MaxPut > 0 {
		return l.MaxPut
	}
	return math.MaxInt64
}

// partSize returns the size of all parts but the last of an object: what the settings say, unless that were too many or
// too small for the engine.
func partSize(size, want int64, l PartLimits) (int64, error) {
	want = max(want, l.MinPart)
	if n := int64(l.MaxParts); n > 0 && (size+want-1)/want > n {
		const step = 1 << 20
		want = ((size+n-1)/n + step - 1) / step * step
	}
	if l.MaxPart > 0 && want > l.MaxPart {
		if n := int64(l.MaxParts); n > 0 && (size+l.MaxPart-1)/l.MaxPart > n {
			return 0, tooLarge(size, l.MaxPart*n)
		}
		want = l.MaxPart
	}
	return want, nil
}

// putParts stores p in parts. Whatever fails before the last request is removed again.
func (s *Store) putParts(ctx context.Context, e PartPutter, key string, p *payload, req *PutRequest, g gauge) (info connection.ObjectInfo, err error) {
	size, err := partSize(p.size, s.tuning.PartSize, e.PartLimits())
	if err != nil {
		return info, err
	}
	var upload string
	// An answer that is lost leaves an upload without a name behind: IncompleteLister finds it.
	err = s.repeat(ctx, "put", func(ctx context.Context, _ *watchdog) error {
		upload, err = e.Begin(ctx, key, req)
		return err
	})
	if err != nil {
		return info, err
	}
	parts, err := s.sendParts(ctx, e, key, upload, p, size, g)
	if err == nil {
		info, err = s.decide(ctx, key, p, func() (info connection.ObjectInfo, err error) {
			err = s.try(ctx, func() bool { return true }, func(ctx context.Context, _ *watchdog) error {
				info, err = e.Complete(ctx, key, upload, parts, req)
				return err
			})
			if err != nil && ctx.Err() != nil && connection.KindOf(err) != connection.ErrUncertain {
				err = &connection.Error{Kind: connection.ErrUncertain, Err: err} // we stopped listening for the answer
			}
			return info, err
		})
	}
	if err != nil && connection.KindOf(err) != connection.ErrUncertain {
		err = errors.Join(err, s.abort(ctx, e, key, upload))
	}
	return info, err
}

// abort removes an upload. Its error is told, but does not hide why the upload failed.
func (s *Store) abort(ctx context.Context, e PartPutter, key, upload string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
	defer cancel()
	err := s.repeat(ctx, "abort", func(ctx context.Context, _ *watchdog) error { return e.Abort(ctx, key, upload) })
	if err != nil {
		return fmt.Errorf("an unfinished upload stays behind: %w", err)
	}
	return nil
}

// sendParts stores the parts of p, and returns them in order when all are there.
func (s *Store) sendParts(ctx context.Context, e PartPutter, key, upload string, p *payload, size int64, g gauge) ([]Part, error) {
	count := int((p.size + size - 1) / size)
	parts := make([]Part, count)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	src := s.newSource(p)
	for i := range parts {
		n := min(size, p.size-int64(i)*size)
		buf, err := s.parts.get(ctx, size)
		if err == nil {
			err = src.read(buf[:n])
			if err != nil {
				s.parts.put(buf)
			}
		}
		if err != nil {
			fail(err)
			break
		}
		wg.Go(func() {
			defer s.parts.put(buf)
			var err error
			if parts[i], err = s.sendPart(ctx, e, key, upload, i+1, buf[:n], g); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return parts, src.verify()
}

// sendPart stores one part. It may be repeated: the last one of a number counts.
func (s *Store) sendPart(ctx context.Context, e PartPutter, key, upload string, number int, data []byte, g gauge) (Part, error) {
	part := Part{PartRequest: PartRequest{Number: number, Size: int64(len(data))}}
	if s.opts.Wire != nil {
		h := s.opts.Wire()
		_, _ = h.Write(data) // a hash never fails
		part.Wire = h.Sum(nil)
	}
	b := s.newBudget()
	for {
		body := &sending{r: bytes.NewReader(data), size: part.Size, gauge: g}
		err := s.attempt(ctx, body, func(ctx context.Context, body *sending) (err error) {
			part.Tag, err = e.PutPart(ctx, key, upload, body, &part.PartRequest)
			return err
		})
		if err == nil {
			return part, nil
		}
		if !s.again(ctx, &b, "put", err) {
			if ctx.Err() == nil && connection.KindOf(err) == connection.ErrUncertain {
				// What became of a part is of no interest: without it there is no object.
				err = &connection.Error{Kind: connection.ErrNetwork, Err: err}
			}
			return part, b.wrap(fmt.Errorf("part %d: %w", number, err))
		}
	}
}

// A source reads a payload once more, from its first octet to its last.
type source struct {
	r    io.ReadSeeker
	want string    // digest, "" = not to be verified
	hash hash.Hash // nil unless it is
	err  error
}

func (s *Store) newSource(p *payload) *source {
	r, base := p.reader()
	src := &source{r: r}
	if !p.own {
		src.hash, src.want = sha256.New(), p.sha256
	}
	_, src.err = r.Seek(base, io.SeekStart)
	return src
}

func (s *source) read(p []byte) error {
	if s.err != nil {
		return unlike(s.err)
	}
	if _, err := io.ReadFull(s.r, p); err != nil {
		return unlike(err)
	}
	if s.hash != nil {
		_, _ = s.hash.Write(p) // a hash never fails
	}
	return nil
}

// verify returns an error if what was read is not what was read the first time.
func (s *source) verify() error {
	if s.hash == nil {
		return nil
	}
	if got := hex.EncodeToString(s.hash.Sum(nil)); got != s.want {
		return unlike(fmt.Errorf("sha256 was %s, is %s", s.want, got))
	}
	return nil
}

// A partPool holds the buffers of the parts in flight: as many as there are tokens, and none while nothing is in flight.
type partPool struct {
	tokens chan struct{}
	mu     sync.Mutex
	inUse  int
	free   [][]byte
}

// get waits for a buffer of size octets.
func (p *partPool) get(ctx context.Context, size int64) ([]byte, error) {
	select {
	case p.tokens <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse++
	for n := len(p.free); n > 0; n-- {
		buf := p.free[n-1]
		p.free = p.free[:n-1]
		if int64(cap(buf)) >= size {
			return buf[:size], nil
		}
	}
	return make([]byte, size), nil
}

func (p *partPool) put(buf []byte) {
	p.mu.Lock()
	if p.inUse--; p.inUse == 0 {
		p.free = nil
	} else {
		p.free = append(p.free, buf)
	}
	p.mu.Unlock()
	<-p.tokens
}
