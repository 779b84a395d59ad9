package ews

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/internal/netx"
	"github.com/mailconn/mailconn/internal/probe"
)

// Test implements [connection.Connection]. Its steps are resolve, connect, tls and http (the server of the settings, asked as
// nobody: does EWS answer, by which mode, and which logins does it offer), autodiscover (each place that was asked, for the account
// and for test_mailbox), auth, capabilities (version), open (the account's inbox; that it has none is a warning),
// impersonate (the inbox of test_mailbox), and read (the newest message there, 64 KiB of it). With TestOptions.Write
// a draft is stored and read back (write), and removed (remove). A step that fails keeps only those from being tried
// that need it. A login that was refused before is tried again.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	t := &tester{conn: c, ctx: ctx, Tree: probe.NewTree(c.info, opts)}
	t.Explain, t.Hint = t.failed, generalHint
	ctx, leave, err := c.enter(ctx, opTest)
	if err != nil {
		t.step("open", nil, func() (string, string, error) { return "", "", err })
		return t.Report()
	}
	defer leave()
	t.ctx = ctx
	c.http.Reset()
	if c.finder != nil {
		c.finder.Reset()
	}
	if warnings := c.cfg.warnings(); len(warnings) > 0 {
		t.step("settings", nil, func() (string, string, error) { return "", strings.Join(warnings, "; "), nil })
	}
	if c.server != nil {
		t.transport(c.server)
		t.autodiscover()
	} else {
		t.autodiscover()
		t.transport(t.found)
	}
	t.login()
	t.mailboxes(opts != nil && opts.Write)
	return t.Report()
}

const opTest = "test"

// A tester makes one report.
type tester struct {
	*probe.Tree
	conn *Conn
	ctx  context.Context

	plain    bool     // https was refused, and http is permitted
	found    *url.URL // what autodiscover gave
	homeless bool     // autodiscover does not know the account's own mailbox
	refused  error    // autodiscover's servers refuse the login
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
	return t.conn.fail(opTest, target{}, connection.Ref{}, err)
}

// generalHint is the hint for an error that names no setting.
func generalHint(kind connection.Kind) string {
	switch kind {
	case connection.ErrCanceled, connection.ErrClosed:
		return "the test was ended before it knew; run it again"
	case connection.ErrTimeout:
		return "connect_timeout, no_data_timeout: raise them if the server is only slow"
	case connection.ErrNetwork, connection.ErrUnavailable, connection.ErrThrottled:
		return "this may pass; run the test again, and ask the server's administrator if it does not"
	case connection.ErrUnsupported:
		return hintVersion
	}
	return "server: look at what it says above, and ask its administrator"
}

// transport connects to the host of base as far as EWS itself.
func (t *tester) transport(base *url.URL) {
	if base == nil {
		for _, name := range []string{"resolve", "connect", "tls", "http"} {
			t.Lack(name, "nothing says which server to connect to")
		}
		return
	}
	if t.hostsOwn() {
		for _, name := range []string{"resolve", "connect", "tls"} {
			t.Skip(name, "the host program's HTTP client connects in its own way")
		}
	} else {
		t.connect(base)
	}
	t.step("http", []string{"tls"}, func() (string, string, error) { return t.alive(base) })
}

// hostsOwn reports whether the host program brings an HTTP transport, which may go through a proxy.
func (t *tester) hostsOwn() bool {
	env := t.conn.env
	return env != nil && env.HTTPClient != nil && env.HTTPClient.Transport != nil
}

// connect adds the steps resolve, connect and tls, on a connection of their own.
func (t *tester) connect(base *url.URL) {
	c := t.conn
	peer := t.peer(base)
	ctx, cancel := peer.WithConnectTimeout(t.ctx)
	defer cancel()
	var addrs []string
	t.step("resolve", nil, func() (string, string, error) {
		var err error
		addrs, err = peer.Addresses(ctx)
		return strings.Join(addrs, ", "), "", err
	})
	var conn *netx.Conn
	t.step("connect", []string{"resolve"}, func() (detail, hint string, err error) {
		if conn, err = peer.Dial(ctx, addrs); err == nil {
			return conn.RemoteAddr().String(), "", nil
		}
		if c.cfg.Mode != connection.ModeTLSWhenAvailable || base.Port() != "" || !nothingListens(err) || t.ctx.Err() != nil {
			return "", "", err
		}
		other, ended := t.overHTTP(base)
		if ended != nil {
			return "", "", err // that https cannot be connected is the news
		}
		t.plain = true
		return err.Error() + "\n" + other, "mode: the server refuses https and is used by http; whoever is on the path reads and changes everything", nil
	})
	if conn != nil {
		defer func() { _ = conn.Close() }() // nothing was sent that could be lost
	}
	t.step("tls", []string{"connect"}, func() (string, string, error) {
		if base.Scheme != "https" || t.plain {
			return "none", "mode: what is read and sent, and who logs in, passes the network in the clear; set tls if the server has it", nil
		}
		secured, err := conn.Handshake(ctx)
		if err != nil {
			return "", "", err
		}
		defer func() { _ = secured.Close() }()
		if !secured.Trusted {
			return secured.Describe(), "accept_any_certificate: anybody on the path can read and change everything; set pin_sha256 to " + netx.Pin(secured.State.PeerCertificates) + " instead", nil
		}
		return secured.Describe(), "", nil
	})
}

// nothingListens reports whether err is a refusal to connect: it may be taken as a sign that there is no https.
func nothingListens(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || connection.KindOf(err) == connection.ErrNetwork && strings.Contains(err.Error(), "refused") // Windows words it otherwise
}

// overHTTP reports whether the host of base takes connections for http.
func (t *tester) overHTTP(base *url.URL) (address string, err error) {
	peer := t.peer(&url.URL{Scheme: "http", Host: base.Host})
	ctx, cancel := peer.WithConnectTimeout(t.ctx)
	defer cancel()
	addrs, err := peer.Addresses(ctx)
	if err != nil {
		return "", err
	}
	conn, err := peer.Dial(ctx, addrs)
	if err != nil {
		return "", err
	}
	address = conn.RemoteAddr().String()
	return address, conn.Close()
}

// peer returns the host of base as netx connects to it.
func (t *tester) peer(base *url.URL) *netx.Peer {
	cfg := &t.conn.cfg
	port := 443
	if base.Scheme == "http" {
		port = 80
	}
	if n, err := strconv.Atoi(base.Port()); err == nil {
		port = n
	}
	settings := &connection.NetworkSettings{
		Server: base.Host, ConnectTimeout: cfg.ConnectTimeout, NoDataTimeout: cfg.NoDataTimeout, TLSSettings: cfg.TLSSettings,
	}
	if server := t.conn.server; server == nil || !strings.EqualFold(server.Hostname(), base.Hostname()) {
		settings.ServerName, settings.AcceptAnyCertificate = "", false // they are for another server
	}
	return &netx.Peer{
		Driver: DriverName, ID: cfg.ID, Host: base.Hostname(), Port: port, Ports: "443 for https, 80 for http", Settings: settings, Env: t.conn.env,
	}
}

// alive asks for EWS as nobody does, by https and, where the mode permits it, by http.
func (t *tester) alive(base *url.URL) (detail, hint string, err error) {
	c := t.conn
	secure, clear := *base, *base
	secure.Scheme, clear.Scheme = "https", "http"
	var lines []string
	ask := func(u *url.URL) (ewshttp.Liveness, error) {
		live, err := c.http.Probe(t.ctx, u)
		switch {
		case err != nil:
			lines = append(lines, u.Scheme+": "+err.Error())
		default:
			lines = append(lines, u.Scheme+": "+describe(live))
		}
		return live, err
	}
	switch {
	case c.cfg.Mode == connection.ModeInsecure:
		live, err := ask(base)
		if err != nil {
			return strings.Join(lines, "\n"), "", err
		}
		if base.Port() == "" && t.ctx.Err() == nil {
			if other, err := ask(&secure); err == nil && other.Alive {
				lines = append(lines, "mode tls would fit")
				hint = "mode: the server answers by https too; set tls"
			}
		}
		return t.judgeAlive(lines, hint, live)
	case t.plain:
		live, err := ask(&clear)
		if err != nil {
			return strings.Join(lines, "\n"), "", err
		}
		return t.judgeAlive(lines, "", live)
	}
	live, err := ask(&secure)
	if err != nil {
		return strings.Join(lines, "\n"), "", err
	}
	return t.judgeAlive(append(lines, "mode tls fits"), "", live)
}

// judgeAlive says what an answer to nobody means.
func (t *tester) judgeAlive(lines []string, hint string, live ewshttp.Liveness) (string, string, error) {
	detail := strings.Join(lines, "\n")
	if skew, known := t.conn.http.Skew(); known && max(skew, -skew) > 5*time.Minute {
		hint = or(hint, fmt.Sprintf("the server's clock differs from this machine's by %s: logins by token or NTLM fail if it is not put right", skew.Round(time.Second)))
	}
	switch {
	case live.HTML:
		return detail, "server: forms login or a proxy answers with a web page, not EWS; is this the address of Exchange itself, and is its path right?", t.wrong("a web page answers")
	case !live.Alive:
		return detail, "server: no EWS answers there; is it the Client Access server, and is the path /EWS/Exchange.asmx right?", t.wrong("http status " + strconv.Itoa(live.Status))
	}
	return detail, or(t.offer(live), hint), nil
}

// offer returns a hint if the server does not offer the login that the settings want.
func (t *tester) offer(live ewshttp.Liveness) string {
	if live.Status != http.StatusUnauthorized {
		return ""
	}
	has := func(scheme string) bool {
		return slices.ContainsFunc(live.Schemes, func(s string) bool { return strings.EqualFold(s, scheme) })
	}
	switch auth := t.conn.cfg.auth(); {
	case len(live.Schemes) == 0:
		return "auth: the server offers no login at all; name one, as auto has nothing to choose from"
	case auth == AuthBasic && !has("Basic"), auth == AuthNTLM && !has("NTLM") && !has("Negotiate"), auth == AuthOAuth && !has("Bearer"):
		return "auth: " + auth + " is not among what the server offers, which is " + strings.Join(live.Schemes, ", ")
	}
	return ""
}

func (t *tester) wrong(text string) error {
	return &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: errors.New(text)}
}

// describe says what a server answered to nobody.
func describe(live ewshttp.Liveness) string {
	text := fmt.Sprintf("http status %d", live.Status)
	switch {
	case live.HTML:
		text += ", a web page"
	case live.Alive:
		text += ", alive"
	}
	if len(live.Schemes) > 0 {
		text += ", offers " + strings.Join(live.Schemes, ", ")
	}
	if live.TLS != "" {
		text += ", " + live.TLS
	}
	if live.Server != "" {
		text += ", " + live.Server
	}
	return text
}
