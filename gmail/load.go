package gmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
	"github.com/mailconn/mailconn/gmail/internal/raw"
)

// messageFields are what is asked of a message besides its octets: labels come along, so that a message costs one call.
const messageFields = "id,threadId,labelIds,historyId,internalDate,sizeEstimate"

// load reads one message whole, into memory or a temporary file: nothing short is ever returned, and an answer that breaks
// off is asked for again. The caller closes it. A message without octets is ErrNoRaw, after it was asked for twice. The error
// has no Op and no Ref; see gone.
func (c *Conn) load(ctx context.Context, b *box, id string, w quota.Work) (*raw.Message, error) {
	for range 2 {
		m, err := c.message(ctx, b, id, "raw", w)
		if err != nil || m.HasRaw {
			return m, err
		}
	}
	// What kind of message it is goes into the error, as nobody will see more of it.
	m, err := c.message(ctx, b, id, "full", w)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(&connection.Error{
		Driver: DriverName, Kind: connection.ErrUnsupported,
		Err: fmt.Errorf("%w: a message of about %d octets with %d labels", ErrNoRaw, m.SizeEstimate, len(m.Labels)),
	}, m.Close())
}

// loadLabels reads the labels of one message.
func (c *Conn) loadLabels(ctx context.Context, b *box, id string, w quota.Work) (*raw.Message, error) {
	return c.message(ctx, b, id, "minimal", w)
}

// message makes the call messages.get with one format.
func (c *Conn) message(ctx context.Context, b *box, id, format string, w quota.Work) (m *raw.Message, err error) {
	query := url.Values{"format": {format}, "alt": {"json"}, "prettyPrint": {"false"}, "fields": {messageFields}}
	if format == "raw" {
		query.Set("fields", messageFields+",raw")
	}
	k := call{method: "messages.get", scope: scopeRead, safe: true, work: w}
	err = c.do(ctx, b, k, func(ctx context.Context) error {
		resp, err := c.get(ctx, "/gmail/v1/users/me/messages/"+url.PathEscape(id), query)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }() // Read has seen its end, or says otherwise
		m, err = raw.Read(resp.Body, raw.Options{Memory: int(c.cfg.spoolMemory()), Max: c.cfg.MaxMessage})
		return err
	})
	return m, err
}

// gone reports whether err of load says that the message is not there any more. sure is false if the server that says so
// does not speak as Gmail: something in between may have answered.
func gone(err error) (is, sure bool) {
	if !missing(err) {
		return false, false
	}
	code := codeOf(err)
	return true, code == "notFound" || code == "NOT_FOUND"
}

// missing reports whether err is the API's own 404, and not about the mailbox or its token.
func missing(err error) bool {
	var e *connection.Error
	return errors.As(err, &e) && e.Kind == connection.ErrNotFound && e.Op != "token" && !errors.Is(err, ErrNoMailbox)
}

// A want is a message that is to be read.
type want struct {
	id     string
	labels bool // nothing but its labels
	held   bool // with labels: the caller has it
}

// A got is what came of a want.
type got struct {
	want
	msg *raw.Message // nil with err
	err error
}

// ahead reads messages in parallel, and yields what came of each in the order given. Besides the one yielded, at most as
// many are held as the limiter lets be under way for this mailbox. A message is valid until the next step.
func (c *Conn) ahead(ctx context.Context, b *box, wants []want, w quota.Work) iter.Seq[got] {
	return func(yield func(got) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var pool sync.WaitGroup
		var queue []chan got
		defer func() {
			cancel()
			pool.Wait()
			for _, ch := range queue {
				(<-ch).close()
			}
		}()
		fill := func() {
			for width := c.quota.Width(b.id); len(wants) > 0 && len(queue) < width; wants = wants[1:] {
				next, ch := wants[0], make(chan got, 1)
				queue = append(queue, ch)
				pool.Go(func() {
					g := got{want: next}
					if next.labels {
						g.msg, g.err = c.loadLabels(ctx, b, next.id, w)
					} else {
						g.msg, g.err = c.load(ctx, b, next.id, w)
					}
					ch <- g
				})
			}
		}
		for fill(); len(queue) > 0; fill() {
			g := <-queue[0]
			queue = queue[1:]
			fill()
			more := yield(g)
			g.close()
			if !more {
				return
			}
		}
	}
}

func (g got) close() {
	if g.msg != nil {
		_ = g.msg.Close() // the message was handed over, or nobody wants it: what becomes of its file is no news
	}
}

// handOver returns m as its reader gets it. Its Body is valid until m is closed.
func (c *Conn) handOver(b *box, m *raw.Message, id string, set *labelSet) *connection.Message {
	msg := &connection.Message{Ref: b.ref(id), Size: m.Size, Received: m.Internal}
	msg.Folder, msg.Labels, msg.Flags, _ = set.sort(m.Labels)
	if m.HasRaw {
		msg.Body = m.Body()
	} else {
		msg.Size = -1
	}
	return msg
}
