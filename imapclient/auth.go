package imapclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// account returns who logs in, as the settings and the host say.
func (c *Config) account(env *connection.Env) saslx.Account {
	a := saslx.Account{
		Username: c.Username, Password: c.Password, ActFor: c.actFor, Scopes: c.TokenScopes,
		Certificate:    c.ClientCertPEM != "",
		Mechanisms:     c.AuthMechanisms,
		Commands:       []string{saslx.LoginCommand},
		AllowPlaintext: c.AllowPlaintextAuth,
	}
	a.Token = c.tokens
	if env == nil {
		return a
	}
	if a.Token == nil {
		a.Token = env.Token
	}
	if t := env.TLS; t != nil {
		a.Certificate = a.Certificate || len(t.Certificates) > 0 || t.GetClientCertificate != nil
	}
	return a
}

// errRenewed says that the server refused a token and that there is another one to try, over a new connection.
var errRenewed = errors.New("the token was refused; another one is tried")

// authenticate logs in by the first way, in the order of the settings, that the server offers and the settings permit.
// It reports the step auth: the way, why others were passed over, what a person should know of it.
func (l *link) authenticate(ctx context.Context) error {
	began := time.Now()
	choice, err := l.choose()
	if err != nil {
		l.way.Report("auth", began, "", "", err)
		return err
	}
	l.mechanism = choice.Name
	if choice.Name == saslx.LoginCommand {
		l.mechanism = "LOGIN command"
	}
	if l.tls == nil && len(choice.Warnings) > 0 {
		l.peer.Insecure(ctx, "logging in without TLS: "+choice.Warning(), "mode: use tls or starttls")
	}
	err = l.logIn(ctx, choice)
	if errors.Is(err, errRenewed) {
		l.way.Report("auth", began, choice.Detail()+"; "+errRenewed.Error(), "oauth2: the token source gave a token that the server refuses, and then another", nil)
		return err
	}
	detail := choice.Detail()
	if choice.Name == saslx.LoginCommand {
		detail = strings.Replace(detail, saslx.LoginCommand, l.mechanism, 1)
	}
	l.way.Report("auth", began, detail, choice.Warning(), err)
	return err
}

// choose picks the way to log in. What was offered before TLS is forgotten already.
func (l *link) choose() (*saslx.Choice, error) {
	offer := saslx.Offer{Host: l.peer.Host, Port: l.peer.Port}
	for _, name := range l.caps {
		if mech, ok := strings.CutPrefix(name, "AUTH="); ok {
			offer.Mechanisms = append(offer.Mechanisms, mech)
		}
	}
	loginDisabled := slices.Contains(l.caps, "LOGINDISABLED")
	if !loginDisabled {
		offer.Commands = []string{saslx.LoginCommand}
	}
	if l.tls != nil {
		offer.TLS, offer.CertificateAsked = &l.tls.State, l.tls.ClientCertRequested
	}
	choice, err := l.login.Choose(offer)
	switch {
	case l.tls == nil && loginDisabled && (err != nil || choice.Name == saslx.Plain || choice.Name == saslx.Login):
		// RFC 9051, 6.2.3: there may be mechanisms that work all the same, but none that sends the password.
		return nil, l.peer.Errorf(connection.ErrTLS, "mode: the server wants TLS before a login; set it to tls or starttls", "the server forbids a login without TLS (LOGINDISABLED)")
	case err != nil:
		return nil, l.own(err)
	}
	return choice, nil
}

// own makes an error of saslx one of this connection.
func (l *link) own(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Driver != "" {
		return err
	}
	named := l.peer.Errorf(e.Kind, e.Hint, "%w", e.Err)
	named.Code, named.RetryAfter = l.clean(e.Code), e.RetryAfter
	if text := l.clean(named.Err.Error()); text != named.Err.Error() {
		named.Err = &reworded{text: text, err: named.Err}
	}
	return named
}

// reworded is an error with another text.
type reworded struct {
	text string
	err  error
}

func (r *reworded) Error() string { return r.text }
func (r *reworded) Unwrap() error { return r.err }

// logIn does what was chosen.
func (l *link) logIn(ctx context.Context, choice *saslx.Choice) error {
	if choice.Plain() {
		n, err := l.loginCommand(l.user, l.password.Reveal())
		if err != nil {
			return err
		}
		return l.verdict(n)
	}
	x, err := l.login.Start(ctx, choice)
	if err != nil {
		return l.own(err)
	}
	if x.Secret().Reveal() != l.password.Reveal() {
		l.scrub = wirelog.NewScrubber(l.user, l.password, x.Secret())
		l.trace = wirelog.New(l.env.Log(), l.peer.Endpoint(), l.scrub)
	}
	// RFC 4959; with LOGINDISABLED (RFC 9051, 6.2.3) a server may take the initial response amiss.
	initial := l.has("SASL-IR") && !slices.Contains(l.caps, "LOGINDISABLED")
	n, err := l.commandLogin("AUTHENTICATE "+x.Command(initial), x.Answer)
	if err != nil {
		return l.own(err)
	}
	err = x.End(l.verdict(n))
	if err != nil && l.login.Renew(ctx, x, err) {
		return fmt.Errorf("%w: %w", errRenewed, l.own(err))
	}
	return l.own(err)
}

// verdict classifies the final reply of a login. A NO without a temporary code is a refused credential (RFC 5530, 3).
func (l *link) verdict(n note) error {
	if n.Type == "OK" {
		return nil
	}
	refused := l.refusal(n, "")
	switch refused.Kind {
	case connection.ErrThrottled, connection.ErrUnavailable, connection.ErrQuota, connection.ErrProtocol:
		return refused
	}
	refused.Kind = connection.ErrAuth
	refused.Hint = "username, password: the server refuses them"
	switch {
	case n.Code == "PRIVACYREQUIRED":
		refused.Hint = "mode: the server wants TLS before a login"
	case n.Code == "AUTHORIZATIONFAILED" && l.actsFor != "":
		refused.Hint = fmt.Sprintf("mailboxes: username may not act for %q; mailbox_login says how the login names somebody else's mailbox", l.actsFor)
	}
	return refused
}

// commandLogin sends a command that logs in, after which the capabilities known so far no longer hold.
func (l *link) commandLogin(text string, answer func(string) (string, error)) (note, error) {
	l.caps = nil
	return l.command(text, max(maxCapsLine, maxChallengeLine), answer)
}

// maxChallengeLine bounds a challenge; saslx takes less.
const maxChallengeLine = 96 << 10

// loginCommand sends the LOGIN command (RFC 9051, 6.2.3). What a quoted string cannot hold goes as a literal, without
// waiting where the server permits that (RFC 7888).
func (l *link) loginCommand(user, password string) (note, error) {
	plus, minus := l.has("LITERAL+"), l.has("LITERAL-")
	var parts []string // each but the last waits for a continuation
	text := "LOGIN"
	for _, s := range []string{user, password} {
		switch {
		case quotable(s):
			text += ` "` + s + `"`
		case plus, minus && len(s) <= 4096:
			text += fmt.Sprintf(" {%d+}\r\n%s", len(s), s)
		default:
			parts = append(parts, text+fmt.Sprintf(" {%d}", len(s)))
			text = s
		}
	}
	parts = append(parts, text)
	sent := 0
	return l.commandLogin(parts[0], func(string) (string, error) {
		sent++
		if sent == len(parts) {
			return "", l.peer.Errorf(connection.ErrProtocol, "", "a continuation request after the whole LOGIN command")
		}
		return parts[sent], nil
	})
}

// quotable reports whether s may stand between quotes without escapes.
func quotable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}
