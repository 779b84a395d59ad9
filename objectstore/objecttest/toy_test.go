package objecttest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A toy is a fake of a provider that nobody has, with everything that the suite looks at: it shows that the suite passes
// what is right, and with its flaws that it catches what is wrong.
type toy struct {
	Server
	flaws

	mu      sync.Mutex
	objects shelf[toyObject]
	uploads map[string]*toyUpload
	next    int
}

type toyObject struct {
	blob  blob
	about about
	etag  string
	at    time.Time
}

// about is what travels in a header, as JSON in base64.
type about struct {
	SHA256, ContentType string
	Meta                map[string]string
	Lock                connection.Lock
}

type toyUpload struct {
	key   string
	about about
	parts map[int]blob
	began time.Time
}

// flaws are what a toy, or its driver, does wrong.
type flaws struct {
	overwritesOnComplete bool // the condition is not looked at for large objects
	noChecks             bool // digests of what comes in are not looked at
	visibleParts         bool // each part is shown under the key
	emptyPages           bool // (no flaw) every page is followed by an empty one
	page                 int  // entries in a page; 0 = 10
	prefixTwice          bool // a prefix that a page border falls into is listed on both
	unlocked             bool // locks are taken and do not hold
	plusIsSpace          bool // listings are escaped like forms
	dropsCondition       bool // If-None-Match is never looked at
	noOldUploads         bool // unfinished writes are not listed
	abortsAll            bool // times of unfinished writes are wrong
	slowToShow           bool // Stat and Get lag like listings
	shortName            bool // keys end at 500 octets
	anyMethod            bool // presigned URLs permit all methods
}

const (
	toySecret = "open-sesame-1234"
	toyDenied = "sesame-who-1234"
)

func newToy(t testing.TB, o ServerOptions, f flaws) *toy {
	s := &toy{flaws: f, uploads: make(map[string]*toyUpload)}
	s.startFor(t, o, s)
	return s
}

func (*toy) operations() []string {
	return []string{"Put", "Get", "Head", "Delete", "List", "BulkDelete", "Begin", "Part", "Complete", "Abort", "Uploads", "Copy", "Lock"}
}

func (*toy) operation(r *http.Request) string {
	verb, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return map[string]string{
		"GET o": "Get", "HEAD o": "Head", "PUT o": "Put", "DELETE o": "Delete", "GET list": "List", "POST bulk": "BulkDelete",
		"POST begin": "Begin", "PUT part": "Part", "POST complete": "Complete", "DELETE part": "Abort", "GET uploads": "Uploads", "POST copy": "Copy", "POST lock": "Lock",
	}[r.Method+" "+verb]
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Code", code)
	w.WriteHeader(status)
}

func toySign(method, key, until string) string {
	sum := sha256.Sum256([]byte(toySecret + method + key + until))
	return hex.EncodeToString(sum[:])
}

// permitted reports whether r may be obeyed, and refuses it if not.
func (s *toy) permitted(w http.ResponseWriter, r *http.Request, key string) bool {
	q := r.URL.Query()
	method := r.Method
	if s.anyMethod {
		method = q.Get("method")
	}
	switch {
	case q.Get("sig") != "" && q.Get("sig") == toySign(method, key, q.Get("until")), r.Header.Get("X-Key") == toySecret:
		if b := r.Header.Get("X-Bucket"); b != "" && b != "bucket" {
			refuse(w, http.StatusNotFound, "NoSuchBucket")
			return false
		}
		return true
	case r.Header.Get("X-Key") == toyDenied:
		refuse(w, http.StatusForbidden, "AccessDenied")
	default:
		refuse(w, http.StatusUnauthorized, "BadKey")
	}
	return false
}

func (s *toy) serve(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	key, err := url.PathUnescape(rest)
	op := s.operation(r)
	if err != nil || op == "" {
		refuse(w, http.StatusBadRequest, "BadRequest")
		return
	}
	if !s.permitted(w, r, key) {
		return
	}
	if s.shortName && len(key) > 500 {
		key = key[:500]
	}
	map[string]func(http.ResponseWriter, *http.Request, string){
		"Put": s.put, "Get": s.get, "Head": s.get, "Delete": s.remove, "List": s.list, "BulkDelete": s.bulk,
		"Begin": s.begin, "Part": s.part, "Complete": s.complete, "Abort": s.abort, "Uploads": s.listUploads, "Copy": s.copy, "Lock": s.lock,
	}[op](w, r, key)
}

func (s *toy) body(w http.ResponseWriter, r *http.Request) (b blob, sha string, ok bool) {
	wire, sum := md5.New(), sha256.New()
	b, err := readBlob(r.Body, io.MultiWriter(wire, sum))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Incomplete")
		return b, "", false
	}
	if want := r.Header.Get("Content-MD5"); want != base64.StdEncoding.EncodeToString(wire.Sum(nil)) && !s.noChecks && r.Header.Get("X-Key") != "" {
		refuse(w, http.StatusUnprocessableEntity, "BadDigest")
		return b, "", false
	}
	return b, hex.EncodeToString(sum.Sum(nil)), true
}

func aboutOf(r *http.Request) (a about) {
	raw, err := base64.StdEncoding.DecodeString(r.Header.Get("X-About"))
	if err == nil {
		_ = json.Unmarshal(raw, &a) // the toy's driver writes it
	}
	return a
}

// may reports whether key may be replaced under the conditions of r. The lock is held.
func (s *toy) may(w http.ResponseWriter, r *http.Request, key string) bool {
	old, taken := s.objects.get(key)
	switch {
	case taken && r.Header.Get("If-None-Match") == "*" && !s.dropsCondition:
		refuse(w, http.StatusConflict, "Exists")
	case taken && s.locked(old):
		refuse(w, http.StatusConflict, "Locked")
	default:
		return true
	}
	return false
}

func (s *toy) locked(o toyObject) bool {
	return !s.unlocked && (o.about.Lock.LegalHold || s.Now().Before(o.about.Lock.RetainUntil))
}

// set makes key hold an object. The lock is held.
func (s *toy) set(w http.ResponseWriter, key string, b blob, a about) {
	s.next++
	o := toyObject{b, a, fmt.Sprint("v", s.next), time.Now()}
	s.objects.put(key, o)
	w.Header().Set("ETag", o.etag)
}

func (s *toy) put(w http.ResponseWriter, r *http.Request, key string) {
	b, _, ok := s.body(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.may(w, r, key) {
		s.set(w, key, b, aboutOf(r))
	}
}

func (s *toy) get(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	o, ok := s.objects.get(key)
	s.mu.Unlock()
	if s.slowToShow && ok && !s.settled(o.at) {
		ok = false
	}
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	raw, _ := json.Marshal(o.about) // of strings and times: always encodes
	w.Header().Set("X-About", base64.StdEncoding.EncodeToString(raw))
	w.Header().Set("X-Size", fmt.Sprint(o.blob.size))
	w.Header().Set("ETag", o.etag)
	if r.Method == http.MethodHead {
		return
	}
	if want := r.Header.Get("If-Match"); want != "" && want != o.etag {
		refuse(w, http.StatusPreconditionFailed, "Changed")
		return
	}
	from, n, status := int64(0), o.blob.size, http.StatusOK
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, last, _ := strings.Cut(spec, "-")
		from, _ = strconv.ParseInt(first, 10, 64) // the toy's driver writes it
		if from >= o.blob.size {
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "Range")
			return
		}
		n = o.blob.size - from
		if to, err := strconv.ParseInt(last, 10, 64); err == nil {
			n = min(n, to-from+1)
		}
		status = http.StatusPartialContent
	}
	w.Header().Set("Content-Length", fmt.Sprint(n))
	w.WriteHeader(status)
	_, _ = io.Copy(w, o.blob.reader(from, n)) // the client has gone
}

func (s *toy) remove(w http.ResponseWriter, _ *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects.get(key); ok && s.locked(o) {
		refuse(w, http.StatusConflict, "Locked")
		return
	}
	s.objects.remove(key)
}

func (s *toy) bulk(w http.ResponseWriter, r *http.Request, _ string) {
	var keys []string
	if err := json.NewDecoder(r.Body).Decode(&keys); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest")
		return
	}
	codes := make([]string, len(keys))
	s.mu.Lock()
	for i, key := range keys {
		if o, ok := s.objects.get(key); ok && s.locked(o) {
			codes[i] = "Locked"
			continue
		}
		s.objects.remove(key)
	}
	s.mu.Unlock()
	answerJSON(w, codes)
}

func answerJSON(w http.ResponseWriter, v any) {
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// toyPage is a page of a listing.
type toyPage struct {
	Entries []connection.ObjectInfo
	Token   string
}

func (s *toy) list(w http.ResponseWriter, r *http.Request, _ string) {
	q := r.URL.Query()
	l := listing{prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), after: q.Get("after"), limit: s.page}
	if l.limit == 0 {
		l.limit = 10
	}
	token, idle := strings.CutPrefix(q.Get("token"), "idle:")
	if l.resume = token; s.prefixTwice {
		l.resume, l.after = "", max(l.after, token)
	}
	if s.emptyPages && token != "" && !idle {
		answerJSON(w, toyPage{Token: "idle:" + token})
		return
	}
	s.mu.Lock()
	entries, more := s.objects.list(l, s.settled)
	s.mu.Unlock()
	var page toyPage
	for _, e := range entries {
		if s.plusIsSpace {
			e.key, _ = url.QueryUnescape(url.PathEscape(e.key)) // what was escaped comes back
		}
		page.Entries = append(page.Entries, connection.ObjectInfo{Key: e.key, Prefix: e.prefix, Size: e.item.blob.size})
	}
	if more {
		page.Token = page.Entries[len(page.Entries)-1].Key
	}
	answerJSON(w, page)
}

func (s *toy) copy(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects.get(r.URL.Query().Get("src"))
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if s.may(w, r, key) {
		o.about.Lock = connection.Lock{}
		s.set(w, key, o.blob, o.about)
	}
}

func (s *toy) lock(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects.get(key)
	next := aboutOf(r).Lock
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	case next.RetainUntil.IsZero():
		next.RetainUntil = o.about.Lock.RetainUntil
	case next.RetainUntil.Before(o.about.Lock.RetainUntil):
		refuse(w, http.StatusConflict, "Locked")
		return
	}
	o.about.Lock = next
	s.objects.put(key, o)
}

// damage inverts a bit of what key holds.
func (s *toy) damage(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ := s.objects.get(key)
	o.blob = o.blob.damaged()
	s.objects.put(key, o)
}

// plant stores an object under any key.
func (s *toy) plant(key string, raw []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b blob
	b.add(raw)
	s.objects.put(key, toyObject{blob: b, etag: "planted", at: time.Now()})
	return true
}
