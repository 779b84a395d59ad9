package azureblob

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// metaSHA256 is the name under which an object's SHA-256 is kept with it. encodeName never yields it.
const metaSHA256 = "mailconn_sha256"

// Metadata names must be identifiers of C#, and HTTP does not keep their case: everything but lower-case letters and
// digits is written as _xx, its code in hexadecimal, and so is a digit in front.
func encodeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if plain(name[i], i == 0) {
			b.WriteByte(name[i])
		} else {
			b.WriteByte('_')
			b.WriteString(hex.EncodeToString([]byte{name[i]}))
		}
	}
	return b.String()
}

func plain(c byte, first bool) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' && !first }

// decodeName undoes encodeName. A name that is not of its making stays as it is, in lower case.
func decodeName(stored string) string {
	stored = strings.ToLower(stored)
	var b strings.Builder
	for i := 0; i < len(stored); i++ {
		if stored[i] != '_' {
			b.WriteByte(stored[i])
			continue
		}
		code, err := hex.DecodeString(stored[i+1 : min(i+3, len(stored))])
		if err != nil || len(code) != 1 {
			return stored
		}
		b.WriteByte(code[0])
		i += 2
	}
	name := b.String()
	if encodeName(name) != stored || objectstore.CheckMeta(map[string]string{name: ""}) != nil {
		return stored
	}
	return name
}

// The wrapping of a value that HTTP would not keep, in the manner of RFC 2047.
const (
	wordBegin = "=?utf-8?b?"
	wordEnd   = "?="
)

// encodeValue makes a value fit for a header: printable ASCII, with no space that a proxy or a signature could lose.
func encodeValue(value string) string {
	fit := value != "" && strings.TrimSpace(value) == value && !strings.Contains(value, "  ") && !strings.Contains(value, "=?")
	for i := 0; fit && i < len(value); i++ {
		fit = value[i] >= ' ' && value[i] <= '~'
	}
	if fit {
		return value
	}
	return wordBegin + base64.StdEncoding.EncodeToString([]byte(value)) + wordEnd
}

func decodeValue(stored string) string {
	word, ok := strings.CutPrefix(stored, wordBegin)
	if !ok {
		return stored
	}
	if word, ok = strings.CutSuffix(word, wordEnd); !ok {
		return stored
	}
	value, err := base64.StdEncoding.DecodeString(word)
	if err != nil || !utf8.Valid(value) {
		return stored
	}
	return string(value)
}

// metadata returns what is kept with an object as the library wants it; nil if there is nothing.
func metadata(meta map[string]string, sha256 string) map[string]*string {
	if len(meta) == 0 && sha256 == "" {
		return nil
	}
	stored := make(map[string]*string, len(meta)+1)
	for name, value := range meta {
		value = encodeValue(value)
		stored[encodeName(name)] = &value
	}
	if sha256 != "" {
		stored[metaSHA256] = &sha256
	}
	return stored
}

// setMeta fills in what was kept with an object. HTTP has changed the case of the names.
func setMeta(info *connection.ObjectInfo, stored map[string]*string) {
	for name, value := range stored {
		switch {
		case value == nil:
		case strings.EqualFold(name, metaSHA256):
			info.SHA256 = *value
		default:
			if info.Meta == nil {
				info.Meta = make(map[string]string, len(stored))
			}
			info.Meta[decodeName(name)] = decodeValue(*value)
		}
	}
}
