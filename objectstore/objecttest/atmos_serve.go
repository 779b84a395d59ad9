package objecttest

import (
	"crypto/md5" //nolint:gosec // the protocol's choice
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serve implements provider.
func (a *Atmos) serve(w http.ResponseWriter, r *http.Request) {
	op := a.operation(r)
	e := a.check(r)
	if e == nil {
		e = a.knows(op, r.Header)
	}
	if e == nil {
		path := strings.TrimPrefix(r.URL.EscapedPath(), "/rest/namespace/")
		switch op {
		case "ServiceInformation":
			_, _ = fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?>\n<Version%s><Atmos>2.1.4</Atmos></Version>", a.xmlns()) // the client has gone
		case "CreateObject":
			e = a.createObject(w, r, path)
		case "CreateDirectory":
			e = a.createDirectory(w, path)
		case "Rename":
			e = a.rename(r, path)
		case "SetMetadata":
			e = a.setMetadata(r, path)
		case "GetObjectInfo":
			e = a.objectInfo(w, path)
		case "GetMetadata", "ReadObject":
			e = a.readObject(w, r, path)
		case "ListDirectory":
			e = a.listDirectory(w, r, path)
		case "DeleteObject":
			e = a.deleteObject(w, path)
		default:
			e = &atmosError{http.StatusMethodNotAllowed, 1007, "The method is not allowed."}
		}
	}
	if e != nil {
		a.fail(w, r, e)
	}
}

func (a *Atmos) createObject(w http.ResponseWriter, r *http.Request, path string) *atmosError {
	sum := md5.New() //nolint:gosec // see the import
	data, err := readBlob(r.Body, sum)
	if err != nil || r.ContentLength < 0 {
		return atmosArgument
	}
	if given := r.Header.Get("X-Emc-Wschecksum"); given != "" && given != fmt.Sprintf("MD5/%d/%x", data.size, sum.Sum(nil)) {
		return atmosChecksum
	}
	f := newAtmosFile(data, r.Header.Get("Content-Type"), atmosMeta(r.Header))
	if period := r.Header.Get("X-Emc-Retention-Period"); period != "" && !a.opts.NoRetention {
		if f.period, err = strconv.ParseInt(period, 10, 64); err != nil || f.period < 1 {
			return atmosArgument
		}
	}
	if e := a.retain(f, f.meta); e != nil {
		return e
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.files[path] != nil || a.dirs[path+"/"] {
		return atmosExists
	}
	if a.belowFile(path) {
		return atmosArgument
	}
	a.makeParents(path)
	a.files[path] = f
	w.Header().Set("Location", "/rest/objects/"+f.id)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// atmosMeta reads "name=value, name=value".
func atmosMeta(h http.Header) map[string]string {
	meta := make(map[string]string)
	for pair := range strings.SplitSeq(h.Get("X-Emc-Meta"), ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			meta[strings.TrimSpace(name)] = value
		}
	}
	return meta
}

func (a *Atmos) createDirectory(w http.ResponseWriter, path string) *atmosError {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dirs[path] || a.belowFile(path) {
		return atmosExists
	}
	a.makeParents(path)
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (a *Atmos) rename(r *http.Request, path string) *atmosError {
	target := strings.TrimPrefix(r.Header.Get("X-Emc-Path"), "/")
	a.mu.Lock()
	defer a.mu.Unlock()
	f, there := a.files[path], a.files[target]
	switch {
	case target == "":
		return atmosArgument
	case f == nil:
		return atmosMissing
	case !a.parentIs(target) && !a.opts.MakesParents, a.belowFile(target):
		return atmosMissing
	case a.dirs[target+"/"], there != nil && r.Header.Get("X-Emc-Force") != "true":
		return atmosExists
	case f.retained(a.Now()), there != nil && there.retained(a.Now()) && !a.opts.CarelessRename:
		return atmosRetained
	}
	if there != nil && a.opts.LateReplace > 0 {
		f.old, f.oldUntil = there.shown(), time.Now().Add(a.opts.LateReplace)
	}
	delete(a.files, path)
	a.makeParents(target)
	a.files[target] = f
	return nil
}

func (a *Atmos) setMetadata(r *http.Request, path string) *atmosError {
	meta := atmosMeta(r.Header)
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.files[path].shown()
	if f == nil {
		return atmosMissing
	}
	if meta["user.maui.retentionEnd"] == "" && f.retained(a.Now()) {
		return atmosRetained
	}
	if e := a.retain(f, meta); e != nil {
		return e
	}
	f.meta = maps.Clone(f.meta)
	if f.meta == nil {
		f.meta = make(map[string]string)
	}
	maps.Copy(f.meta, meta)
	return nil
}

// retain obeys the metadata by which clients retain a file.
func (a *Atmos) retain(f *atmosFile, meta map[string]string) *atmosError {
	text, ok := meta["user.maui.retentionEnd"]
	if !ok {
		return nil
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil || until.Before(f.retainUntil) || meta["user.maui.retentionEnable"] != "true" {
		return atmosArgument
	}
	if !a.opts.NoRetention {
		f.retainUntil = until
	}
	return nil
}

func (a *Atmos) objectInfo(w http.ResponseWriter, path string) *atmosError {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.files[path].shown()
	if f == nil {
		return atmosMissing
	}
	_, _ = fmt.Fprintf(w, "<GetObjectInfoResponse%s><objectId>%s</objectId><retention><enabled>%t</enabled><endAt>%s</endAt></retention></GetObjectInfoResponse>", // the client has gone
		a.xmlns(), f.id, !f.retainUntil.IsZero(), f.retainUntil.UTC().Format(time.RFC3339))
	return nil
}

// system returns what the server itself knows of a file.
func (f *atmosFile) system(path string) [][2]string {
	made := f.made.UTC().Format(time.RFC3339)
	return [][2]string{
		{"atime", made},
		{"mtime", made},
		{"ctime", made},
		{"itime", made},
		{"type", "regular"},
		{"uid", "archiver"},
		{"gid", "apache"},
		{"objectid", f.id},
		{"objname", path[strings.LastIndexByte(path, '/')+1:]},
		{"size", strconv.FormatInt(f.data.size, 10)},
		{"nlink", "1"},
		{"policyname", "default"},
	}
}

func (a *Atmos) readObject(w http.ResponseWriter, r *http.Request, path string) *atmosError {
	a.mu.Lock()
	f, dir := a.files[path].shown(), a.dirs[strings.TrimSuffix(path, "/")+"/"]
	var pairs []string
	if f != nil {
		for _, name := range slices.Sorted(maps.Keys(f.meta)) {
			pairs = append(pairs, name+"="+f.meta[name])
		}
		for _, pair := range f.system(path) {
			pairs = append(pairs, pair[0]+"="+pair[1])
		}
	}
	a.mu.Unlock()
	h := w.Header()
	switch {
	case f == nil && dir:
		h.Set("X-Emc-Meta", "type=directory, objname="+path)
		return nil
	case f == nil:
		return atmosMissing
	}
	h.Set("X-Emc-Meta", strings.Join(pairs, ", "))
	h.Set("Content-Type", f.contentType)
	if f.period > 0 {
		h.Set("X-Emc-Retention-Period", strconv.FormatInt(f.period, 10))
	}
	offset, n, status := int64(0), f.data.size, http.StatusOK
	if text := r.Header.Get("Range"); text != "" {
		var e *atmosError
		if offset, n, e = atmosSpan(text, f.data.size); e != nil {
			return e
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+n-1, f.data.size))
		status = http.StatusPartialContent
	}
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, f.data.reader(offset, n)) // the client has gone
	}
	return nil
}

// atmosSpan reads a Range of one span.
func atmosSpan(text string, size int64) (offset, n int64, e *atmosError) {
	first, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	offset, err := strconv.ParseInt(first, 10, 64)
	end := size - 1
	if last != "" && err == nil {
		end, err = strconv.ParseInt(last, 10, 64)
	}
	switch {
	case !ok || err != nil || end < offset && last != "":
		return 0, 0, atmosArgument
	case offset >= size:
		return 0, 0, atmosRange
	}
	return offset, min(end, size-1) - offset + 1, nil
}

func (a *Atmos) deleteObject(w http.ResponseWriter, path string) *atmosError {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.files[path]
	switch {
	case f == nil && a.dirs[path] && path != "":
		for other := range a.files {
			if strings.HasPrefix(other, path) {
				return atmosNotEmpty
			}
		}
		delete(a.dirs, path)
	case f == nil:
		return atmosMissing
	case f.retained(a.Now()):
		return atmosRetained
	default:
		delete(a.files, path)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// What a listing looks like.
type (
	atmosListing struct {
		XMLName xml.Name
		Entries []atmosEntry `xml:"DirectoryList>DirectoryEntry"`
	}
	atmosEntry struct {
		ObjectID string         `xml:"ObjectID"`
		FileType string         `xml:"FileType"`
		Filename string         `xml:"Filename"`
		System   []atmosMetaXML `xml:"SystemMetadataList>Metadata"`
		User     []atmosMetaXML `xml:"UserMetadataList>Metadata"`
	}
	atmosMetaXML struct {
		Name  string `xml:"Name"`
		Value string `xml:"Value"`
	}
)

func (a *Atmos) listDirectory(w http.ResponseWriter, r *http.Request, path string) *atmosError {
	limit, err := strconv.Atoi(r.Header.Get("X-Emc-Limit"))
	if r.Header.Get("X-Emc-Limit") == "" {
		limit, err = 0, nil
	}
	from, empty, tokenErr := a.place(r.Header.Get("X-Emc-Token"))
	if err != nil || tokenErr != nil || limit < 0 {
		return atmosArgument
	}
	if limit == 0 || a.opts.PageSize > 0 && a.opts.PageSize < limit {
		limit = max(a.opts.PageSize, 1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.dirs[path] {
		return atmosMissing
	}
	all := a.inside(path)
	page := all[min(from, len(all)):min(from+limit, len(all))]
	next := strconv.Itoa(from + limit)
	switch {
	case empty:
		page, next = nil, strconv.Itoa(from)
	case a.opts.EmptyPages:
		next += " empty"
	}
	if empty || from+limit < len(all) {
		w.Header().Set("X-Emc-Token", next)
	}
	listing := atmosListing{Entries: page, XMLName: xml.Name{Local: "ListDirectoryResponse"}}
	if !a.opts.NoXMLNamespace {
		listing.XMLName.Space = "http://www.emc.com/cos/"
	}
	if r.Header.Get("X-Emc-Include-Meta") != "1" {
		for i := range page {
			page[i].System, page[i].User = nil, nil
		}
	}
	_ = xml.NewEncoder(w).Encode(listing) // the client has gone
	return nil
}

// place reads a token.
func (a *Atmos) place(token string) (from int, empty bool, err error) {
	if token == "" {
		return 0, a.opts.EmptyPages, nil
	}
	token, empty = strings.CutSuffix(token, " empty")
	from, err = strconv.Atoi(token)
	return from, empty, err
}

// inside returns what is in a directory, in no useful order.
func (a *Atmos) inside(path string) []atmosEntry {
	var all []atmosEntry
	name := func(full string) string {
		rest, ok := strings.CutPrefix(full, path)
		if !ok || rest == "" || strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
			return ""
		}
		return rest
	}
	for full := range a.dirs {
		if rest := name(full); rest != "" {
			all = append(all, atmosEntry{FileType: "directory", Filename: rest})
		}
	}
	for full, f := range a.files {
		rest := name(full)
		if rest == "" {
			continue
		}
		f = f.shown()
		e := atmosEntry{ObjectID: f.id, FileType: "regular", Filename: rest}
		for _, pair := range f.system(full) {
			e.System = append(e.System, atmosMetaXML{pair[0], pair[1]})
		}
		for name, value := range f.meta {
			e.User = append(e.User, atmosMetaXML{name, value})
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b atmosEntry) int { return strings.Compare(b.Filename, a.Filename) }) // backwards: clients are to sort
	return all
}
