package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Put implements connection.Putter. r is read once if it cannot seek, and kept: up to Tuning.SinglePutLimit in memory,
// beyond in a temporary file. If it is an io.Seeker it is read twice from where it stands: to know its digest before the
// first octet is sent, and to send it. More than SinglePutLimit octets go in parts if the Backend is a [PartPutter]: of
// all puts together Tuning.PartWorkers at a time, from where they lie if r is an io.ReaderAt too or was kept, else each in a
// buffer of Tuning.PartSize. A lost answer is decided by Stat where that can tell; else it is ErrUncertain.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (info connection.ObjectInfo, err error) {
	var o connection.PutOptions
	if opts != nil {
		o = *opts
	}
	err = s.do(ctx, "put", key, func(ctx context.Context) error {
		info, err = s.put(ctx, key, r, &o)
		return err
	})
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, o *connection.PutOptions) (connection.ObjectInfo, error) {
	if r == nil {
		return connection.ObjectInfo{}, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no reader given")}
	}
	if err := s.checkPut(key, o); err != nil {
		return connection.ObjectInfo{}, err
	}
	if err := s.emulateIfAbsent(ctx, key, o); err != nil {
		return connection.ObjectInfo{}, err
	}
	body, err := s.rereadable(ctx, r, o)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	body.lock = o.Lock
	req := PutRequest{
		Size: body.size, SHA256: body.sha256, Wire: body.wire, IfAbsent: o.IfAbsent,
		ContentType: o.ContentType, Meta: maps.Clone(o.Meta), Class: o.Class, Lock: o.Lock,
	}
	var info connection.ObjectInfo
	if parts, ok := s.backend.(PartPutter); ok && body.size > min(s.tuning.SinglePutLimit, maxPut(parts)) {
		info, err = s.putParts(ctx, parts, key, body, &req, newGauge(o.Progress))
	} else {
		info, err = s.putWhole(ctx, key, body, &req, newGauge(o.Progress))
	}
	if err == nil {
		info.Key, info.Size, info.SHA256 = key, body.size, body.sha256
		countOctets(ctx, body.size)
	}
	_ = body.close() // a temporary copy: whether the object is stored does not hang on it
	return info, err
}

// checkPut refuses what the rules forbid and what the engine has not.
func (s *Store) checkPut(key string, o *connection.PutOptions) error {
	if err := checkPut(key, o, s.tuning.AllowAnyKey); err != nil {
		return err
	}
	f := s.Features()
	lacks := ""
	switch {
	case o.IfAbsent && !f.IfAbsent && !s.tuning.EmulateIfAbsent:
		lacks = "put if absent (emulate_if_absent would look first)"
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

// emulateIfAbsent looks whether the key is taken, where the server cannot, and takes the wish from o.
func (s *Store) emulateIfAbsent(ctx context.Context, key string, o *connection.PutOptions) error {
	if !o.IfAbsent || s.Features().IfAbsent {
		return nil
	}
	o.IfAbsent = false
	switch _, err := s.stat(ctx, key); {
	case err == nil:
		return &connection.Error{Kind: connection.ErrExists, Err: errors.New("the key is taken")}
	case connection.KindOf(err) != connection.ErrNotFound:
		return err
	}
	return nil
}

func tooLarge(size, limit int64) error {
	return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("%d octets, at most %d", size, limit)}
}

// putWhole makes the attempts of a put by one request.
func (s *Store) putWhole(ctx context.Context, key string, p *payload, req *PutRequest, g gauge) (connection.ObjectInfo, error) {
	return s.decide(ctx, key, p, func() (connection.ObjectInfo, error) { return s.sendOnce(ctx, key, p, *req, g) })
}

// decide repeats attempt, each of which may make the object visible, and finds out what became of those whose answer was
// lost.
func (s *Store) decide(ctx context.Context, key string, p *payload, attempt func() (connection.ObjectInfo, error)) (connection.ObjectInfo, error) {
	b := s.newBudget()
	doubt := false // an attempt may have been carried out although it failed
	for {
		info, err := attempt()
		switch kind := connection.KindOf(err); {
		case err == nil:
			return info, nil
		case kind == connection.ErrUncertain:
			doubt = true
		case b.failed > 0 && (kind == connection.ErrExists || kind == connection.ErrNotFound):
			// Perhaps it is our own of an earlier attempt that exists, or whose upload is no more.
			info, same, told := s.holds(ctx, key, p, &b)
			if same {
				return info, nil
			}
			if doubt && !told {
				err = &connection.Error{Kind: connection.ErrUncertain, Err: err}
			}
			return info, b.wrap(err)
		}
		if s.again(ctx, &b, "put", err) {
			continue
		}
		if !doubt {
			return info, b.wrap(err)
		}
		if info, same, _ := s.holds(ctx, key, p, &b); same {
			return info, nil
		}
		if connection.KindOf(err) != connection.ErrUncertain {
			err = &connection.Error{Kind: connection.ErrUncertain, Err: err}
		}
		return info, b.wrap(err)
	}
}

// holds reports whether key holds what p is, under a lock that is no weaker, and whether Stat told what it holds. It asks
// again no longer than what is left of the budget.
func (s *Store) holds(ctx context.Context, key string, p *payload, b *budget) (info connection.ObjectInfo, same, told bool) {
	left := s.newBudget()
	left.deadline = b.deadline
	err := s.repeatWithin(ctx, &left, "stat", func(ctx context.Context, _ *watchdog) (err error) {
		info, err = s.backend.Stat(ctx, key)
		return err
	})
	same = err == nil && p.sha256 != "" && info.SHA256 == p.sha256 && info.Size == p.size &&
		!info.Lock.RetainUntil.Before(p.lock.RetainUntil.Truncate(time.Second)) && (info.Lock.LegalHold || !p.lock.LegalHold)
	return info, same, err == nil || connection.KindOf(err) == connection.ErrNotFound
}

// sendOnce makes one attempt of a whole put.
func (s *Store) sendOnce(ctx context.Context, key string, p *payload, req PutRequest, g gauge) (info connection.ObjectInfo, err error) {
	r, base := p.reader()
	err = s.attempt(ctx, &sending{r: r, base: base, size: p.size, gauge: g}, func(ctx context.Context, body *sending) error {
		info, err = s.backend.Put(ctx, key, body, &req)
		return err
	})
	return info, err
}

// attempt makes one attempt that sends body, and judges its error by what of body was taken.
func (s *Store) attempt(ctx context.Context, body *sending, send func(ctx context.Context, body *sending) error) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	err := s.try(ctx, body.done, func(ctx context.Context, w *watchdog) error {
		defer body.end()
		body.w = w
		return send(ctx, body)
	})
	if err != nil {
		body.move(-body.far)
	}
	switch {
	case body.err != nil && !errors.Is(err, body.err):
		err = errors.Join(err, body.err)
	case err == nil && !body.done():
		err = &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("the store answered when it had %d of %d octets", body.far, body.size)}
	case err != nil && ctx.Err() != nil && body.done() && connection.KindOf(err) != connection.ErrUncertain:
		// We stopped listening for the answer.
		err = &connection.Error{Kind: connection.ErrUncertain, Err: err}
	}
	return err
}
