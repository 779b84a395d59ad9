package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// double is what the in-memory connections share: they have a name, they close, and they fail when told to.
type double struct {
	kind   string // "mailbox"
	closed chan struct{}
	once   sync.Once
	fault  *faultFunc // shared with the other connections to the same state
}

// faultFunc is a function that a test may set while verbs run.
type faultFunc struct {
	mu sync.Mutex
	f  func(op, what string) error
}

func newDouble(kind string, fault *faultFunc) double {
	return double{kind: kind, closed: make(chan struct{}), fault: fault}
}

const doubleDriver = "memory"

// Info implements connection.Connection.
func (d *double) Info() connection.Info {
	return connection.Info{Driver: doubleDriver, Endpoint: d.kind}
}

// Close implements connection.Connection.
func (d *double) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *double) error(op string, ref connection.Ref, key string, kind connection.Kind, err error) error {
	return &connection.Error{Op: op, Driver: doubleDriver, Endpoint: d.kind, Ref: ref, Key: key, Kind: kind, Err: err}
}

// begin says why op cannot begin or go on: the connection is closed, ctx is done.
func (d *double) begin(ctx context.Context, op string) error {
	select {
	case <-d.closed:
		return d.error(op, connection.Ref{}, "", connection.ErrClosed, nil)
	default:
	}
	if err := ctx.Err(); err != nil {
		return d.error(op, connection.Ref{}, "", connection.KindOf(err), err)
	}
	return nil
}

// planned returns the error that the test wants op to have on what, nil for none.
func (d *double) planned(op, what string) error {
	d.fault.mu.Lock()
	f := d.fault.f
	d.fault.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(op, what)
}

// failed wraps the cause, whatever it is, as op's error.
func (d *double) failed(op string, ref connection.Ref, key string, err error) error {
	var e *connection.Error
	if errors.As(err, &e) {
		return err
	}
	return d.error(op, ref, key, connection.KindOf(err), err)
}

// readAll reads r to its end unless ctx ends or the connection is closed before. size, if not 0, must be what it holds.
func (d *double) readAll(ctx context.Context, op string, r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	buf := make([]byte, 32<<10)
	for {
		if err := d.begin(ctx, op); err != nil {
			return nil, err
		}
		n, err := r.Read(buf)
		b.Write(buf[:n])
		if size > 0 && int64(b.Len()) > size {
			return nil, d.error(op, connection.Ref{}, "", connection.ErrInvalid, fmt.Errorf("the reader has more than the %d octets announced", size))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, d.failed(op, connection.Ref{}, "", err)
		}
	}
	if size > 0 && int64(b.Len()) != size {
		return nil, d.error(op, connection.Ref{}, "", connection.ErrInvalid, fmt.Errorf("the reader has %d octets, %d were announced", b.Len(), size))
	}
	if err := d.begin(ctx, op); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// test is the Test verb: begin, then one step.
func (d *double) test(ctx context.Context, opts *connection.TestOptions, name, detail string) (*connection.Report, error) {
	r := &connection.Report{Info: d.Info(), Started: time.Now()}
	s := connection.Step{Name: name, Status: connection.StatusOK, Detail: detail}
	err := d.begin(ctx, "test")
	if err == nil {
		if err = d.planned("test", ""); err != nil {
			err = d.failed("test", connection.Ref{}, "", err)
		}
	}
	if err != nil {
		s.Status, s.Detail, s.Err = connection.StatusFailed, "", err
		s.Hint = "the connection is closed, its context is done, or the test that uses this double wants it to fail"
	}
	s.Elapsed = time.Since(r.Started)
	r.Steps = []connection.Step{s}
	if opts != nil && opts.Progress != nil {
		opts.Progress(s)
	}
	return r, err
}

// body reads octets held in memory under the rules of Message.Body and Object.Body.
type body struct {
	*double
	ctx   context.Context
	op    string
	ref   connection.Ref
	r     *bytes.Reader
	atEnd func() error // what the end of the octets means; nil = io.EOF
	stale atomic.Bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.stale.Load() {
		return 0, b.error(b.op, b.ref, "", connection.ErrInvalid, errors.New("the body is not valid any more"))
	}
	if err := b.begin(b.ctx, b.op); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if err == io.EOF && b.atEnd != nil {
		if end := b.atEnd(); end != nil {
			return n, end
		}
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.stale.Store(true)
	return nil
}
