package objecttest

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// S3Conditions say what a server makes of If-None-Match on a write.
type S3Conditions string

// The conditions.
const (
	S3Obeyed     S3Conditions = ""            // on PutObject, CompleteMultipartUpload and CopyObject
	S3CreateOnly S3Conditions = "create-only" // on PutObject, and on CreateMultipartUpload instead of on Complete
	S3Ignored    S3Conditions = "ignored"     // nowhere: a put overwrites
	S3Refused    S3Conditions = "refused"     // a write that has it is 501 NotImplemented
)

// S3Options are the options of an [S3]. The zero value has an empty bucket named archive, without versions.
type S3Options struct {
	ServerOptions
	Region       string // "" = "us-east-1"
	AccessKey    string // "" = "AKIDEXAMPLE"
	SecretKey    string // "" = a random one
	SessionToken string // "" = none is wanted
	Bucket       string // "" = "archive"; at URL/bucket, and at bucket.host
	Versions     bool   // the bucket keeps versions
	Lock         bool   // the bucket has object lock, and so versions
	// PageSize is the largest number of entries in a page of a listing; 0 = 1,000.
	PageSize int
	// MinPart is the smallest part that is not the last one of an upload; 0 = 5 MiB.
	MinPart int64
	// Classes are the storage classes that the server knows; nil = all of Amazon's. "*" is any.
	Classes []string
	// KMSKeys are the keys of the key service; nil = there is no such service.
	KMSKeys []string

	// What servers do otherwise than Amazon's.
	Conditions       S3Conditions
	Redirects        bool // a signature for another region is answered 301, not 400
	NoLockQuestion   bool // who asks for the bucket's lock configuration is denied it
	NoBulkDelete     bool // 501
	WantsMD5         bool // DeleteObjects wants Content-MD5
	PlainListing     bool // listings take no notice of encoding-type
	EmptyPages       bool // an empty page with a token comes before each page of a listing
	IgnoresRange     bool // GetObject answers with the whole object
	UnknownKeyIs404  bool // an unknown access key is 404
	HidesChildren    bool // listings without delimiter do not show what is below the key of an object
	ResolvesDots     bool // the key a/../b is b
	DropsFirstSlash  bool // the key /a is a
	MinIOLockRefusal bool // to delete a locked version is 400 InvalidRequest
}

// An S3 is a fake of Amazon S3: one bucket, with signatures of version 4. Its operations have the names of the S3 API
// reference.
type S3 struct {
	Server
	opts S3Options

	mu       sync.Mutex
	noBucket bool
	denied   map[string]bool // operations
	current  shelf[*s3Object]
	versions map[string][]*s3Object // oldest first, markers too
	uploads  map[string]*s3Upload
	serial   int

	tags     sync.Mutex
	zeroTags map[int64]string // ETags of zeros, by size
}

// An s3Object is one version of an object.
type s3Object struct {
	version     string // "" = of a bucket without versions
	marker      bool
	data        blob
	etag        string
	contentType string
	cache       string            // Cache-Control
	meta        map[string]string // lower-case names
	class       string
	modified    time.Time
	mode        string
	until       time.Time
	hold        bool
	sse, kmsKey string
	restore     string // "", "pending", "done"
	restoreTo   time.Time
}

// An s3Upload is a multipart upload that goes on.
type s3Upload struct {
	id, key string
	object  s3Object // without data
	parts   map[int]s3Part
	started time.Time
}

type s3Part struct {
	data blob
	etag string
}

// NewS3 starts an S3 that ends with the test. opts may be nil.
func NewS3(t testing.TB, opts *S3Options) *S3 {
	t.Helper()
	s := newS3(opts)
	s.startFor(t, s.opts.ServerOptions, s)
	return s
}

// ListenS3 is NewS3 outside tests: the caller closes it.
func ListenS3(opts *S3Options) (*S3, error) {
	s := newS3(opts)
	return s, s.start(s.opts.ServerOptions, s)
}

func newS3(opts *S3Options) *S3 {
	s := &S3{versions: make(map[string][]*s3Object), uploads: make(map[string]*s3Upload), denied: make(map[string]bool)}
	if opts != nil {
		s.opts = *opts
	}
	for field, standard := range map[*string]string{
		&s.opts.Region: "us-east-1", &s.opts.AccessKey: "AKIDEXAMPLE", &s.opts.Bucket: "archive", &s.opts.SecretKey: rand.Text(),
	} {
		if *field == "" {
			*field = standard
		}
	}
	if s.opts.PageSize == 0 {
		s.opts.PageSize = 1000
	}
	if s.opts.MinPart == 0 {
		s.opts.MinPart = 5 << 20
	}
	if s.opts.Classes == nil {
		s.opts.Classes = []string{"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE"}
	}
	s.opts.Versions = s.opts.Versions || s.opts.Lock
	s.opts.Hosts = append(slices.Clone(s.opts.Hosts), "*.s3.example")
	return s
}

// Settings returns settings for the driver s3, with the bucket in the path.
func (s *S3) Settings() connection.Settings {
	config := map[string]any{
		"location": s.URL(), "identity": s.opts.AccessKey, "credential": s.opts.SecretKey, "bucket": s.opts.Bucket,
	}
	if s.opts.Region != "us-east-1" {
		config["region"] = s.opts.Region
	}
	if s.opts.SessionToken != "" {
		config["session_token"] = s.opts.SessionToken
	}
	if pem := s.CAPEM(); pem != "" {
		config["ca_pem"] = pem
	}
	raw, _ := json.Marshal(config) // texts: never fails
	return connection.Settings{Name: "fake of S3", Driver: "s3", Config: raw}
}

// Secret returns the secret key, which must appear nowhere.
func (s *S3) Secret() string { return s.opts.SecretKey }

// Objects returns the octets of all objects, by their keys; of those with versions the newest.
func (s *S3) Objects() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string][]byte)
	for _, key := range s.current.sorted() {
		o, _ := s.current.get(key)
		all[key] = o.data.bytes()
	}
	return all
}

// Versions returns how many versions there are of key, markers too.
func (s *S3) Versions(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.versions[key])
}

// Uploads returns how many multipart uploads have begun and not ended.
func (s *S3) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// AgeUploads makes all uploads begin so much earlier.
func (s *S3) AgeUploads(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		u.started = u.started.Add(-d)
	}
}

// Plant stores an object without asking any rule, also under keys that clients are refused.
func (s *S3) Plant(key string, raw []byte) {
	var b blob
	b.add(slices.Clone(raw))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(key, s3Object{data: b, etag: s3ETag(b), contentType: "binary/octet-stream", class: "STANDARD"})
}

// PlantZeros stores an object of so many zeros, which take no room.
func (s *S3) PlantZeros(key string, size int64) {
	b := blob{runs: []run{{size: size}}, size: size}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(key, s3Object{data: b, etag: "00000000000000000000000000000000-2", contentType: "binary/octet-stream", class: "STANDARD"})
}

// Damage inverts a bit of the newest version of key.
func (s *S3) Damage(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.current.get(key); ok {
		o.data = o.data.damaged()
	}
}

// FinishRestores makes all objects readable whose restore is under way, until the time given.
func (s *S3) FinishRestores(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.current.sorted() {
		if o, _ := s.current.get(key); o.restore == "pending" {
			o.restore, o.restoreTo = "done", until
		}
	}
}

// RemoveBucket makes the bucket not be there, until the test ends.
func (s *S3) RemoveBucket() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noBucket = true
}

// Deny makes the operations named, or all if none is, be answered 403 AccessDenied.
func (s *S3) Deny(ops ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ops) == 0 {
		ops = s.operations()
	}
	for _, op := range ops {
		s.denied[op] = true
	}
}

// DenyKey makes a DeleteObjects that names the key answer 403 AccessDenied for it.
func (s *S3) DenyKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[s3DeniedKey+key] = true
}

// s3DeniedKey begins a name in S3.denied that is no operation.
const s3DeniedKey = "key "

// store makes o the newest version of key. The caller holds s.mu.
func (s *S3) store(key string, o s3Object) *s3Object {
	s.serial++
	o.modified = s.Now()
	if o.class == "" {
		o.class = "STANDARD"
	}
	if s.opts.Versions {
		o.version = strings.ToLower(rand.Text())
		s.versions[key] = append(s.versions[key], &o)
	} else {
		s.versions[key] = []*s3Object{&o}
	}
	if o.marker {
		s.current.remove(key)
	} else {
		s.current.put(key, &o)
	}
	return &o
}
