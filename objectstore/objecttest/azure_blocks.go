package objecttest

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// azureMaxBlocks is how many blocks a blob has at most.
const azureMaxBlocks = 50000

func (a *Azure) putBlock(w http.ResponseWriter, r *http.Request, key string) *azureError {
	id := r.URL.Query().Get("blockid")
	name, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(name) == 0 || len(name) > 64 {
		azureDiscard(r)
		return azureBlockID
	}
	block := azureBlock{id: id}
	var sum []byte
	var e *azureError
	if source := r.Header.Get("X-Ms-Copy-Source"); source != "" {
		block.data, e = a.sourceRange(r.Header, source)
	} else {
		block.data, sum, e = azureBody(r, azureMaxBlock)
	}
	if e != nil {
		azureDiscard(r)
		return e
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// All uncommitted blocks of a blob have names of one length.
	if s := a.stages[key]; s != nil && len(s.blocks[0].id) != len(id) {
		return azureBlockContent
	}
	if _, ok := a.shelf.get(key); ok && a.opts.Policy {
		return azureImmutable
	}
	a.stage(key, block)
	if sum != nil {
		w.Header().Set("Content-Md5", azureDigest(sum))
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// sourceRange reads what a request names by a URL with a shared access signature.
func (a *Azure) sourceRange(h http.Header, source string) (blob, *azureError) {
	u, err := url.Parse(source)
	if err != nil || !strings.HasPrefix(source, a.URL()) {
		return blob{}, azureNoSource
	}
	if e := a.checkSAS(u, u.Query(), "r"); e != nil {
		return blob{}, &azureError{e.status, "CannotVerifyCopySource", e.text, ""}
	}
	b, e := a.source(h, u)
	if e != nil {
		return blob{}, e
	}
	first, last := int64(0), b.data.size-1
	if text := h.Get("X-Ms-Source-Range"); text != "" {
		if _, err := fmt.Sscanf(text, "bytes=%d-%d", &first, &last); err != nil || first < 0 || last < first || last >= b.data.size {
			return blob{}, azureRange
		}
	}
	return b.data.part(first, last-first+1), nil
}

// source returns the blob that a URL names, under the condition of the request.
func (a *Azure) source(h http.Header, u *url.URL) (*azureBlob, *azureError) {
	container, key := a.split(u.EscapedPath())
	a.mu.Lock()
	b, ok := a.shelf.get(key)
	a.mu.Unlock()
	switch {
	case !ok || container != a.opts.Container:
		return nil, azureNoSource
	case b.tier == "Archive":
		return nil, azureArchived
	}
	if want := h.Get("X-Ms-Source-If-Match"); want != "" && want != `"`+b.etag+`"` {
		return nil, azureSourceUnmet
	}
	return b, nil
}

func (a *Azure) putBlockList(w http.ResponseWriter, r *http.Request, key string) *azureError {
	b, e := a.describe(r.Header)
	var data blob
	if e == nil {
		data, _, e = azureBody(r, azureMaxBlocks*200)
	}
	if e != nil {
		azureDiscard(r)
		return e
	}
	var list struct {
		Blocks []struct {
			XMLName xml.Name
			ID      string `xml:",chardata"`
		} `xml:",any"`
	}
	if xml.Unmarshal(data.bytes(), &list) != nil || len(list.Blocks) > azureMaxBlocks {
		return &azureError{400, "InvalidXmlDocument", "The specified XML is not syntactically valid.", ""}
	}
	if digest := r.Header.Get("X-Ms-Blob-Content-Md5"); digest != "" {
		b.headers["Content-MD5"] = digest // which the service does not check
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	was, _ := a.shelf.get(key)
	if e := a.writable(r.Header, was); e != nil {
		return e
	}
	have := make(map[string]blob)
	if was != nil {
		for _, block := range was.blocks {
			have[block.id] = block.data
		}
	}
	if s := a.stages[key]; s != nil {
		for _, block := range s.blocks {
			have[block.id] = block.data // the latest
		}
	}
	parts := make([]blob, 0, len(list.Blocks))
	for _, wanted := range list.Blocks {
		part, ok := have[wanted.ID]
		if !ok || wanted.XMLName.Local != "Latest" {
			return azureBlockList
		}
		parts = append(parts, part)
		b.blocks = append(b.blocks, azureBlock{wanted.ID, part})
	}
	b.data = join(parts...)
	a.store(key, b)
	b.told(w.Header())
	w.WriteHeader(http.StatusCreated)
	return nil
}

// azureBlockXML is a block in a list.
type azureBlockXML struct {
	Name string
	Size int64
}

func (a *Azure) getBlockList(w http.ResponseWriter, r *http.Request, key string) *azureError {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	s := a.stages[key]
	if !ok && s == nil {
		return azureNoBlob
	}
	list := struct {
		XMLName           xml.Name        `xml:"BlockList"`
		CommittedBlocks   []azureBlockXML `xml:"CommittedBlocks>Block"`
		UncommittedBlocks []azureBlockXML `xml:"UncommittedBlocks>Block"`
	}{}
	kind := r.URL.Query().Get("blocklisttype")
	if ok {
		w.Header().Set("Etag", `"`+b.etag+`"`)
		w.Header().Set("X-Ms-Blob-Content-Length", itoa(b.data.size))
		if kind != "uncommitted" {
			for _, block := range b.blocks {
				list.CommittedBlocks = append(list.CommittedBlocks, azureBlockXML{block.id, block.data.size})
			}
		}
	}
	if s != nil && (kind == "uncommitted" || kind == "all") {
		for _, block := range s.blocks {
			list.UncommittedBlocks = append(list.UncommittedBlocks, azureBlockXML{block.id, block.data.size})
		}
	}
	return azureXML(w, list)
}

func azureXML(w http.ResponseWriter, v any) *azureError {
	body, err := xml.Marshal(v)
	if err != nil {
		return &azureError{500, "InternalError", err.Error(), ""}
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write(append([]byte(xml.Header), body...)) // the client has gone
	return nil
}

func (a *Azure) copyBlob(w http.ResponseWriter, r *http.Request, key string) *azureError {
	want, e := a.describe(r.Header)
	if e != nil {
		return e
	}
	u, err := url.Parse(r.Header.Get("X-Ms-Copy-Source"))
	if err != nil || !strings.HasPrefix(u.String(), a.URL()) {
		return azureNoSource
	}
	from, e := a.source(r.Header, u)
	if e != nil {
		return e
	}
	next := from.clone()
	next.hold, next.until, next.mode = want.hold, want.until, want.mode
	next.scope = ""
	if want.tier != "" {
		next.tier = want.tier
	}
	if len(want.meta) > 0 {
		next.meta = want.meta
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	was, _ := a.shelf.get(key)
	if e := a.writable(r.Header, was); e != nil {
		return e
	}
	next.copy = &azureCopy{id: "copy-" + a.newTag(), source: u.String(), status: "success"}
	if a.opts.CopyLater {
		// The service shows an empty blob until it is done.
		whole := next
		next = whole.clone()
		next.data, next.blocks = blob{}, nil
		next.copy = &azureCopy{id: whole.copy.id, source: u.String(), status: "pending", result: whole}
	}
	a.store(key, next)
	next.told(w.Header())
	w.Header().Set("X-Ms-Copy-Id", next.copy.id)
	w.Header().Set("X-Ms-Copy-Status", next.copy.status)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a *Azure) abortCopy(w http.ResponseWriter, r *http.Request, key string) *azureError {
	if r.Header.Get("X-Ms-Copy-Action") != "abort" {
		return azureHeader
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.shelf.get(key)
	switch {
	case !ok:
		return azureNoBlob
	case b.copy == nil || b.copy.status != "pending" || b.copy.id != r.URL.Query().Get("copyid"):
		return azureNotCopying
	}
	next := b.clone()
	next.copy = &azureCopy{id: b.copy.id, source: b.copy.source, status: "aborted"}
	a.store(key, next)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
