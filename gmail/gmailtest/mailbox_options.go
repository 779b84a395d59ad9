package gmailtest

import (
	"math/big"
	"strconv"
)

// MailOptions are what a server does with mail, where it is not what Google does. The zero value is Google's way.
type MailOptions struct {
	// WideHistoryIDs makes history ids greater than 64 bits hold.
	WideHistoryIDs bool
	// HistoryLabels tells labelIds of the messages in history records, not only id and threadId.
	HistoryLabels bool
	// PayloadWithRaw answers format=raw with payload too, in which there is a member called raw: seen of a server that ignores
	// fields, as with Rendering.IgnoreFields.
	PayloadWithRaw bool
	// SilentExpiry answers a history id that has expired with 200 and what is left of history, not with 404.
	SilentExpiry bool
	// OffsetPages counts the pages of a list from its top, so that what is removed or added between two of them shifts the
	// second. Otherwise a page goes on where the one before it ended.
	OffsetPages bool

	// NoResumable refuses to start a resumable upload with 400.
	NoResumable bool
	// WholeMultipart stores the body of a multipart upload as the message, with its boundaries.
	WholeMultipart bool
	// RecodeMedia takes each octet of a media upload for a character of ISO 8859-1 and stores it as UTF-8.
	RecodeMedia bool
	// MaxUpload and MaxSend are the most octets of a message for import and insert, and for send; 0 is 150 MiB and 35 MiB.
	MaxUpload, MaxSend int64
	// NewMessageID replaces the Message-ID of what is sent.
	NewMessageID bool
	// BatchLimit is how many requests a batch may have; 0 is 100.
	BatchLimit int

	// Monitors is about the audit feed.
	Monitors MonitorOptions
}

// The most octets of a message, as the API's discovery document has them.
const (
	maxUpload = 157_286_400
	maxSend   = 36_700_160
	maxBatch  = 100
)

func (o MailOptions) maxUpload() int64 { return orDefault(o.MaxUpload, maxUpload) }
func (o MailOptions) maxSend() int64   { return orDefault(o.MaxSend, maxSend) }

func orDefault[T int | int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// wide is added to each history id of a server that has WideHistoryIDs.
var wide = new(big.Int).Lsh(big.NewInt(97), 64)

// historyID is a history id as replies have it: in decimal digits.
func (o MailOptions) historyID(id uint64) string {
	if !o.WideHistoryIDs {
		return strconv.FormatUint(id, 10)
	}
	n := new(big.Int).SetUint64(id)
	return n.Add(n, wide).String()
}

// parseHistoryID reads what historyID wrote.
func (o MailOptions) parseHistoryID(text string) (id uint64, ok bool) {
	n, ok := new(big.Int).SetString(text, 10)
	if ok && o.WideHistoryIDs {
		n.Sub(n, wide)
	}
	if !ok || !n.IsUint64() {
		return 0, false
	}
	return n.Uint64(), true
}
