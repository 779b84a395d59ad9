package ews

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

// How often a request is repeated.
const (
	mostTries     = 3                // of a transient error
	mostThrottles = 10               // in a row, for a caller who does not follow
	longestWait   = 60 * time.Second // that such a caller is made to wait at once
)

// callOptions are the options of call. The zero value suits most requests.
type callOptions struct {
	patient bool          // wait however long the server asks for
	expect  []soap.ItemID // the items that are answered, in order: nothing is given out as another's
	header  http.Header   // further header fields
	jar     string        // name of a cookie jar shared with other mailboxes
	url     *url.URL      // where to ask, instead of where the mailbox lies
	version soap.Version  // ceiling for this request alone; "" = that of the settings
	splits  bool          // a request that takes the server too long is not repeated: the caller asks for less
}

// An answer is one that is being read. It holds a connection until it is closed. It is for one goroutine.
type answer struct {
	*soap.Reader
	URL   *url.URL
	body  io.Closer
	first *soap.Response
	err   error // of the first Next: io.EOF at most
	conn  *Conn
	req   *ewshttp.Request
}

// Next returns the next response message, io.EOF after the last. See [soap.Reader.Next].
func (a *answer) Next() (*soap.Response, error) {
	if a.first != nil || a.err != nil {
		first, err := a.first, a.err
		a.first, a.err = nil, nil
		return first, err
	}
	return a.Reader.Next()
}

// Close gives the connection back.
func (a *answer) Close() {
	_ = a.body.Close() // what was read is whole, or its reader has said otherwise
}

// busy tells the limiter that the server wants no more of this mailbox for now, and returns for how long.
func (a *answer) busy(e *serverError) time.Duration { return a.conn.pause(a.req, e) }

// pause keeps requests like r back for as long as e asks.
func (c *Conn) pause(r *ewshttp.Request, e *serverError) time.Duration {
	return c.http.Busy(r, e.wait, e.halve)
}

// call makes a request and returns its answer, once the first response message has come. It goes where the
// mailbox lies, in the name of its owner, and declares the version that its server takes. A refusal of the whole request
// that may pass is tried again: after the pause that a throttling server asks for, or after a short one. A request
// that changes something is repeated only if the server has said that it did not act. Errors are *connection.Error
// without Op and Ref: see fail. A refusal of a single item is a response message, and the caller's.
func (c *Conn) call(ctx context.Context, t target, op soap.Operation, o callOptions) (*answer, error) {
	run := c.attempt(t, op, o)
	for {
		a, err := run.ask(ctx)
		if err == nil {
			return a, nil
		}
		if err := run.after(ctx, err); err != nil {
			return nil, err
		}
	}
}

// one makes a request about one thing and returns what became of it. Here a refusal is an error also if it is a response
// message, and is tried again as those of call are.
func (c *Conn) one(ctx context.Context, t target, op soap.Operation) (*soap.Response, error) {
	return c.oneWith(ctx, t, op, callOptions{})
}

func (c *Conn) oneWith(ctx context.Context, t target, op soap.Operation, o callOptions) (*soap.Response, error) {
	run := c.attempt(t, op, o)
	for {
		r, err := run.askOne(ctx)
		if err == nil {
			return r, nil
		}
		if err := run.after(ctx, err); err != nil {
			return nil, err
		}
	}
}

// key is under what name things are remembered about the mailbox.
func (t target) key() string { return strings.ToLower(t.address) }

// writes reports whether an operation changes something, so that it must not wait for answers that are being read.
func writes(op string) bool { return !safe(op) || op == "DeleteItem" }

// safe reports whether an operation may be carried out twice: to delete what is gone is no error.
func safe(op string) bool {
	switch op {
	case "CreateItem", "CreateFolder", "UpdateItem", "MoveItem", "UploadItems", "Subscribe":
		return false
	}
	return true
}

// An attempt is the state of call between its tries.
type attempt struct {
	conn   *Conn
	target target
	op     soap.Operation
	opts   callOptions

	ceiling   soap.Version
	url       *url.URL
	version   soap.Version // declared last
	server    soap.Version // what the server that refused says of itself; "" if nothing
	req       *ewshttp.Request
	refused   error // what the first version met
	failures  int   // transient, in a row
	throttles int   // in a row
	refreshed bool  // autodiscover was asked again
}

func (c *Conn) attempt(t target, op soap.Operation, o callOptions) *attempt {
	if t.as == (soap.Identity{}) && !t.named && t.address != "" && c.learnt.mustImpersonate() {
		t.as = c.identity(t.address) // that was not known yet when t was made
	}
	return &attempt{conn: c, target: t, op: op, opts: o, ceiling: or(o.version, c.cfg.ceiling())}
}

// ask makes the request once.
func (r *attempt) ask(ctx context.Context) (*answer, error) {
	c := r.conn
	if err := ctx.Err(); err != nil {
		return nil, c.ended(ctx, "", connection.Ref{})
	}
	if r.url == nil {
		u := r.opts.url
		if u == nil {
			var err error
			if u, err = c.endpointOf(ctx, r.target); err != nil {
				return nil, err
			}
		}
		r.url = u
	}
	if r.version == "" {
		r.version = c.learnt.version(r.target.key(), r.url.Host, r.ceiling)
	}
	body, err := soap.Encode(soap.Header{Version: r.version, As: r.target.as}, r.op)
	if err != nil {
		return nil, err
	}
	name := r.op.Name()
	r.req = &ewshttp.Request{
		URL: r.url, Op: name, Header: r.opts.header, Body: body, Jar: r.opts.jar,
		Mailbox: r.target.address, Owner: r.target.owner(),
		Write: writes(name), Safe: safe(name), Patient: r.opts.patient, Gzip: compressible(name),
	}
	resp, err := c.http.Do(ctx, r.req)
	if err != nil {
		return nil, err
	}
	a := &answer{Reader: soap.NewReader(resp.Body, name), URL: resp.URL, body: resp.Body, conn: c, req: r.req}
	a.Hide(c.http.Hide)
	if len(r.opts.expect) > 0 {
		a.Expect(r.opts.expect...)
	}
	a.first, a.err = a.Reader.Next()
	r.see(a)
	if a.err != nil && a.err != io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		a.Close()
		return nil, r.unread(a.err)
	}
	c.learnt.agreed(r.target.key(), r.url.Host, r.version)
	return a, nil
}

// askOne makes the request once and reads its one response message.
func (r *attempt) askOne(ctx context.Context) (*soap.Response, error) {
	a, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	first, err := a.Next()
	if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		return nil, r.unread(&connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the answer to " + r.op.Name() + " is empty")})
	}
	if err != nil {
		return nil, r.unread(err)
	}
	if e := refusal(first); e != nil {
		return nil, e
	}
	if _, err := a.Next(); err != nil && err != io.EOF { //nolint:errorlint // as above
		return nil, r.unread(err) // the answer is not whole
	}
	return first, nil
}

// see keeps what the server says of itself.
func (r *attempt) see(a *answer) {
	info, ok := a.Server()
	if !ok {
		r.server = ""
		return
	}
	r.server = soap.ParseBuild(info)
	r.conn.learnt.saw(r.target.key(), info)
}

// unread returns the error of an answer that cannot be read. If the request was one that changes something, nobody knows
// whether it did.
func (r *attempt) unread(err error) error {
	var fault *soap.Fault
	if errors.As(err, &fault) {
		return faultOf(fault)
	}
	if safe(r.op.Name()) {
		return err
	}
	return &connection.Error{Driver: DriverName, Kind: connection.ErrUncertain, Err: err}
}

// compressible reports whether an operation's answer is worth to be compressed. Messages in base64 shrink little, and
// unpacking them costs more than the network (Go's gunzip does about 100 MB/s).
func compressible(op string) bool {
	switch op {
	case "GetItem", "GetAttachment", "ExportItems", "GetStreamingEvents":
		return false
	}
	return true
}

// after decides what becomes of the call after err: nil means that it is to be tried again, now.
func (r *attempt) after(ctx context.Context, err error) error {
	if connection.KindOf(err) == connection.ErrUncertain {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) { // that the server may have acted must not be lost
			err = &connection.Error{Driver: DriverName, Kind: connection.ErrUncertain, Err: errors.Join(ctx.Err(), err)}
		}
		return err
	}
	if ctx.Err() != nil {
		return r.conn.ended(ctx, "", connection.Ref{})
	}
	var e *serverError
	if errors.As(err, &e) {
		return r.afterRefusal(ctx, e)
	}
	switch connection.KindOf(err) {
	case connection.ErrNetwork, connection.ErrTimeout, connection.ErrUnavailable:
		return r.retry(ctx, err, true) // it was not carried out, or it is safe: all else is ErrUncertain
	case connection.ErrThrottled:
		return r.retry(ctx, err, false)
	}
	return err
}

// afterRefusal is after for what the server itself has said.
func (r *attempt) afterRefusal(ctx context.Context, e *serverError) error {
	v := e.verdict()
	if r.learn(e) {
		return nil
	}
	switch {
	case e.code == "ErrorExceededSubscriptionCount": // to wait makes them no fewer, and nothing else has to wait for it
		return e.final(true)
	case v.class == throttled:
		return r.wait(ctx, e)
	case v.class == outdated, e.code == "ErrorSchemaValidation" && !r.conn.learnt.knows(r.target.key()):
		// A server may hold a request against its own older schema before it looks at the version that is declared.
		return r.stepDown(e)
	case r.opts.splits && v.kind == connection.ErrTimeout:
		return e.final(true)
	case v.class == permanent, !safe(r.op.Name()) && (v.class != moved || e.inDoubt()):
		return e.final(true)
	}
	if e.fault != nil {
		r.conn.http.Forget(r.req) // its cookies may lead to a server that is not the mailbox's any more
	}
	return r.retry(ctx, e.final(r.failures+1 >= mostTries), v.class == moved)
}

// learn draws conclusions about the account from a refusal, and reports whether to ask again because of them.
func (r *attempt) learn(e *serverError) bool {
	l := &r.conn.learnt
	if r.target.as != (soap.Identity{}) || r.target.address == "" || r.conn.cfg.userTokens() || !r.conn.cfg.Password.IsZero() || l.mustImpersonate() {
		return false
	}
	// The words are "ExchangeImpersonation SOAP header must be present for this type of OAuth token".
	if !strings.Contains(e.text, "ExchangeImpersonation") || r.conn.cfg.access() != AccessImpersonation {
		return false
	}
	l.impersonateAlways()
	r.target.as = r.conn.identity(r.target.address)
	return true
}

// wait waits as a throttling server asks.
func (r *attempt) wait(ctx context.Context, e *serverError) error {
	pause := r.conn.pause(r.req, e)
	r.throttles++
	if !r.opts.patient && (pause > longestWait || r.throttles >= mostThrottles) {
		out := e.final(true)
		out.RetryAfter = pause
		return out
	}
	return ctx.Err() // nil: the next request waits for the limiter
}

// stepDown declares an older version next time: what the server's build is known to take, or the next one down.
func (r *attempt) stepDown(e *serverError) error {
	if r.refused == nil {
		r.refused = e.final(false)
	}
	if r.server.Valid() && r.server.Below(r.version) {
		r.version = r.server
		return nil
	}
	down, ok := r.version.Down()
	if !ok {
		return r.refused
	}
	r.version = down
	return nil
}

// retry waits a little for what may pass, and looks whether the mailbox has moved.
func (r *attempt) retry(ctx context.Context, err error, mayHaveMoved bool) error {
	if mayHaveMoved && r.move(ctx) {
		return nil
	}
	r.failures++
	after := connection.RetryAfter(err)
	if r.failures >= mostTries || after > longestWait && !r.opts.patient {
		return err
	}
	pause := retryPolicy.Delay(r.failures, after)
	r.conn.emit(connection.Event{Kind: connection.EventRetry, Mailbox: r.target.mailbox, Detail: r.op.Name(), Until: time.Now().Add(pause), Err: err})
	if backoff.Wait(ctx, pause) != nil {
		return r.conn.ended(ctx, "", connection.Ref{})
	}
	return nil
}

// retryPolicy is how long to wait after transient errors.
var retryPolicy = backoff.Policy{Min: 250 * time.Millisecond, Max: 10 * time.Second}

// move asks autodiscover again where the mailbox lies, once in a call. It reports whether that is somewhere else.
func (r *attempt) move(ctx context.Context) bool {
	if r.refreshed || r.url == nil || r.opts.url != nil || !r.conn.discovered(r.target) {
		return false
	}
	r.refreshed = true
	found, other, err := r.conn.finder.Refresh(ctx, r.target.address, r.url)
	if err != nil || !other {
		return false
	}
	r.url, r.version = found.URL, ""
	return true
}
