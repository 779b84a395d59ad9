package objecttest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// B2Options are the options of a [B2]. The zero value has a bucket named archive without file lock, and an application key
// that may do everything.
type B2Options struct {
	ServerOptions
	KeyID  string // "" = a random one
	Key    string // "" = a random one
	Bucket string // its name; "" = "archive"
	// Capabilities are those of the application key; nil = all.
	Capabilities []string
	// FileLock gives the bucket file lock.
	FileLock bool
	// Retention locks every new file for so long. It needs FileLock.
	Retention time.Duration
	// NamePrefix restricts the application key to names that begin so.
	NamePrefix string
	// PageSize is the largest number of entries in a page of a listing; 0 = 10,000.
	PageSize int
	// DeadUploads is how many of the first upload URLs lead to a port where nobody listens; < 0 = all.
	DeadUploads int
	// SegmentLimit is how many octets a name may have between two slashes; 0 = 255. The service takes 250.
	SegmentLimit int
}

// A B2 is a fake of Backblaze B2: its native API, version 3. Operations have the names of the API; there are no
// operations for what no object store needs. Tokens, digests, names and the capabilities of the application key are
// checked, and unknown fields and headers refused. Listings never lag: Server.Lag does nothing.
type B2 struct {
	Server
	opts     B2Options
	bucketID string

	mu       sync.Mutex
	gone     bool // the bucket
	serial   int64
	tokens   map[string]bool // of accounts
	shares   map[string]b2Share
	uploads  map[string]*b2Slot // by token
	versions map[string][]*b2Version
	large    map[string]*b2Large // that are not finished, by ID
	dead     string              // the URL of nobody
	given    int                 // upload URLs
}

// A b2Share is an authorization to download.
type b2Share struct {
	prefix string
	until  time.Time
}

// A b2Slot is an upload URL.
type b2Slot struct {
	file string // ID of a large file; "" = whole files
	busy bool
}

// A b2Version is a version of a file.
type b2Version struct {
	id, name, action string
	data             blob
	contentType      string
	sha1             string // "none" of a large file
	info             map[string]string
	uploaded         int64 // ms
	mode             string
	until            int64 // ms
	hold             bool
	sse              bool
}

// A b2Large is a large file that is not finished.
type b2Large struct {
	b2Version
	parts map[int]b2Part
}

type b2Part struct {
	data blob
	sha1 string
}

// NewB2 starts a B2 that ends with the test. opts may be nil.
func NewB2(t testing.TB, opts *B2Options) *B2 {
	t.Helper()
	b, err := newB2(opts)
	if err != nil {
		t.Fatalf("objecttest: %v", err)
	}
	b.startFor(t, b.opts.ServerOptions, b)
	return b
}

// ListenB2 is NewB2 outside tests: the caller closes it.
func ListenB2(opts *B2Options) (*B2, error) {
	b, err := newB2(opts)
	if err != nil {
		return nil, err
	}
	return b, b.start(b.opts.ServerOptions, b)
}

func newB2(opts *B2Options) (*B2, error) {
	b := &B2{
		bucketID: b2Random(12), tokens: make(map[string]bool), shares: make(map[string]b2Share), uploads: make(map[string]*b2Slot),
		versions: make(map[string][]*b2Version), large: make(map[string]*b2Large),
	}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.KeyID == "" {
		b.opts.KeyID = "005" + b2Random(11)
	}
	if b.opts.Key == "" {
		b.opts.Key = "K005" + b2Random(14)
	}
	if b.opts.Bucket == "" {
		b.opts.Bucket = "archive"
	}
	if b.opts.Capabilities == nil {
		b.opts.Capabilities = B2Capabilities()
	}
	if b.opts.SegmentLimit == 0 {
		b.opts.SegmentLimit = 255
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.dead = l.Addr().String()
	return b, l.Close()
}

// B2Capabilities returns all capabilities that the fake knows.
func B2Capabilities() []string {
	return []string{
		"listBuckets", "listFiles", "readFiles", "shareFiles", "writeFiles", "deleteFiles", "readBucketRetentions",
		"readFileRetentions", "writeFileRetentions", "readFileLegalHolds", "writeFileLegalHolds",
	}
}

func b2Random(octets int) string {
	p := make([]byte, octets)
	_, _ = rand.Read(p) // never fails
	return hex.EncodeToString(p)
}

// Settings returns settings of the driver b2 that reach the bucket by its ID.
func (b *B2) Settings() connection.Settings {
	config := map[string]any{"identity": b.opts.KeyID, "credential": b.opts.Key, "location": b.URL(), "bucket": b.BucketID()}
	if pem := b.CAPEM(); pem != "" {
		config["ca_pem"] = pem
	}
	raw, _ := json.Marshal(config) // strings only
	return connection.Settings{Driver: "b2", Config: raw}
}

// BucketID returns the ID of the bucket.
func (b *B2) BucketID() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bucketID
}

// Objects returns the files that can be downloaded by name.
func (b *B2) Objects() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string][]byte)
	for name := range b.versions {
		if v := b.visible(name); v != nil {
			all[name] = v.data.bytes()
		}
	}
	return all
}

// A B2Version tells of a version of a file.
type B2Version struct {
	ID, Name  string
	Action    string // "upload" or "hide"
	Size      int64
	Info      map[string]string
	Retention string // the mode; "" = none
	Encrypted bool
}

// Versions returns the versions of a file, newest first.
func (b *B2) Versions(name string) []B2Version {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []B2Version
	for _, v := range slices.Backward(b.versions[name]) {
		all = append(all, B2Version{v.id, v.name, v.action, v.data.size, v.info, v.mode, v.sse})
	}
	return all
}

// Unfinished returns how many large files were started and neither finished nor cancelled.
func (b *B2) Unfinished() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.large)
}

// Add puts a version of a file, as another program would.
func (b *B2) Add(name string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var content blob
	content.add(data)
	b.store(&b2Version{name: name, action: "upload", data: content, contentType: "application/octet-stream", sha1: "none"})
}

// Damage inverts a bit of the newest version of a file, as a failing disk would.
func (b *B2) Damage(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.visible(name); v != nil {
		v.data = v.data.damaged()
	}
}

// ExpireTokens ends the authorization of all accounts.
func (b *B2) ExpireTokens() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for token := range b.tokens {
		b.tokens[token] = false
	}
}

// ExpireUploads ends the authorization of all upload URLs.
func (b *B2) ExpireUploads() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.uploads)
}

// RemoveBucket removes the bucket with all that is in it.
func (b *B2) RemoveBucket() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	clear(b.versions)
	clear(b.large)
}

// ReplaceBucket removes the bucket and makes one of the same name.
func (b *B2) ReplaceBucket() {
	b.RemoveBucket()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone, b.bucketID = false, b2Random(12)
}

// visible returns the version of a file that a download by name gives.
func (b *B2) visible(name string) *b2Version {
	all := b.versions[name]
	if len(all) == 0 || all[len(all)-1].action != "upload" {
		return nil
	}
	return all[len(all)-1]
}

// store makes v the newest version of its file.
func (b *B2) store(v *b2Version) {
	b.name(v)
	b.versions[v.name] = append(b.versions[v.name], v)
}

// name gives v an ID, unless it has one, and the time.
func (b *B2) name(v *b2Version) {
	b.serial++
	if v.id == "" {
		v.id = "4_z" + b.bucketID + "_f" + b2Random(8)
	}
	v.uploaded = max(b.Now().UnixMilli(), b.serial)
	if b.opts.Retention > 0 && v.action == "upload" && v.mode == "" {
		v.mode, v.until = "governance", b.Now().Add(b.opts.Retention).UnixMilli()
	}
}

// locked reports whether v may not be deleted.
func (b *B2) locked(v *b2Version) bool { return v.hold || v.until > b.Now().UnixMilli() }

const b2API = "/b2api/v3/"

func (b *B2) operations() []string {
	return append(slices.Collect(func(yield func(string) bool) {
		for op := range b2Calls {
			if !yield(op) {
				return
			}
		}
	}), "b2_authorize_account", "b2_upload_file", "b2_upload_part", "b2_download_file_by_name")
}

func (b *B2) operation(r *http.Request) string {
	path := r.URL.EscapedPath()
	if strings.HasPrefix(path, "/file/") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return "b2_download_file_by_name"
	}
	rest, ok := strings.CutPrefix(path, b2API)
	if !ok {
		return ""
	}
	op, _, _ := strings.Cut(rest, "/")
	if !slices.Contains(b.operations(), op) || (r.Method == http.MethodGet) != (op == "b2_authorize_account") {
		return ""
	}
	return op
}
