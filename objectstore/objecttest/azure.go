package objecttest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// AzureOptions are the options of an [Azure]. The zero value has a container named mail.
type AzureOptions struct {
	ServerOptions
	Account   string // "" = "devstoreaccount1"
	Key       string // base64; "" = a random one
	Container string // the one that is there; "" = "mail"
	// PageSize is the largest number of entries in a page of a listing; 0 = 5000.
	PageSize int
	// EmptyPages puts an empty page with a marker before each page of a listing.
	EmptyPages bool
	// Locks switches version-level immutability on for the container, and versions for the account: objects can be
	// locked, and one that is overwritten or deleted becomes an earlier version, also if it is locked.
	Locks bool
	// Policy puts the whole container under a retention policy: nothing that is there can be overwritten or deleted.
	Policy bool
	// Versions keeps what is overwritten or deleted as an earlier version.
	Versions bool
	// SoftDelete keeps what is deleted for a while, out of sight.
	SoftDelete bool
	// CopyLater leaves each copy pending until FinishCopy.
	CopyLater bool
	// StagesExist applies the conditions of a deletion to what is staged and not committed as if that were a blob. Else it
	// counts as nothing, as with Azurite.
	StagesExist bool
	// Unconditional ignores If-None-Match of whatever writes, as some imitations do.
	Unconditional bool
	// NoCodes leaves out the codes of errors, as a proxy does that answers in its own words.
	NoCodes bool
}

// An Azure is a fake of Azure Blob Storage with one account, whose name is in the path as with emulators. It checks
// signatures (SharedKey and shared access signatures of single blobs), dates and digests, and refuses headers and
// parameters that it does not know. Operations are PutBlob, GetBlob, GetBlobProperties, DeleteBlob, ListBlobs, PutBlock,
// PutBlockFromURL, PutBlockList, GetBlockList, CopyBlob, AbortCopyBlob, SetBlobTier, SetBlobImmutabilityPolicy,
// SetBlobLegalHold and GetContainerProperties. A blob of the archive tier that is being rehydrated stays pending until
// Rehydrate.
type Azure struct {
	Server
	opts AzureOptions
	key  []byte

	mu      sync.Mutex
	shelf   shelf[*azureBlob]
	stages  map[string]*azureStage // by the key of the blob that has uncommitted blocks
	old     map[string][]*azureBlob
	deleted map[string]int // by key, with SoftDelete
	tags    int            // ETags given out
}

// An azureBlob is a block blob. What is in the shelf is never changed: a change puts another one there.
type azureBlob struct {
	data     blob
	headers  map[string]string // Content-Type and the like
	meta     map[string]string // by lower-case names
	etag     string
	modified time.Time
	made     time.Time
	tier     string // "" = Hot, not asked for
	archived string // status of a rehydration
	scope    string
	hold     bool
	until    time.Time
	mode     string // of the immutability policy
	version  string
	blocks   []azureBlock
	copy     *azureCopy
}

// An azureCopy is what a blob tells of the copy that made it.
type azureCopy struct {
	id, source, status string
	result             *azureBlob // of a pending one
}

// An azureBlock is a block, committed or not.
type azureBlock struct {
	id   string // base64
	data blob
}

// An azureStage is what was staged for a key and not committed.
type azureStage struct {
	etag   string
	made   time.Time
	blocks []azureBlock
}

// NewAzure starts an Azure that ends with the test. opts may be nil.
func NewAzure(t testing.TB, opts *AzureOptions) *Azure {
	t.Helper()
	a := newAzure(opts)
	a.startFor(t, a.opts.ServerOptions, a)
	return a
}

// ListenAzure is NewAzure outside tests: the caller closes it.
func ListenAzure(opts *AzureOptions) (*Azure, error) {
	a := newAzure(opts)
	return a, a.start(a.opts.ServerOptions, a)
}

func newAzure(opts *AzureOptions) *Azure {
	a := &Azure{stages: make(map[string]*azureStage), old: make(map[string][]*azureBlob), deleted: make(map[string]int)}
	if opts != nil {
		a.opts = *opts
	}
	if a.opts.Account == "" {
		a.opts.Account = "devstoreaccount1"
	}
	if a.opts.Container == "" {
		a.opts.Container = "mail"
	}
	if a.opts.Key == "" {
		key := make([]byte, 64)
		_, _ = rand.Read(key) // never fails
		a.opts.Key = base64.StdEncoding.EncodeToString(key)
	}
	a.key, _ = base64.StdEncoding.DecodeString(a.opts.Key) // one that is no base64 fits no signature
	return a
}

// Location returns the URL of the account.
func (a *Azure) Location() string { return a.URL() + "/" + a.opts.Account }

// Settings returns settings of the driver azureblob that reach the container.
func (a *Azure) Settings() connection.Settings {
	config := map[string]any{"identity": a.opts.Account, "credential": a.opts.Key, "location": a.Location(), "bucket": a.opts.Container}
	if pem := a.CAPEM(); pem != "" {
		config["ca_pem"] = pem
	}
	raw, _ := json.Marshal(config) // strings only
	return connection.Settings{Driver: "azureblob", Config: raw}
}

// Objects returns the blobs by their names.
func (a *Azure) Objects() map[string][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string][]byte)
	for _, key := range a.shelf.sorted() {
		b, _ := a.shelf.get(key)
		all[key] = b.data.bytes()
	}
	return all
}

// Add puts a blob there, as another program would: without metadata. A name that ends in a slash is that of a folder of an
// account with a hierarchical namespace.
func (a *Azure) Add(key string, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := &azureBlob{headers: map[string]string{"Content-Type": "application/octet-stream"}}
	b.data.add(data)
	a.store(key, b)
}

// AddFolder puts a folder there, as accounts with a hierarchical namespace list them.
func (a *Azure) AddFolder(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(key, &azureBlob{meta: map[string]string{"hdi_isfolder": "true"}})
}

// Stage puts an uncommitted block there, as another program would whose upload does not end. name is not encoded yet.
func (a *Azure) Stage(key, name string, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b blob
	b.add(data)
	a.stage(key, azureBlock{base64.StdEncoding.EncodeToString([]byte(name)), b})
}

// Uncommitted returns how many blocks are staged by the names of the blobs that they are for.
func (a *Azure) Uncommitted() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]int)
	for key, s := range a.stages {
		all[key] = len(s.blocks)
	}
	return all
}

// Earlier returns how many earlier versions of a blob are kept.
func (a *Azure) Earlier(key string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.old[key])
}

// Damage inverts a bit of a blob, as a failing disk would.
func (a *Azure) Damage(key string) {
	a.change(key, func(b *azureBlob) { b.data = b.data.damaged() })
}

// Archive moves a blob to the archive tier, as a rule of the account would.
func (a *Azure) Archive(key string) {
	a.change(key, func(b *azureBlob) { b.tier, b.archived = "Archive", "" })
}

// Rehydrate ends a rehydration that is pending.
func (a *Azure) Rehydrate(key string) {
	a.change(key, func(b *azureBlob) {
		switch b.archived {
		case "rehydrate-pending-to-hot":
			b.tier = "Hot"
		case "rehydrate-pending-to-cool":
			b.tier = "Cool"
		case "rehydrate-pending-to-cold":
			b.tier = "Cold"
		}
		b.archived = ""
	})
}

// FinishCopy ends the copy to a blob that is pending: well, or else by failing.
func (a *Azure) FinishCopy(key string, well bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	if !ok || b.copy == nil || b.copy.status != "pending" {
		return
	}
	next := *b
	if well {
		next = *b.copy.result
	}
	done := *b.copy
	done.status, done.result = "failed", nil
	if well {
		done.status = "success"
	}
	next.copy = &done
	a.store(key, &next)
}

// change changes a blob without giving it another ETag.
func (a *Azure) change(key string, f func(b *azureBlob)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b, ok := a.shelf.get(key); ok {
		next := *b
		f(&next)
		a.shelf.put(key, &next)
	}
}

// store makes b what is under key, with a new ETag, and keeps what was there if the account has versions.
func (a *Azure) store(key string, b *azureBlob) {
	b.etag = a.newTag()
	b.modified = a.Now()
	b.made = b.modified
	if was, ok := a.shelf.get(key); ok {
		b.made = was.made
		if a.versioned() {
			a.old[key] = append(a.old[key], was)
		}
	}
	if a.versioned() {
		b.version = b.modified.UTC().Format("2006-01-02T15:04:05.0000000Z")
	}
	a.shelf.put(key, b)
	delete(a.stages, key)
}

func (a *Azure) versioned() bool { return a.opts.Versions || a.opts.Locks }

func (a *Azure) newTag() string {
	a.tags++
	return fmt.Sprintf("0x8DE%012X", a.tags)
}

// stage adds a block to those that are not committed. One of the same name is replaced.
func (a *Azure) stage(key string, block azureBlock) {
	s := a.stages[key]
	if s == nil {
		s = &azureStage{etag: a.newTag(), made: a.Now()}
		a.stages[key] = s
	}
	for i := range s.blocks {
		if s.blocks[i].id == block.id {
			s.blocks[i] = block
			return
		}
	}
	s.blocks = append(s.blocks, block)
}

// AddMeta is Add with metadata as it is on the wire.
func (a *Azure) AddMeta(key string, data []byte, meta map[string]string) {
	a.Add(key, data)
	a.change(key, func(b *azureBlob) { b.meta = maps.Clone(meta) })
}
