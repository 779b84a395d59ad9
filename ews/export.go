package ews

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

// truncatedMark ends what ExportItems gives when the server could not give all of it for now.
const truncatedMark = "=== Truncated Data ==="

// exportPatience is for how long such an export is tried again.
const exportPatience = 8 * time.Hour

// exportPolicy is how long to wait before an export is tried again.
var exportPolicy = backoff.Policy{Min: time.Second, Max: 10 * time.Minute}

// Export returns a message in Exchange's own form (ExportItems, from 2010 SP1 on), with everything that Exchange knows of
// it; no other program can read that. It is kept in memory or in a temporary file until the caller closes it, since only
// its end shows whether it is whole: a server that gives a part is asked again, for up to 8 hours or until ctx is done,
// and then the error is ErrUnavailable. A message that is gone is ErrNotFound, a server without exports ErrUnsupported.
func (c *Conn) Export(ctx context.Context, ref connection.Ref) (io.ReadCloser, error) {
	const op = "export"
	if ref.ID == "" {
		return nil, c.problem(op, ref, connection.ErrInvalid, "the Ref has no ID")
	}
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	t, err := c.target(ref.Mailbox)
	if err != nil {
		return nil, c.fail(op, t, ref, err)
	}
	for started, failures := time.Now(), 1; ; failures++ {
		data, err := c.exportOnce(ctx, t, ref)
		if err == nil {
			return data, nil
		}
		patience := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return nil, c.ended(ctx, op, ref)
		case errors.Is(err, errTruncated):
			patience = exportPatience
		case connection.Temporary(err) && failures < mostTries:
			patience = longestWait
		}
		pause := exportPolicy.Delay(failures, connection.RetryAfter(err))
		if time.Since(started)+pause > patience {
			return nil, c.fail(op, t, ref, err)
		}
		c.emit(connection.Event{Kind: connection.EventRetry, Mailbox: t.mailbox, Ref: ref, Detail: op, Until: time.Now().Add(pause), Err: err})
		if backoff.Wait(ctx, pause) != nil {
			return nil, c.ended(ctx, op, ref)
		}
	}
}

var errTruncated = errors.New("the server gave only a part of the item, and says so")

// exported is an export, to be closed.
type exported struct {
	io.Reader
	io.Closer
}

func (c *Conn) exportOnce(ctx context.Context, t target, ref connection.Ref) (io.ReadCloser, error) {
	id := soap.ItemID{ID: ref.ID}
	a, err := c.call(ctx, t, soap.ExportItems{Items: []soap.ItemID{id}}, callOptions{expect: []soap.ItemID{id}})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	r, err := a.Next()
	if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		err = &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the answer to ExportItems is empty")}
	}
	if err != nil {
		return nil, err
	}
	if e := refusal(r); e != nil {
		return nil, e.final(true)
	}
	if r.Body() == nil {
		return nil, &connection.Error{Kind: connection.ErrCorrupt, Err: errors.New("the server gives a success without any data")}
	}
	tail := &tailer{}
	s, err := connection.Spool(&connection.Message{Ref: ref, Size: -1, Body: io.TeeReader(r.Body(), tail)}, nil)
	if err != nil {
		return nil, err
	}
	if tail.ends(truncatedMark) {
		return nil, errors.Join(&connection.Error{Kind: connection.ErrUnavailable, Err: errTruncated}, s.Close())
	}
	return exported{s.Reader(), s}, nil
}

// A tailer keeps the last octets that are written to it.
type tailer struct{ last []byte }

// tailKept is a little more than truncatedMark, since white space may follow it.
const tailKept = 64

// Write implements io.Writer.
func (t *tailer) Write(p []byte) (int, error) {
	t.last = append(t.last, p[max(0, len(p)-tailKept):]...)
	t.last = t.last[max(0, len(t.last)-tailKept):]
	return len(p), nil
}

func (t *tailer) ends(mark string) bool {
	return bytes.HasSuffix(bytes.TrimRight(t.last, " \t\r\n\x00"), []byte(mark))
}
