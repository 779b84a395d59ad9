package pop3client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

// DriverName is the name of this driver in Settings.
const DriverName = "pop3"

// A DeleteMode says what Delete does.
type DeleteMode string

// The values of Config.DeleteMode.
const (
	DeleteNone   DeleteMode = "none"   // Delete fails with ErrConfig: nothing is ever removed
	DeleteDelete DeleteMode = "delete" // Delete marks with DELE, and QUIT removes
)

// UnmarshalText implements encoding.TextUnmarshaler. It refuses what POP3 does not have.
func (m *DeleteMode) UnmarshalText(text []byte) error {
	mode := DeleteMode(text)
	if err := mode.validate(); err != nil {
		return err
	}
	*m = mode
	return nil
}

func (m DeleteMode) validate() error {
	switch m {
	case "", DeleteNone, DeleteDelete:
		return nil
	}
	return fmt.Errorf("%s: not supported by POP3, want %s or %s", string(m), DeleteNone, DeleteDelete)
}

// An Unsupported is a setting of other mail protocols that POP3 cannot obey. Only values that ask for nothing (false,
// "", [], 0, null) are accepted.
type Unsupported bool

var errUnsupported = errors.New("not supported by POP3")

// UnmarshalJSON implements json.Unmarshaler.
func (u *Unsupported) UnmarshalJSON(data []byte) error {
	switch string(bytes.Join(bytes.Fields(data), nil)) {
	case "false", `""`, "[]", "0", "null":
		*u = false
		return nil
	}
	return errUnsupported
}

// OAuth2 is the setting oauth2: where to get tokens, and with what. Its fields are Tenant or TokenURI, ClientID,
// ClientSecret and RefreshToken; without a RefreshToken the application logs in as itself (client credentials). It goes
// before Env.Token.
type OAuth2 = saslx.OAuth2

// The values of the settings that have three ways.
const (
	Auto = "auto"
	On   = "on"
	Off  = "off"
)

// Config is the driver's settings. The zero value of a field means its default, but for Server, Username and the
// credential, which are needed, and for ExpungeEvery, where zero has a meaning of its own.
type Config struct {
	connection.Identity
	connection.NetworkSettings

	Username           string            `json:"username" label:"User name" help:"as the server wants it: juser, juser@example.org, or domain\\juser"`
	Password           connection.Secret `json:"password,omitzero" label:"Password" help:"without one, tokens (oauth2, or the host's token source) or the client certificate log in"`
	OAuth2             *OAuth2           `json:"oauth2,omitempty"`
	TokenScopes        []string          `json:"token_scopes,omitempty" label:"Token scopes" help:"what tokens are asked for, such as https://outlook.office.com/POP.AccessAsUser.All; none means what the token endpoint gives by itself"`
	AuthMechanisms     []string          `json:"auth_mechanisms,omitempty" label:"Authentication" help:"SASL mechanisms in the order of preference, also apop and user-pass; none means the strongest that is offered"`
	AllowPlaintextAuth bool              `json:"allow_plaintext_auth,omitempty" label:"Allow plaintext password" help:"send the password also over a connection without TLS; anybody on the path can read it"`
	AllowAPOP          bool              `json:"allow_apop,omitempty" label:"Allow APOP" help:"APOP uses MD5, which lets a listener guess the password; for servers that have nothing better"`

	MessagesPerCycle int                 `json:"messages_per_cycle,omitempty" label:"Messages per cycle" default:"50" min:"1" max:"1000" help:"messages asked for in one go, on a server that takes several commands at once"`
	PollingInterval  connection.Duration `json:"polling_interval,omitempty" label:"Polling interval" default:"50ms" min:"1ms" help:"wait between two sessions while mail comes in; a server's LOGIN-DELAY is kept in any case"`
	PollingIdleMax   connection.Duration `json:"polling_idle_max,omitempty" label:"Longest polling interval" default:"30s" min:"1ms" help:"the wait doubles up to this while no mail comes in"`

	DeleteMode   DeleteMode `json:"delete_mode,omitempty" label:"Delete" default:"none" enum:"none,delete" help:"what becomes of a message that is stored: none leaves it; delete removes it" recommended:"delete"`
	ExpungeEvery int        `json:"expunge_every" label:"Commit every" default:"500" min:"0" help:"end the session, which removes what is marked, after so many deletes; 0 = when all that the session listed was fetched, and after each delete outside of a fetch" when:"delete_mode=delete"`

	UseTop         string `json:"use_top,omitempty" label:"Use TOP" default:"auto" enum:"auto,off" help:"where the server has no UIDL, tell messages apart by their header; off reads the whole message for that"`
	UTF8           bool   `json:"utf8,omitempty" label:"UTF-8 headers" help:"ask the server for headers in UTF-8 (RFC 6856) where it offers them; it may otherwise send a replacement"`
	Lang           string `json:"lang,omitempty" label:"Language" help:"of the server's error texts, as in \"de\", where it offers a choice (RFC 6856)"`
	Pipelining     string `json:"pipelining,omitempty" label:"Pipelining" default:"auto" enum:"auto,off" help:"auto sends several commands at once where the server offers PIPELINING"`
	TolerateBareLF string `json:"tolerate_bare_lf,omitempty" label:"Tolerate bare LF" default:"auto" enum:"auto,on,off" help:"take LF alone for a line end; auto does so if the server ends its replies that way"`
	MaxMessage     int64  `json:"max_message,omitempty" label:"Largest message" min:"0" help:"octets; a larger message is reported and left alone; 0 = no limit"`

	Idle         Unsupported `json:"idle,omitempty" label:"IDLE" help:"not supported by POP3" form:"false"`
	UnreadOnly   Unsupported `json:"unread_only,omitempty" label:"Unread messages only" help:"not supported by POP3" form:"false"`
	PartialFetch Unsupported `json:"partial_fetch,omitempty" label:"Partial fetch" help:"not supported by POP3" form:"false"`
	Folders      Unsupported `json:"folders,omitempty" label:"Folders" help:"not supported by POP3" form:"false"`
	MoveTo       Unsupported `json:"move_to,omitempty" label:"Move to" help:"not supported by POP3" form:"false"`
}

const (
	defaultMessagesPerCycle = 50
	maxMessagesPerCycle     = 1000
	defaultPollingInterval  = 50 * time.Millisecond
	defaultPollingIdleMax   = 30 * time.Second
	defaultExpungeEvery     = 500
)

// Journal returns the Config for a journal account, with the values that suit a mailbox which is emptied continuously:
// 50 messages in one go, a look every 50 ms while mail flows, every message deleted once it is stored, a commit every
// 500 messages, TLS where the server offers it (and no password without). 30 s to connect and 60 s without data end a
// dead connection.
func Journal(server, username string, password connection.Secret) Config {
	return Config{
		NetworkSettings: connection.NetworkSettings{
			Server:         server,
			Mode:           connection.ModeTLSWhenAvailable,
			ConnectTimeout: connection.Duration(30 * time.Second),
			NoDataTimeout:  connection.Duration(60 * time.Second),
		},
		Username:         username,
		Password:         password,
		MessagesPerCycle: defaultMessagesPerCycle,
		PollingInterval:  connection.Duration(defaultPollingInterval),
		PollingIdleMax:   connection.Duration(defaultPollingIdleMax),
		DeleteMode:       DeleteDelete,
		ExpungeEvery:     defaultExpungeEvery,
	}
}

// Validate implements [connection.Config].
func (c Config) Validate() error {
	if err := c.NetworkSettings.Validate(); err != nil {
		return err
	}
	if c.OAuth2 != nil {
		if err := c.OAuth2.Validate(); err != nil {
			return err
		}
		if !c.Password.IsZero() {
			return errors.New("password, oauth2: give only one")
		}
	}
	account := c.account(func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.Secret{}, nil // whether there is a token is for Open to see
	})
	if err := account.Validate(); err != nil {
		return err
	}
	for _, u := range []struct {
		name  string
		wants Unsupported
	}{{"idle", c.Idle}, {"unread_only", c.UnreadOnly}, {"partial_fetch", c.PartialFetch}, {"folders", c.Folders}, {"move_to", c.MoveTo}} {
		if u.wants {
			return fmt.Errorf("%s: %w", u.name, errUnsupported)
		}
	}
	if err := c.DeleteMode.validate(); err != nil {
		return fmt.Errorf("delete_mode: %w", err)
	}
	switch {
	case c.MessagesPerCycle < 0 || c.MessagesPerCycle > maxMessagesPerCycle:
		return fmt.Errorf("messages_per_cycle: %d: want 1 to %d", c.MessagesPerCycle, maxMessagesPerCycle)
	case c.PollingInterval < 0:
		return errors.New("polling_interval: negative")
	case c.PollingIdleMax < 0:
		return errors.New("polling_idle_max: negative")
	case c.pollingIdleMax() < c.pollingInterval():
		return errors.New("polling_idle_max: below polling_interval")
	case c.ExpungeEvery < 0:
		return fmt.Errorf("expunge_every: %d: want 0 or more", c.ExpungeEvery)
	case c.MaxMessage < 0:
		return errors.New("max_message: negative; 0 means no limit")
	case strings.ContainsFunc(c.Lang, func(r rune) bool {
		return r != '-' && r != '*' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}):
		return fmt.Errorf("lang: %q: want a language tag such as de or en-GB", c.Lang)
	}
	for _, choice := range []struct {
		name, value string
		on          bool
	}{{"use_top", c.UseTop, false}, {"pipelining", c.Pipelining, false}, {"tolerate_bare_lf", c.TolerateBareLF, true}} {
		switch {
		case choice.value == "", choice.value == Auto, choice.value == Off, choice.value == On && choice.on:
		case choice.on:
			return fmt.Errorf("%s: %q: want auto, on or off", choice.name, choice.value)
		default:
			return fmt.Errorf("%s: %q: want auto or off", choice.name, choice.value)
		}
	}
	return nil
}

// account is who logs in, with token as the source of bearer tokens.
func (c *Config) account(token saslx.TokenSource) saslx.Account {
	commands := []string{saslx.UserPass}
	if c.AllowAPOP {
		commands = []string{saslx.APOP, saslx.UserPass}
	}
	return saslx.Account{
		Username: c.Username, Password: c.Password, Token: token, Scopes: c.TokenScopes, Certificate: c.ClientCertPEM != "",
		Mechanisms: c.AuthMechanisms, Commands: commands, AllowPlaintext: c.AllowPlaintextAuth,
	}
}

// port is the port of a server that is given without one (RFC 8314, 7.2; RFC 1939, 3).
func (c *Config) port() int {
	if c.Mode.Or() == connection.ModeTLS {
		return portTLS
	}
	return portClear
}

func (c *Config) messagesPerCycle() int {
	if c.MessagesPerCycle == 0 {
		return defaultMessagesPerCycle
	}
	return c.MessagesPerCycle
}

func (c *Config) pollingInterval() time.Duration {
	if c.PollingInterval == 0 {
		return defaultPollingInterval
	}
	return c.PollingInterval.D()
}

func (c *Config) pollingIdleMax() time.Duration {
	if c.PollingIdleMax == 0 {
		return max(defaultPollingIdleMax, c.pollingInterval())
	}
	return c.PollingIdleMax.D()
}

// pollDelay returns how long to wait after so many looks that found nothing.
func (c *Config) pollDelay(idle int) time.Duration {
	delay, most := c.pollingInterval(), c.pollingIdleMax()
	for range idle {
		if delay >= most/2 {
			return most
		}
		delay *= 2
	}
	return delay
}

func (c *Config) deletes() bool { return c.DeleteMode == DeleteDelete }
