package objectstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"

	"github.com/mailconn/mailconn/connection"
)

// Put implements connection.Putter. r is read once if it cannot seek, and kept: up to Tuning.SinglePutLimit in memory,
// beyond in a temporary file. If it is an io.Seeker it is read twice from where it stands: to know its digest before the
// first octet is sent, and to send it. A lost answer is decided by Stat where that can tell; else it is ErrUncertain.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	var o connection.PutOptions
	if opts != nil {
		o = *opts
	}
	verb, finish, err := s.begin(ctx)
	if err != nil {
		return connection.ObjectInfo{}, s.fail(ctx, "put", key, err)
	}
	defer finish()
	info, err := s.put(verb, key, r, &o)
	if err != nil {
		return connection.ObjectInfo{}, s.fail(verb, "put", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, o *connection.PutOptions) (connection.ObjectInfo, error) {
	if err := s.checkPut(key, r, o); err != nil {
		return connection.ObjectInfo{}, err
	}
	body, err := s.rereadable(ctx, r, o)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	info, err := s.send(ctx, key, body, o)
	return info, errors.Join(err, body.close())
}

func (s *Store) checkPut(key string, r io.Reader, o *connection.PutOptions) error {
	if err := CheckPut(key, o); err != nil {
		return err
	}
	f := s.opts.Features
	lacks := ""
	switch {
	case r == nil:
		return &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no reader given")}
	case o.IfAbsent && !f.IfAbsent:
		lacks = "put if absent"
	case !f.Meta && (len(o.Meta) > 0 || o.ContentType != ""):
		lacks = "metadata"
	case !f.Class && o.Class != "":
		lacks = "storage classes"
	case !f.Lock && o.Lock != connection.Lock{}:
		lacks = "retention"
	case f.MaxSize > 0 && o.Size > f.MaxSize:
		return tooLarge(o.Size, f.MaxSize)
	}
	if lacks != "" {
		return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("this store has no " + lacks)}
	}
	return nil
}

func tooLarge(size, limit int64) error {
	return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("%d octets, at most %d", size, limit)}
}

// A payload is a body that can be read again.
type payload struct {
	size   int64
	sha256 string
	reader func() (io.Reader, error) // from the first octet
	close  func() error
}

// rereadable counts and hashes r, and checks what o promises of it.
func (s *Store) rereadable(ctx context.Context, r io.Reader, o *connection.PutOptions) (*payload, error) {
	p := &payload{close: func() error { return nil }}
	m := &meter{ctx: ctx, r: r, hash: sha256.New(), max: s.opts.Features.MaxSize}
	if o.Size > 0 {
		m.max = o.Size
	}
	if start, seeker, ok := seekable(r); ok {
		if _, err := io.Copy(io.Discard, m); err != nil {
			return nil, m.explain(err, o)
		}
		p.reader = func() (io.Reader, error) {
			_, err := seeker.Seek(start, io.SeekStart)
			return r, err
		}
	} else {
		spooled, err := connection.Spool(&connection.Message{Body: m, Size: o.Size}, &connection.SpoolOptions{Memory: s.tuning.SinglePutLimit, Dir: s.opts.TempDir})
		if err != nil {
			return nil, m.explain(err, o)
		}
		p.reader = func() (io.Reader, error) { return spooled.Reader(), nil }
		p.close = spooled.Close
	}
	p.size, p.sha256 = m.n, hex.EncodeToString(m.hash.Sum(nil))
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

// seekable reports whether r can seek in fact: a pipe has the method too.
func seekable(r io.Reader) (start int64, s io.Seeker, ok bool) {
	s, ok = r.(io.Seeker)
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
	n    int64
	max  int64 // 0 = no limit
	over bool
	err  error // of r
}

var errOver = errors.New("over the limit")

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	_, _ = m.hash.Write(p[:n]) // a hash never fails
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

// send makes the attempts.
func (s *Store) send(ctx context.Context, key string, p *payload, o *connection.PutOptions) (connection.ObjectInfo, error) {
	req := PutRequest{Size: p.size, SHA256: p.sha256, IfAbsent: o.IfAbsent, ContentType: o.ContentType, Meta: maps.Clone(o.Meta), Class: o.Class, Lock: o.Lock}
	b := s.newBudget()
	doubt := false // an attempt may have been carried out although it failed
	for {
		info, err := s.sendOnce(ctx, key, p, req)
		switch kind := connection.KindOf(err); {
		case err == nil:
			info.Key, info.Size, info.SHA256 = key, p.size, p.sha256
			return info, nil
		case kind == connection.ErrUncertain:
			doubt = true
		case kind == connection.ErrExists && b.failed > 0:
			// Perhaps it is our own of an earlier attempt that exists.
			if info, ok := s.holds(ctx, key, p); ok {
				return info, nil
			}
			return info, b.wrap(err)
		}
		if s.again(ctx, &b, "put", err) {
			continue
		}
		if !doubt {
			return info, b.wrap(err)
		}
		if info, ok := s.holds(ctx, key, p); ok {
			return info, nil
		}
		if connection.KindOf(err) != connection.ErrUncertain {
			err = &connection.Error{Kind: connection.ErrUncertain, Err: err}
		}
		return info, b.wrap(err)
	}
}

func (s *Store) sendOnce(ctx context.Context, key string, p *payload, req PutRequest) (info connection.ObjectInfo, err error) {
	r, err := p.reader()
	if err != nil {
		return info, fmt.Errorf("reading again what is to be stored: %w", err)
	}
	sender := &sending{r: r, left: p.size}
	err = s.try(ctx, sender.done, func(ctx context.Context, w *watchdog) error {
		sender.w = w
		info, err = s.backend.Put(ctx, key, sender, &req)
		return err
	})
	switch {
	case sender.err != nil && !errors.Is(err, sender.err):
		err = errors.Join(err, sender.err)
	case err == nil && sender.left > 0:
		err = &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("the store answered when it had %d of %d octets", p.size-sender.left, p.size)}
	case err != nil && ctx.Err() != nil && sender.done() && connection.KindOf(err) != connection.ErrUncertain:
		// We stopped listening for the answer.
		err = &connection.Error{Kind: connection.ErrUncertain, Err: err}
	}
	return info, err
}

// holds reports whether key holds what p is. A doubt that Stat cannot settle stays one.
func (s *Store) holds(ctx context.Context, key string, p *payload) (info connection.ObjectInfo, same bool) {
	err := s.repeat(ctx, "stat", func(ctx context.Context, _ *watchdog) error {
		var err error
		info, err = s.backend.Stat(ctx, key)
		return err
	})
	return info, err == nil && info.Size == p.size && info.SHA256 == p.sha256
}

// sending is the body of one attempt: exactly as many octets as announced.
type sending struct {
	r    io.Reader
	w    *watchdog
	left int64
	err  error // of r, or because it is no longer what it was
}

func (b *sending) done() bool { return b.left == 0 && b.err == nil }

func (b *sending) Read(p []byte) (int, error) {
	b.w.kick()
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0 || err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	b.err = &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("what is to be stored cannot be read a second time: %w", err)}
	return n, b.err
}
