package atmos

import (
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// tmpDir holds what is being written. No key has its name: see pathOf.
const tmpDir = ".mailconn-tmp"

// plain reports whether c stands for itself in a path. '~' does not: it begins the escape of the others.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

const hexDigits = "0123456789ABCDEF"

// escape turns text into letters, digits, '-', '_', '.' and '~', so that what is signed is what is sent, whoever decodes
// it on the way.
func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('~')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// unescape undoes escape. What escape cannot have made stays as it is: others may have named a file so.
func unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '~' && i+2 < len(name) {
			hi, lo := strings.IndexByte(hexDigits, name[i+1]), strings.IndexByte(hexDigits, name[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// nothing is the name of a segment without octets, which allow_any_key permits. escape never makes it.
const nothing = "~"

// beside is behind the name of a file whose own name is a directory's: with a/b stored, a is in the file a~. escape never
// makes it.
const beside = "~"

// keyOf returns the segment of a key that a file's name stands for.
func keyOf(name string) string {
	if name == nothing {
		return ""
	}
	return unescape(strings.TrimSuffix(name, beside))
}

// pathOf returns the path of a key below the bucket.
func pathOf(key string) string {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = escape(s)
		if s == "" {
			segments[i] = nothing
		}
	}
	if segments[0] == tmpDir {
		segments[0] = "~2E" + tmpDir[1:]
	}
	return strings.Join(segments, "/")
}

// Names of metadata. The prefix keeps the caller's names apart from the server's own: size, mtime, objectid and so on.
const (
	metaSHA256 = "mailconn.sha256"
	metaPrefix = "m."
)

// metaHeader writes metadata for x-emc-meta: name=value, separated by commas.
func metaHeader(sha256 string, meta map[string]string) string {
	pairs := make([]string, 0, len(meta)+1)
	pairs = append(pairs, metaSHA256+"="+sha256)
	for name, value := range meta {
		pairs = append(pairs, metaPrefix+name+"="+escape(value))
	}
	return strings.Join(pairs, ",")
}

// parseMeta reads x-emc-meta as the server writes it: its own names and those of the users. A comma that no name follows
// belongs to a value.
func parseMeta(header string) map[string]string {
	all := make(map[string]string)
	last := ""
	for pair := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			if last != "" {
				all[last] += "," + pair
			}
			continue
		}
		last = strings.TrimSpace(name)
		all[last] = value
	}
	return all
}

// userMeta returns what metaHeader was given.
func userMeta(all map[string]string) map[string]string {
	var meta map[string]string
	for name, value := range all {
		if own, ok := strings.CutPrefix(name, metaPrefix); ok {
			if meta == nil {
				meta = make(map[string]string)
			}
			meta[own] = unescape(value)
		}
	}
	return meta
}

// describe fills info from the metadata of an object.
func describe(info *connection.ObjectInfo, all map[string]string) {
	info.Size, info.Modified = sizeOf(all), timeOf(all["mtime"])
	info.ETag = etag(all["objectid"], info.Size)
	info.SHA256 = all[metaSHA256]
	info.Meta = userMeta(all)
}
