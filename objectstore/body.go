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

// A payload is a body that can be read again.
type payload struct {
	size   int64
	sha256 string          // "" = not known
	lock   connection.Lock // under which it is to be stored
	wire   []byte          // digest by Options.Wire, nil without one
	reader func() (r io.ReadSeeker, base int64)
	at     io.ReaderAt // reads the same from any place, by several goroutines; nil = it cannot
	own    bool        // nobody else can change it meanwhile
	parts  int64       // size of its parts, 0 = not decided
	sums   [][]byte    // digests of its parts, nil = not known
	close  func() error
}

// rereadable counts and hashes r, and checks what o promises of it.
func (s *Store) rereadable(ctx context.Context, r io.Reader, o *connection.PutOptions) (*payload, error) {
	p := &payload{close: func() error { return nil }}
	m := &meter{ctx: ctx, r: r, hash: sha256.New(), max: s.opts.Features.MaxSize}
	if s.opts.Wire != nil {
		m.wire = s.opts.Wire()
		if _, ok := s.backend.(PartPutter); ok && !s.opts.WireWhole {
			m.wireMax = s.tuning.SinglePutLimit // what is larger goes in parts, which have digests of their own
		}
	}
	if o.Size > 0 {
		m.max = o.Size
	}
	if start, seeker, ok := seekable(r); ok {
		if err := s.sumParts(m, p, start, seeker); err != nil {
			return nil, err
		}
		if _, err := copyThrough(io.Discard, m); err != nil {
			return nil, m.explain(err, o)
		}
		if m.parts != nil {
			p.sums = m.parts.end()
		}
		p.reader = func() (io.ReadSeeker, int64) { return seeker, start }
		p.at, _ = r.(io.ReaderAt)
	} else {
		spooled, err := connection.Spool(&connection.Message{Body: m, Size: o.Size}, &connection.SpoolOptions{Memory: s.tuning.SinglePutLimit, Dir: s.opts.TempDir})
		if err != nil {
			return nil, m.explain(err, o)
		}
		p.reader = func() (io.ReadSeeker, int64) { return spooled.Reader(), 0 }
		p.at, _ = spooled.Reader().(io.ReaderAt)
		p.own = true
		p.close = spooled.Close
	}
	p.size, p.sha256 = m.n, hex.EncodeToString(m.hash.Sum(nil))
	if m.wire != nil {
		p.wire = m.wire.Sum(nil)
	}
	var err error
	switch {
	case p.size < o.Size:
		err = &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the reader ended after %d of the %d octets announced: %w", p.size, o.Size, io.ErrUnexpectedEOF)}
	case o.SHA256 != "" && o.SHA256 != p.sha256:
		err = &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("sha256 is %s, want %s", p.sha256, o.SHA256)}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// sumParts has m make the digests of the parts, so that a large object is not read once more for them.
func (s *Store) sumParts(m *meter, p *payload, start int64, seeker io.Seeker) error {
	e, ok := s.backend.(PartPutter)
	if !ok || s.partHash() == nil {
		return nil
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = seeker.Seek(start, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("reading what is to be stored: %w", err)
	}
	if end-start <= min(s.tuning.SinglePutLimit, maxPut(e)) {
		return nil
	}
	if p.parts, err = partSize(end-start, s.tuning.PartSize, e.PartLimits()); err != nil {
		return err
	}
	m.parts = &partSums{make: s.partHash(), size: p.parts}
	return nil
}

// partHash returns the digest of parts that the server checks, nil if it checks none.
func (s *Store) partHash() func() hash.Hash {
	if s.opts.WireSHA256 {
		return sha256.New
	}
	return s.opts.Wire
}

// copyBuffers are those of copyThrough.
var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copyThrough is io.Copy with a buffer that is used again. It hides WriteTo and ReadFrom, which would bring their own.
func copyThrough(w io.Writer, r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf[:])
}

// partSums makes a digest of each part of what is written to it.
type partSums struct {
	make func() hash.Hash
	size int64
	now  hash.Hash // nil: the part begins
	in   int64     // octets of it
	sums [][]byte
}

func (s *partSums) write(p []byte) {
	for len(p) > 0 {
		if s.now == nil {
			s.now, s.in = s.make(), 0
		}
		n := min(int64(len(p)), s.size-s.in)
		_, _ = s.now.Write(p[:n]) // a hash never fails
		p = p[n:]
		if s.in += n; s.in == s.size {
			s.sums, s.now = append(s.sums, s.now.Sum(nil)), nil
		}
	}
}

func (s *partSums) end() [][]byte {
	if s.now != nil {
		s.sums, s.now = append(s.sums, s.now.Sum(nil)), nil
	}
	return s.sums
}

// seekable reports whether r can seek in fact: a pipe has the method too.
func seekable(r io.Reader) (start int64, s io.ReadSeeker, ok bool) {
	s, ok = r.(io.ReadSeeker)
	if !ok {
		return 0, nil, false
	}
	start, err := s.Seek(0, io.SeekCurrent)
	return start, s, err == nil
}

// A meter counts and hashes what it reads.
type meter struct {
	ctx  context.Context //nolint:containedctx // that of one Put
	r    io.Reader
	hash hash.Hash
	wire hash.Hash // nil: none
	n    int64
	max  int64 // 0 = no limit
	over bool
	err  error // of r

	wireMax int64     // no wire digest of more than this; 0 = of any size
	parts   *partSums // nil: none are wanted
}

var errOver = errors.New("over the limit")

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	_, _ = m.hash.Write(p[:n]) // a hash never fails
	if m.wireMax > 0 && m.n > m.wireMax {
		m.wire = nil
	}
	if m.wire != nil {
		_, _ = m.wire.Write(p[:n])
	}
	if m.parts != nil {
		m.parts.write(p[:n])
	}
	if m.max > 0 && m.n > m.max {
		m.over = true
		return n, errOver
	}
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// explain says which of reader, limit and disk was at fault.
func (m *meter) explain(err error, o *connection.PutOptions) error {
	switch {
	case m.over && o.Size > 0:
		return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the reader goes on after the %d octets announced", o.Size)}
	case m.over:
		return tooLarge(m.n, m.max)
	case m.err != nil:
		return fmt.Errorf("reading what is to be stored: %w", m.err)
	}
	return err
}

// sending is the body of one attempt: size octets of r from base on, and no others. net/http may go on reading a body when
// the answer has come already; after end it reads nothing more.
type sending struct {
	mu sync.Mutex // guards r and what follows

	r    io.ReadSeeker
	base int64
	size int64
	w    *watchdog
	gauge
	at    int64
	far   int64 // the furthest place that was read
	err   error // of r, or because it is no longer what it was
	ended bool
}

// done reports whether everything was taken.
func (b *sending) done() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.far == b.size && b.err == nil
}

// end waits for a Read under way, and lets no other touch r.
func (b *sending) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

func (b *sending) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended:
		return 0, errAttemptOver
	case b.err != nil:
		return 0, b.err
	}
	b.w.kick()
	if b.at == b.size {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.size-b.at)])
	b.at += int64(n)
	if b.at > b.far {
		b.move(b.at - b.far)
		b.far = b.at
	}
	switch {
	case b.at == b.size || err == nil:
		return n, nil
	case err == io.EOF: //nolint:errorlint // one that is wrapped is a failure of the reader
		err = io.ErrUnexpectedEOF
	}
	b.err = unlike(err)
	return n, b.err
}

var errAttemptOver = errors.New("the attempt is over")

func (b *sending) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errAttemptOver
	}
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return 0, fmt.Errorf("seek to %d of %d", offset, b.size)
	}
	if b.err != nil {
		return 0, b.err
	}
	if _, err := b.r.Seek(b.base+offset, io.SeekStart); err != nil {
		b.err = unlike(err)
		return 0, b.err
	}
	b.at = offset
	if offset == 0 {
		// What was read so far was hashed, not sent.
		b.move(-b.far)
		b.far = 0
	}
	return offset, nil
}

func unlike(err error) error {
	return &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("what is to be stored cannot be read a second time: %w", err)}
}

// A gauge tells PutOptions.Progress what the attempts of one Put have sent together.
type gauge struct{ *gaugeState }

type gaugeState struct {
	mu   sync.Mutex
	sent int64
	tell func(octets int64) // nil: nobody wants to know
}

func newGauge(tell func(int64)) gauge { return gauge{&gaugeState{tell: tell}} }

func (g gauge) move(n int64) {
	if g.tell == nil || n == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent += n
	g.tell(g.sent)
}
