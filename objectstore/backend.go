package objectstore

import (
	"context"
	"errors"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// A Backend is an engine: each method does one attempt of one request, without any retry of its own. It may be called
// from several goroutines.
//
// Errors are *connection.Error with Kind, and Code and RetryAfter if the server told them; Op, Driver, Endpoint and Key are
// filled in by the [Store]. Two kinds say what became of the request: ErrNetwork, ErrTimeout, ErrThrottled and
// ErrUnavailable mean that it has not been carried out, ErrUncertain that it was sent whole and its answer is missing.
// A method returns soon after ctx is done. It may call [Progress] where octets move that the Store cannot see.
type Backend interface {
	// Put stores the octets of body, exactly req.Size, under key. An error of body's Read is returned in the chain, and
	// nothing stored. body is not touched after Put has returned.
	Put(ctx context.Context, key string, body io.Reader, req *PutRequest) (connection.ObjectInfo, error)
	// Get opens the object from req.Offset on. [ErrRange] if the offset is not inside the object.
	Get(ctx context.Context, key string, req *GetRequest) (*Reply, error)
	// Stat describes the object.
	Stat(ctx context.Context, key string) (connection.ObjectInfo, error)
	// List returns one page. A page may be empty and not the last.
	List(ctx context.Context, req *ListRequest) (*Page, error)
	// Delete removes one object. A missing one is no error.
	Delete(ctx context.Context, key string) error
}

// A BulkDeleter is a [Backend] that can remove several objects by one request.
type BulkDeleter interface {
	// MaxDelete returns how many keys DeleteMany takes.
	MaxDelete() int
	// DeleteMany removes the objects of keys. The result is nil, or has an element for each key. err means that the
	// request as a whole had no answer.
	DeleteMany(ctx context.Context, keys []string) (each []error, err error)
}

// A PutRequest says what to store besides the octets. Digest and size are known before the first octet is sent.
type PutRequest struct {
	Size        int64
	SHA256      string // lower-case hex; to be kept with the object
	IfAbsent    bool   // decided by the server: ErrExists
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
	TempDir  string // for bodies that cannot seek; "" = os.TempDir
}
