package ewshttp

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// again returns nil when the credential may be sent once more.
func (x *exchange) again(ctx context.Context, tick *ticket, r refusal) error {
	delayed, err := tick.refused(ctx, r)
	if err != nil || !delayed {
		return err
	}
	d := max(backoff.Policy{Min: 2 * time.Second}.Delay(0, 0), minPause)
	x.c.env.Emit(connection.Event{Kind: connection.EventRetry, Connection: x.c.opts.ID, Mailbox: x.r.Mailbox, Detail: "login refused", Until: x.c.now().Add(d), Err: r.why})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.c.life, cancel)()
	if backoff.Wait(ctx, d) != nil {
		return x.c.ended(ctx, x.endpoint)
	}
	return nil
}

// refusal reads a 401 and says what it may mean.
func (x *exchange) refusal(t *trip, sch scheme) refusal {
	list, diagnosis := offers(t.resp.Header), t.resp.Header.Get("X-Ms-Diagnostics")
	page := x.c.page(t.text())
	text := page.shown
	t.done()
	x.c.jars.drop(x.r.jar())
	if diagnosis != "" {
		text = x.c.clean(diagnosis)
	}
	if text == "" {
		text = "the server refuses the login"
	}
	locked := page.says("locked out") || strings.Contains(text, "locked out")
	e := x.c.fail(connection.ErrAuth, x.endpoint, x.authHint(sch, list, text, locked), "%s: %s", sch, text)
	e.Code = strconv.Itoa(http.StatusUnauthorized)
	if online(x.url) {
		e = x.retired(text)
	}
	return refusal{why: e, hopeless: locked, tentative: x.r.Tentative}
}

// maxSkew is the difference of clocks from which on Kerberos, NTLM and tokens are refused.
const maxSkew = 5 * time.Minute

func (x *exchange) authHint(sch scheme, list []offer, text string, locked bool) string {
	hint := "username, password: wrong, expired, or to be changed at the next logon, or the account is locked or may not use EWS; as username the server may want user@domain, domain\\user or the bare name"
	switch {
	case locked:
		return "username: the account is locked out; have it unlocked before anything tries it again"
	case sch == schemeNone:
		hint = "auth: the server takes requests without a login only if they are empty; set auth to the scheme that it wants"
	case sch == schemeBearer:
		hint = "oauth2: the server refuses the token; check tenant, client_id, the application's role (full_access_as_app) or the person's consent (EWS.AccessAsUser.All)"
	case len(list) == 0:
		hint = "auth: the server does not say which scheme it wants; set auth to basic or ntlm. " + hint
	case !offered(list, sch):
		hint = fmt.Sprintf("auth: the server offers %s. ", x.c.clean(names(list))) + hint
	case sch.ntlm() && !x.c.opts.ChannelBinding:
		hint += "; a server that demands Extended Protection wants channel_binding"
	case sch.ntlm():
		hint += "; channel_binding does not fit a server whose TLS ends at a balancer"
	}
	if d, known := x.c.Skew(); known && d.Abs() > maxSkew {
		hint = fmt.Sprintf("the clocks of this machine and of the server differ by %s: set them right. ", d.Abs().Round(time.Second)) + hint
	} else if sch == schemeBearer && (strings.Contains(text, "nbf") || strings.Contains(text, "not yet valid") || strings.Contains(text, "lifetime") || strings.Contains(text, "expired")) {
		hint = "check the clock of this machine. " + hint
	}
	return hint
}

// instead returns the scheme to use in place of Basic where auth is auto and a server has come to offer others alone: it has not
// looked at the credential.
func (x *exchange) instead(t *trip, sch scheme) (scheme, bool) {
	list := offers(t.resp.Header)
	if x.c.opts.Auth != AuthAuto || sch != schemeBasic || offered(list, schemeBasic) || len(list) == 0 {
		return sch, false
	}
	other, err := x.c.choose(list, x.endpoint)
	if err != nil {
		return sch, false
	}
	t.text()
	t.done()
	return other, true
}

// unchallenged is the outcome of an NTLM login to a server that gives no challenge.
func (x *exchange) unchallenged(sch scheme, list []offer) error {
	c := x.c
	switch {
	case sch == schemeNTLM && offered(list, schemeNegotiate) && !offered(list, schemeNTLM):
		return switchTo{schemeNegotiate}
	case sch == schemeNegotiate && offered(list, schemeNTLM):
		return switchTo{schemeNTLM}
	case c.opts.Auth == AuthAuto && offered(list, schemeBasic):
		return switchTo{schemeBasic}
	}
	e := c.fail(connection.ErrAuth, x.endpoint, "auth: the server does not offer NTLM; set auth to basic or oauth, whichever it takes", "the server gives no NTLM challenge; it offers %s", c.clean(names(list)))
	e.Code = strconv.Itoa(http.StatusUnauthorized)
	if !x.r.Tentative {
		c.login.impossible(x.endpoint, e)
	}
	return e
}
