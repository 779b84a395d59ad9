package objecttest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Ways in which a [Swift] lets users in.
const (
	SwiftV1        = "v1"        // TempAuth: X-Auth-User and X-Auth-Key at /auth/v1.0
	SwiftV2        = "v2"        // Keystone v2.0, with a password at /v2.0/tokens
	SwiftV3        = "v3"        // Keystone v3, with a password or an application credential at /v3/auth/tokens
	SwiftRackspace = "rackspace" // Keystone v2.0, with an API key (RAX-KSKEY:apiKeyCredentials) and nothing else
)

// SwiftGuest is a user of every [Swift] who may do nothing.
const SwiftGuest = "guest"

// SwiftOptions are the options of a [Swift]. The zero value lets users in by version 1 and has a container named archive.
type SwiftOptions struct {
	ServerOptions
	Auth      string // "" = SwiftV1
	User      string // "" = "archiver"
	Key       string // "" = a random one
	Project   string // of v2 and v3, and the account of v1; "" = "mail"
	DomainID  string // of v3: of user and project; "" = "default"
	Domain    string // its name; "" = "Default"
	Container string // that is there; "" = "archive"
	// Regions are those of the catalogue of v2 and v3; nil = {"ORD", "DFW"}. Only the last one is this server; the others'
	// storage cannot be reached.
	Regions []string
	// Reader makes the user one who may read but not write. Besides there is always a user [SwiftGuest], with the same key.
	Reader bool
	// TokenLife is how long a token is good; 0 = until ExpireTokens.
	TokenLife time.Duration
	// TempURLKey is the account's key for temporary URLs. TempURLDigests are what signs them; nil = sha256 and sha512.
	TempURLKey     string
	TempURLDigests []string
	// MaxFile is the largest object of one request; 0 = 5 GiB and 2 octets. Quota is that of the container; 0 = none.
	MaxFile, Quota int64
	// PageSize is the largest number of entries in a page of a listing; 0 = 10,000.
	PageSize int
	// NoBulk, NoSLO, NoTempURL and NoInfo take away what clusters need not have.
	NoBulk, NoSLO, NoTempURL, NoInfo bool
	// LateManifest answers the put of a manifest with 202 before it is checked, and says in the body what came of it.
	LateManifest bool
	// NoIfAbsent ignores If-None-Match, NoIfMatch If-Match, NoRange Range: as servers do that only look like Swift.
	NoIfAbsent, NoIfMatch, NoRange bool
}

// A Swift is a fake of OpenStack Object Storage 2.30 with the identity services that stand before such clusters, that of
// Rackspace among them. Operations are Authenticate, GetInfo, HeadAccount, PostAccount, BulkDelete, ListObjects,
// HeadContainer, PutContainer, DeleteContainer, PutObject, PostObject, PutManifest, CopyObject, GetObject, GetManifest,
// HeadObject, DeleteObject and DeleteLargeObject.
type Swift struct {
	Server
	opts SwiftOptions

	mu          sync.Mutex
	tokens      map[string]swiftToken
	appID       string
	appSecret   string
	containers  map[string]*shelf[*swiftObject]
	changed     map[string]time.Time // by container/name: the time of the last request that was obeyed
	clock       time.Time            // of the last request: timestamps grow
	transaction int
}

// A swiftToken is a token that was given out.
type swiftToken struct {
	guest bool
	end   time.Time // zero = not by itself
}

// A swiftObject is an object at rest.
type swiftObject struct {
	data     blob
	etag     string
	modified time.Time
	kind     string            // content type
	meta     map[string]string // X-Object-Meta-… and what else is kept, by canonical name
	segments []swiftSegment    // nil: it is not a large object
}

// NewSwift starts a Swift that ends with the test. opts may be nil.
func NewSwift(t testing.TB, opts *SwiftOptions) *Swift {
	t.Helper()
	s := newSwift(opts)
	s.startFor(t, s.opts.ServerOptions, s)
	return s
}

// ListenSwift is NewSwift outside tests: the caller closes it.
func ListenSwift(opts *SwiftOptions) (*Swift, error) {
	s := newSwift(opts)
	return s, s.start(s.opts.ServerOptions, s)
}

func newSwift(opts *SwiftOptions) *Swift {
	s := &Swift{tokens: make(map[string]swiftToken), containers: make(map[string]*shelf[*swiftObject]), changed: make(map[string]time.Time)}
	if opts != nil {
		s.opts = *opts
	}
	for _, field := range []struct {
		value    *string
		standard string
	}{
		{&s.opts.Auth, SwiftV1},
		{&s.opts.User, "archiver"},
		{&s.opts.Key, strings.ToLower(rand.Text())},
		{&s.opts.Project, "mail"},
		{&s.opts.DomainID, "default"},
		{&s.opts.Domain, "Default"},
		{&s.opts.Container, "archive"},
	} {
		if *field.value == "" {
			*field.value = field.standard
		}
	}
	if s.opts.Regions == nil {
		s.opts.Regions = []string{"ORD", "DFW"}
	}
	if s.opts.TempURLDigests == nil {
		s.opts.TempURLDigests = []string{"sha256", "sha512"}
	}
	if s.opts.MaxFile == 0 {
		s.opts.MaxFile = 5<<30 + 2
	}
	if s.opts.PageSize == 0 {
		s.opts.PageSize = 10_000
	}
	s.appID, s.appSecret = hexText(16), hexText(32)
	s.containers[s.opts.Container] = new(shelf[*swiftObject])
	return s
}

// Settings returns settings of the driver swift, or of rackspace-cloudfiles for [SwiftRackspace], that reach the container.
func (s *Swift) Settings() connection.Settings {
	o := s.opts
	config := map[string]any{"identity": o.Project + ":" + o.User, "credential": o.Key, "bucket": o.Container}
	driver := "swift"
	switch o.Auth {
	case SwiftV1:
		config["location"] = s.URL() + "/auth/v1.0"
	case SwiftV2:
		config["location"], config["region"] = s.URL()+"/v2.0", s.region()
	case SwiftRackspace:
		driver = "rackspace-cloudfiles"
		config["identity"], config["location"], config["region"] = o.User, s.URL()+"/v2.0", s.region()
	default:
		config["location"], config["region"] = s.URL()+"/v3", s.region()
		if o.DomainID != "default" {
			config["domain_id"] = o.DomainID
		}
	}
	if pem := s.CAPEM(); pem != "" {
		config["ca_pem"] = pem
	}
	raw, _ := json.Marshal(config) // strings only
	return connection.Settings{Driver: driver, Config: raw}
}

// region is that of the catalogue which this server is.
func (s *Swift) region() string { return s.opts.Regions[len(s.opts.Regions)-1] }

// Key returns the password or API key of the user.
func (s *Swift) Key() string { return s.opts.Key }

// ApplicationCredential returns the id and the secret of an application credential of the user, for [SwiftV3].
func (s *Swift) ApplicationCredential() (id, secret string) { return s.appID, s.appSecret }

// ExpireTokens ends all tokens given out so far.
func (s *Swift) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Objects returns the objects of the container by their names; large ones whole.
func (s *Swift) Objects() map[string][]byte { return s.ObjectsOf(s.opts.Container) }

// ObjectsOf returns the objects of any container, nil if it is not there.
func (s *Swift) ObjectsOf(container string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[container]
	if c == nil {
		return nil
	}
	all := make(map[string][]byte)
	for _, name := range c.sorted() {
		o, _ := c.get(name)
		if data, err := s.whole(o); err == nil {
			all[name] = data.bytes()
		}
	}
	return all
}

// Plant stores an object past the protocol.
func (s *Swift) Plant(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b blob
	b.add(data)
	o := &swiftObject{data: b, etag: md5Of(b), modified: s.tick(), kind: "application/octet-stream"}
	s.change(s.containers[s.opts.Container], s.opts.Container, name, o)
}

// RemoveObject takes an object of any container away past the protocol.
func (s *Swift) RemoveObject(container, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(container, name)
}

// Damage inverts a bit of an object's data at rest, of a large one in its first segment. The server notices nothing.
func (s *Swift) Damage(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[s.opts.Container]
	o, ok := c.get(name)
	if ok && o.segments != nil {
		c = s.containers[o.segments[0].container]
		name = o.segments[0].name
		o, ok = c.get(name)
	}
	if !ok {
		return
	}
	broken := *o
	broken.data = o.data.damaged()
	c.put(name, &broken)
}

// MakeContainer makes a container, and RemoveContainer takes one away with all that is in it.
func (s *Swift) MakeContainer(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.containers[name] == nil {
		s.containers[name] = new(shelf[*swiftObject])
	}
}

// RemoveContainer is the opposite of MakeContainer.
func (s *Swift) RemoveContainer(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, name)
}

// tick returns the time of a request, later than those before. The caller holds s.mu.
func (s *Swift) tick() time.Time {
	now := s.Now().UTC().Truncate(time.Microsecond)
	if !now.After(s.clock) {
		now = s.clock.Add(10 * time.Microsecond)
	}
	s.clock = now
	return now
}

var swiftOperations = []string{
	"Authenticate", "GetInfo", "HeadAccount", "PostAccount", "BulkDelete", "ListObjects", "HeadContainer", "PutContainer", "DeleteContainer",
	"PutObject", "PostObject", "PutManifest", "CopyObject", "GetObject", "GetManifest", "HeadObject", "DeleteObject", "DeleteLargeObject",
}

func (s *Swift) operations() []string { return swiftOperations }

func (s *Swift) operation(r *http.Request) string {
	switch {
	case r.URL.Path == "/auth/v1.0", r.URL.Path == "/v2.0/tokens", r.URL.Path == "/v3/auth/tokens":
		return "Authenticate"
	case r.URL.Path == "/info" && r.Method == http.MethodGet:
		return "GetInfo"
	}
	container, object, ok := s.split(r.URL.Path)
	q := r.URL.Query()
	manifest := q.Get("multipart-manifest")
	op := ""
	switch {
	case !ok:
	case container == "":
		op = map[string]string{"HEAD": "HeadAccount", "POST": "PostAccount"}[r.Method]
		if q.Has("bulk-delete") && (r.Method == http.MethodPost || r.Method == http.MethodDelete) {
			op = "BulkDelete"
		}
	case object == "":
		op = map[string]string{"GET": "ListObjects", "HEAD": "HeadContainer", "PUT": "PutContainer", "DELETE": "DeleteContainer"}[r.Method]
	case r.Method == http.MethodPut && r.Header.Get("X-Copy-From") != "":
		op = "CopyObject"
	case manifest == map[string]string{"PUT": "put", "GET": "get", "DELETE": "delete"}[r.Method] && manifest != "":
		op = map[string]string{"PUT": "PutManifest", "GET": "GetManifest", "DELETE": "DeleteLargeObject"}[r.Method]
	default:
		op = map[string]string{"PUT": "PutObject", "POST": "PostObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[r.Method]
	}
	return op
}

// account is the path of the user's account.
func (s *Swift) account() string { return "/v1/AUTH_" + s.opts.Project }

// split returns what a path names below the account.
func (s *Swift) split(path string) (container, object string, ok bool) {
	rest, ok := strings.CutPrefix(path, s.account())
	if !ok || rest != "" && rest[0] != '/' {
		return "", "", false
	}
	container, object, _ = strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	return container, object, true
}

// swiftParameters are the query parameters that the fake knows.
var swiftParameters = []string{
	"format", "limit", "marker", "prefix", "delimiter", "multipart-manifest", "bulk-delete", "temp_url_sig", "temp_url_expires",
}

func (s *Swift) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.transaction++
	w.Header().Set("X-Trans-Id", "tx"+hexText(8))
	s.mu.Unlock()
	op := s.operation(r)
	switch op {
	case "":
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	case "Authenticate":
		s.authenticate(w, r)
		return
	case "GetInfo":
		s.getInfo(w)
		return
	}
	for name := range r.URL.Query() {
		if !slices.Contains(swiftParameters, name) {
			swiftError(w, http.StatusBadRequest, "objecttest: unknown parameter "+name)
			return
		}
	}
	if !s.authorize(w, r, op) {
		return
	}
	container, object, _ := s.split(r.URL.Path)
	switch op {
	case "HeadAccount", "PostAccount":
		s.serveAccount(w)
	case "BulkDelete":
		s.bulkDelete(w, r)
	case "ListObjects", "HeadContainer", "PutContainer", "DeleteContainer":
		s.serveContainer(w, r, op, container)
	case "PutObject":
		s.putObject(w, r, container, object)
	case "PostObject":
		s.postObject(w, r, container, object)
	case "PutManifest":
		s.putManifest(w, r, container, object)
	case "CopyObject":
		s.copyObject(w, r, container, object)
	case "GetObject", "HeadObject", "GetManifest":
		s.getObject(w, r, op, container, object)
	case "DeleteObject":
		s.deleteObject(w, container, object)
	case "DeleteLargeObject":
		s.deleteLarge(w, container, object)
	}
}

// swiftError answers as Swift's proxy does.
func swiftError(w http.ResponseWriter, status int, text string) {
	title := http.StatusText(status)
	if status == 498 {
		title = "Rate Limited"
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<html><h1>" + title + "</h1><p>" + text + "</p></html>")) // the client has gone
}

func swiftJSON(w http.ResponseWriter, status int, v any) {
	data, _ := json.Marshal(v) // plain data
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client has gone
}
