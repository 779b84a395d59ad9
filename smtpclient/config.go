package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

// DriverName is the name of this driver in Settings.
const DriverName = "smtp"

// The values of Config.SendStrategy.
const (
	NewMessageID = "new-message-id" // the Message-ID field is replaced, all else is left untouched
	Original     = "original"       // the message is left untouched
)

// The values of Config.BodyPath.
const (
	PathAuto = "auto" // BDAT if the server offers CHUNKING, else DATA
	PathDATA = "data"
	PathBDAT = "bdat" // a server without CHUNKING is ErrUnsupported
)

// The values of Config.EightBit.
const (
	EightBitRequire    = "require"     // 8-bit content for a server without 8BITMIME is ErrUnsupported
	EightBitSendAnyway = "send-anyway" // most servers take it
)

// The values of Config.BareCR.
const (
	BareCRReject = "reject" // a message that holds one is not sent by DATA
	BareCRSpace  = "space"  // it becomes a space
	BareCRCRLF   = "crlf"   // it becomes a line end
)

// The values of Config.OnRejectedRcpt.
const (
	RejectedContinue = "continue" // the message goes to those that were accepted
	RejectedAbort    = "abort"    // it goes to nobody
)

// OAuth2 is the setting oauth2: where to get tokens, and with what. Its fields are Tenant or TokenURI, ClientID,
// ClientSecret and RefreshToken; without a RefreshToken the application logs in as itself (client credentials). It goes
// before Env.Token.
type OAuth2 = saslx.OAuth2

// Config is the driver's settings. The zero value of a field means its default, but for Server and FromAddress, which
// are needed.
type Config struct {
	connection.Identity
	connection.NetworkSettings

	FromAddress        string            `json:"from_address" label:"From address" help:"envelope sender of the host's own mail and of tests, usually the account's address; <> for none. To send in the name of others the account needs the server's Send As right"`
	Username           string            `json:"username,omitempty" label:"User name" help:"as the server wants it: juser, juser@example.org, domain\\juser or domain\\juser\\mailbox; without one no login is tried"`
	Password           connection.Secret `json:"password,omitzero" label:"Password" help:"without one, tokens (oauth2, or the host's token source) or the client certificate log in"`
	OAuth2             *OAuth2           `json:"oauth2,omitempty"`
	AuthMechanisms     []string          `json:"auth_mechanisms,omitempty" label:"Authentication" help:"SASL mechanisms in the order of preference; none means the best that is offered"`
	TokenScopes        []string          `json:"token_scopes,omitempty" label:"Token scopes" help:"what tokens are asked for, such as https://outlook.office.com/SMTP.Send; none means what the token endpoint gives by itself"`
	AllowPlaintextAuth bool              `json:"allow_plaintext_auth,omitempty" label:"Allow plaintext password" help:"send the password also over a connection without TLS; anybody on the path can read it"`

	SendStrategy   string          `json:"send_strategy,omitempty" label:"Message-ID" default:"new-message-id" enum:"new-message-id,original" help:"new-message-id replaces the Message-ID and keeps the old one in X-Original-Message-ID, since servers drop a message whose id they know; original changes nothing"`
	Resent         bool            `json:"resent,omitempty" label:"Mark as resent" help:"with new-message-id also add Resent-Date, Resent-From and Resent-Message-ID (RFC 5322, 3.6.6)" when:"send_strategy=new-message-id"`
	BodyPath       string          `json:"body_path,omitempty" label:"Body path" default:"auto" enum:"auto,data,bdat" help:"auto: BDAT, which keeps every octet, where the server offers it, else DATA"`
	EightBit       string          `json:"eight_bit,omitempty" label:"8-bit content" default:"require" enum:"require,send-anyway" help:"what to do if the server does not offer 8BITMIME: require refuses to send"`
	BareCR         string          `json:"bare_cr,omitempty" label:"Bare CR" default:"reject" enum:"reject,space,crlf" help:"what becomes of a CR without LF where the message must go by DATA"`
	OnRejectedRcpt string          `json:"on_rejected_rcpt,omitempty" label:"Refused recipients" default:"continue" enum:"continue,abort" help:"continue sends to those that are accepted; abort sends to nobody then"`
	DSN            *connection.DSN `json:"dsn,omitempty" label:"Delivery reports"`

	EHLOName string `json:"ehlo_name,omitempty" label:"EHLO name" help:"what this machine calls itself; none means its own name, or its address"`
	LMTP     bool   `json:"lmtp,omitempty" label:"LMTP" help:"the server speaks LMTP (RFC 2033), as the delivery agents of mail servers do"`

	PoolSize        int                 `json:"pool_size,omitempty" label:"Connections" default:"2" min:"1" max:"1000" help:"at most so many at once"`
	PoolIdle        connection.Duration `json:"pool_idle,omitempty" label:"Keep idle connections" default:"30s" min:"1ms" help:"an unused connection is closed after this time"`
	PoolMaxMessages int                 `json:"pool_max_messages,omitempty" label:"Messages per connection" default:"100" min:"1" help:"a connection is closed after so many"`
	FinalTimeout    connection.Duration `json:"final_timeout,omitempty" label:"Final timeout" default:"12m" min:"1ms" help:"wait so long for the reply to the whole message; too short a wait makes outcomes uncertain"`
}

const (
	defaultPoolSize        = 2
	maxPoolSize            = 1000
	defaultPoolIdle        = 30 * time.Second
	defaultPoolMaxMessages = 100
	defaultFinalTimeout    = 12 * time.Minute // RFC 5321, 4.5.3.2.6 wants at least 10
)

// Validate implements [connection.Config].
func (c Config) Validate() error {
	if err := c.NetworkSettings.Validate(); err != nil {
		return err
	}
	if c.FromAddress == "" {
		return errors.New("from_address: missing; want an address, or <> for none")
	}
	if _, err := parsePath(c.FromAddress, true, c.LMTP); err != nil {
		return fmt.Errorf("from_address: not an address: %w", err)
	}
	if err := c.validateLogin(); err != nil {
		return err
	}
	for _, choice := range []struct {
		name, value string
		want        []string
	}{
		{"send_strategy", c.SendStrategy, []string{NewMessageID, Original}},
		{"body_path", c.BodyPath, []string{PathAuto, PathDATA, PathBDAT}},
		{"eight_bit", c.EightBit, []string{EightBitRequire, EightBitSendAnyway}},
		{"bare_cr", c.BareCR, []string{BareCRReject, BareCRSpace, BareCRCRLF}},
		{"on_rejected_rcpt", c.OnRejectedRcpt, []string{RejectedContinue, RejectedAbort}},
	} {
		if choice.value != "" && !slices.Contains(choice.want, choice.value) {
			last := len(choice.want) - 1
			return fmt.Errorf("%s: %q: want %s or %s", choice.name, choice.value, strings.Join(choice.want[:last], ", "), choice.want[last])
		}
	}
	switch {
	case c.PoolSize < 0 || c.PoolSize > maxPoolSize:
		return fmt.Errorf("pool_size: %d: want 1 to %d", c.PoolSize, maxPoolSize)
	case c.PoolIdle < 0:
		return errors.New("pool_idle: negative")
	case c.PoolMaxMessages < 0:
		return fmt.Errorf("pool_max_messages: %d: want 1 or more", c.PoolMaxMessages)
	case c.FinalTimeout < 0:
		return errors.New("final_timeout: negative")
	case c.Resent && c.null():
		return errors.New("resent: from_address is <>, and Resent-From needs an address")
	}
	if err := validateDSN(c.DSN); err != nil {
		return fmt.Errorf("dsn: %w", err)
	}
	return validateEHLOName(c.EHLOName)
}

func (c *Config) validateLogin() error {
	if c.OAuth2 != nil {
		if err := c.OAuth2.Validate(); err != nil {
			return err
		}
		if !c.Password.IsZero() {
			return errors.New("password, oauth2: give only one")
		}
	}
	if c.Username != "" {
		account := c.account(func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.Secret{}, nil // whether there is a token is for Open to see
		})
		return account.Validate()
	}
	switch {
	case !c.Password.IsZero():
		return errors.New("username: missing (password is set)")
	case c.OAuth2 != nil:
		return errors.New("username: missing (oauth2 is set)")
	case len(c.AuthMechanisms) > 0 && (len(c.AuthMechanisms) > 1 || !strings.EqualFold(c.AuthMechanisms[0], saslx.External) || c.ClientCertPEM == ""):
		return errors.New("username: missing (auth_mechanisms is set)")
	}
	return nil
}

func validateEHLOName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"
	switch {
	case strings.ContainsAny(name, " \t"):
		return errors.New("ehlo_name: space not allowed")
	case len(name) > 255, strings.Trim(name, allowed) != "", strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(allowed, r) }):
		return errors.New("ehlo_name: want a host name such as archive.example.org, or an address such as [192.0.2.1]")
	}
	return nil
}

// account is who logs in, with token as the source of bearer tokens.
func (c *Config) account(token saslx.TokenSource) saslx.Account {
	a := saslx.Account{
		Username: c.Username, Password: c.Password, Token: token, Scopes: c.TokenScopes,
		Certificate: c.ClientCertPEM != "", Mechanisms: c.AuthMechanisms, AllowPlaintext: c.AllowPlaintextAuth,
	}
	if c.Username == "" {
		// Only the certificate says who this is; EXTERNAL sends no name.
		a.Username, a.Token, a.Mechanisms = "certificate", nil, []string{saslx.External}
	}
	return a
}

// The default ports (RFC 8314, 7.3; RFC 6409, 3.1; LMTP has 24 by custom).
const (
	portTLS    = 465
	portSubmit = 587
	portLMTP   = 24
	portsHint  = "465 with mode tls, 587 with the other modes; 25 is for servers among themselves"
)

// port is the port of a server that is given without one.
func (c *Config) port() int {
	switch {
	case c.LMTP:
		return portLMTP
	case c.Mode.Or() == connection.ModeTLS:
		return portTLS
	}
	return portSubmit
}

// null reports whether from_address is the null reverse-path.
func (c *Config) null() bool { return c.FromAddress == nullPath }

func (c *Config) poolSize() int { return or(c.PoolSize, defaultPoolSize) }

func (c *Config) poolIdle() time.Duration { return or(c.PoolIdle.D(), defaultPoolIdle) }

func (c *Config) poolMaxMessages() int { return or(c.PoolMaxMessages, defaultPoolMaxMessages) }

func (c *Config) finalTimeout() time.Duration { return or(c.FinalTimeout.D(), defaultFinalTimeout) }

func (c *Config) aborts() bool { return c.OnRejectedRcpt == RejectedAbort }

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
