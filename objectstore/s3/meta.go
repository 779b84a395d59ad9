package s3

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode"
)

// Metadata travels in HTTP headers, whose names know no case and whose values are ASCII. What does not fit is escaped, so
// that it comes back as it was: names with capital letters and signs behind escaped, values as RFC 2047 has them, which is
// what S3 itself answers for values that are not ASCII.
const (
	shaName = "mailconn-sha256" // of the object's SHA-256
	escaped = "mc--"            // begins a name that is escaped
)

// maxMetadata is how many octets of names and values S3 takes (S3 user guide, "Working with object metadata").
const maxMetadata = 2048

// metadata returns the headers for meta and the digest of an object. Where there is no room for the digest it goes into
// Cache-Control, which may have directives that nobody knows (RFC 9111, section 5.2.3).
func metadata(meta map[string]string, sha256 string) (headers map[string]string, cache *string) {
	headers = make(map[string]string, len(meta)+1)
	const prefix = len("x-amz-meta-") // MinIO counts it too
	room := maxMetadata - prefix - len(shaName) - len(sha256)
	for name, value := range meta {
		name, value = escapeName(name), escapeValue(value)
		headers[name] = value
		room -= prefix + len(name) + len(value)
	}
	switch {
	case sha256 == "":
	case room >= 0:
		headers[shaName] = sha256
	default:
		cache = optional(shaName + "=" + sha256)
	}
	return headers, cache
}

// readMetadata is the inverse of metadata.
func readMetadata(headers map[string]string, cache string) (meta map[string]string, sha256 string) {
	sha256, _ = strings.CutPrefix(cache, shaName+"=")
	if sha256 == cache {
		sha256 = ""
	}
	for name, value := range headers {
		name = strings.ToLower(name)
		if name == shaName {
			sha256 = value
			continue
		}
		if meta == nil {
			meta = make(map[string]string, len(headers))
		}
		meta[unescapeName(name)] = unescapeValue(value)
	}
	return meta, sha256
}

func plainName(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func escapeName(name string) string {
	clear := !strings.HasPrefix(name, escaped) && name != shaName
	for i := range len(name) {
		clear = clear && (plainName(name[i]) || name[i] == '-')
	}
	if clear {
		return name
	}
	var b strings.Builder
	b.WriteString(escaped)
	for i := range len(name) {
		if plainName(name[i]) {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, "-%02x", name[i])
		}
	}
	return b.String()
}

// unescapeName returns name as it is if it is not ours.
func unescapeName(name string) string {
	rest, ok := strings.CutPrefix(name, escaped)
	if !ok {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '-' {
			b.WriteByte(rest[i])
			continue
		}
		if i+3 > len(rest) {
			return name
		}
		c, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
		if err != nil {
			return name
		}
		b.WriteByte(byte(c))
		i += 2
	}
	if escapeName(b.String()) != name {
		return name
	}
	return b.String()
}

func escapeValue(value string) string {
	odd := func(r rune) bool { return r > unicode.MaxASCII || r < ' ' }
	if value != "" && !strings.ContainsFunc(value, odd) && !strings.Contains(value, "=?") && !strings.Contains(value, "  ") && value == strings.TrimSpace(value) {
		return value
	}
	return "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(value)) + "?="
}

func unescapeValue(value string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return value
	}
	return decoded
}
