package gmail

import (
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// DriverName is the name of this driver in Settings.
const DriverName = "gmail"

// The values of Config.Retrieval.
const (
	RetrieveSynchronize = "synchronize" // every selected mailbox, as it is
	RetrieveMonitors    = "monitors"    // the copies that Google sends to one destination mailbox (Email Audit API)
)

// The words of Config.Verbs.
const (
	VerbDelete = "delete"
	VerbAppend = "append"
	VerbSend   = "send"
)

// The values of Config.DeleteMode.
const (
	DeleteTrash = "trash"  // messages.trash: Google removes it for good after 30 days
	DeleteHard  = "delete" // messages.batchDelete: gone at once, for everybody but Vault
)

// The values of Config.AppendMethod.
const (
	AppendImport = "import" // messages.import: classified as if it came by SMTP
	AppendInsert = "insert" // messages.insert: stored as IMAP's APPEND does
)

// The values of Config.InternalDate.
const (
	DateHeader   = "dateHeader"   // what the message's Date field says
	ReceivedTime = "receivedTime" // when Google takes the message
)

// The values of Config.Upload.
const (
	UploadAuto  = "auto"  // json up to 4 MiB, media above
	UploadJSON  = "json"  // one JSON request that holds the message in base64
	UploadMedia = "media" // multipart, and resumable for large messages
)

// The values of Config.QuotaProfile.
const (
	Quota2026   = "2026"   // 6,000 units a minute and user, 20 for a message: projects made since May 2026
	QuotaLegacy = "legacy" // 15,000 units a minute and user, 5 for a message: projects in use before that
)

// The levels of MonitorSettings.
const (
	LevelNone    = "none"
	LevelHeaders = "headers"
	LevelFull    = "full"
)

// Config is the driver's settings. The zero value of a field means its default, except for the timeouts: there it means
// none, and the default is that of JSON.
//
// Credentials or Keyless open all mailboxes of a domain, and need Admin. OAuth2 opens the one mailbox of the person who
// consented. Without any of them connection.Env.Token gives the tokens: of one mailbox, or, where Admin is set, of each
// mailbox and scope that it is asked for.
type Config struct {
	connection.Identity

	Retrieval   string            `json:"retrieval,omitempty" label:"Retrieval" default:"synchronize" enum:"synchronize,monitors" help:"synchronize: read every selected mailbox; monitors: let Google send copies to one mailbox and read that, for those who need the envelope"`
	Credentials connection.Secret `json:"credentials,omitzero" label:"Service account key" help:"text of the JSON key of a service account with domain-wide delegation; every other URL in it than that of Google's token service is refused or ignored"`
	Keyless     *Keyless          `json:"keyless,omitempty"`
	OAuth2      *OAuth2           `json:"oauth2,omitempty"`
	Admin       string            `json:"admin,omitempty" label:"Administrator" help:"address of the Workspace administrator in whose name the directory is read: one with the privilege Users > Read, for monitors a super administrator"`
	Customer    string            `json:"customer,omitempty" label:"Customer" default:"my_customer" help:"customer id of the directory; not with domain"`
	Domain      string            `json:"domain,omitempty" label:"Domain" help:"only the users of this one domain; for monitors the domain of admin is meant where none is given"`

	Include          []string `json:"include,omitempty" label:"Mailboxes" help:"addresses, primary or alias, or patterns such as *@sales.example.org; none means all"`
	Exclude          []string `json:"exclude,omitempty" label:"Mailboxes left out" help:"addresses or patterns as in include; what is excluded is never read"`
	OrgUnits         []string `json:"org_units,omitempty" label:"Organisational units" help:"paths such as /Sales, with the units below them; none means all"`
	ExcludeOrgUnits  []string `json:"exclude_org_units,omitempty" label:"Organisational units left out" help:"paths such as /Sales/Interns, with the units below them"`
	Groups           []string `json:"groups,omitempty" label:"Groups" help:"addresses of groups whose members are read, also those of groups in them; none means everybody"`
	ExcludeGroups    []string `json:"exclude_groups,omitempty" label:"Groups left out" help:"addresses of groups whose members are never read"`
	IncludeSuspended bool     `json:"include_suspended,omitempty" label:"List suspended users" help:"list suspended and archived users as mailboxes too, although their mail cannot be read"`

	IncludeSpamTrash bool   `json:"include_spam_trash,omitempty" label:"Spam and trash" help:"read what lies in Spam and Trash too; without it an archive lacks what its users delete before it is read"`
	IncludeDrafts    bool   `json:"include_drafts,omitempty" label:"Drafts" help:"read drafts too; each time a draft is saved it becomes another message"`
	IncludeChat      bool   `json:"include_chat,omitempty" label:"Chats" help:"read chats too; most of them cannot be had as messages"`
	FolderDelimiter  string `json:"folder_delimiter,omitempty" label:"Folder delimiter" default:"/" help:"one character between the levels of folder names; where it is part of a label's name it is written as %XX"`
	PageSize         int    `json:"page_size,omitempty" label:"Page size" default:"500" min:"1" max:"500" help:"ids or changes asked for at once"`
	MaxMessage       int64  `json:"max_message,omitempty" label:"Largest message" min:"0" help:"octets; a larger message is reported and not read; 0 = no limit"`
	SpoolMemory      int64  `json:"spool_memory,omitempty" label:"Memory for a message" default:"1048576" min:"1024" help:"octets of one message that are kept in memory; a larger one goes through a temporary file"`

	Verbs         []string `json:"verbs,omitempty" label:"Verbs" help:"what this program does besides reading: delete, append, send. Anything else fails before a request is made; monitors may delete from the destination"`
	DeleteMode    string   `json:"delete_mode,omitempty" label:"Delete" enum:"trash,delete" help:"what becomes of a message that is deleted: trash leaves it to its user for 30 days, delete removes it for good. None given means trash, and delete for monitors"`
	AppendMethod  string   `json:"append_method,omitempty" label:"Append by" default:"import" enum:"import,insert" help:"import: as if the message came by SMTP; insert: nearly unchecked, as IMAP does"`
	NeverMarkSpam *bool    `json:"never_mark_spam,omitempty" label:"Never mark as spam" default:"true" help:"what is appended by import is not classified as spam" when:"append_method=import"`
	InternalDate  string   `json:"internal_date,omitempty" label:"Date of appended mail" default:"dateHeader" enum:"dateHeader,receivedTime" help:"what Gmail sorts an appended message by: its Date field, or the time of arrival"`
	VaultOnly     bool     `json:"vault_only,omitempty" label:"Vault only" help:"what is appended is visible to Vault alone, not in the mailbox"`
	Upload        string   `json:"upload,omitempty" label:"Upload" default:"auto" enum:"auto,json,media" help:"form in which messages are sent: auto takes json up to 4 MiB and media above"`

	QuotaProfile    string              `json:"quota_profile,omitempty" label:"Quota profile" default:"2026" enum:"2026,legacy" help:"2026: 6,000 units a minute and user; legacy: 15,000, for Google projects that were in use before May 2026"`
	DailyBudget     int64               `json:"daily_budget,omitempty" label:"Daily budget" default:"72000000" min:"1" help:"quota units a day for the project; first synchronizations end there, and later ones keep the last tenth"`
	Parallel        int                 `json:"parallel,omitempty" label:"Requests at once" default:"4" min:"1" max:"10" help:"for each mailbox, to begin with; it adapts between 1 and 10"`
	PollInterval    connection.Duration `json:"poll_interval,omitempty" label:"Polling interval" default:"60s" min:"1s" help:"pause between two looks at an active mailbox"`
	PollIntervalMax connection.Duration `json:"poll_interval_max,omitempty" label:"Longest polling interval" default:"15m" min:"1s" help:"pause between two looks at a mailbox where nothing happens"`
	Retries         int                 `json:"retries,omitempty" label:"Attempts" default:"6" min:"1" max:"20" help:"how often a request that may be repeated is made in all"`

	Monitors MonitorSettings `json:"monitors,omitzero"`

	ConnectTimeout  connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for dialling and for TLS, as \"30s\" or milliseconds; 0 = none"`
	NoDataTimeout   connection.Duration `json:"no_data_timeout,omitempty" label:"No-data timeout" default:"60s" help:"give up an attempt when nothing more is sent or taken for so long; 0 = none"`
	ResponseTimeout connection.Duration `json:"response_header_timeout,omitempty" label:"Response timeout" default:"60s" help:"give up an attempt when an answer has not begun so long after the request; 0 = none"`
	connection.TLSSettings

	Endpoint          string `json:"endpoint,omitempty" label:"Endpoint" help:"base URL of the Gmail API instead of Google's, without a path; the directory and the audit feed are asked there too unless they are given"`
	DirectoryEndpoint string `json:"directory_endpoint,omitempty" label:"Directory endpoint" help:"base URL of the directory (Admin SDK)"`
	AuditEndpoint     string `json:"audit_endpoint,omitempty" label:"Audit endpoint" help:"base URL of the Email Audit API"`
	CustomEndpoints   bool   `json:"custom_endpoints,omitempty" label:"Other hosts than Google's" help:"permit endpoints and a token_uri at hosts that are not Google's, and http on this machine: for tests and gateways"`
	UserAgent         string `json:"user_agent,omitempty" label:"User agent" help:"what this program calls itself; it must contain gzip, without which Google compresses nothing. None means mailconn (gzip)"`
}

// Keyless is the setting keyless: a service account with domain-wide delegation whose key stays with Google. It is the one
// setting that makes the driver read the environment, where the Google libraries find the process's own credentials.
type Keyless = token.Keyless

// OAuth2 is the setting oauth2: the consent of one person. A refresh token of a project whose consent screen is in
// testing ends after seven days.
type OAuth2 = token.Refresh

// MonitorSettings are the setting monitors, for retrieval by monitors.
type MonitorSettings struct {
	Destination    string              `json:"destination,omitempty" label:"Destination" help:"the mailbox that receives the copies: an address in the domain, or the part before the @" when:"retrieval=monitors"`
	Incoming       string              `json:"incoming,omitempty" label:"Incoming mail" default:"full" enum:"full,headers" help:"what is copied of mail that a user receives" when:"retrieval=monitors"`
	Outgoing       string              `json:"outgoing,omitempty" label:"Outgoing mail" default:"full" enum:"full,headers" help:"what is copied of mail that a user sends" when:"retrieval=monitors"`
	Drafts         string              `json:"drafts,omitempty" label:"Drafts" default:"none" enum:"none,headers,full" help:"what is copied of drafts" when:"retrieval=monitors"`
	Chat           string              `json:"chat,omitempty" label:"Chats" default:"none" enum:"none,headers,full" help:"what is copied of chats" when:"retrieval=monitors"`
	Lifetime       connection.Duration `json:"lifetime,omitempty" label:"Lifetime" default:"8760h" min:"24h" help:"how long a monitor lasts; longer than renew_before" when:"retrieval=monitors"`
	RenewBefore    connection.Duration `json:"renew_before,omitempty" label:"Renew before" default:"720h" min:"1h" help:"a monitor that ends within this time is renewed" when:"retrieval=monitors"`
	DailyWrites    int                 `json:"daily_writes,omitempty" label:"Writes a day" default:"900" min:"1" max:"1000" help:"monitors made or removed in a day; Google permits 1,000 in a domain" when:"retrieval=monitors"`
	RemoveDeparted bool                `json:"remove_departed,omitempty" label:"Remove departed" help:"remove the monitors of users who are not selected any more" when:"retrieval=monitors"`
	CheckInterval  connection.Duration `json:"check_interval,omitempty" label:"Check interval" default:"24h" min:"1m" help:"how long it is believed what Google said about a user's monitors" when:"retrieval=monitors"`
	Unwrap         *bool               `json:"unwrap,omitempty" label:"Unwrap" default:"true" help:"archive the message that is attached to a copy, instead of the copy" when:"retrieval=monitors"`
}

const (
	defaultCustomer        = "my_customer"
	defaultPageSize        = 500
	minSpoolMemory         = 1024
	minPollInterval        = time.Second
	defaultSpoolMemory     = 1 << 20
	defaultDailyBudget     = 72_000_000
	defaultParallel        = 4
	maxParallel            = 10
	defaultPollInterval    = time.Minute
	defaultPollIntervalMax = 15 * time.Minute
	defaultRetries         = 6
	maxRetries             = 20
	defaultLifetime        = 365 * 24 * time.Hour
	defaultRenewBefore     = 30 * 24 * time.Hour
	defaultDailyWrites     = 900
	maxDailyWrites         = 1000
	defaultCheckInterval   = 24 * time.Hour
	defaultUserAgent       = "mailconn (gzip)"
)

func (c *Config) retrieval() string       { return or(c.Retrieval, RetrieveSynchronize) }
func (c *Config) customer() string        { return or(c.Customer, defaultCustomer) }
func (c *Config) folderDelimiter() string { return or(c.FolderDelimiter, "/") }
func (c *Config) pageSize() int64         { return int64(or(c.PageSize, defaultPageSize)) }
func (c *Config) spoolMemory() int64      { return or(c.SpoolMemory, defaultSpoolMemory) }
func (c *Config) appendMethod() string    { return or(c.AppendMethod, AppendImport) }
func (c *Config) neverMarkSpam() bool     { return c.NeverMarkSpam == nil || *c.NeverMarkSpam }
func (c *Config) internalDate() string    { return or(c.InternalDate, DateHeader) }
func (c *Config) upload() string          { return or(c.Upload, UploadAuto) }
func (c *Config) quotaProfile() string    { return or(c.QuotaProfile, Quota2026) }
func (c *Config) dailyBudget() int64      { return or(c.DailyBudget, defaultDailyBudget) }
func (c *Config) parallel() int           { return or(c.Parallel, defaultParallel) }
func (c *Config) retries() int            { return or(c.Retries, defaultRetries) }
func (c *Config) userAgent() string       { return or(c.UserAgent, defaultUserAgent) }

func (c *Config) pollInterval() time.Duration {
	return or(c.PollInterval.D(), defaultPollInterval)
}

func (c *Config) pollIntervalMax() time.Duration {
	return max(or(c.PollIntervalMax.D(), defaultPollIntervalMax), c.pollInterval())
}

// deleteMode returns what Delete does. Copies in the destination of monitors are of no use to anybody in its trash.
func (c *Config) deleteMode() string {
	if c.DeleteMode == "" && c.monitored() {
		return DeleteHard
	}
	return or(c.DeleteMode, DeleteTrash)
}

// monitored reports whether mail is retrieved by monitors.
func (c *Config) monitored() bool { return c.retrieval() == RetrieveMonitors }

func (m *MonitorSettings) lifetime() time.Duration { return or(m.Lifetime.D(), defaultLifetime) }
func (m *MonitorSettings) renewBefore() time.Duration {
	return or(m.RenewBefore.D(), defaultRenewBefore)
}

func (m *MonitorSettings) dailyWrites() int { return or(m.DailyWrites, defaultDailyWrites) }

func (m *MonitorSettings) checkInterval() time.Duration {
	return or(m.CheckInterval.D(), defaultCheckInterval)
}
func (m *MonitorSettings) unwrap() bool { return m.Unwrap == nil || *m.Unwrap }

// or returns v, or otherwise if v is zero.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
