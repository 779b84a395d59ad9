package objecttest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// AtmosOptions are the options of an [Atmos]. The zero value has a bucket named archive.
type AtmosOptions struct {
	ServerOptions
	UID    string // "" = "subtenant/archiver"
	Secret string // base64; "" = a random one
	Bucket string // the directory at the top that is there; "" = "archive"
	// PageSize is the largest number of entries in a page of a directory; 0 = what the client asks for.
	PageSize int
	// EmptyPages puts an empty page with a token before each page of a directory.
	EmptyPages bool
	// NoXMLNamespace leaves out the namespace of XML answers, as some versions do.
	NoXMLNamespace bool
	// MakesParents makes the directories of a rename's target. The others answer that they are not there.
	MakesParents bool
	// LateReplace is how long a file is shown that was replaced by a rename.
	LateReplace time.Duration
	// CarelessRename lets a rename replace a file under retention.
	CarelessRename bool
	// NoRetention takes no notice of retention, as servers do whose policy does not enable it.
	NoRetention bool
}

// An Atmos is a fake of EMC Atmos: its namespace interface, with signatures by the Programmer's Guide. Operations are
// CreateObject, CreateDirectory, ReadObject, GetMetadata, SetMetadata, GetObjectInfo, Rename, DeleteObject,
// ListDirectory and ServiceInformation. Listings are in no order, and never lag: Server.Lag does nothing.
type Atmos struct {
	Server
	opts AtmosOptions
	key  []byte

	mu    sync.Mutex
	files map[string]*atmosFile // by path without a leading slash
	dirs  map[string]bool       // likewise, with a slash at the end; "" is the top
}

// An atmosFile is what is under a path.
type atmosFile struct {
	id          string
	data        blob
	contentType string
	meta        map[string]string
	made        time.Time
	period      int64 // seconds
	retainUntil time.Time

	old      *atmosFile // shown until
	oldUntil time.Time
}

// NewAtmos starts an Atmos that ends with the test. opts may be nil.
func NewAtmos(t testing.TB, opts *AtmosOptions) *Atmos {
	t.Helper()
	a := newAtmos(opts)
	a.startFor(t, a.opts.ServerOptions, a)
	return a
}

// ListenAtmos is NewAtmos outside tests: the caller closes it.
func ListenAtmos(opts *AtmosOptions) (*Atmos, error) {
	a := newAtmos(opts)
	return a, a.start(a.opts.ServerOptions, a)
}

func newAtmos(opts *AtmosOptions) *Atmos {
	a := &Atmos{files: make(map[string]*atmosFile)}
	if opts != nil {
		a.opts = *opts
	}
	if a.opts.UID == "" {
		a.opts.UID = "subtenant/archiver"
	}
	if a.opts.Bucket == "" {
		a.opts.Bucket = "archive"
	}
	if a.opts.Secret == "" {
		key := make([]byte, 20)
		_, _ = rand.Read(key) // never fails
		a.opts.Secret = base64.StdEncoding.EncodeToString(key)
	}
	a.key, _ = base64.StdEncoding.DecodeString(a.opts.Secret) // one that is no base64 fits no signature
	a.dirs = map[string]bool{"": true, a.opts.Bucket + "/": true}
	return a
}

// Settings returns settings of the driver atmos that reach the bucket.
func (a *Atmos) Settings() connection.Settings {
	config := map[string]any{"identity": a.opts.UID, "credential": a.opts.Secret, "location": a.URL(), "bucket": a.opts.Bucket}
	if pem := a.CAPEM(); pem != "" {
		config["ca_pem"] = pem
	}
	raw, _ := json.Marshal(config) // strings only
	return connection.Settings{Driver: "atmos", Config: raw}
}

// Objects returns the files below the bucket by their paths, as they are on the wire.
func (a *Atmos) Objects() map[string][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string][]byte)
	for path, f := range a.files {
		if rel, ok := strings.CutPrefix(path, a.opts.Bucket+"/"); ok {
			all[rel] = f.data.bytes()
		}
	}
	return all
}

// Add puts a file under a path below the bucket, as another program would: without metadata.
func (a *Atmos) Add(path string, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b blob
	b.add(data)
	full := a.opts.Bucket + "/" + path
	a.makeParents(full)
	a.files[full] = newAtmosFile(b, "application/octet-stream", nil)
}

// Damage inverts a bit of the file under a path below the bucket, as a failing disk would.
func (a *Atmos) Damage(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.files[a.opts.Bucket+"/"+path]; f != nil {
		f.data = f.data.damaged()
	}
}

// RemoveBucket removes the bucket with all that is in it.
func (a *Atmos) RemoveBucket() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files = make(map[string]*atmosFile)
	a.dirs = map[string]bool{"": true}
}

func newAtmosFile(data blob, contentType string, meta map[string]string) *atmosFile {
	id := make([]byte, 22)
	_, _ = rand.Read(id) // never fails
	return &atmosFile{id: hex.EncodeToString(id), data: data, contentType: contentType, meta: meta, made: time.Now()}
}

// shown returns the version that clients see.
func (f *atmosFile) shown() *atmosFile {
	if f != nil && f.old != nil && time.Now().Before(f.oldUntil) {
		return f.old
	}
	return f
}

// retained reports whether f may not be changed yet.
func (f *atmosFile) retained(now time.Time) bool {
	return now.Before(f.retainUntil) || now.Before(f.made.Add(time.Duration(f.period)*time.Second))
}

// makeParents makes the directories above a path.
func (a *Atmos) makeParents(path string) {
	for i := range len(path) {
		if path[i] == '/' {
			a.dirs[path[:i+1]] = true
		}
	}
}

// parentIs reports whether the directory above a path is there.
func (a *Atmos) parentIs(path string) bool {
	return a.dirs[path[:strings.LastIndexByte(strings.TrimSuffix(path, "/"), '/')+1]]
}

// belowFile reports whether one of the directories above a path is a file.
func (a *Atmos) belowFile(path string) bool {
	for i := range len(path) {
		if path[i] == '/' && a.files[path[:i]] != nil {
			return true
		}
	}
	return false
}

var atmosOperations = [...]string{
	"CreateObject", "CreateDirectory", "ReadObject", "GetMetadata", "SetMetadata", "GetObjectInfo", "Rename", "DeleteObject", "ListDirectory", "ServiceInformation",
}

func (a *Atmos) operations() []string { return slices.Clone(atmosOperations[:]) }

func (a *Atmos) operation(r *http.Request) string {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/rest/namespace/")
	if !ok {
		if r.Method == http.MethodGet && r.URL.Path == "/rest/service" {
			return "ServiceInformation"
		}
		return ""
	}
	dir := path == "" || strings.HasSuffix(path, "/")
	switch r.Method + " " + r.URL.RawQuery {
	case "POST rename":
		return "Rename"
	case "POST metadata/user":
		return "SetMetadata"
	case "GET info":
		return "GetObjectInfo"
	case "HEAD ":
		return "GetMetadata"
	case "DELETE ":
		return "DeleteObject"
	case "POST ":
		if dir {
			return "CreateDirectory"
		}
		return "CreateObject"
	case "GET ":
		if dir {
			return "ListDirectory"
		}
		return "ReadObject"
	}
	if r.Method == http.MethodGet && r.URL.Query().Has("signature") && !dir {
		return "ReadObject"
	}
	return ""
}
