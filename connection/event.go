package connection

import "time"

// An EventKind says what an [Event] tells.
type EventKind string

// The kinds of event. A host counts or shows those it knows and ignores the others: more may be added.
const (
	EventFetched     EventKind = "fetched"      // a batch of Count messages and Bytes octets was read
	EventDeleted     EventKind = "deleted"      // Count messages were removed at the source
	EventStored      EventKind = "stored"       // Count messages and Bytes octets are on stable storage
	EventSkipped     EventKind = "skipped"      // Ref was passed over; Detail says why
	EventPoisoned    EventKind = "poisoned"     // Ref failed too often and is left alone from now on
	EventRetry       EventKind = "retry"        // something temporary failed with Err; the next try is at Until
	EventWakeup      EventKind = "wakeup"       // Follow looked for mail; Detail is "idle", "notify" or "poll"
	EventStalledIdle EventKind = "stalled_idle" // a poll found mail that IDLE had not announced
	EventThrottled   EventKind = "throttled"    // the server asked us to wait until Until
	EventQuirk       EventKind = "quirk"        // a server's oddity was worked around; Detail names it
	EventReconnected EventKind = "reconnected"  // the connection is back
	EventInsecure    EventKind = "insecure"     // a connection without verified TLS is in use; Detail says why
	EventNotice      EventKind = "notice"       // the server's own words for people (IMAP ALERT, BYE)
	EventCheckpoint  EventKind = "checkpoint"   // a Checkpoint of Mailbox was saved
	EventRestarted   EventKind = "restarted"    // a mailbox is read from the beginning again; Detail says why
	EventOperation   EventKind = "operation"    // a verb of an object store ended: Detail names it, Count is its requests, Bytes what it moved
	EventMarker      EventKind = "marker"       // Key was deleted by a marker only: earlier versions of it stay at the store
)

// An Event is something a host may want to count, log or show while a verb runs. [Env.Observe] receives it.
type Event struct {
	Kind       EventKind     `json:"kind"`
	Time       time.Time     `json:"time"`
	Connection string        `json:"connection,omitempty"` // Settings.ID, or the driver's name without one
	Mailbox    string        `json:"mailbox,omitempty"`
	Ref        Ref           `json:"ref,omitzero"`
	Key        string        `json:"key,omitempty"` // of an object
	Detail     string        `json:"detail,omitempty"`
	Count      int64         `json:"count,omitempty"`
	Bytes      int64         `json:"bytes,omitempty"`
	Elapsed    time.Duration `json:"elapsed,omitempty"`
	Until      time.Time     `json:"until,omitzero"`
	Err        error         `json:"-"`
}
