package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A watch ends a request that stands still. It runs while the transport or the server is to move something, and stands
// still itself while the caller is: while a request's body is being read from its source, and while nobody reads the answer.
type watch struct {
	c     *Client
	req   *http.Request
	outer context.Context
	ctx   context.Context
	stop  context.CancelFunc
	timer *time.Timer // nil without limits

	mu      sync.Mutex
	begun   bool // the answer: what the request's body does is not looked at any more
	running bool
	cause   *connection.Error // why it ended the request
	what    string            // that is waited for, and which setting says how long
	limit   time.Duration
	setting string
}

// watch begins to watch a request. end must be called, or the answer's body be closed.
func (c *Client) watch(req *http.Request) *watch {
	w := &watch{c: c, req: req, outer: req.Context(), ctx: req.Context(), stop: func() {}}
	if c.opts.HeaderTimeout <= 0 && c.opts.NoDataTimeout <= 0 {
		return w
	}
	w.ctx, w.stop = context.WithCancel(req.Context())
	w.timer = time.AfterFunc(time.Hour, w.expire)
	w.timer.Stop()
	// To dial and to shake hands have limits of their own.
	w.waitHeader(2 * c.opts.ConnectTimeout)
	return w
}

// run waits for what, for at most limit; 0 = no limit. sending says that it is the request's body that moves.
func (w *watch) run(sending bool, limit time.Duration, what, setting string) {
	if w.timer == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if sending && w.begun {
		return
	}
	w.timer.Stop()
	w.running, w.limit, w.what, w.setting = limit > 0, limit, what, setting
	if w.running {
		w.timer.Reset(limit)
	}
}

func (w *watch) waitHeader(extra time.Duration) {
	limit := w.c.opts.HeaderTimeout
	if limit > 0 {
		limit += extra
	}
	w.run(true, limit, "the answer has not begun", "response_header_timeout")
}

func (w *watch) waitData(sending bool, what string) {
	w.run(sending, w.c.opts.NoDataTimeout, what, "no_data_timeout")
}

// rest is for the time in which nobody waits for the server.
func (w *watch) rest(sending bool) { w.run(sending, 0, "", "") }

// expire runs when the timer does.
func (w *watch) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running { // it was stopped when it was about to run
		return
	}
	w.running = false
	w.cause = &connection.Error{
		Driver: w.c.opts.Driver, Endpoint: w.req.URL.Host, Kind: connection.ErrTimeout,
		Err: fmt.Errorf("%s for %s", w.what, w.limit), Hint: w.setting + ": raise it if the server is only slow",
	}
	w.stop()
}

// stalled returns why the watch has ended the request, nil if it has not.
func (w *watch) stalled() *connection.Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		return nil
	}
	cause := *w.cause
	return &cause
}

// connected is told when there is a connection.
func (w *watch) connected() {
	if w.req.Body == nil || w.req.Body == http.NoBody {
		w.waitHeader(0)
	}
}

// request returns the request as the transport gets it.
func (w *watch) request(ctx context.Context) *http.Request {
	req := w.req.WithContext(ctx)
	if w.timer != nil && req.Body != nil && req.Body != http.NoBody {
		req.Body = &sentBody{w: w, body: req.Body}
	}
	return req
}

// answer puts the watch on the body of an answer that has begun.
func (w *watch) answer(resp *http.Response) {
	if w.timer == nil {
		return
	}
	w.mu.Lock()
	w.begun = true
	w.mu.Unlock()
	w.rest(false)
	if _, both := resp.Body.(io.Writer); both { // 101: the connection itself
		return
	}
	resp.Body = &readBody{w: w, body: resp.Body}
}

// end releases what the watch holds.
func (w *watch) end() {
	w.rest(false)
	w.stop()
}

// A sentBody is the body of a request. The transport reads it in a goroutine of its own, perhaps beyond the beginning of the
// answer.
type sentBody struct {
	w    *watch
	body io.ReadCloser
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.w.rest(true)
	n, err := b.body.Read(p)
	if err == nil {
		b.w.waitData(true, "the server has taken nothing")
	} else {
		b.w.waitHeader(0)
	}
	return n, err
}

func (b *sentBody) Close() error {
	b.w.waitHeader(0)
	return b.body.Close()
}

// A readBody is the body of an answer.
type readBody struct {
	w    *watch
	body io.ReadCloser
}

func (b *readBody) Read(p []byte) (int, error) {
	b.w.waitData(false, "the server has sent nothing")
	n, err := b.body.Read(p)
	b.w.rest(false)
	if err == nil || err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		return n, err
	}
	if outer := b.w.outer.Err(); outer != nil {
		return n, outer
	}
	if stalled := b.w.stalled(); stalled != nil {
		return n, stalled
	}
	var own *connection.Error
	if errors.As(err, &own) {
		return n, err
	}
	return n, &connection.Error{Driver: b.w.c.opts.Driver, Endpoint: b.w.req.URL.Host, Kind: connection.ErrNetwork, Err: fmt.Errorf("the answer broke off: %w", err)}
}

func (b *readBody) Close() error {
	err := b.body.Close()
	b.w.end()
	return err
}
