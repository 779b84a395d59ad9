package imapclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

// DriverName is the name of this driver in Settings.
const DriverName = "imap"

// The values of Config.DeleteMode.
const (
	DeleteNone    = "none"    // Delete fails with ErrConfig: nothing is ever removed
	DeleteFlag    = "flag"    // Delete sets \Deleted and leaves the rest to others
	DeleteSeen    = "seen"    // Delete sets \Seen; with Config.UnreadOnly the message does not come again
	DeleteExpunge = "expunge" // Delete sets \Deleted, and expunges as Config.ExpungeEvery says
	DeleteMove    = "move"    // Delete moves to Config.MoveTo
	DeleteTrash   = "trash"   // Delete moves to the folder that the server marks as \Trash
)

// OAuth2 is the setting oauth2: where to get tokens, and with what. Its fields are Tenant or TokenURI, ClientID,
// ClientSecret and RefreshToken; without a RefreshToken the application logs in as itself (client credentials). It goes
// before Env.Token.
type OAuth2 = saslx.OAuth2

// Config is the driver's settings. The zero value of a field means its default, but for Server, Username and Password,
// which are needed, and for ExpungeEvery, where zero has a meaning of its own.
type Config struct {
	connection.Identity
	connection.NetworkSettings

	Username           string            `json:"username" label:"User name" help:"juser, user@domain, domain\\juser, or domain\\juser\\mailbox"`
	Password           connection.Secret `json:"password,omitzero" label:"Password" help:"without one, tokens (oauth2, or the host's token source) or the client certificate log in"`
	OAuth2             *OAuth2           `json:"oauth2,omitempty"`
	AuthMechanisms     []string          `json:"auth_mechanisms,omitempty" label:"Authentication" help:"which mechanisms to use, in this order: external, oauthbearer, xoauth2, scram-sha-256-plus, scram-sha-256, scram-sha-1-plus, scram-sha-1, ntlm, cram-md5, plain, login, login-command; none means the best that the server offers"`
	TokenScopes        []string          `json:"token_scopes,omitempty" label:"Token scopes" help:"what tokens are asked for, such as https://outlook.office.com/IMAP.AccessAsUser.All; none means what the token endpoint gives by itself"`
	AllowPlaintextAuth bool              `json:"allow_plaintext_auth,omitempty" label:"Allow plaintext password" help:"send the password also over a connection without TLS; anybody on the path can read it"`

	Mailboxes    []string `json:"mailboxes,omitempty" label:"Mailboxes" help:"whose mailboxes to open, with the login of username, who must be permitted to; none means the own one"`
	MailboxLogin string   `json:"mailbox_login,omitempty" label:"Login for a mailbox" help:"the user name to send for one of mailboxes, if the server wants it there: {mailbox}*{username} for a Dovecot master user, {username}\\{mailbox} for Exchange. Empty: SASL's authorization identity"`

	Folders          []string `json:"folders,omitempty" label:"Folders" help:"names, with / between the levels; or patterns: * is anything, % anything without /, \\Sent and its like the folder for that use; none means INBOX"`
	ExcludeFolders   []string `json:"exclude_folders,omitempty" label:"Folders left out" help:"names or patterns; they win over folders"`
	UnreadOnly       bool     `json:"unread_only,omitempty" label:"Unread messages only" help:"fetch only messages without the flag \\Seen"`
	MessagesPerCycle int      `json:"messages_per_cycle,omitempty" label:"Messages per cycle" default:"50" min:"1" max:"100" help:"messages in one cycle; one command asks for more where nothing speaks against it"`

	PollingInterval connection.Duration `json:"polling_interval,omitempty" label:"Polling interval" default:"50ms" min:"1ms" help:"wait between two looks at the folders while mail comes in"`
	PollingIdleMax  connection.Duration `json:"polling_idle_max,omitempty" label:"Longest polling interval" default:"30s" min:"1ms" help:"the wait doubles up to this while no mail comes in"`

	Idle           bool                `json:"idle,omitempty" label:"Idle" help:"while waiting, let the server tell of new mail (IDLE); the folders are still looked at as idle_safety_poll says"`
	IdleRenew      connection.Duration `json:"idle_renew,omitempty" label:"Renew IDLE after" default:"9m" min:"10s" max:"29m" help:"servers and firewalls cut what is silent for longer" when:"idle=true"`
	IdleSafetyPoll connection.Duration `json:"idle_safety_poll,omitempty" label:"Look in spite of IDLE after" default:"5m" min:"1ms" help:"so long may mail wait that the server does not tell of; if that happens twice in succession, IDLE is given up" when:"idle=true"`
	IdleLimit      connection.Duration `json:"idle_limit,omitempty" label:"Longest silence in IDLE" min:"1ms" help:"reconnect when nothing at all came for so long; none means idle_renew and a minute" when:"idle=true"`

	PartialFetch bool `json:"partial_fetch,omitempty" label:"Partial fetch" help:"read large messages in chunks, so that a message goes on where it was when the connection broke"`
	ChunkSize    int  `json:"chunk_size,omitempty" label:"Chunk size" default:"524288" min:"4096" max:"67108864" help:"octets; a chunk is kept in memory" when:"partial_fetch=true"`
	MaxSessions  int  `json:"max_sessions,omitempty" label:"Most sessions" min:"0" help:"logins at a time; with 1, reading and deleting take turns; 0 = as many as are needed"`
	MaxAttempts  int  `json:"max_attempts,omitempty" label:"Attempts" default:"3" min:"1" max:"20" help:"how often a message that does not come is asked for by itself before it is reported"`

	DeleteMode        string `json:"delete_mode,omitempty" label:"Delete" default:"none" enum:"none,flag,seen,expunge,move,trash" help:"what becomes of a message that is stored: none leaves it; flag marks it \\Deleted; seen marks it \\Seen; expunge marks and removes it; move takes it to move_to, trash to the server's trash folder" recommended:"expunge"`
	MoveTo            string `json:"move_to,omitempty" label:"Move to" help:"the folder for delete_mode move, with / between the levels" when:"delete_mode=move"`
	ExpungeEvery      int    `json:"expunge_every" label:"Expunge every" default:"500" min:"0" help:"expunge after so many messages were marked, when a Follow finds nothing more, and when the connection is closed; 0 = at the end of each delete" when:"delete_mode=expunge"`
	AllowPlainExpunge bool   `json:"allow_plain_expunge,omitempty" label:"Allow plain expunge" help:"on a server without UIDPLUS, expunge also if that removes messages which somebody else has marked \\Deleted" when:"delete_mode=expunge"`

	Compress string `json:"compress,omitempty" label:"Compress" default:"auto" enum:"auto,off" help:"auto: compress the traffic where the server offers it"`
	SendID   string `json:"send_id,omitempty" label:"Send ID" default:"auto" enum:"auto,before-login,off" help:"tell the server this program's name before the login; auto: only servers that are known to want it"`

	MaxMessage        int64    `json:"max_message,omitempty" label:"Largest message" min:"0" help:"octets; a larger message is reported and left alone; 0 = no limit"`
	DisableExtensions []string `json:"disable_extensions,omitempty" label:"Disable extensions" help:"capabilities of the server to ignore, such as UIDPLUS or LITERAL+"`
	DisableQuirks     []string `json:"disable_quirks,omitempty" label:"Refuse oddities" help:"oddities of the server that are to be errors instead of being worked around, such as flag or copyuid"`

	tokens  saslx.TokenSource // of OAuth2
	mailbox string            // of Mailboxes, in the Conn of one of them
	actFor  string            // the authorization identity there
}

const (
	defaultMessagesPerCycle = 50
	maxMessagesPerCycle     = 100
	defaultPollingInterval  = 50 * time.Millisecond
	defaultPollingIdleMax   = 30 * time.Second
	defaultFolder           = "INBOX"
)

// Journal returns the Config for a journal mailbox, with the values that suit a mailbox which is emptied continuously:
// INBOX, 50 messages a cycle, a look every 50 ms while mail flows, every message removed once it is stored, an expunge
// every 500 messages, TLS where the server offers it (and no password without), whole messages, polling instead of IDLE.
//
// ConnectTimeout and NoDataTimeout are 0, which means none: a server that falls silent without closing the connection
// holds up a verb until its ctx is done or the Conn is closed, and a Follow without a deadline for ever. Give each verb a
// ctx that ends, or set ConnectTimeout (30 s, say) and NoDataTimeout (60 s): then silence is ErrTimeout, and Fetch goes
// on over a new connection.
func Journal(server, username string, password connection.Secret) Config {
	return Config{
		NetworkSettings: connection.NetworkSettings{
			Server: server,
			Mode:   connection.ModeTLSWhenAvailable,
		},
		Username:         username,
		Password:         password,
		MessagesPerCycle: defaultMessagesPerCycle,
		PollingInterval:  connection.Duration(defaultPollingInterval),
		PollingIdleMax:   connection.Duration(defaultPollingIdleMax),
		DeleteMode:       DeleteExpunge,
		ExpungeEvery:     500,
	}
}

// Validate implements [connection.Config].
func (c Config) Validate() error {
	if err := c.NetworkSettings.Validate(); err != nil {
		return err
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
	}
	if err := c.validateAccount(); err != nil {
		return err
	}
	if err := validFolders("folders", c.Folders); err != nil {
		return err
	}
	if err := validFolders("exclude_folders", c.ExcludeFolders); err != nil {
		return err
	}
	if err := c.checkWaiting(); err != nil {
		return err
	}
	if err := c.checkDeleting(); err != nil {
		return err
	}
	switch c.Compress {
	case "", CompressAuto, CompressOff:
	default:
		return fmt.Errorf("compress: %q: want %s or %s", c.Compress, CompressAuto, CompressOff)
	}
	switch c.SendID {
	case "", IDAuto, IDBeforeLogin, IDOff:
	default:
		return fmt.Errorf("send_id: %q: want %s, %s or %s", c.SendID, IDAuto, IDBeforeLogin, IDOff)
	}
	if err := checkQuirks(c.DisableQuirks); err != nil {
		return err
	}
	for _, name := range c.DisableExtensions {
		if !slices.Contains(extensions, strings.ToUpper(name)) {
			return fmt.Errorf("disable_extensions: %q: unknown; there are %s", name, strings.Join(extensions, ", "))
		}
	}
	return nil
}

// validFolder refuses names that no command can carry.
func validFolder(name string) error {
	switch {
	case name == "":
		return errors.New(`"": empty name`)
	case strings.ContainsAny(name, "\r\n\x00"):
		return fmt.Errorf("%q: a name must not hold CR, LF or NUL", name)
	}
	return nil
}

// extensions are the capabilities that disable_extensions may name: all that the driver or the library below it would
// use if the server offers them.
var extensions = []string{
	"ACL", "APPENDLIMIT", "BINARY", "CATENATE", "CHILDREN", "COMPRESS=DEFLATE", "CONDSTORE", "CREATE-SPECIAL-USE",
	"ENABLE", "ESEARCH", "ID", "IDLE", "IMAP4REV2", "LIST-EXTENDED", "LIST-METADATA", "LIST-MYRIGHTS", "LIST-STATUS",
	"LITERAL+", "LITERAL-", "METADATA", "MOVE", "MULTIAPPEND", "NAMESPACE", "OBJECTID", "PREVIEW", "QRESYNC", "QUOTA",
	"SASL-IR", "SAVEDATE", "SEARCHRES", "SORT", "SPECIAL-USE", "STATUS=SIZE", "THREAD", "UIDPLUS", "UNAUTHENTICATE",
	"UNSELECT", "UTF8=ACCEPT", "WITHIN",
}

// port is the port of a server that is given without one.
func (c *Config) port() int {
	if c.Mode.Or() == connection.ModeTLS {
		return portTLS
	}
	return portClear
}

func (c *Config) folders() []string {
	if len(c.Folders) == 0 {
		return []string{defaultFolder}
	}
	return c.Folders
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

// disabled reports whether the settings hide the capability.
func (c *Config) disabled(capability string) bool {
	return slices.ContainsFunc(c.DisableExtensions, func(name string) bool { return strings.EqualFold(name, capability) })
}
