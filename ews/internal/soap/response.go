package soap

import (
	"io"
	"strconv"
	"strings"
	"time"
)

// The values of Response.Class.
const (
	Success = "Success"
	Warning = "Warning"
	Failed  = "Error"
)

// NoError is the Response.Code of a success.
const NoError = "NoError"

// A Response is one response message of an answer: what became of one requested item, folder or list. Which fields are set
// depends on the operation. If Body is not nil, what follows the payload in the answer is not yet read: everything is
// complete once Body has returned io.EOF.
type Response struct {
	Index int    // position in the answer, from 0; items are answered in the order of the request
	Class string // Success, Warning, Failed; "" if the server is silent
	Code  string // ResponseCode: "NoError", "ErrorItemNotFound"; "" if the server is silent
	Text  string // MessageText, for people

	Values       map[string]string // MessageXml's Value elements by Name
	Line, Column int               // where in the request the fault is, if MessageXml says so
	Violation    string            // what MessageXml says is wrong with the request

	Items   []Item
	Folders []Folder
	Changes []Change

	SyncState  string
	Last       bool // IncludesLastItemInRange or IncludesLastFolderInRange
	LastKnown  bool // the server sent it
	NextOffset int  // RootFolder's IndexedPagingOffset; -1 if it is absent
	Total      int  // TotalItemsInView, of people TotalNumberOfPeopleInView; -1 if it is absent

	Mailboxes  []Mailbox       // of ExpandDL, ResolveNames, FindPeople and GetSearchableMailboxes
	Unreadable []FailedMailbox // of GetSearchableMailboxes

	Subscription        string // of Subscribe
	Watermark           string // of Subscribe; "" if the server sends none
	Notifications       []Notification
	ConnectionStatus    string   // of GetStreamingEvents: "OK", "Closed"
	FailedSubscriptions []string // of GetStreamingEvents

	Alternate []AlternateID // of ConvertId

	body io.Reader
}

// OK reports whether the response message tells of a success, perhaps with a warning. A server that states neither class nor
// code has not failed.
func (r *Response) OK() bool {
	return r.Class != Failed && (r.Class != "" || r.Code == "" || r.Code == NoError)
}

// Body returns the octets of the payload: a message's MIME, an attachment, an exported item. It is nil unless there is at
// least one octet, so that nothing looks like an empty message. Its Read returns io.EOF only after the end of the response
// message was read, OK holds for it, and its id is the expected one. An error concerns this payload alone if Reader.Next goes on
// after it. It is valid until the next call of Reader.Next, and for one goroutine.
func (r *Response) Body() io.Reader { return r.body }

// InnerCode returns the code of the error below this one, "" if there is none.
func (r *Response) InnerCode() string { return excerpt(r.Values["InnerErrorResponseCode"]) }

// BackOff returns how long the server asks us to wait, and false if it does not say. It may be 0.
func (r *Response) BackOff() (time.Duration, bool) { return backOff(r.Values) }

// backOff reads BackOffMilliseconds, which is in milliseconds. Negative and unreadable values count as absent, absurd ones
// as the longest duration.
func backOff(values map[string]string) (time.Duration, bool) {
	text, ok := values["BackOffMilliseconds"]
	if !ok {
		return 0, false
	}
	ms, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case err != nil, !(ms >= 0):
		return 0, false
	case ms > float64(maxDuration/time.Millisecond):
		return maxDuration, true
	}
	return time.Duration(ms * float64(time.Millisecond)), true
}

const maxDuration = time.Duration(1<<63 - 1)

// An Item is anything that lies in a folder. Its fields are those that were asked for; the others are zero.
type Item struct {
	Kind         string // the element's name: "Message", "MeetingRequest", "Contact"; of GetAttachment "FileAttachment"
	ID           string // case-sensitive, of any length; of GetAttachment the attachment's
	ChangeKey    string
	ParentFolder string // its id
	Class        string // "IPM.Note"
	Subject      string
	Sensitivity  string
	Importance   string
	Size         int64 // -1 if the server does not tell
	Received     time.Time
	Sent         time.Time
	Created      time.Time
	Modified     time.Time
	MessageID    string // InternetMessageId, as it stands, with its brackets
	InReplyTo    string
	References   string
	Read         bool
	ReadKnown    bool // the server sent IsRead
	Draft        bool
	Associated   bool
	Attached     bool // HasAttachments
	Categories   []string
	From         *Mailbox
	Sender       *Mailbox
	To, Cc, Bcc  []Mailbox
	Text         string // Body
	TextType     string // its BodyType: "HTML", "Text"
	Headers      []HeaderField
	Attachments  []Attachment

	Extended map[string]string // by Path.Key; several values are joined by LF

	Name        string // of an attachment
	ContentType string // of an attachment
}

// A HeaderField is one of InternetMessageHeaders.
type HeaderField struct{ Name, Value string }

// An Attachment is one of an item's attachments.
type Attachment struct {
	Item        bool // an ItemAttachment: another item
	ID          string
	Name        string
	ContentType string
	ContentID   string
	Size        int64 // -1 if the server does not tell
	Inline      bool
}

// A Folder is one folder. Its fields are those that were asked for; the others are zero.
type Folder struct {
	Kind          string // "Folder", "SearchFolder", "CalendarFolder"
	ID            string
	ChangeKey     string
	Parent        string // its id
	Class         string // "IPF.Note"
	Name          string // DisplayName: may hold any character that XML has
	Total         int64  // TotalCount; -1 if the server does not tell
	Children      int64  // ChildFolderCount; -1 likewise
	Unread        int64  // UnreadCount; -1 likewise
	Distinguished string // DistinguishedFolderId, from 2013: "inbox"

	Extended map[string]string // by Path.Key
}

// The values of Change.Op.
const (
	Created   = "Create"
	Updated   = "Update"
	Deleted   = "Delete"
	ReadFlags = "ReadFlagChange"
)

// A Change is one of a synchronisation: of an item, or of a folder if Folder is not nil.
type Change struct {
	Op     string
	Item   *Item   // of ReadFlags its ids and Read, of Deleted its ids only
	Folder *Folder // of Deleted its ids only
}

// A Mailbox is a mail address, with what is known of it.
type Mailbox struct {
	Name    string // for people
	Address string
	Routing string // "SMTP", "EX"
	Type    string // "Mailbox", "PublicDL", "PrivateDL", "Contact"
	ItemID  string // of a private distribution list

	// Of GetSearchableMailboxes.
	GUID        string
	ReferenceID string
	External    bool // not in this organisation; Address is then its ExternalEmailAddress
	Group       bool // IsMembershipGroup
}

// A FailedMailbox is one that GetSearchableMailboxes could not look at.
type FailedMailbox struct {
	Mailbox, Code, Text string
	Archive             bool
}

// A Notification is what a subscription brings.
type Notification struct {
	Subscription string
	Previous     string // PreviousWatermark
	More         bool   // MoreEvents
	Events       []Event
}

// An Event is one of a Notification. It is a hint, not a history.
type Event struct {
	Kind         string // "NewMailEvent", "CreatedEvent", "StatusEvent"
	Watermark    string
	Time         time.Time
	Item         string // its id; "" if the event is of a folder
	Folder       string // its id; "" if the event is of an item
	ParentFolder string
	OldItem      string // of MovedEvent and CopiedEvent
	OldFolder    string
	OldParent    string
}

// An AlternateID is an id in one of the formats of ConvertId: "EwsId", "EwsLegacyId", "EntryId", "HexEntryId", "StoreId", "OwaId".
type AlternateID struct {
	Format, ID, Mailbox string
	Archive             bool
}
