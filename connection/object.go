package connection

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Putter writes objects.
type Putter interface {
	// Put stores the octets of r under key. nil means that the object is durable and whole under its key;
	// otherwise the key holds what it held before. If the outcome cannot be known the error is ErrUncertain.
	// With PutOptions.IfAbsent a key that is taken is ErrExists, decided atomically. opts may be nil.
	Put(ctx context.Context, key string, r io.Reader, opts *PutOptions) (ObjectInfo, error)
}

// A Getter reads objects.
type Getter interface {
	// Get opens the object under key; ErrNotFound if there is none. The caller closes Object.Body, whose Read
	// ends in io.EOF only after the last octet, and in ErrCorrupt if a digest is known and differs. An Offset past
	// the end gives an empty Body. opts may be nil.
	Get(ctx context.Context, key string, opts *GetOptions) (*Object, error)
}

// An ObjectStore is a Connection to a bucket.
type ObjectStore interface {
	Connection
	Putter
	Getter
	// Stat describes the object under key; ErrNotFound if there is none.
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// List yields the objects in ascending byte order of their keys, holding no request open while it yields.
	// Single-use; any error is the last. opts may be nil.
	List(ctx context.Context, opts *ListOptions) iter.Seq2[ObjectInfo, error]
	// Delete removes the objects under keys. A missing one is no error. Otherwise the error joins one *Error with
	// Key for each that may still be there.
	Delete(ctx context.Context, keys ...string) error
}

// A Copier copies within the store without moving the octets through the caller.
type Copier interface {
	// Copy makes dst hold what src holds, under the rules of Put.
	Copy(ctx context.Context, dst, src string, opts *PutOptions) (ObjectInfo, error)
}

// A Locker keeps objects from being changed or deleted.
type Locker interface {
	// Lock sets the retention and the legal hold of key. A retention in force can be prolonged, never shortened:
	// that is ErrLocked. A Delete or Put of a locked key is ErrLocked.
	Lock(ctx context.Context, key string, lock Lock) error
}

// A Lock is what protects an object.
type Lock struct {
	RetainUntil time.Time `json:"retain_until,omitzero"` // not deleted or replaced before; zero = leave as it is
	LegalHold   bool      `json:"legal_hold,omitempty"`  // not deleted or replaced while set
}

// A Restorer brings objects back from a cold tier. Until that has happened, which takes hours, Get is ErrArchived;
// Stat tells how far it is.
type Restorer interface {
	// Restore asks for key to become readable for the time given, rounded up to whole days. "Already under way" and
	// "is not in a cold tier" are no errors.
	Restore(ctx context.Context, key string, keep time.Duration) error
}

// A Presigner makes URLs that work without credentials.
type Presigner interface {
	// Presign returns a URL that permits method ("GET" or "PUT") on key until it expires. The URL is a secret.
	Presign(ctx context.Context, method, key string, expires time.Duration) (Secret, error)
}

// An IncompleteLister finds and removes what unfinished writes left behind.
type IncompleteLister interface {
	// Incomplete yields the remains of writes that did not finish. Single-use; any error is the last.
	Incomplete(ctx context.Context) iter.Seq2[Incomplete, error]
	// AbortIncomplete removes those that began before the time given, and returns how many.
	AbortIncomplete(ctx context.Context, before time.Time) (int, error)
}

// An Incomplete is what an unfinished write left behind.
type Incomplete struct {
	ID      string    `json:"id"`
	Key     string    `json:"key,omitempty"` // "" if the store does not tell
	Size    int64     `json:"size"`
	Started time.Time `json:"started"`
}

// ObjectInfo describes an object.
type ObjectInfo struct {
	Key         string            `json:"key"`
	Size        int64             `json:"size"`
	Modified    time.Time         `json:"modified,omitzero"`
	ETag        string            `json:"etag,omitempty"`   // the store's own; changes when the object does
	SHA256      string            `json:"sha256,omitempty"` // lower-case hex, if known
	ContentType string            `json:"content_type,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	Class       string            `json:"class,omitempty"` // storage class or tier
	Version     string            `json:"version,omitempty"`
	Lock        Lock              `json:"lock,omitzero"`
	Restore     RestoreState      `json:"restore,omitempty"`    // of an object in a cold tier
	ReadableTo  time.Time         `json:"readable_to,omitzero"` // with RestoreDone: when the readable copy goes away; zero = not
	Prefix      bool              `json:"prefix,omitempty"`     // not an object: a common prefix of a List with Delimiter
}

// A RestoreState says whether an object in a cold tier can be read.
type RestoreState string

// The states.
const (
	RestoreNone    RestoreState = ""         // not in a cold tier
	RestoreNeeded  RestoreState = "archived" // Get is ErrArchived; Restore would help
	RestorePending RestoreState = "pending"  // Get is ErrArchived; a Restore is under way
	RestoreDone    RestoreState = "restored" // Get reads it
)

// An Object is an object being read. The caller closes Body.
type Object struct {
	ObjectInfo
	Body io.ReadCloser
}

// PutOptions are the options of [Putter.Put]. An option that a store cannot obey is ErrUnsupported before any octet is
// sent, never ignored.
type PutOptions struct {
	Size        int64  // > 0: octets of r, which must hold exactly so many; 0 = unknown
	SHA256      string // lower-case hex; if r hashes to something else the error is ErrCorrupt and nothing is stored
	IfAbsent    bool   // ErrExists if the key is taken
	ContentType string
	Meta        map[string]string
	Class       string // storage class or tier, in the store's words; "" = the settings' or the store's own
	Lock        Lock
	// Progress, if not nil, is called with the octets of r that have been sent so far, one call at a time. A request
	// that is repeated makes the number fall back.
	Progress func(octets int64)
}

// GetOptions are the options of [Getter.Get].
type GetOptions struct {
	Offset   int64  // first octet wanted
	Length   int64  // octets wanted; 0 = to the end
	IfMatch  string // ETag; ErrChanged if the object has another
	NoVerify bool   // do not compare a full read with the known digest
}

// ListOptions are the options of [ObjectStore.List].
type ListOptions struct {
	Prefix    string
	Delimiter string // keys that hold it after Prefix are folded into one entry with ObjectInfo.Prefix set
	After     string // only keys greater than this one
	Limit     int    // at most so many entries; 0 = no limit
}
