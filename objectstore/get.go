package objectstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// refillAfter is how many octets of progress give a read its whole budget of attempts back.
const refillAfter = 64 << 10

// Get implements connection.Getter. A Body that is cut goes on at the next octet, provided that the object has an ETag
// and still the same one: else ErrChanged. A full read is verified if the store knows the SHA-256.
func (s *Store) Get(ctx context.Context, key string, opts *connection.GetOptions) (*connection.Object, error) {
	var o connection.GetOptions
	if opts != nil {
		o = *opts
	}
	op, err := s.join(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	defer s.verb.Done()
	b := &resumer{s: s, op: op, ctx: op.ctx, key: key, budget: s.newBudget(), want: o}
	info, err := b.start()
	if err != nil {
		b.failed = s.fail(op.ctx, "get", key, err)
		return nil, errors.Join(b.failed, b.Close())
	}
	return &connection.Object{ObjectInfo: info, Body: b}, nil
}

// A resumer is a Body that survives cuts. Reads come one at a time; Close may come at any time.
type resumer struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // Get's ctx governs the Body
	op     *operation
	key    string
	want   connection.GetOptions
	budget budget

	etag   string
	size   int64 // of the object, -1 while unknown
	next   int64 // offset in the object of the next octet
	end    int64 // offset behind the last octet wanted, -1 while unknown
	fresh  int64 // octets since the last cut
	hash   hash.Hash
	digest string
	late   error // came with octets: the next Read's
	err    error // sticky

	mu     sync.Mutex // guards the five below
	failed error      // err, but for the end
	body   io.ReadCloser
	dog    *watchdog
	stop   context.CancelFunc
	closed bool
}

// start makes the first request.
func (b *resumer) start() (connection.ObjectInfo, error) {
	if err := checkGet(b.key, &b.want, b.s.tuning.AllowAnyKey); err != nil {
		return connection.ObjectInfo{}, err
	}
	b.next, b.size, b.end = b.want.Offset, -1, -1
	b.etag = b.want.IfMatch
	for {
		reply, err := b.request()
		if errors.Is(err, ErrRange) {
			return b.pastEnd()
		}
		if err == nil {
			b.size = reply.Size
			b.setEnd()
			b.etag = reply.ETag
			info := reply.ObjectInfo
			info.Key = b.key
			whole := b.want.Offset == 0 && (b.want.Length == 0 || b.size >= 0 && b.end == b.size)
			if whole && !b.want.NoVerify && IsSHA256(info.SHA256) {
				b.hash, b.digest = sha256.New(), info.SHA256
			}
			return info, nil
		}
		if !b.s.again(b.ctx, &b.budget, "get", err) {
			return connection.ObjectInfo{}, b.budget.wrap(err)
		}
	}
}

func (b *resumer) setEnd() {
	if b.size >= 0 {
		b.end = max(b.size, b.want.Offset)
	}
	if b.want.Length > 0 && (b.end < 0 || b.want.Length < b.end-b.want.Offset) {
		b.end = b.want.Offset + b.want.Length
	}
}

// pastEnd makes an empty body: nothing is at the offset, but the object may be there.
func (b *resumer) pastEnd() (info connection.ObjectInfo, err error) {
	info, err = b.s.stat(b.ctx, b.key)
	switch {
	case err != nil:
	case b.want.IfMatch != "" && info.ETag != b.want.IfMatch:
		err = b.changed(info.ETag)
	case info.Size > b.want.Offset:
		err = &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("octet %d was refused as past the end, and the object has %d", b.want.Offset, info.Size)}
	}
	b.err = io.EOF
	return info, err
}

func (b *resumer) changed(etag string) error {
	return &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("etag is %q, not %q", etag, b.etag)}
}

// request opens the object at b.next, in one attempt.
func (b *resumer) request() (*Reply, error) {
	countRequest(b.ctx)
	ctx, dog, stop := watch(b.ctx, b.s.tuning.NoDataTimeout.D())
	req := GetRequest{Offset: b.next, IfMatch: b.etag}
	if b.want.Length > 0 {
		req.Length = b.want.Offset + b.want.Length - b.next
	}
	reply, err := b.s.backend.Get(ctx, b.key, &req)
	if err == nil {
		err = b.accept(ctx, reply)
		if err != nil {
			err = errors.Join(err, reply.Body.Close())
		}
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = b.s.stalled(false)
		}
		stop()
		return nil, err
	}
	dog.pause()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		stop()
		return nil, errors.Join(connection.ErrClosed, reply.Body.Close())
	}
	b.body, b.dog, b.stop = reply.Body, dog, stop
	return reply, nil
}

// accept checks that a reply is what was asked for, and skips what comes before it.
func (b *resumer) accept(ctx context.Context, reply *Reply) error {
	if b.etag != "" && reply.ETag != b.etag {
		return b.changed(reply.ETag) // some servers do not look at If-Match
	}
	if reply.Offset > b.next || reply.Offset < 0 {
		return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("asked for offset %d, got %d", b.next, reply.Offset)}
	}
	// A server that knows no ranges sends everything from the start.
	skip := b.next - reply.Offset
	if reply.Size >= 0 {
		skip = min(skip, reply.Size-reply.Offset)
	}
	_, err := io.CopyN(io.Discard, progressReader{ctx, reply.Body}, skip)
	if errors.Is(err, io.EOF) {
		if reply.Size < 0 {
			return ErrRange // it has ended before
		}
		err = cut(reply.Offset)
	}
	return err
}

type progressReader struct {
	ctx context.Context //nolint:containedctx // of one loop
	r   io.Reader
}

func (p progressReader) Read(b []byte) (int, error) {
	Progress(p.ctx)
	return p.r.Read(b)
}

func cut(at int64) error {
	return &connection.Error{Kind: connection.ErrNetwork, Err: fmt.Errorf("the body ended at octet %d: %w", at, io.ErrUnexpectedEOF)}
}

// Read implements io.Reader.
func (b *resumer) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	for {
		if b.next == b.end {
			return 0, b.finish(b.verify())
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := 0, b.late
		if b.late = nil; err == nil {
			n, err = b.readOnce(p)
		}
		b.next += int64(n)
		b.fresh += int64(n)
		countOctets(b.ctx, int64(n))
		if b.hash != nil {
			_, _ = b.hash.Write(p[:n]) // a hash never fails
		}
		if b.fresh >= refillAfter {
			b.budget, b.fresh = b.s.newBudget(), 0
		}
		if n > 0 {
			// The last octets and the verdict go together: who stops at the announced size has them verified too.
			if b.next == b.end && b.hash != nil {
				if err := b.verify(); errors.Is(err, connection.ErrCorrupt) {
					return 0, b.finish(err)
				}
			}
			b.late = err // a Reader need not say it again
			return n, nil
		}
		if err == nil {
			continue
		}
		if err == io.EOF && b.size < 0 { //nolint:errorlint // a cut that wraps io.EOF is no end
			b.end = b.next // the server did not tell the size: this is all
			continue
		}
		if err := b.resume(err); err != nil {
			return 0, b.finish(err)
		}
	}
}

// readOnce reads from the present reply, if there is one.
func (b *resumer) readOnce(p []byte) (int, error) {
	b.mu.Lock()
	body, dog := b.body, b.dog
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return 0, connection.ErrClosed
	}
	if err := context.Cause(b.ctx); err != nil {
		return 0, err
	}
	if b.end >= 0 {
		p = p[:min(int64(len(p)), b.end-b.next)]
	}
	dog.kick()
	n, err := body.Read(p)
	dog.pause()
	return n, err
}

// resume opens the object again where it was cut.
func (b *resumer) resume(err error) error {
	for {
		err = b.cause(err)
		if b.etag == "" || !repeatable(err) {
			return err
		}
		b.drop()
		if b.budget.failed == 0 {
			b.budget = b.s.newBudget() // whoever reads may have taken his time
		}
		if !b.s.again(b.ctx, &b.budget, "get", err) {
			return b.budget.wrap(err)
		}
		b.fresh = 0
		reply, next := b.request()
		if next == nil {
			if b.size >= 0 && reply.Size >= 0 && reply.Size != b.size {
				return &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("size is %d, was %d", reply.Size, b.size)}
			}
			return nil
		}
		err = next
	}
}

// cause says what a cut was.
func (b *resumer) cause(err error) error {
	if closed := context.Cause(b.ctx); closed != nil {
		return closed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return connection.ErrClosed
	case b.dog != nil && b.dog.stalled():
		return b.s.stalled(false)
	case errors.Is(err, io.EOF):
		return cut(b.next)
	case errors.Is(err, ErrRange):
		return &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("octet %d is no longer there: %w", b.next, err)}
	}
	return err
}

// drop closes the present reply.
func (b *resumer) drop() {
	b.mu.Lock()
	body, stop := b.body, b.stop
	b.body, b.dog, b.stop = nil, nil, nil
	b.mu.Unlock()
	if body != nil {
		stop()
		_ = body.Close() // it has failed already
	}
}

func (b *resumer) verify() error {
	if b.hash == nil || b.next != b.size && b.size >= 0 {
		return io.EOF
	}
	if got := hex.EncodeToString(b.hash.Sum(nil)); got != b.digest {
		return &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("sha256 is %s, want %s", got, b.digest)}
	}
	return io.EOF
}

// finish makes err the answer to this and every further Read.
func (b *resumer) finish(err error) error {
	b.err = err
	if err != io.EOF { //nolint:errorlint // only the bare one is the end
		b.err = b.s.fail(b.ctx, "get", b.key, err)
		b.mu.Lock()
		b.failed = b.err
		b.mu.Unlock()
	}
	return b.err
}

// Close implements io.Closer. It does not read what is left. A second Close does nothing.
func (b *resumer) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	body, stop, failed := b.body, b.stop, b.failed
	b.body = nil
	b.mu.Unlock()
	b.op.cancel()
	if body != nil {
		stop()
		_ = body.Close() // whatever it says, nothing more is wanted
	}
	b.op.tell(failed)
	return nil
}
