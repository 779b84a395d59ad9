package saslx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// The mechanisms, as auth_mechanisms names them (in any case) and as they are sent.
const (
	External        = "EXTERNAL"
	OAuthBearer     = "OAUTHBEARER"
	XOAuth2         = "XOAUTH2"
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	ScramSHA256     = "SCRAM-SHA-256"
	ScramSHA1Plus   = "SCRAM-SHA-1-PLUS"
	ScramSHA1       = "SCRAM-SHA-1"
	NTLM            = "NTLM"
	CramMD5         = "CRAM-MD5"
	Plain           = "PLAIN"
	Login           = "LOGIN"
)

// What is not SASL but takes part in the choice: commands of one protocol, in lower case.
const (
	LoginCommand = "login-command" // IMAP: LOGIN
	APOP         = "apop"          // POP3: APOP
	UserPass     = "user-pass"     // POP3: USER and PASS
)

// A TokenSource is connection.Env's Token.
type TokenSource = func(context.Context, connection.TokenRequest) (connection.Secret, error)

// An Account is who logs in, and what the settings permit.
type Account struct {
	// Username is the setting username, in any of the forms that [ParseName] knows.
	Username string
	// Password is the setting password. While it is set, Token is not asked unless Mechanisms names a bearer mechanism.
	Password connection.Secret
	// ActFor is whose mail is wanted, if that is somebody else's: the authorization identity. Only mechanisms that
	// carry one are used then: EXTERNAL, OAUTHBEARER, XOAUTH2, SCRAM and PLAIN.
	ActFor string
	// Token is the source of bearer tokens, nil for none. It is asked once for each connection, for the person whose
	// mailbox is opened and these Scopes.
	Token  TokenSource
	Scopes []string
	// Certificate says that a client certificate is configured.
	Certificate bool
	// Mechanisms is the setting auth_mechanisms: an ordered list that replaces the default order.
	Mechanisms []string
	// Commands are the protocol's own ways to log in that are not SASL, in the order of preference.
	Commands []string
	// AllowPlaintext is the setting allow_plaintext_auth: a usable credential may go over a connection without TLS.
	AllowPlaintext bool
	// MinIterations is the least iteration count of SCRAM; 0 = 4096, as RFC 7677, 4 wants.
	MinIterations int
}

// trait says what a mechanism needs and does.
type trait struct {
	name     string
	password bool // it needs the password
	bearer   bool // it needs a token
	usable   bool // what it sends can be used by whoever hears it
	guess    bool // whoever hears it can guess passwords off line with little work
	actsFor  bool // it carries an authorization identity
	plus     bool // it binds to the TLS channel
}

// traits are all mechanisms and commands in the default order.
var traits = [...]trait{
	{name: External, actsFor: true},
	{name: OAuthBearer, bearer: true, usable: true, actsFor: true},
	{name: XOAuth2, bearer: true, usable: true, actsFor: true},
	{name: ScramSHA256Plus, password: true, actsFor: true, plus: true},
	{name: ScramSHA256, password: true, actsFor: true},
	{name: ScramSHA1Plus, password: true, actsFor: true, plus: true},
	{name: ScramSHA1, password: true, actsFor: true},
	{name: NTLM, password: true, guess: true},
	{name: CramMD5, password: true, guess: true},
	{name: Plain, password: true, usable: true, actsFor: true},
	{name: Login, password: true, usable: true},
	{name: LoginCommand, password: true, usable: true},
	{name: APOP, password: true, guess: true},
	{name: UserPass, password: true, usable: true},
}

// lookUp finds a mechanism or command by its name in any case.
func lookUp(name string) (trait, bool) {
	for _, t := range traits {
		if strings.EqualFold(t.name, name) {
			return t, true
		}
	}
	return trait{}, false
}

// command reports whether t is no SASL mechanism.
func (t trait) command() bool { return t.name == LoginCommand || t.name == APOP || t.name == UserPass }

// forbidden are the octets that no name and no password may hold: NUL shifts the fields of PLAIN, CR and LF end a
// command. 0x01 ends a field of XOAUTH2.
const forbidden = "\r\n\x00"

// maxName bounds a user name in octets: NTLM and others count names in few bits.
const maxName = 1000

// Validate returns an error that names the JSON field at fault.
func (a *Account) Validate() error {
	if a.Username == "" {
		return errors.New("username: missing")
	}
	if strings.ContainsFunc(a.Username, control) {
		return errors.New("username: control character")
	}
	if len(a.Username) > maxName || len(a.ActFor) > maxName {
		return fmt.Errorf("username: longer than %d octets", maxName)
	}
	if _, err := ParseName(a.Username); err != nil {
		return err
	}
	if strings.ContainsFunc(a.ActFor, control) {
		return errors.New("act_for: control character")
	}
	if strings.ContainsAny(a.Password.Reveal(), forbidden) {
		return errors.New("password: it must not hold CR, LF or NUL")
	}
	if err := a.validateMechanisms(); err != nil {
		return err
	}
	if len(a.Mechanisms) == 0 && a.Password.IsZero() && a.Token == nil && !a.Certificate {
		return errors.New("password: missing, and there is neither a token nor a client certificate")
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// validateMechanisms holds the override list against what the settings have for it.
func (a *Account) validateMechanisms() error {
	var needy []string
	for i, name := range a.Mechanisms {
		t, known := lookUp(name)
		switch {
		case !known || t.command() && !slices.Contains(a.Commands, t.name):
			return fmt.Errorf("auth_mechanisms: %q: unknown, want one of %s", name, strings.Join(a.names(), ", "))
		case slices.ContainsFunc(a.Mechanisms[:i], func(s string) bool { return strings.EqualFold(s, name) }):
			return fmt.Errorf("auth_mechanisms: %q: given twice", name)
		case t.name == External && !a.Certificate:
			return fmt.Errorf("auth_mechanisms: %q: needs client_cert_pem", name)
		case t.bearer && a.Token == nil:
			return fmt.Errorf("auth_mechanisms: %q: needs oauth2 or a token hook", name)
		case t.password && a.Password.IsZero():
			needy = append(needy, t.name)
		}
	}
	if len(needy) > 0 {
		return fmt.Errorf("password: missing (mechanisms %s need it)", strings.Join(needy, ", "))
	}
	return nil
}

// names lists what auth_mechanisms may hold, in lower case.
func (a *Account) names() []string {
	var all []string
	for _, t := range traits {
		if !t.command() || slices.Contains(a.Commands, t.name) {
			all = append(all, strings.ToLower(t.name))
		}
	}
	return all
}

// An Authenticator logs one Account in, as often as need be. It is safe for concurrent use.
type Authenticator struct {
	account Account
	name    Name
	keys    keyCache
}

// New returns an Authenticator. The error is that of [Account.Validate].
func New(a Account) (*Authenticator, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	name, err := ParseName(a.Username)
	if err != nil {
		return nil, err
	}
	a.Mechanisms, a.Commands, a.Scopes = slices.Clone(a.Mechanisms), slices.Clone(a.Commands), slices.Clone(a.Scopes)
	return &Authenticator{account: a, name: name}, nil
}

// problem returns an error that lacks only what the driver knows.
func problem(kind connection.Kind, hint, format string, args ...any) *connection.Error {
	return &connection.Error{Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}
