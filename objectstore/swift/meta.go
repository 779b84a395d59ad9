package swift

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/objectstore"
)

// Metadata travels in headers whose names lose their case and take underscores for hyphens, and whose values have at most
// 256 octets (max_meta_value_length). Names of lower-case letters, digits and hyphens with short printable ASCII values
// are kept as X-Object-Meta-<name>, as other programs write and read them. Everything else goes into a pack: lines of name,
// space and value, in base64, cut into as many headers as it takes.
const (
	metaPrefix   = "X-Object-Meta-"
	ownPrefix    = "mailconn-"
	shaName      = ownPrefix + "sha256"
	uploadName   = ownPrefix + "upload" // of a large object: which segments are its own
	packName     = ownPrefix + "pack-"  // and a number from 0 on
	maxMetaValue = 256
	maxPlainMeta = 40 // names that get a header of their own: servers take 90 (max_meta_count)
	maxPacks     = 40
)

// writeMeta adds meta to h.
func writeMeta(h swift.Headers, meta map[string]string) {
	var pack strings.Builder
	plain := 0
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		value := meta[name]
		if plain < maxPlainMeta && isPlain(name, value) {
			h[metaPrefix+name] = value
			plain++
			continue
		}
		pack.WriteString(name + " " + value + "\n")
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(pack.String()))
	for n := 0; text != ""; n++ {
		part := text[:min(len(text), maxMetaValue)]
		h[fmt.Sprintf("%s%s%d", metaPrefix, packName, n)] = part
		text = text[len(part):]
	}
}

func isPlain(name, value string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return value != "" && len(value) <= maxMetaValue && strings.TrimSpace(value) == value && !strings.HasPrefix(name, ownPrefix)
}

// readMeta returns the metadata in h, nil if there is none, and the SHA-256 and upload that were kept with the object. A
// pack that is damaged is left out.
func readMeta(h http.Header) (meta map[string]string, sha256, upload string) {
	meta = make(map[string]string)
	for header, values := range h {
		name, ok := strings.CutPrefix(header, metaPrefix)
		name = strings.ToLower(name)
		if !ok || strings.HasPrefix(name, ownPrefix) || !utf8.ValidString(values[0]) {
			continue
		}
		meta[name] = values[0]
	}
	var text strings.Builder
	for n := range maxPacks {
		part := h.Get(fmt.Sprintf("%s%s%d", metaPrefix, packName, n))
		if part == "" {
			break
		}
		text.WriteString(part)
	}
	pack, err := base64.RawURLEncoding.DecodeString(text.String())
	if err == nil && utf8.Valid(pack) {
		for line := range strings.Lines(string(pack)) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok {
				meta[name] = value
			}
		}
	}
	if len(meta) == 0 {
		meta = nil
	}
	if sha256 = h.Get(metaPrefix + shaName); !objectstore.IsSHA256(sha256) {
		sha256 = ""
	}
	return meta, sha256, h.Get(metaPrefix + uploadName)
}
