package objecttest

import (
	"crypto/md5" //nolint:gosec // the protocol's choice
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// What one request takes.
const (
	azureMaxPut   = 5000 << 20
	azureMaxBlock = 4000 << 20
	azureMaxMeta  = 8 << 10
)

func newMD5() hash.Hash { return md5.New() } //nolint:gosec // see the import

func azureDigest(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

var azureMetaName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// azureHeaders are kept with a blob, by the name under which they are read; they are set by x-ms-blob- and this name.
var azureHeaders = []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control"}

// describe makes a blob of what the headers of a request say.
func (a *Azure) describe(h http.Header) (*azureBlob, *azureError) {
	b := &azureBlob{headers: map[string]string{"Content-Type": "application/octet-stream"}, meta: make(map[string]string)}
	size := 0
	for name, values := range h {
		short, ok := strings.CutPrefix(strings.ToLower(name), "x-ms-meta-")
		if !ok {
			continue
		}
		if !azureMetaName.MatchString(short) || len(values) != 1 || values[0] == "" {
			return nil, azureMetadata
		}
		for i := range len(values[0]) {
			if c := values[0][i]; c < ' ' || c > '~' {
				return nil, azureMetadata
			}
		}
		b.meta[short] = values[0]
		size += len(short) + len(values[0])
	}
	if size > azureMaxMeta {
		return nil, azureMetadataTooLarge
	}
	for _, name := range azureHeaders {
		if value := h.Get("X-Ms-Blob-" + name); value != "" {
			b.headers[name] = value
		}
	}
	b.scope = h.Get("X-Ms-Encryption-Scope")
	switch b.tier = h.Get("X-Ms-Access-Tier"); b.tier {
	case "", "Hot", "Cool", "Cold", "Archive":
	default:
		return nil, azureTier
	}
	return b, a.describeLock(h, b)
}

// describeLock sets the locks that the headers of a request want.
func (a *Azure) describeLock(h http.Header, b *azureBlob) *azureError {
	hold, until, mode := h.Get("X-Ms-Legal-Hold"), h.Get("X-Ms-Immutability-Policy-Until-Date"), h.Get("X-Ms-Immutability-Policy-Mode")
	if hold+until+mode == "" {
		return nil
	}
	if !a.opts.Locks {
		return azureNoLocks
	}
	b.hold = hold == "true"
	if until == "" {
		return nil
	}
	var err error
	if b.until, err = http.ParseTime(until); err != nil || !b.until.After(a.Now()) || mode != "" && !strings.EqualFold(mode, "Locked") && !strings.EqualFold(mode, "Unlocked") {
		return azureHeader
	}
	b.mode = "Unlocked"
	if strings.EqualFold(mode, "Locked") {
		b.mode = "Locked"
	}
	return nil
}

func (a *Azure) putBlob(w http.ResponseWriter, r *http.Request, key string) *azureError {
	b, e := a.describe(r.Header)
	if e == nil && r.Header.Get("X-Ms-Blob-Type") != "BlockBlob" {
		e = azureHeader
	}
	var sum []byte
	if e == nil {
		b.data, sum, e = azureBody(r, azureMaxPut)
	}
	if e != nil {
		azureDiscard(r)
		return e
	}
	b.headers["Content-MD5"] = azureDigest(sum)
	a.mu.Lock()
	defer a.mu.Unlock()
	was, _ := a.shelf.get(key)
	if e := a.writable(r.Header, was); e != nil {
		return e
	}
	a.store(key, b)
	w.Header().Set("Content-Md5", azureDigest(sum))
	b.told(w.Header())
	w.WriteHeader(http.StatusCreated)
	return nil
}

// told writes what an answer to a change tells of a blob.
func (b *azureBlob) told(h http.Header) {
	h.Set("Etag", `"`+b.etag+`"`)
	h.Set("Last-Modified", b.modified.UTC().Format(http.TimeFormat))
	if b.version != "" {
		h.Set("X-Ms-Version-Id", b.version)
	}
}

// properties writes what is known of a blob.
func (b *azureBlob) properties(h http.Header) {
	b.told(h)
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Ms-Blob-Type", "BlockBlob")
	h.Set("X-Ms-Creation-Time", b.made.UTC().Format(http.TimeFormat))
	for name, value := range b.headers {
		h.Set(name, value)
	}
	for name, value := range b.meta {
		h.Set("X-Ms-Meta-"+name, value)
	}
	optional := map[string]string{"X-Ms-Archive-Status": b.archived, "X-Ms-Encryption-Scope": b.scope, "X-Ms-Access-Tier": b.tier}
	if b.tier == "" {
		optional["X-Ms-Access-Tier"], optional["X-Ms-Access-Tier-Inferred"] = "Hot", "true"
	}
	if b.hold {
		optional["X-Ms-Legal-Hold"] = "true"
	}
	if !b.until.IsZero() {
		optional["X-Ms-Immutability-Policy-Until-Date"] = b.until.UTC().Format(http.TimeFormat)
		optional["X-Ms-Immutability-Policy-Mode"] = strings.ToLower(b.mode)
	}
	if b.version != "" {
		optional["X-Ms-Is-Current-Version"] = "true"
	}
	if b.copy != nil {
		optional["X-Ms-Copy-Id"], optional["X-Ms-Copy-Status"], optional["X-Ms-Copy-Source"] = b.copy.id, b.copy.status, b.copy.source
		optional["X-Ms-Copy-Progress"] = fmt.Sprintf("%d/%d", b.data.size, b.data.size)
		if b.copy.result != nil {
			optional["X-Ms-Copy-Progress"] = fmt.Sprintf("0/%d", b.copy.result.data.size)
		}
		if b.copy.status == "failed" {
			optional["X-Ms-Copy-Status-Description"] = `500 InternalServerError "Copy failed."`
		}
	}
	for name, value := range optional {
		if value != "" {
			h.Set(name, value)
		}
	}
}

func (a *Azure) getBlob(w http.ResponseWriter, r *http.Request, key string) *azureError {
	a.mu.Lock()
	b, ok := a.shelf.get(key)
	a.mu.Unlock()
	if !ok {
		return azureNoBlob
	}
	if e := azureConditions(r.Header, b); e != nil {
		return e
	}
	if r.Method == http.MethodHead {
		b.properties(w.Header())
		w.Header().Set("Content-Length", itoa(b.data.size))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if b.tier == "Archive" {
		return azureArchived
	}
	offset, length, status := int64(0), b.data.size, http.StatusOK
	if text := r.Header.Get("X-Ms-Range") + r.Header.Get("Range"); text != "" {
		var last int64
		n, _ := fmt.Sscanf(text, "bytes=%d-%d", &offset, &last) // a range without an end is short of one
		switch {
		case n == 0 || offset < 0 || n == 2 && last < offset:
			return azureHeader
		case offset >= b.data.size:
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", b.data.size))
			return azureRange
		}
		length = b.data.size - offset
		if n == 2 {
			length = min(length, last-offset+1)
		}
		status = http.StatusPartialContent
	}
	b.properties(w.Header())
	if status == http.StatusPartialContent {
		w.Header().Del("Content-Md5")
		w.Header().Set("X-Ms-Blob-Content-Md5", b.headers["Content-MD5"])
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, b.data.size))
	}
	w.Header().Set("Content-Length", itoa(length))
	w.WriteHeader(status)
	_, _ = io.Copy(w, b.data.reader(offset, length)) // the client has gone
	return nil
}

func (a *Azure) deleteBlob(w http.ResponseWriter, r *http.Request, key string) *azureError {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	stage := a.stages[key]
	switch {
	case !ok && stage == nil:
		return azureNoBlob
	case !ok:
		// What was staged goes, although there is no blob to be found.
		var as *azureBlob
		if a.opts.StagesExist {
			as = &azureBlob{etag: stage.etag, modified: stage.made}
		}
		if e := azureConditions(r.Header, as); e != nil {
			return e
		}
		delete(a.stages, key)
		w.WriteHeader(http.StatusAccepted)
		return nil
	case a.opts.Policy:
		return azureImmutable
	case b.copy != nil && b.copy.status == "pending":
		return azureCopying
	}
	if e := azureConditions(r.Header, b); e != nil {
		return e
	}
	if a.versioned() {
		a.old[key] = append(a.old[key], b)
	}
	if a.opts.SoftDelete {
		a.deleted[key]++
	}
	a.shelf.remove(key)
	delete(a.stages, key)
	w.Header().Set("X-Ms-Delete-Type-Permanent", fmt.Sprint(!a.opts.SoftDelete))
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a *Azure) setTier(w http.ResponseWriter, r *http.Request, key string) *azureError {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	if !ok {
		return azureNoBlob
	}
	tier, priority := r.Header.Get("X-Ms-Access-Tier"), r.Header.Get("X-Ms-Rehydrate-Priority")
	next := *b
	switch {
	case tier != "Hot" && tier != "Cool" && tier != "Cold" && tier != "Archive":
		return azureTier
	case priority != "" && priority != "Standard" && priority != "High":
		return azureHeader
	case b.archived != "":
		return azureRehydrating
	case b.tier == "Archive" && tier != "Archive":
		next.archived = "rehydrate-pending-to-" + strings.ToLower(tier)
		a.shelf.put(key, &next)
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	next.tier = tier
	a.shelf.put(key, &next)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *Azure) setPolicy(w http.ResponseWriter, r *http.Request, key string) *azureError {
	want := &azureBlob{}
	if e := a.describeLock(r.Header, want); e != nil {
		return e
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	switch {
	case !ok:
		return azureNoBlob
	case want.until.IsZero():
		return azureHeader
	case b.mode == "Locked" && (want.mode != "Locked" || want.until.Before(b.until)):
		return azureShorter
	}
	next := *b
	next.until, next.mode = want.until, want.mode
	a.shelf.put(key, &next)
	w.Header().Set("X-Ms-Immutability-Policy-Until-Date", want.until.UTC().Format(http.TimeFormat))
	w.Header().Set("X-Ms-Immutability-Policy-Mode", strings.ToLower(want.mode))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *Azure) setHold(w http.ResponseWriter, r *http.Request, key string) *azureError {
	if !a.opts.Locks {
		return azureNoLocks
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	if !ok {
		return azureNoBlob
	}
	next := *b
	next.hold = r.Header.Get("X-Ms-Legal-Hold") == "true"
	a.shelf.put(key, &next)
	w.Header().Set("X-Ms-Legal-Hold", fmt.Sprint(next.hold))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *Azure) containerProperties(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Etag", `"0x8DE000000000000"`)
	h.Set("Last-Modified", a.Now().UTC().Truncate(time.Hour).Format(http.TimeFormat))
	h.Set("X-Ms-Has-Immutability-Policy", fmt.Sprint(a.opts.Policy))
	h.Set("X-Ms-Has-Legal-Hold", "false")
	h.Set("X-Ms-Immutable-Storage-With-Versioning-Enabled", fmt.Sprint(a.opts.Locks))
	w.WriteHeader(http.StatusOK)
}

// clone returns a copy that may be changed, which no copy has made.
func (b *azureBlob) clone() *azureBlob {
	c := *b
	c.headers, c.meta, c.copy = maps.Clone(b.headers), maps.Clone(b.meta), nil
	return &c
}
