package objecttest

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// azurePage is how many entries the service gives at most.
const azurePage = 5000

// The listing as XML. Names that XML cannot hold are percent-encoded and say so.
type (
	azureNameXML struct {
		Encoded bool   `xml:",attr,omitempty"`
		Text    string `xml:",chardata"`
	}
	azureBlobXML struct {
		XMLName    xml.Name `xml:"Blob"`
		Name       azureNameXML
		VersionID  string `xml:"VersionId,omitempty"`
		Properties azurePropertiesXML
		Metadata   azureMetaXML `xml:",omitempty"`
	}
	azurePrefixXML struct {
		XMLName xml.Name `xml:"BlobPrefix"`
		Name    azureNameXML
	}
	azurePropertiesXML struct {
		Created  string `xml:"Creation-Time,omitempty"`
		Modified string `xml:"Last-Modified,omitempty"`
		Etag     string
		Length   int64  `xml:"Content-Length"`
		Type     string `xml:"Content-Type,omitempty"`
		MD5      string `xml:"Content-MD5,omitempty"`
		Kind     string `xml:"BlobType"`
		Tier     string `xml:"AccessTier,omitempty"`
		Archived string `xml:"ArchiveStatus,omitempty"`
	}
	azureMetaXML map[string]string
	azureListXML struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Entries []any    `xml:"Blobs>Entry"`
		Next    string   `xml:"NextMarker"`
	}
)

// MarshalXML implements xml.Marshaler: an element for each name.
func (m azureMetaXML) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if m == nil {
		return nil
	}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	for name, value := range m {
		if err := e.EncodeElement(value, xml.StartElement{Name: xml.Name{Local: name}}); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}

func azureName(key string) azureNameXML {
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r >= 0xfffe }) {
		return azureNameXML{true, url.PathEscape(key)}
	}
	return azureNameXML{false, key}
}

// A line is an entry of a page.
type azureLine struct {
	key    string
	prefix bool
	blob   *azureBlob  // nil for a prefix or what is not committed
	stage  *azureStage // of what is not committed
}

func (a *Azure) listBlobs(w http.ResponseWriter, r *http.Request) *azureError {
	q := r.URL.Query()
	include := strings.Split(q.Get("include"), ",")
	limit := azurePage
	if text := q.Get("maxresults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return azureBlockID
		}
		limit = min(limit, n)
	}
	if a.opts.PageSize > 0 {
		limit = min(limit, a.opts.PageSize)
	}
	for _, what := range include {
		if what != "" && what != "metadata" && what != "uncommittedblobs" {
			return azureBlockID
		}
	}
	l := listing{prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), limit: limit}
	empty := a.opts.EmptyPages
	if marker := q.Get("marker"); marker != "" {
		raw, err := base64.URLEncoding.DecodeString(marker)
		if err != nil || len(raw) == 0 || raw[0] != '!' && raw[0] != '+' {
			return azureBlockID
		}
		empty = empty && raw[0] == '+'
		l.resume = string(raw[1:])
	}
	if empty {
		return azureXML(w, azureListXML{Next: azureMarker('!', l.resume)})
	}
	lines, more := a.lines(l, slices.Contains(include, "uncommittedblobs"))
	var out azureListXML
	for _, line := range lines {
		out.Entries = append(out.Entries, line.xml(slices.Contains(include, "metadata")))
	}
	if more {
		out.Next = azureMarker('+', lines[len(lines)-1].key)
	}
	return azureXML(w, out)
}

func azureMarker(kind byte, resume string) string {
	return base64.URLEncoding.EncodeToString(append([]byte{kind}, resume...))
}

// lines returns a page, and whether there is more.
func (a *Azure) lines(l listing, uncommitted bool) ([]azureLine, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	page, more := a.shelf.list(l, a.settled)
	lines := make([]azureLine, 0, len(page))
	for _, e := range page {
		lines = append(lines, azureLine{key: e.key, prefix: e.prefix, blob: e.item})
	}
	if !uncommitted {
		return lines, more
	}
	for key, s := range a.stages {
		if _, ok := a.shelf.get(key); ok || !strings.HasPrefix(key, l.prefix) || key <= l.resume || more && key > lines[len(lines)-1].key {
			continue
		}
		lines = append(lines, azureLine{key: key, stage: s})
	}
	slices.SortFunc(lines, func(x, y azureLine) int { return strings.Compare(x.key, y.key) })
	if len(lines) > l.limit {
		return lines[:l.limit], true
	}
	return lines, more
}

// xml returns the entry of a listing.
func (l azureLine) xml(meta bool) any {
	switch {
	case l.prefix:
		return azurePrefixXML{Name: azureName(l.key)}
	case l.stage != nil:
		at := l.stage.made.UTC().Format(http.TimeFormat)
		return azureBlobXML{Name: azureName(l.key), Properties: azurePropertiesXML{Created: at, Modified: at, Etag: l.stage.etag, Kind: "BlockBlob"}}
	}
	b := l.blob
	x := azureBlobXML{Name: azureName(l.key), VersionID: b.version, Properties: azurePropertiesXML{
		Created: b.made.UTC().Format(http.TimeFormat), Modified: b.modified.UTC().Format(http.TimeFormat), Etag: b.etag, Length: b.data.size,
		Type: b.headers["Content-Type"], MD5: b.headers["Content-MD5"], Kind: "BlockBlob", Tier: b.tier, Archived: b.archived,
	}}
	if b.tier == "" {
		x.Properties.Tier = "Hot"
	}
	if meta {
		x.Metadata = azureMetaXML{}
		for name, value := range b.meta {
			x.Metadata[name] = value
		}
	}
	return x
}
