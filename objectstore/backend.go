package objectstore

import (
	"context"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Backend is an engine: each method does one attempt of one request, without any retry of its own. It may be called
// from several goroutines. What more an engine can do it says by the interfaces below, which [Store] looks for.
//
// Errors are *connection.Error with Kind, and Code, Hint and RetryAfter if the server told them; Op, Driver, Endpoint and
// Key are filled in by the [Store]. Two kinds say what became of the request: ErrNetwork, ErrTimeout, ErrThrottled and
// ErrUnavailable mean that it has not been carried out, ErrUncertain that it was sent whole and its answer is missing.
// A bucket that is not there is ErrConfig, never ErrNotFound. A method returns soon after ctx is done. It may call
// [Progress] where octets move that the Store cannot see.
type Backend interface {
	// Put stores the octets of body, exactly req.Size, under key. An error of body's Read is returned in the chain, and
	// nothing stored. body may be sought, to any place; it is not touched after Put has returned.
	Put(ctx context.Context, key string, body io.ReadSeeker, req *PutRequest) (connection.ObjectInfo, error)
	// Get opens the object from req.Offset on. [ErrRange] if the offset is not inside the object.
	Get(ctx context.Context, key string, req *GetRequest) (*Reply, error)
	// Stat describes the object.
	Stat(ctx context.Context, key string) (connection.ObjectInfo, error)
	// List returns one page. A page may be empty and not the last.
	List(ctx context.Context, req *ListRequest) (*Page, error)
	// Delete removes one object. A missing one is no error.
	Delete(ctx context.Context, key string) error
}

// A PartPutter is a [Backend] that stores large objects in parts. Nothing is visible under the key before Complete.
type PartPutter interface {
	// PartLimits returns what the engine takes. It does no I/O.
	PartLimits() PartLimits
	// Begin starts an upload and returns its name. It does not look at req.IfAbsent, which Complete decides.
	Begin(ctx context.Context, key string, req *PutRequest) (upload string, err error)
	// PutPart stores one part. Several run at once, and one may be repeated. The tag is what Complete needs to know.
	PutPart(ctx context.Context, key, upload string, body io.ReadSeeker, req *PartRequest) (tag string, err error)
	// Complete makes the object of its parts, which are in order and whole.
	Complete(ctx context.Context, key, upload string, parts []Part, req *PutRequest) (connection.ObjectInfo, error)
	// Abort removes an upload and its parts. A missing one is no error.
	Abort(ctx context.Context, key, upload string) error
}

// PartLimits are the limits of a [PartPutter], in octets and parts. The last part may be smaller than MinPart.
type PartLimits struct {
	MaxPut   int64 // the largest object that Put takes; 0 = no limit known
	MinPart  int64
	MaxPart  int64
	MaxParts int
}

// A PartRequest describes one part.
type PartRequest struct {
	Number int // from 1
	Size   int64
	Wire   []byte // digest of the part by Options.Wire, or its SHA-256
}

// A Part is a part that has been stored.
type Part struct {
	PartRequest
	Tag string // from PutPart
}

// A BulkDeleter is a [Backend] that can remove several objects by one request.
type BulkDeleter interface {
	// MaxDelete returns how many keys DeleteMany takes.
	MaxDelete() int
	// DeleteMany removes the objects of keys. The result is nil, or has an element for each key. err means that the
	// request as a whole had no answer.
	DeleteMany(ctx context.Context, keys []string) (each []error, err error)
}

// A Copier is a [Backend] that copies inside the store.
type Copier interface {
	Copy(ctx context.Context, dst, src string, req *CopyRequest) (connection.ObjectInfo, error)
}

// A Locker is a [Backend] that keeps objects from being changed. Put and Delete of a locked object are then ErrLocked
// even where the server would write a new version or a marker over it.
type Locker interface {
	Lock(ctx context.Context, key string, lock connection.Lock) error
}

// A Restorer is a [Backend] with cold tiers.
type Restorer interface {
	Restore(ctx context.Context, key string, keep time.Duration) error
}

// A Presigner is a [Backend] that makes URLs which work without credentials. method is GET or PUT.
type Presigner interface {
	Presign(ctx context.Context, method, key string, expires time.Duration) (connection.Secret, error)
}

// An IncompleteLister is a [Backend] that knows what unfinished writes left behind.
type IncompleteLister interface {
	// Incomplete returns one page: token "" is the first, next "" means that there is no other.
	Incomplete(ctx context.Context, token string) (found []connection.Incomplete, next string, err error)
	// AbortIncomplete removes one. A missing one is no error.
	AbortIncomplete(ctx context.Context, one connection.Incomplete) error
}

// A PutRequest says what to store besides the octets. Digests and size are known before the first octet is sent.
type PutRequest struct {
	Size        int64
	SHA256      string // lower-case hex; to be kept with the object
	Wire        []byte // digest of the whole body by Options.Wire, nil without one; for Begin and Complete see Options.WireWhole
	IfAbsent    bool   // decided by the server: ErrExists
	ContentType string
	Meta        map[string]string
	Class       string
	Lock        connection.Lock
}

// A CopyRequest says what becomes of a copy. Without Replace the copy keeps the source's ContentType and Meta; the
// digest that is kept with the source goes with it in any case.
type CopyRequest struct {
	IfAbsent    bool
	Replace     bool
	ContentType string
	Meta        map[string]string
	Class       string
	Lock        connection.Lock
}

// A GetRequest says what part of an object is wanted.
type GetRequest struct {
	Offset  int64
	Length  int64  // 0 = to the end
	IfMatch string // ErrChanged if the object has another ETag
}

// A Reply is an answer to Backend.Get. The Store closes Body.
type Reply struct {
	connection.ObjectInfo               // Size is the object's, -1 if the server does not tell
	Offset                int64         // of the first octet in Body: less than asked for if the server ignores ranges
	Body                  io.ReadCloser // its Read ends with ctx; a cut is an error other than io.EOF, or io.EOF too early
}

// A ListRequest asks for one page of a listing, in ascending byte order of keys.
type ListRequest struct {
	Prefix    string
	Delimiter string
	After     string
	Token     string // of the page before; After stands for the first page only
	Limit     int    // a hint: more entries than that are not needed; 0 = none
}

// A Page is one page of a listing.
type Page struct {
	Entries []connection.ObjectInfo
	Token   string // "" = this is the last page
}

// ErrRange is returned by Backend.Get for an offset that is not inside the object (HTTP 416).
var ErrRange = errors.New("offset not inside the object")

// Features are what an engine can do. An option that it cannot obey is ErrUnsupported before any octet is sent.
type Features struct {
	IfAbsent bool
	Meta     bool // names and values, and the content type
	Class    bool
	Lock     bool
	MaxSize  int64 // octets in one object; 0 = no limit known
}

// Options are what [New] needs besides the Backend.
type Options struct {
	Driver   string // for errors: "s3"
	Endpoint string // for errors: never with a secret
	ID       string // Settings.ID, for events
	Features Features
	Tuning   Tuning
	Wire     func() hash.Hash // the digest that the server checks, md5.New say; nil = none. Requests carry its sums
	// WireSHA256 stands in for Wire where that is the SHA-256: PutRequest.SHA256 is it then, and PartRequest.Wire.
	WireSHA256 bool
	// WireWhole wants PutRequest.Wire also for objects that go in parts. Without it that is nil there, and the octets are
	// hashed once less.
	WireWhole bool
	TempDir   string // for bodies that cannot seek; "" = os.TempDir
}
