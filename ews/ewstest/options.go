package ewstest

import "time"

// Options say what server to start. The zero value is a well-behaved Exchange 2016.
type Options struct {
	// Version is the product: "2007_SP1", "2010", "2010_SP1", "2010_SP2", "2013", "2013_SP1", "2016", "2019" or "SE"; "" is
	// "2016".
	Version string
	// IgnoreVersion takes every RequestServerVersion, as some servers that are not Exchange do.
	IgnoreVersion bool
	// Domain is the NetBIOS name of the Windows domain; "" is "CORP".
	Domain string
	// Clock is where the server has the time from; nil is the system's.
	Clock Clock

	// AllowBadRequests lets a test pass though the server was sent what Exchange refuses.
	AllowBadRequests bool
	// AllowChunked takes request bodies without a Content-Length.
	AllowChunked bool
	// NeedAnchor answers 503 to requests without X-AnchorMailbox.
	NeedAnchor bool
	// ServicePage answers an authenticated GET with a page, and not with 405.
	ServicePage bool
	// MaxRequest is the largest request body in octets; 0 = 64 MiB.
	MaxRequest int64
	// Without switches off operations: they are answered as unknown.
	Without []string

	// LongIDs makes ids of items and folders longer than 512 characters.
	LongIDs bool
	// MIME is how messages are given out.
	MIME MIMEMode
	// Seed decides everything random; the same seed gives the same ids and orders.
	Seed uint64

	// Size is what the server says about the size of a message from its true one; nil = the truth.
	Size func(int64) int64
	// MaxMessage is the largest message that CreateItem takes, in octets; 0 = no limit.
	MaxMessage int64
	// Quirks are habits of some servers.
	Quirks Quirks

	// StateSize makes sync states at least so long, in octets.
	StateSize int
	// SyncCap is the most changes in one page of a sync; 0 = 512.
	SyncCap int
	// SyncOrder is the order of changes within a sync; "" is that of the version.
	SyncOrder SyncOrder
	// SilentResync answers a bad sync state with everything from the beginning, and not with ErrorInvalidSyncStateData.
	SilentResync bool
	// UnknownUserCode is the code for a mailbox that does not exist; "" is ErrorNonExistentMailbox.
	UnknownUserCode string

	// Auth is how clients authenticate.
	Auth Authentication
	// Hosts are the names of the network that are not simply the server; "*" stands for all names that are missing here.
	Hosts map[string]Host
	// SRV are the answers of [Server.LookupSRV], by names such as "_autodiscover._tcp.corp.test".
	SRV map[string][]SRV
	// Autodiscover is how the server answers autodiscover.
	Autodiscover Autodiscover
	// Throttle limits what clients may ask for.
	Throttle Throttle
	// Dialect is how answers are written, Shred how they are cut up on their way.
	Dialect Dialect
	Shred   Shred
	// Streaming is how GetStreamingEvents behaves.
	Streaming Streaming
}

// Quirks are deviations, each of which real servers show. The zero value has none.
type Quirks struct {
	StrayDate      bool // an item of which only the id was asked for has a DateTimeReceived too, with the time of the Date header
	Groups         bool // FindItem: an empty Groups beside Items, which the schema forbids
	ShortPages     bool // FindItem: a page has half of what was asked for
	ZeroOffset     bool // FindItem: IndexedPagingOffset is 0 though the page is not the last
	StuckOffset    bool // FindItem: pages are empty and not the last, for ever
	IgnoreQuery    bool // FindItem: QueryString and SeekToConditionPageItemView are taken and not obeyed
	RefuseOrEqual  bool // FindItem: IsGreaterThanOrEqualTo and IsLessThanOrEqualTo are ErrorInvalidRestriction
	ReadAsUpdate   bool // SyncFolderItems: a read flag that changed is an Update
	NeverLast      bool // SyncFolderItems: when nothing is left, the same state comes back, and it is not the last
	EmptyPages     bool // SyncFolderItems: before each page with changes comes an empty one that is not the last
	Twice          bool // SyncFolderItems: every change is told twice
	NoWatermark    bool // Subscribe: no watermark for a pull subscription
	NoSendAsCheck  bool // CreateItem: anybody sends as anybody
	KeepBcc        bool // CreateItem: recipients see the Bcc header
	NoMeetingCheck bool // DeleteItem: meetings are deleted without SendMeetingCancellations
}

// A Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// A MIMEMode is how messages are given out.
type MIMEMode string

// The ways to give out messages.
const (
	MIMEVerbatim      MIMEMode = ""              // octet for octet as delivered
	MIMEResynthesised MIMEMode = "resynthesised" // made anew at each call, as Exchange does: transport headers are lost, boundaries change
)

// A SyncOrder is the order of the changes that a sync tells.
type SyncOrder string

// The orders of a sync. The default is OldestFirst before 2010_SP2, and NewestFirst from there.
const (
	OldestFirst SyncOrder = "oldest"
	NewestFirst SyncOrder = "newest"
	Shuffled    SyncOrder = "shuffled"
)
