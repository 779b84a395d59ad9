package gmail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// The scopes, each the least that its purpose needs: delegation refuses a token whole for one scope that is missing.
const (
	scopeRead   = "https://www.googleapis.com/auth/gmail.readonly"
	scopeModify = "https://www.googleapis.com/auth/gmail.modify"
	scopeFull   = "https://mail.google.com/" // nothing less deletes
	scopeInsert = "https://www.googleapis.com/auth/gmail.insert"
	scopeLabels = "https://www.googleapis.com/auth/gmail.labels"
	scopeSend   = "https://www.googleapis.com/auth/gmail.send"
	scopeUsers  = "https://www.googleapis.com/auth/admin.directory.user.readonly"
	scopeGroups = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"
	scopeAudit  = "https://apps-apis.google.com/a/feeds/compliance/audit/"
)

// A call is one method of an API, as do makes it.
type call struct {
	method string // "messages.list", "history.list", "users.list"
	scope  string
	safe   bool // may be carried out twice
	work   quota.Work
	times  int // counts as so many requests; 0 = 1
}

// An exchange is one attempt of a call.
type exchange struct {
	ctx  context.Context
	conn *Conn
	call call
	key  token.Key
	user string // quotaUser

	token     string        // that was used
	tokenless bool          // no token was given
	sent      bool          // a request went out
	answered  bool          // an answer to the newest request has begun
	streams   bool          // the driver reads the body itself
	pages     bool          // a web page is an answer like others
	refused   bool          // the newest answer was not a 2xx
	status    int           // of that
	verdict   quota.Verdict // of that
}

type exchangeKey struct{}

// exchangeOf returns the exchange whose fn was given ctx, nil outside of do.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// do makes a call for a mailbox, or with c.admin for the directory or the audit feed. For each attempt it waits for the
// units and a place that the limiter gives, and runs fn, whose requests, made under the ctx that it is given by c.gmail,
// c.directory, c.client, c.get or c.send, carry the mailbox's token and are charged to its user.
//
// What may pass is tried again, as often as the settings say: refusals because of rates in any case, all else only if the call
// is safe. A call that is not safe and has perhaps been carried out is ErrUncertain. A token that is refused is replaced
// once. fn must leave nothing behind when it fails, as it may be run again, and must have closed what it opened when it
// returns.
//
// The error is a *connection.Error without Op and Ref (see fail), or a callerError's content as it is.
func (c *Conn) do(ctx context.Context, b *box, k call, fn func(ctx context.Context) error) error {
	if err := b.resting(c.now()); err != nil {
		return err
	}
	run := &attempts{conn: c, box: b, call: k}
	for {
		if ctx.Err() != nil {
			return c.ended(ctx, "", connection.Ref{})
		}
		err := run.once(ctx, fn)
		if err == nil {
			return nil
		}
		if err = run.after(ctx, err); err != nil {
			return err
		}
	}
}

// attempts is the state of do between its tries.
type attempts struct {
	conn *Conn
	box  *box
	call call

	x       *exchange // the newest
	made    int       // attempts that count
	renewed bool      // the token was replaced
	asked   bool      // the directory was asked about the mailbox
}

// once runs fn once.
func (r *attempts) once(ctx context.Context, fn func(ctx context.Context) error) error {
	c := r.conn
	user := r.box.id
	release, err := c.quota.AcquireN(ctx, user, r.call.method, max(r.call.times, 1), r.call.work)
	if err != nil {
		r.x = nil
		return err
	}
	defer release()
	r.x = &exchange{ctx: ctx, conn: c, call: r.call, key: token.Key{Subject: r.box.email(), Scope: r.call.scope}, user: quotaUser(user)}
	err = fn(context.WithValue(ctx, exchangeKey{}, r.x))
	if err != nil && r.x.refused {
		c.quota.Told(user, r.x.verdict)
	}
	return err
}

// mostQuotaUser is how long the parameter may be.
const mostQuotaUser = 40

// quotaUser returns the parameter for a user, which is her id. Google's ids are short.
func quotaUser(id string) string {
	if len(id) <= mostQuotaUser {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:mostQuotaUser]
}

// after decides what becomes of the call after err: nil means that it is to be tried again, now.
func (r *attempts) after(ctx context.Context, err error) error {
	c := r.conn
	var theirs callerError
	if errors.As(err, &theirs) {
		return theirs.err
	}
	if r.x == nil { // the limiter gave nothing
		if ctx.Err() != nil {
			return c.ended(ctx, "", connection.Ref{})
		}
		return err
	}
	e := r.doubt(r.x.classify(err))
	if ctx.Err() != nil {
		if e.Kind == connection.ErrUncertain { // that the server may have acted must not be lost
			e.Err = errors.Join(c.ended(ctx, "", connection.Ref{}).Err, e.Err)
			return e
		}
		return c.ended(ctx, "", connection.Ref{})
	}
	if r.x.refused && r.x.status == http.StatusUnauthorized && !r.renewed {
		c.tokens.Invalidate(r.x.key, r.x.token)
		r.renewed = true
		return nil
	}
	if again, verdict := r.lookUp(ctx, e); again {
		return nil
	} else if verdict != nil {
		return verdict
	}
	if r.x.refused && r.x.verdict.Class == quota.NoMailbox {
		e.Hint = or(e.Hint, "the user has no Gmail (licence off, or the service is switched off): the mailbox is asked again in a day, or by Test")
		r.box.rest(e, c.now())
	}
	return r.again(ctx, e)
}

// doubt makes e ErrUncertain if the call is not safe and may have been carried out. Of a safe call that does not matter.
func (r *attempts) doubt(e *connection.Error) *connection.Error {
	switch uncertain := e.Kind == connection.ErrUncertain; {
	case uncertain && (r.call.safe || !r.x.sent): // what was asked for a token has changed nothing
		again := *e
		again.Kind = connection.ErrNetwork
		return &again
	case r.call.safe, uncertain, !r.x.sent:
		return e
	case r.x.refused && !r.x.verdict.Refused && r.x.status >= 500, r.x.answered && !r.x.refused:
		again := *e
		again.Kind = connection.ErrUncertain
		return &again
	}
	return e
}

// again waits for the next attempt, if there is to be one.
func (r *attempts) again(ctx context.Context, e *connection.Error) error {
	c := r.conn
	r.made++
	var v quota.Verdict
	if r.x.refused {
		v = r.x.verdict
	} else if e.RetryAfter > 0 { // of who gives out tokens
		v.Until = c.now().Add(e.RetryAfter)
	}
	switch {
	case r.x.refused && !c.quota.Repeat(r.made, v, r.call.safe), !r.x.refused && (r.made >= c.cfg.retries() || !r.mayPass(e)):
		return e
	}
	c.emit(connection.Event{Kind: connection.EventRetry, Mailbox: r.box.shown(), Detail: r.call.method, Until: c.now().Add(max(e.RetryAfter, time.Second)), Err: e})
	if err := c.quota.Wait(ctx, r.made, v); err != nil {
		if ctx.Err() != nil {
			return c.ended(ctx, "", connection.Ref{})
		}
		return e
	}
	return nil
}

// mayPass reports whether what no server has said may pass, and the call be made again. A request for a token that failed has
// done nothing.
func (r *attempts) mayPass(e *connection.Error) bool {
	return connection.Temporary(e) && (r.call.safe || !r.x.sent)
}

// read says what an answer that is none of the 2xx means.
func (c *Conn) read(status int, h http.Header, body []byte) quota.Verdict {
	return quota.Read(status, h, body, c.now())
}

// lookUp asks the directory about a mailbox whose failure may be that of its user: a new address is taken over, and the call is
// made again; one who is suspended or gone is told as such.
func (r *attempts) lookUp(ctx context.Context, e *connection.Error) (again bool, verdict error) {
	c := r.conn
	if r.box.id == "" || r.asked || !r.suspect(e) {
		return false, nil
	}
	r.asked = true
	u, err := c.user(ctx, r.box.id)
	switch {
	case ctx.Err() != nil:
		return false, c.ended(ctx, "", connection.Ref{})
	case connection.KindOf(err) == connection.ErrNotFound:
		return false, err
	case err != nil:
		return false, nil // what the call itself met is the news
	case r.box.rename(u.Email):
		c.people.add(u)
		return true, nil
	case u.Skip != "":
		return false, noMailbox(u)
	}
	return false, nil
}

// suspect reports whether e may be for lack of the user: no token is given in her name, or Gmail refuses in the odd ways in
// which it does so for users who were suspended (some calls then work, and others answer 403 or "backendError").
func (r *attempts) suspect(e *connection.Error) bool {
	switch {
	case r.x.tokenless:
		return e.Kind == connection.ErrNotFound
	case !r.x.refused:
		return false
	case r.x.status == http.StatusForbidden:
		return e.Kind == connection.ErrPermission
	case r.x.status == http.StatusBadRequest:
		return r.x.verdict.Class == quota.NoMailbox || r.x.verdict.Class == quota.Precondition
	}
	return e.Code == "backendError" && r.made > 0
}
