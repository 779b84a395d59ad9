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

// How long an upload that failed is being removed, and that if the caller's context has ended: somebody waits.
const (
	abortWithin = 30 * time.Second
	abortSoon   = 2 * time.Second
)

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
	size := p.parts
	if size == 0 {
		if size, err = partSize(p.size, s.tuning.PartSize, e.PartLimits()); err != nil {
			return info, err
		}
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
			err = s.tryWhole(ctx, func(ctx context.Context, _ *watchdog) error {
				info, err = e.Complete(ctx, key, upload, parts, req)
				return err
			})
			return info, err
		})
	}
	if err != nil && connection.KindOf(err) != connection.ErrUncertain {
		if left := s.abort(ctx, e, key, upload); left != nil {
			err = errors.Join(err, left)
		}
	}
	return info, err
}

// abort removes an upload. Its error is told, but does not hide why the upload failed.
func (s *Store) abort(ctx context.Context, e PartPutter, key, upload string) error {
	limit := abortWithin
	if ctx.Err() != nil {
		limit = abortSoon
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
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
	var broken error
	src := s.newSource(p)
	for i := range parts {
		done, err := s.parts.begin(ctx)
		if err != nil {
			fail(err)
			break
		}
		part := &part{Part: Part{PartRequest: PartRequest{Number: i + 1, Size: min(size, p.size-int64(i)*size)}}}
		release, err := src.next(part, size)
		if err != nil {
			done()
			// The parts under way may end: one that is cut may reach the server behind the request that removes it.
			broken = err
			defer time.AfterFunc(abortSoon, func() { fail(err) }).Stop()
			break
		}
		wg.Go(func() {
			defer done()
			defer release()
			err := s.sendPart(ctx, e, key, upload, part, g)
			if parts[i] = part.Part; err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	switch {
	case broken != nil:
		return nil, broken
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return parts, src.verify()
}

// A part is one part on its way.
type part struct {
	Part
	body func() io.ReadSeeker
}

// sendPart stores one part. It may be repeated: the last one of a number counts.
func (s *Store) sendPart(ctx context.Context, e PartPutter, key, upload string, p *part, g gauge) error {
	b := s.newBudget()
	for {
		body := &sending{r: p.body(), size: p.Size, gauge: g}
		err := s.attempt(ctx, body, func(ctx context.Context, body *sending) (err error) {
			p.Tag, err = e.PutPart(ctx, key, upload, body, &p.PartRequest)
			return err
		})
		if err == nil {
			return nil
		}
		if !s.again(ctx, &b, "put", err) {
			if ctx.Err() == nil && connection.KindOf(err) == connection.ErrUncertain {
				// What became of a part is of no interest: without it there is no object.
				err = &connection.Error{Kind: connection.ErrNetwork, Err: err}
			}
			return b.wrap(fmt.Errorf("part %d: %w", p.Number, err))
		}
	}
}

// A source reads a payload once more, from its first octet to its last, and makes parts of it. Their octets stay where they
// are if the payload can be read from any place; else they are kept in a buffer.
type source struct {
	s    *Store
	p    *payload
	r    io.ReadSeeker
	base int64
	done int64     // octets that are in parts already
	hash hash.Hash // of all octets; nil unless they are to be verified
	err  error
}

func (s *Store) newSource(p *payload) *source {
	r, base := p.reader()
	src := &source{s: s, p: p, r: r, base: base}
	if !p.own && p.sums == nil {
		src.hash = sha256.New()
	}
	if p.at == nil {
		_, src.err = r.Seek(base, io.SeekStart)
	}
	return src
}

// next gives part its octets and their digest. size is that of all parts but the last. release is called when the part
// is done with.
func (s *source) next(p *part, size int64) (release func(), err error) {
	if s.err != nil {
		return nil, unlike(s.err)
	}
	release = func() {}
	if s.p.at != nil {
		at, offset := s.p.at, s.base+s.done
		p.body = func() io.ReadSeeker { return io.NewSectionReader(at, offset, p.Size) }
	} else {
		buf := s.s.parts.get(size)
		release = func() { s.s.parts.put(buf) }
		if _, err := io.ReadFull(s.r, buf[:p.Size]); err != nil {
			release()
			return nil, unlike(err)
		}
		p.body = func() io.ReadSeeker { return bytes.NewReader(buf[:p.Size]) }
	}
	s.done += p.Size
	if i := p.Number - 1; s.p.sums != nil {
		if i >= len(s.p.sums) {
			release()
			return nil, unlike(io.ErrUnexpectedEOF)
		}
		p.Wire = s.p.sums[i] // the server refuses octets that have another
		return release, nil
	}
	if err := s.digest(p); err != nil {
		release()
		return nil, unlike(err)
	}
	return release, nil
}

// digest reads a part for its digest.
func (s *source) digest(p *part) error {
	var sums []io.Writer
	if s.hash != nil {
		sums = append(sums, s.hash)
	}
	var wire hash.Hash
	if h := s.s.partHash(); h != nil {
		wire = h()
		sums = append(sums, wire)
	}
	if len(sums) == 0 {
		return nil
	}
	n, err := copyThrough(io.MultiWriter(sums...), p.body())
	if err == nil && n < p.Size {
		err = io.ErrUnexpectedEOF
	}
	if wire != nil {
		p.Wire = wire.Sum(nil)
	}
	return err
}

// verify returns an error if what was read is not what was read the first time.
func (s *source) verify() error {
	if s.hash == nil {
		return nil
	}
	if got := hex.EncodeToString(s.hash.Sum(nil)); got != s.p.sha256 {
		return unlike(fmt.Errorf("sha256 was %s, is %s", s.p.sha256, got))
	}
	return nil
}

// A partPool lets as many parts be in flight as there are tokens, and holds the buffers of those that need one: none while
// nothing is in flight.
type partPool struct {
	tokens chan struct{}
	mu     sync.Mutex
	inUse  int
	free   [][]byte
}

// begin waits until a part may go. It ends with done.
func (p *partPool) begin(ctx context.Context) (done func(), err error) {
	select {
	case p.tokens <- struct{}{}:
		return func() { <-p.tokens }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// get returns a buffer of size octets.
func (p *partPool) get(size int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse++
	for n := len(p.free); n > 0; n-- {
		buf := p.free[n-1]
		p.free = p.free[:n-1]
		if int64(cap(buf)) >= size {
			return buf[:size]
		}
	}
	return make([]byte, size)
}

func (p *partPool) put(buf []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inUse--; p.inUse == 0 {
		p.free = nil
	} else {
		p.free = append(p.free, buf)
	}
}
