package ews

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
	"github.com/mailconn/mailconn/internal/saslx"
)

// DriverName is the name of this driver in Settings.
const DriverName = "ews"

// The values of Config.Auth.
const (
	AuthAuto  = "auto" // tokens if there is a source of them, else the best that the server offers
	AuthBasic = "basic"
	AuthNTLM  = "ntlm"
	AuthOAuth = "oauth"
)

// The values of Config.Access.
const (
	AccessImpersonation = "impersonation" // in the name of the mailbox's owner, by the role ApplicationImpersonation
	AccessDelegate      = "delegate"      // in the account's own name, by rights on the folders
	AccessOwn           = "own"           // nothing but the account's own mailbox
)

// The values of Config.ImpersonateBy.
const (
	BySMTP    = "smtp"     // the primary address
	BySMTPAny = "smtp-any" // any address of the mailbox
	ByUPN     = "upn"      // the user principal name: mailboxes are then named by it
	BySID     = "sid"      // the security identifier: mailboxes are then named by it
)

// The values of Config.DeleteMode.
const (
	DeleteNone  = "none"  // Delete fails with ErrConfig: nothing is ever removed
	DeleteHard  = "hard"  // HardDelete: no user can recover it; a hold keeps it in Purges
	DeleteSoft  = "soft"  // SoftDelete: to Recoverable Items, where users can recover it for a while
	DeleteTrash = "trash" // MoveToDeletedItems
)

// The values of Config.Notifications.
const (
	NotifyPoll      = "poll"
	NotifyStreaming = "streaming"
	NotifyPull      = "pull"
)

// The words of Config.Fallbacks.
const (
	FallbackRetry    = "retry"     // ask once more
	FallbackMimeUTF8 = "mime-utf8" // ask for MimeContentUTF8 (2013 and later)
	FallbackRebuild  = "rebuild"   // make a message of the item's properties; it carries the label "Reconstructed"
)

// Reconstructed is the label of a message that the server could not convert and that was made of its properties instead.
const Reconstructed = "Reconstructed"

// A Version names an Exchange server: 2007_SP1, 2010, 2010_SP1, 2010_SP2, 2013, 2013_SP1, 2016, 2019, SE, or auto.
type Version string

// UnmarshalText implements encoding.TextUnmarshaler: it explains why 2003 and 2007 cannot be used.
func (v *Version) UnmarshalText(text []byte) error {
	*v = Version(text)
	return v.tooOld()
}

func (v Version) tooOld() error {
	if v == "2003" || v == "2007" {
		return errors.New("EWS needs Exchange 2007 SP1 or later")
	}
	return nil
}

// OAuth2 is the setting oauth2: where to get tokens, and with what. Its fields are Tenant or TokenURI, ClientID,
// ClientSecret and RefreshToken; without a RefreshToken the application logs in as itself (client credentials), which
// Exchange accepts only together with impersonation. It goes before Env.Token.
type OAuth2 = saslx.OAuth2

// A Cache keeps where mailboxes lie, so that autodiscover is not asked at each start. It holds no secret.
type Cache = autodiscover.Cache

// A CacheEntry is what a Cache keeps for one mailbox.
type CacheEntry = autodiscover.Entry

// A RedirectBlockedError says that autodiscover was redirected to where the settings do not permit to send credentials.
type RedirectBlockedError = autodiscover.RedirectBlockedError

// Config is the driver's settings. The zero value of a field means its default. Username is needed unless tokens log in,
// and Server unless autodiscover can begin with the domain of Username.
type Config struct {
	connection.Identity

	Server       string          `json:"server,omitempty" label:"Server" help:"fully qualified name of the (primary) Client Access server, or host:port, or its whole https://host/EWS/Exchange.asmx; not needed if autodiscover works for the domain of username"`
	AllowAnyHost bool            `json:"allow_any_host,omitempty" label:"Allow any host" help:"take an IP address or a name without a domain for server"`
	Mode         connection.Mode `json:"mode,omitempty" label:"Connection mode" default:"tls" enum:"tls,tls-when-available,insecure" help:"tls: https only; tls-when-available: http if the server refuses https connections; insecure: http"`

	ConnectTimeout connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" help:"for dialling and for TLS, as \"30s\" or milliseconds; 0 = none. 30s is a good value" recommended:"30s"`
	NoDataTimeout  connection.Duration `json:"no_data_timeout,omitempty" label:"No-data timeout" help:"give up when the server sends or takes nothing for so long; 0 = none. 2m is a good value, since Exchange may be silent for a minute while it converts messages" recommended:"2m"`
	connection.TLSSettings

	Username           string            `json:"username,omitempty" label:"User name" help:"the account with impersonation rights: user principal name, address, DOM\\user, or a bare name"`
	Password           connection.Secret `json:"password,omitzero" label:"Password" help:"of an account that is not marked to change it at the next logon; without one, tokens (oauth2, or the host's token source) log in"`
	OAuth2             *OAuth2           `json:"oauth2,omitempty"`
	Auth               string            `json:"auth,omitempty" label:"Authentication" default:"auto" enum:"auto,basic,ntlm,oauth" help:"auto: tokens if there are any, else the best that the server offers"`
	AllowPlaintextAuth bool              `json:"allow_plaintext_auth,omitempty" label:"Allow plaintext password" help:"log in over http too; anybody on the path can read the password, or break it"`
	ChannelBinding     string            `json:"channel_binding,omitempty" label:"Channel binding" default:"off" enum:"off,on" help:"tie NTLM logins to the TLS connection, for servers that require Extended Protection; fails behind a balancer that ends TLS" when:"auth=auto,ntlm"`

	Version             Version  `json:"version,omitempty" label:"Exchange version" default:"auto" enum:"auto,2007_SP1,2010,2010_SP1,2010_SP2,2013,2013_SP1,2016,2019,SE" help:"the closest to the server's; it is negotiated downwards, never upwards"`
	DisableAutodiscover bool     `json:"disable_autodiscover,omitempty" label:"Disable autodiscover" help:"every mailbox lies on server"`
	AutodiscoverURLs    []string `json:"autodiscover_urls,omitempty" label:"Autodiscover URLs" help:"https URLs to ask first, such as Active Directory's service connection points give" when:"disable_autodiscover=false"`
	FallbackToServer    bool     `json:"fallback_to_server,omitempty" label:"Fall back to server" help:"use server for a mailbox that autodiscover does not find" when:"disable_autodiscover=false"`
	RedirectAllow       []string `json:"redirect_allow,omitempty" label:"Allowed redirects" help:"further hosts to which autodiscover may send the credentials: a name, or *.domain. The EWS URL that an autodiscover service names is taken as it is" when:"disable_autodiscover=false"`

	Access             string   `json:"access,omitempty" label:"Access" default:"impersonation" enum:"impersonation,delegate,own" help:"how mailboxes other than the account's own are opened: by the role ApplicationImpersonation, by rights on folders, or not at all"`
	ImpersonateBy      string   `json:"impersonate_by,omitempty" label:"Impersonate by" default:"smtp" enum:"smtp,smtp-any,upn,sid" help:"what mailboxes are named by: primary address, any address, user principal name or security identifier" when:"access=impersonation"`
	Mailboxes          []string `json:"mailboxes,omitempty" label:"Mailboxes" help:"addresses; none means the account's own, or what groups and the server list"`
	TestMailbox        string   `json:"test_mailbox,omitempty" label:"Test mailbox" help:"the mailbox that a test opens; none means the first of mailboxes"`
	Groups             []string `json:"groups,omitempty" label:"Groups" help:"addresses of distribution lists whose members are the mailboxes"`
	IncludeArchive     bool     `json:"include_archive,omitempty" label:"Include archives" help:"list in-place archive mailboxes too"`
	IncludeRecoverable bool     `json:"include_recoverable,omitempty" label:"Include recoverable items" help:"list the folders of deleted items too"`
	FolderClasses      []string `json:"folder_classes,omitempty" label:"Folder classes" help:"classes of the folders to visit, such as IPF.Note, with those derived from it; none means IPF.Note and folders without a class"`

	Journal    bool   `json:"journal,omitempty" label:"Journal reports" help:"take a journal report apart: what is fetched is the message in it, with the envelope that it tells"`
	DeleteMode string `json:"delete_mode,omitempty" label:"Delete" default:"none" enum:"none,hard,soft,trash" help:"what becomes of a message that is stored: none leaves it, hard removes it, soft leaves it to be recovered for a while, trash moves it to Deleted Items"`
	SaveSent   bool   `json:"save_sent,omitempty" label:"Save sent mail" help:"keep a copy of what is sent in Sent Items"`

	BatchItems     int                 `json:"batch_items,omitempty" label:"Items per request" default:"10" min:"1" max:"100" help:"messages asked for in one request; the server gives up after a minute"`
	BatchBytes     int64               `json:"batch_bytes,omitempty" label:"Octets per request" default:"16777216" min:"1048576" help:"octets of the messages asked for in one request"`
	BigItemBytes   int64               `json:"big_item_bytes,omitempty" label:"Big message" min:"1" help:"a larger message is asked for alone; none means 8 MiB, or batch_bytes if that is less"`
	MaxConnections int                 `json:"max_connections,omitempty" label:"Most requests at once" default:"10" min:"1" max:"27" help:"for each mailbox; 4 to begin with. The server's own limit is 27, with Exchange 2010 it is 10"`
	PollInterval   connection.Duration `json:"poll_interval,omitempty" label:"Polling interval" default:"10s" help:"pause between two looks when nothing is new; at least 1s"`
	Notifications  string              `json:"notifications,omitempty" label:"Notifications" default:"poll" enum:"poll,streaming,pull" help:"how to learn of new mail: by looking, or from the server, which is looked at in spite of that every ten minutes"`
	Fallbacks      []string            `json:"fallbacks,omitempty" label:"Fallbacks" default:"[\"retry\"]" help:"what to try, in this order, for a message that the server cannot convert: retry, mime-utf8, rebuild; an empty list is none"`
	UserAgent      string              `json:"user_agent,omitempty" label:"User agent" help:"what this program calls itself; none means mailconn"`

	// RedirectPolicy, if not nil, decides instead of RedirectAllow and the driver's own rules whether autodiscover may
	// follow a redirect to another https URL: nil means yes.
	RedirectPolicy func(from, to *url.URL) error `json:"-"`
	// Cache keeps what autodiscover found; nil keeps it in memory.
	Cache Cache `json:"-"`
	// LookupSRV resolves SRV records; nil means the system's resolver.
	LookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) `json:"-"`
}

const (
	defaultBatchItems     = 10
	maxBatchItems         = 100
	defaultBatchBytes     = 16 << 20
	minBatchBytes         = 1 << 20
	defaultBigItemBytes   = 8 << 20
	defaultMaxConnections = 10
	maxConnections        = 27 // EWSMaxConcurrency of a default throttling policy
	defaultPollInterval   = 10 * time.Second
	minPollInterval       = time.Second
	defaultUserAgent      = "mailconn"
)

// Journal returns the Config for a journal mailbox on a server: the values that suit a mailbox which is emptied
// continuously. Messages are unwrapped from their journal reports, and removed for good once they are stored; nothing
// but the account's own mailbox is opened, by TLS only, and looked at every second.
//
// ConnectTimeout and NoDataTimeout are 0, which means none: give each verb a ctx that ends, or set them.
func Journal(server, username string, password connection.Secret) Config {
	return Config{
		Server:              server,
		Username:            username,
		Password:            password,
		DisableAutodiscover: true,
		Access:              AccessOwn,
		Journal:             true,
		DeleteMode:          DeleteHard,
		BatchItems:          50,
		PollInterval:        connection.Duration(minPollInterval),
	}
}

func (c *Config) auth() string          { return or(c.Auth, AuthAuto) }
func (c *Config) access() string        { return or(c.Access, AccessImpersonation) }
func (c *Config) impersonateBy() string { return or(c.ImpersonateBy, BySMTP) }
func (c *Config) deleteMode() string    { return or(c.DeleteMode, DeleteNone) }
func (c *Config) notifications() string { return or(c.Notifications, NotifyPoll) }
func (c *Config) userAgent() string     { return or(c.UserAgent, defaultUserAgent) }
func (c *Config) version() Version      { return or(c.Version, "auto") }
func (c *Config) batchItems() int       { return or(c.BatchItems, defaultBatchItems) }
func (c *Config) batchBytes() int64     { return or(c.BatchBytes, defaultBatchBytes) }
func (c *Config) maxConnections() int   { return or(c.MaxConnections, defaultMaxConnections) }

func (c *Config) bigItemBytes() int64 {
	return or(c.BigItemBytes, min(defaultBigItemBytes, c.batchBytes()))
}

func (c *Config) pollInterval() time.Duration {
	return max(or(c.PollInterval.D(), defaultPollInterval), minPollInterval)
}

// fallbacks returns the ladder for items that cannot be converted. Only nil means the default.
func (c *Config) fallbacks() []string {
	if c.Fallbacks == nil {
		return []string{FallbackRetry}
	}
	return c.Fallbacks
}

// visits reports whether folder_classes ask for a folder of this class.
func (c *Config) visits(class string) bool {
	if len(c.FolderClasses) == 0 {
		return class == "" || derived(class, "IPF.Note")
	}
	return slices.ContainsFunc(c.FolderClasses, func(want string) bool {
		return strings.EqualFold(class, want) || want != "" && derived(class, want)
	})
}

// derived reports whether class is base or derived from it: IPF.Note.OutlookHomepage is derived from IPF.Note.
func derived(class, base string) bool {
	return len(class) >= len(base) && strings.EqualFold(class[:len(base)], base) && (len(class) == len(base) || class[len(base)] == '.')
}

// or returns v, or otherwise if v is zero.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// choices are the settings that are one word of a few.
func (c *Config) choices() error {
	for _, choice := range []struct {
		name, value string
		want        []string
	}{
		{"auth", c.Auth, []string{AuthAuto, AuthBasic, AuthNTLM, AuthOAuth}},
		{"channel_binding", c.ChannelBinding, []string{"off", "on"}},
		{"version", string(c.Version), []string{"auto", "2007_SP1", "2010", "2010_SP1", "2010_SP2", "2013", "2013_SP1", "2016", "2019", "SE"}},
		{"access", c.Access, []string{AccessImpersonation, AccessDelegate, AccessOwn}},
		{"impersonate_by", c.ImpersonateBy, []string{BySMTP, BySMTPAny, ByUPN, BySID}},
		{"delete_mode", c.DeleteMode, []string{DeleteNone, DeleteHard, DeleteSoft, DeleteTrash}},
		{"notifications", c.Notifications, []string{NotifyPoll, NotifyStreaming, NotifyPull}},
	} {
		if choice.value != "" && !slices.Contains(choice.want, choice.value) {
			return fmt.Errorf("%s: %q: want %s", choice.name, choice.value, orList(choice.want))
		}
	}
	return nil
}

func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
