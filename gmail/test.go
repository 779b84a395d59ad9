package gmail

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/probe"
)

// Test implements [connection.Connection]. Its steps are key (of the service account), resolve, connect and tls (of the host
// that gives out tokens), clock, token (each scope that the directory needs, by itself), directory, domain (who is selected),
// mailbox (the profile of one of them, or of the destination of monitors), read (labels, history and the newest message
// there), verbs (the scope of each), write and remove (with TestOptions.Write and the verbs append and delete: a message of
// its own in that mailbox), monitors, and quota (how long a first synchronization takes). What single-mailbox use has no need
// of is skipped. A step that fails keeps only those from being tried that need it. It costs a few dozen quota units.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	t := &tester{conn: c, ctx: ctx, Tree: probe.NewTree(c.info, opts)}
	t.Explain, t.Hint = t.failed, generalHint
	ctx, leave, err := c.enter(ctx, opTest)
	if err != nil {
		t.step("key", nil, func() (string, string, error) { return "", "", err })
		return t.Report()
	}
	defer leave()
	t.ctx = ctx
	if warnings := c.cfg.warnings(); len(warnings) > 0 {
		t.step("settings", nil, func() (string, string, error) { return "", strings.Join(warnings, "; "), nil })
	}
	t.step("key", nil, t.key)
	t.transport()
	t.step("clock", []string{"tls"}, t.clock)
	if c.domainUse() {
		t.step("token", []string{"tls", "clock"}, t.directoryTokens)
		t.step("directory", []string{"token"}, t.directory)
		t.step("domain", []string{"directory"}, t.domain)
	} else {
		for _, name := range []string{"token", "directory", "domain"} {
			t.Skip(name, "these credentials open one mailbox, without a directory")
		}
	}
	t.step("mailbox", []string{"tls", "clock", "domain"}, t.mailbox)
	t.step("read", []string{"mailbox"}, t.read)
	t.verbs(opts != nil && opts.Write)
	if c.cfg.monitored() {
		t.step("monitors", []string{"domain"}, t.monitors)
	} else {
		t.Skip("monitors", "retrieval: they are not asked for")
	}
	t.step("quota", []string{"mailbox"}, t.estimate)
	return t.Report()
}

const opTest = "test"

// A tester makes one report.
type tester struct {
	*probe.Tree
	conn *Conn
	ctx  context.Context

	box     *box    // the sample
	profile profile // of it
	users   int     // selected, as far as they were counted
	more    bool    // there are more
}

// step runs one step, unless one of those that it needs has no result.
func (t *tester) step(name string, needs []string, run func() (detail, hint string, err error)) {
	t.Step(t.ctx, name, needs, run)
}

// failed returns the error of a step. The end of the context is the cause of all that goes wrong with it.
func (t *tester) failed(err error) *connection.Error {
	if t.ctx.Err() != nil {
		return t.conn.ended(t.ctx, opTest, connection.Ref{})
	}
	return t.conn.fail(opTest, connection.Ref{}, err)
}

// generalHint is the hint for an error that names no setting.
func generalHint(kind connection.Kind) string {
	switch kind {
	case connection.ErrCanceled, connection.ErrClosed:
		return "the test was ended before it knew; run it again"
	case connection.ErrTimeout:
		return "connect_timeout, no_data_timeout, response_header_timeout: raise them if the server is only slow"
	case connection.ErrNetwork, connection.ErrUnavailable, connection.ErrThrottled:
		return "this may pass; run the test again, and ask the domain's administrator if it does not"
	}
	return "credentials, endpoint: look at what the server says above, and ask the domain's administrator"
}

// key says whose tokens are used. What is wrong with a key itself was found when the connection was opened.
func (t *tester) key() (detail, hint string, err error) {
	email, id, project := t.conn.tokens.Account()
	switch cfg := &t.conn.cfg; {
	case cfg.OAuth2 != nil:
		return "the consent of one person, to client " + id, "", nil
	case cfg.ways() == 0:
		return "tokens of the host program", "", nil
	}
	detail = "service account " + email
	if id != "" {
		detail += ", client ID " + id
	}
	if project != "" {
		detail += ", project " + project
	}
	return detail, "", nil
}

// transport adds the steps resolve, connect and tls, on a connection of their own.
func (t *tester) transport() {
	c := t.conn
	at, field := c.sites.gmail, "endpoint"
	if u := c.tokens.TokenURL(); u != nil {
		at, field = &url.URL{Scheme: u.Scheme, Host: u.Host}, "credentials"
	}
	skip := func(why string) {
		for _, name := range []string{"resolve", "connect", "tls"} {
			t.Skip(name, why)
		}
	}
	if c.env != nil && c.env.HTTPClient != nil && c.env.HTTPClient.Transport != nil {
		skip("the host program's HTTP client connects in its own way")
		return
	}
	client, err := httpx.New(httpx.Options{
		Driver: DriverName, ID: c.cfg.ID, Base: at, Field: field, TLS: &c.cfg.TLSSettings, ConnectTimeout: c.cfg.ConnectTimeout.D(),
	}, c.env)
	if err != nil {
		skip(err.Error())
		return
	}
	p := probe.New(c.info, nil)
	client.Probe(t.ctx, p, at.Host)
	found, _ := p.Report() // the error is in its step
	for _, s := range found.Steps {
		if s.Status == connection.StatusSkipped {
			t.Lack(s.Name, s.Detail)
			continue
		}
		if s.Err != nil {
			s.Err = t.failed(s.Err)
		}
		t.Add(s)
	}
}

// mostSkew is how far a clock may be off before Google refuses what it has signed.
const mostSkew = 5 * time.Minute

// clock compares the clocks, by a request for a token whose success is the business of later steps.
func (t *tester) clock() (detail, hint string, err error) {
	c := t.conn
	if c.tokens.TokenURL() == nil {
		return "tokens of the host program have nothing to do with this machine's clock", "", nil
	}
	subject, scope := "", scopeRead
	if c.admin != nil {
		subject, scope = c.admin.email(), scopeUsers
	}
	_, _ = c.tokens.Token(t.ctx, token.Key{Subject: subject, Scope: scope}) // see above
	skew, known := c.tokens.Skew()
	if !known {
		return "the server does not say what time it has", "", nil
	}
	skew = skew.Round(time.Second)
	if max(skew, -skew) > mostSkew {
		return "", fmt.Sprintf("the local clock is %s off Google's; tokens are rejected beyond %s", -skew, mostSkew), &connection.Error{
			Driver: DriverName, Kind: connection.ErrAuth, Err: fmt.Errorf("%w: it is off by %s", ErrClockSkew, -skew),
		}
	}
	return fmt.Sprintf("%s off the server's", -skew), "", nil
}

// directoryTokens asks for a token of each scope that the directory needs.
func (t *tester) directoryTokens() (detail, hint string, err error) {
	scopes := []string{scopeUsers}
	if len(t.conn.cfg.Groups)+len(t.conn.cfg.ExcludeGroups) > 0 {
		scopes = append(scopes, scopeGroups)
	}
	return t.tokens(t.conn.admin, scopes)
}

// tokens asks for a token of each scope by itself, so that the error names those that are missing and no others.
func (t *tester) tokens(b *box, scopes []string) (detail, hint string, err error) {
	c := t.conn
	var given, missing []string
	var first error
	for _, scope := range scopes {
		_, err := c.tokens.Token(t.ctx, token.Key{Subject: b.email(), Scope: scope})
		if err == nil {
			given = append(given, short(scope))
			continue
		}
		if t.ctx.Err() != nil {
			return "", "", err
		}
		if first == nil || !errors.Is(first, ErrDelegation) && errors.Is(err, ErrDelegation) {
			first = err
		}
		missing = append(missing, scope)
	}
	detail = strings.Join(given, ", ")
	if first == nil {
		return detail, "", nil
	}
	if errors.Is(first, ErrDelegation) {
		_, id, _ := c.tokens.Account()
		hint = fmt.Sprintf("domain-wide delegation is not authorised for client ID %s. Admin console, Security, API controls, Domain-wide delegation: add the scopes %s (it may take up to 24 h)",
			or(id, "of the service account"), strings.Join(missing, ","))
	}
	return detail, hint, first
}

// short is what people call a scope.
func short(scope string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(scope, "https://www.googleapis.com/auth/"), "https://"), "/")
}

// directory asks for one user.
func (t *tester) directory() (detail, hint string, err error) {
	c := t.conn
	users, _, err := c.usersPage(t.ctx, "", 1)
	if err == nil {
		return fmt.Sprintf("it answers %s", c.cfg.Admin), "", t.empty(len(users))
	}
	var e *connection.Error
	if errors.As(err, &e) && e.Kind == connection.ErrPermission && e.Hint == "" {
		hint = fmt.Sprintf("admin: %s is not an administrator with the privilege Users > Read", c.cfg.Admin)
	}
	return "", or(hint, t.enable("Admin SDK", err)), err
}

// enable returns the hint of an error for an API that is not enabled, with what people need to find the switch; "" if err is
// another one.
func (t *tester) enable(api string, err error) string {
	var e *connection.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Hint, "enable the API") {
		return ""
	}
	_, _, project := t.conn.tokens.Account()
	return strings.Replace(e.Hint, "the API", "the "+api+" API in project "+or(project, "of the credentials"), 1)
}

func (t *tester) empty(users int) error {
	if users > 0 {
		return nil
	}
	return &connection.Error{Driver: DriverName, Kind: connection.ErrConfig, Err: errors.New("the directory has no user"), Hint: "customer, domain: they name no one"}
}

// counted is how many users are looked at, at most.
const counted = 5000

// domain counts the users whom the settings select, and takes the first as the sample.
func (t *tester) domain() (detail, hint string, err error) {
	c := t.conn
	left, met := make(map[string]int), 0
	for u, err := range c.users(t.ctx) {
		if err != nil {
			return "", "", err
		}
		if met++; met > counted {
			t.more = true
			break
		}
		switch {
		case u.Skip != "":
			left[u.Skip]++
			continue
		case t.users == 0:
			t.box = c.people.add(u)
		}
		t.users++
	}
	detail = fmt.Sprintf("%d mailboxes selected", t.users)
	if t.more {
		detail = fmt.Sprintf("%d mailboxes selected of the first %d users", t.users, counted)
	}
	for _, why := range []string{skipNotSelected, skipSuspended, skipArchived, skipNoMailbox, skipGuest} {
		if left[why] > 0 {
			detail += fmt.Sprintf(", %d %s", left[why], why)
		}
	}
	if t.users > 0 {
		return detail, "", nil
	}
	where := or(c.cfg.Domain, c.cfg.feedDomain())
	return detail, "include, exclude, org_units, exclude_org_units, groups, exclude_groups: they leave nobody whose mail can be read", &connection.Error{
		Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("no user with a Gmail mailbox in %s", where),
	}
}
