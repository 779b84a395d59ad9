package atmos

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

const (
	pageSize    = 500
	maxPageText = 8 << 20   // octets of XML in one page of a directory
	maxDepth    = 32        // elements of it inside each other
	maxEntries  = 1_000_000 // in a directory: they have to be sorted
	maxIdle     = 100       // pages of a directory with nothing in them that follow each other
)

// An entry is a file or directory in a directory.
type entry struct {
	name string // as it is on the server
	key  string // the segment of the key; of a directory with a slash at the end
	dir  bool
	info connection.ObjectInfo
}

type listing struct {
	Entries []struct {
		ObjectID string     `xml:"ObjectID"`
		FileType string     `xml:"FileType"`
		Filename string     `xml:"Filename"`
		System   []metadata `xml:"SystemMetadataList>Metadata"`
		User     []metadata `xml:"UserMetadataList>Metadata"`
	} `xml:"DirectoryList>DirectoryEntry"`
}

type metadata struct {
	Name  string `xml:"Name"`
	Value string `xml:"Value"`
}

// readDir returns one page of a directory, in the server's order.
func (b *backend) readDir(ctx context.Context, rel, token string) (page []entry, next string, err error) {
	h := http.Header{"X-Emc-Limit": {strconv.Itoa(pageSize)}, "X-Emc-Include-Meta": {"1"}}
	if token != "" {
		h.Set("X-Emc-Token", token)
	}
	resp, err := b.do(ctx, request{method: http.MethodGet, path: b.namespace(rel), header: h})
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read whole, or of no use
	text := &io.LimitedReader{R: &progress{ctx, resp.Body}, N: maxPageText}
	begin := bufio.NewReader(text)
	if head, err := begin.Peek(512); err == nil && !bytes.HasPrefix(bytes.TrimSpace(head), []byte("<")) {
		return nil, "", &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the listing is no XML")}
	}
	var all listing
	// The elements are in the namespace http://www.emc.com/cos/ or in none; names without one match both.
	if err := xml.NewTokenDecoder(&shallow{d: xml.NewDecoder(begin)}).Decode(&all); err != nil {
		if text.N <= 0 {
			err = fmt.Errorf("a page of a directory has more than %d octets", maxPageText)
		}
		if connection.KindOf(err) == connection.ErrUnknown {
			err = &connection.Error{Kind: connection.ErrProtocol, Err: err}
		}
		return nil, "", err
	}
	for _, e := range all.Entries {
		if name := strings.Trim(e.Filename, "/"); name != "" {
			page = append(page, newEntry(name, e.FileType == "directory", e.ObjectID, append(e.System, e.User...)))
		}
	}
	next = resp.Header.Get("X-Emc-Token")
	if next != "" && next == token {
		return nil, "", &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the pages of a directory have no end")}
	}
	return page, next, nil
}

func newEntry(name string, dir bool, id string, pairs []metadata) entry {
	all := make(map[string]string, len(pairs))
	for _, m := range pairs {
		all[m.Name] = m.Value
	}
	if all["objectid"] == "" {
		all["objectid"] = id
	}
	e := entry{name: name, dir: dir}
	switch {
	case !dir:
		e.key = keyOf(name)
		describe(&e.info, all)
	case name == nothing:
		e.key = "/"
	default:
		e.key = unescape(name) + "/"
	}
	return e
}

// A shallow reads XML that is not nested deeply: the depth is memory.
type shallow struct {
	d     *xml.Decoder
	depth int
}

// Token implements xml.TokenReader.
func (s *shallow) Token() (xml.Token, error) {
	token, err := s.d.RawToken()
	switch token.(type) {
	case xml.StartElement:
		if s.depth++; s.depth > maxDepth {
			return nil, fmt.Errorf("more than %d elements inside each other", maxDepth)
		}
	case xml.EndElement:
		s.depth--
	}
	return token, err
}

// A progress tells the watchdog of what is read.
type progress struct {
	ctx context.Context //nolint:containedctx // that of one request
	r   io.Reader
}

func (p *progress) Read(buf []byte) (int, error) {
	objectstore.Progress(p.ctx)
	return p.r.Read(buf)
}

// sorted returns a directory whole, in the order of keys: that of a/b is behind that of a-b and a.b.
func (b *backend) sorted(ctx context.Context, rel string) ([]entry, error) {
	var all []entry
	token, idle := "", 0
	for {
		page, next, err := b.readDir(ctx, rel, token)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if idle++; len(page) > 0 {
			idle = 0
		}
		switch {
		case next == "":
			slices.SortFunc(all, func(a, b entry) int { return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.name, b.name)) })
			return all, nil
		case len(all) > maxEntries:
			return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("a directory of more than %d entries, which cannot be sorted", maxEntries)}
		case idle > maxIdle:
			return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the pages of a directory have no end")}
		}
		token = next
	}
}

// List implements objectstore.Backend by walking the directories. The token of a page is what After is for the first. A
// page ends with a directory, which has been read whole, unless fewer entries are wanted.
func (b *backend) List(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
	w := &walk{b: b, ctx: ctx, req: req, after: req.After}
	if req.Token != "" {
		w.after = req.Token
	}
	start, rel := "", ""
	if slash := strings.LastIndexByte(req.Prefix, '/'); slash >= 0 {
		start, rel = req.Prefix[:slash+1], pathOf(req.Prefix[:slash])+"/"
	}
	err := w.dir(rel, start)
	if connection.KindOf(err) == connection.ErrNotFound && rel != "" {
		err = b.lookAtBucket(ctx)
	}
	if err != nil {
		return nil, b.bucketError(err)
	}
	page := &objectstore.Page{Entries: w.found}
	if w.full {
		page.Token = w.after
	}
	return page, nil
}

// beyond is greater than what follows a prefix in any key, since keys are UTF-8.
const beyond = "\xff"

// A walk collects one page.
type walk struct {
	b     *backend
	ctx   context.Context //nolint:containedctx // that of one page
	req   *objectstore.ListRequest
	after string // keys up to this one are done
	found []connection.ObjectInfo
	full  bool
}

// dir walks the directory rel, whose keys all begin with path.
func (w *walk) dir(rel, path string) error {
	entries, err := w.b.sorted(w.ctx, rel)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key := path + e.key
		switch {
		case rel == "" && e.name == tmpDir:
		case !e.dir:
			e.info.Key = key
			w.add(e.info)
		case !strings.HasPrefix(key, w.req.Prefix) && !strings.HasPrefix(w.req.Prefix, key), w.done(key):
		default:
			err := w.dir(rel+e.name+"/", key)
			if err != nil && connection.KindOf(err) != connection.ErrNotFound { // removed meanwhile
				return err
			}
			if len(w.found) >= pageSize {
				w.full = true
			}
		}
		if w.full {
			return nil
		}
	}
	return nil
}

// done reports whether all keys that begin with path are behind us.
func (w *walk) done(path string) bool {
	if folded, ok := strings.CutSuffix(w.after, beyond); ok && strings.HasPrefix(path, folded) {
		return true
	}
	return w.after > path && !strings.HasPrefix(w.after, path)
}

// add takes an object into the page, or the common prefix that it stands for.
func (w *walk) add(info connection.ObjectInfo) {
	if info.Key <= w.after || !strings.HasPrefix(info.Key, w.req.Prefix) {
		return
	}
	w.after = info.Key
	if d := w.req.Delimiter; d != "" {
		if at := strings.Index(info.Key[len(w.req.Prefix):], d); at >= 0 {
			folded := info.Key[:len(w.req.Prefix)+at+len(d)]
			w.after = folded + beyond
			info = connection.ObjectInfo{Key: folded, Prefix: true}
		}
	}
	w.found = append(w.found, info)
	w.full = w.req.Limit > 0 && len(w.found) >= w.req.Limit
}
