package saslx

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// An Offer is what a server can do on one connection, as it said after TLS was up if there is TLS.
type Offer struct {
	Mechanisms       []string             // of SASL, in any case
	Commands         []string             // of Account.Commands those that the server permits now
	TLS              *tls.ConnectionState // nil in the clear
	CertificateAsked bool                 // the server asked for a client certificate in the handshake
	Host             string               // the settings' server, for OAUTHBEARER
	Port             int
}

// A Passed is a mechanism that was not chosen.
type Passed struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// A Choice is the mechanism that is used, and what Test says about it.
type Choice struct {
	Name   string   // the mechanism, or one of the Account's Commands
	Passed []Passed // all others that the server offers or the settings list, in the order of preference
	// Warnings are for people: what somebody on the path could do, what the mechanism cannot.
	Warnings []string

	offer Offer
	trait trait
	// gs2 is how SCRAM begins: "n", "y", or "p=tls-exporter" (RFC 5802, 7).
	gs2     string
	binding []byte
}

// Plain reports whether the choice is not SASL but a command of the protocol.
func (c *Choice) Plain() bool { return c.trait.command() }

// Detail says which mechanism was used over which protection: "SCRAM-SHA-256 over TLS 1.3".
func (c *Choice) Detail() string {
	text := c.Name + " in the clear"
	if c.offer.TLS != nil {
		text = c.Name + " over " + tls.VersionName(c.offer.TLS.Version)
	}
	return text + c.reasons()
}

// maxReasons is how many passed mechanisms a text names. All are in Passed.
const maxReasons = 20

// reasons lists what was passed over, as the end of a text.
func (c *Choice) reasons() string {
	text := ""
	for i, p := range c.Passed {
		if i == maxReasons {
			return text + fmt.Sprintf(" and %d more", len(c.Passed)-i)
		}
		lead := ", "
		if i == 0 {
			lead = "; passed over: "
		}
		text += lead + p.Name + " (" + p.Why + ")"
	}
	return text
}

// Warning joins the Warnings; "" if there are none.
func (c *Choice) Warning() string { return strings.Join(c.Warnings, "; ") }

// maxOffered bounds how many of a server's mechanisms are looked at.
const maxOffered = 64

// Choose picks the first mechanism in the order of the settings that the server offers, that the settings have
// everything for, and that sends no usable credential in the clear unless the settings permit that. If there is none,
// the error is ErrTLS where TLS would change that, else ErrAuth, and lists why each was passed over.
func (a *Authenticator) Choose(o Offer) (*Choice, error) {
	o.Mechanisms = slices.Clone(o.Mechanisms)
	if len(o.Mechanisms) > maxOffered {
		o.Mechanisms = o.Mechanisms[:maxOffered]
	}
	for i, name := range o.Mechanisms {
		o.Mechanisms[i] = strings.ToUpper(name)
	}
	c := &Choice{offer: o}
	c.gs2, c.binding = bind(o)
	order := a.order(o.TLS != nil)
	bare := false // something was passed over for want of TLS alone
	for _, t := range order {
		why := ""
		if c.Name != "" {
			why = "it comes after " + c.Name
		} else {
			why = a.lacks(t, c)
			if why == "" && t.usable && o.TLS == nil && !a.account.AllowPlaintext {
				why, bare = "it sends a usable credential, and there is no TLS", true
			}
		}
		switch {
		case why == "":
			c.Name, c.trait = t.name, t
		case o.has(t) || len(a.account.Mechanisms) > 0:
			c.Passed = append(c.Passed, Passed{t.name, why})
		}
	}
	for _, name := range o.Mechanisms {
		tried := slices.ContainsFunc(order, func(t trait) bool { return strings.EqualFold(t.name, name) })
		if !tried && !slices.ContainsFunc(c.Passed, func(p Passed) bool { return p.Name == name }) {
			c.Passed = append(c.Passed, Passed{printable(name, 40), a.outside(name)})
		}
	}
	if c.Name == "" {
		return nil, a.none(c, bare)
	}
	a.warn(c)
	return c, nil
}

// order returns the mechanisms in the order in which they are tried.
func (a *Authenticator) order(secure bool) []trait {
	var order []trait
	if len(a.account.Mechanisms) > 0 {
		for _, name := range a.account.Mechanisms {
			t, _ := lookUp(name) // Validate has seen it
			order = append(order, t)
		}
		return order
	}
	// NTLM cannot name another mailbox, and without a domain few servers know who is meant: then it is the last resort.
	late := a.name.Domain == "" || a.name.elsewhere() && secure
	for _, t := range traits {
		if !t.command() && (t.name != NTLM || !late) {
			order = append(order, t)
		}
	}
	for _, name := range a.account.Commands {
		if t, ok := lookUp(name); ok {
			order = append(order, t)
		}
	}
	if late {
		t, _ := lookUp(NTLM)
		order = append(order, t)
	}
	return order
}

// has reports whether the server offers t.
func (o *Offer) has(t trait) bool {
	if t.command() {
		return slices.Contains(o.Commands, t.name)
	}
	return slices.Contains(o.Mechanisms, t.name)
}

// lacks says what is missing for t, "" if nothing is. What the plaintext policy says is not its affair.
func (a *Authenticator) lacks(t trait, c *Choice) string {
	acc := &a.account
	switch {
	case !c.offer.has(t):
		return "not offered"
	case t.name == External && !acc.Certificate:
		return "client_cert_pem is not set"
	case t.name == External && !c.offer.CertificateAsked:
		return "the server did not ask for the client certificate"
	case t.bearer && acc.Token == nil:
		return "there is no token source"
	case t.bearer && !acc.Password.IsZero() && len(acc.Mechanisms) == 0:
		return "password is set, so no token is asked for"
	case t.password && acc.Password.IsZero():
		return "password is not set"
	case acc.ActFor != "" && !t.actsFor:
		return "it cannot act for another user"
	case t.plus && c.offer.TLS == nil:
		return "it needs TLS"
	case t.plus && c.binding == nil:
		return "it needs TLS 1.3"
	}
	return ""
}

// outside says why a mechanism is not in the order.
func (a *Authenticator) outside(name string) string {
	if _, known := lookUp(name); known {
		return "not in auth_mechanisms"
	}
	return "not known to this library"
}

// none explains that there is nothing to use.
func (a *Authenticator) none(c *Choice, bare bool) error {
	offered := append(slices.Clone(c.offer.Mechanisms), c.offer.Commands...)
	for i := range offered {
		offered[i] = printable(offered[i], 40)
	}
	if len(offered) == 0 {
		offered = []string{"none"}
	}
	if more := len(offered) - maxReasons; more > 0 {
		offered = append(offered[:maxReasons], fmt.Sprintf("and %d more", more))
	}
	text := "no authentication mechanism in common: the server offers " + strings.Join(offered, " ") + c.reasons()
	if bare {
		return problem(connection.ErrTLS, "mode: set it to starttls or tls; or, if nobody can listen on the way, set allow_plaintext_auth", "the connection has no TLS: %s", text)
	}
	hint := "auth_mechanisms: the list leaves out what the server offers"
	switch {
	case len(a.account.Mechanisms) == 0 && c.offer.TLS == nil:
		hint = "mode: a server may offer more over TLS; set it to starttls or tls"
	case len(a.account.Mechanisms) == 0:
		hint = "password, oauth2, client_cert_pem: the server must offer a mechanism that uses what is set"
	}
	return problem(connection.ErrAuth, hint, "%s", text)
}

// warn adds what a person should know of the choice.
func (a *Authenticator) warn(c *Choice) {
	warn := func(format string, args ...any) { c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...)) }
	if c.offer.TLS == nil {
		switch {
		case c.trait.usable:
			warn("allow_plaintext_auth: the credential went over the network in the clear")
		case c.trait.guess:
			warn("mode: there is no TLS, and whoever hears %s can guess the password at leisure; use starttls or tls", c.Name)
		}
	}
	if a.account.Certificate && !c.offer.CertificateAsked && c.offer.TLS != nil {
		warn("client_cert_pem: the server did not ask for the client certificate")
	}
	ntlm := slices.Contains(c.offer.Mechanisms, NTLM)
	switch {
	case !a.name.elsewhere():
	case c.Name == NTLM:
		warn("username: NTLM cannot name the mailbox %q; the mailbox opened is that of %s", a.name.Mailbox, a.name.Windows())
	case ntlm && len(a.account.Mechanisms) == 0:
		warn("username: %s was used instead of NTLM, which cannot name the mailbox %q", c.Name, a.name.Mailbox)
	}
	if strings.HasPrefix(c.Name, "SCRAM-") {
		for _, field := range []struct{ name, text string }{{"username", a.name.Text}, {"password", a.account.Password.Reveal()}} {
			if _, ok := prepare(field.text); !ok {
				warn("%s: it holds characters that SASLprep (RFC 4013) does not define or that are not normalised here; it was sent as it is", field.name)
			}
		}
	}
}

// printable returns at most limit characters of a server's text, with others than printable ASCII as "?".
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return s
}
