package ewshttp

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

// A scheme is a way to authenticate.
type scheme uint8

const (
	schemeNone scheme = iota
	schemeBasic
	schemeBearer
	schemeNTLM
	schemeNegotiate // NTLM's messages under the other name
)

func (s scheme) String() string {
	return [...]string{"none", "Basic", "Bearer", "NTLM", "Negotiate"}[s]
}

func (s scheme) ntlm() bool { return s == schemeNTLM || s == schemeNegotiate }

// An offer is one challenge of WWW-Authenticate.
type offer struct{ name, token string }

// offers reads WWW-Authenticate (RFC 9110, section 11.6.1): several headers, or one with commas.
func offers(h http.Header) []offer {
	var out []offer
	for _, line := range h.Values("WWW-Authenticate") {
		for _, part := range splitUnquoted(line) {
			name, rest, _ := strings.Cut(strings.TrimSpace(part), " ")
			if name == "" || strings.Contains(name, "=") { // a parameter of the one before
				continue
			}
			out = append(out, offer{name, strings.TrimSpace(rest)})
		}
		if len(out) > 32 {
			break
		}
	}
	return out
}

// splitUnquoted splits at commas that are in no quoted string.
func splitUnquoted(line string) []string {
	var parts []string
	from, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && quoted:
			i++
		case line[i] == '"':
			quoted = !quoted
		case line[i] == ',' && !quoted:
			parts = append(parts, line[from:i])
			from = i + 1
		}
	}
	return append(parts, line[from:])
}

func offered(list []offer, s scheme) bool {
	return slices.ContainsFunc(list, func(o offer) bool { return strings.EqualFold(o.name, s.String()) })
}

// names lists what is offered, for people.
func names(list []offer) string {
	if len(list) == 0 {
		return "nothing"
	}
	var out []string
	for _, o := range list {
		if !slices.Contains(out, o.name) {
			out = append(out, o.name)
		}
	}
	return strings.Join(out, ", ")
}

// known remembers which scheme each URL takes: virtual directories of one host may differ.
type known struct {
	mu     sync.Mutex
	places map[string]*place
}

type place struct {
	turn   chan struct{} // held by who finds out
	scheme scheme
	known  bool
}

func (k *known) place(u *url.URL) *place {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.places == nil || len(k.places) > maxBudgets {
		k.places = make(map[string]*place)
	}
	name := u.Scheme + "://" + endpointOf(u) + strings.ToLower(u.Path)
	p := k.places[name]
	if p == nil {
		p = &place{turn: make(chan struct{}, 1)}
		k.places[name] = p
	}
	return p
}

func (k *known) get(u *url.URL) (scheme, bool) {
	p := k.place(u)
	k.mu.Lock()
	defer k.mu.Unlock()
	return p.scheme, p.known
}

func (k *known) set(u *url.URL, s scheme) {
	p := k.place(u)
	k.mu.Lock()
	defer k.mu.Unlock()
	p.scheme, p.known = s, true
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places = nil
}

// A form is one way to write the credential.
type form struct {
	name   string
	latin1 bool
}

// forms returns what a login may be tried with, in order: at most two, since more could lock the account.
func (c *Client) forms(s scheme) []form {
	n := c.name
	local, domain, isAddress := strings.Cut(n.User, "@")
	isAddress = isAddress && n.Domain == "" && local != "" && domain != ""
	first := form{name: n.Windows()}
	if s.ntlm() {
		if isAddress {
			return []form{first, {name: local}} // for NTLM the same as `\user`
		}
		return []form{first}
	}
	switch second := (form{name: first.name, latin1: true}); {
	case s != schemeBasic:
		return []form{first}
	case second.differs(c.opts.Password):
		return []form{first, second}
	case isAddress && c.opts.OldNames:
		return []form{first, {name: local}}
	}
	return []form{first}
}

// differs reports whether Latin-1 can write the credential, and otherwise than UTF-8 does.
func (f form) differs(password connection.Secret) bool {
	text := f.name + password.Reveal()
	_, ok := latin1(text)
	return ok && utf8.RuneCountInString(text) != len(text)
}

// basic returns the value of Authorization.
func (f form) basic(password connection.Secret) string {
	text := f.name + ":" + password.Reveal()
	if f.latin1 {
		text, _ = latin1(text)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

func latin1(text string) (string, bool) {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return "", false
		}
		out = append(out, byte(r))
	}
	return string(out), true
}

// choose picks a scheme from what a server offers.
func (c *Client) choose(list []offer, endpoint string) (scheme, error) {
	switch c.opts.Auth {
	case AuthBasic:
		return schemeBasic, nil
	case AuthOAuth:
		return schemeBearer, nil
	case AuthNTLM:
		if offered(list, schemeNegotiate) && !offered(list, schemeNTLM) {
			return schemeNegotiate, nil
		}
		return schemeNTLM, nil
	}
	basic := offered(list, schemeBasic)
	switch {
	case c.opts.Password.IsZero():
		return schemeNone, c.fail(connection.ErrAuth, endpoint, "password: missing, and so is oauth2; the server wants one", "the server wants a login (%s)", names(list))
	case c.wires.custom != nil && !basic:
		return schemeNone, c.fail(connection.ErrConfig, endpoint, "", "ntlm needs connections of its own, and Env.HTTPClient has a transport that cannot be cloned; the server offers %s", c.clean(names(list)))
	case c.wires.custom != nil:
		return schemeBasic, nil
	case offered(list, schemeNTLM), len(list) == 0: // its first message gives nothing away
		return schemeNTLM, nil
	case offered(list, schemeNegotiate):
		return schemeNegotiate, nil
	case basic:
		return schemeBasic, nil
	}
	return schemeNone, c.fail(connection.ErrUnsupported, endpoint, "auth: of Basic, NTLM, Negotiate and OAuth 2.0 the server must offer one that the settings have a credential for", "the server offers %s", c.clean(names(list)))
}
