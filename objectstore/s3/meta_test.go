package s3

import (
	"maps"
	"strings"
	"testing"
	"unicode"
)

// TestMetadataSurvives takes names and values through headers that servers change as they like (E78).
func TestMetadataSurvives(t *testing.T) {
	meta := map[string]string{
		"plain-name1": "plain value", "Capital": "a", "capital": "b", "under_score": "c", "dot.dot": "d", "-": "f",
		"mailconn-sha256": "not the digest", "mc--x": "g", "empty": "", "space": " lead and trail ", "spaces": "two  spaces",
		"word": "=?utf-8?q?=C3=A9?=", "umlaut": "é ü €", "emoji": "\U0001F4E7 mail", "long": strings.Repeat("ß", 500), "quote": `"a" 100%`,
	}
	const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	headers, cache := metadata(meta, digest)
	changed := make(map[string]string)
	for name, value := range headers {
		if strings.ToLower(name) != name || strings.ContainsAny(name, "_. ") || name == "" {
			t.Errorf("name %q is not safe in a header", name)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII || r < ' ' }) || value != strings.TrimSpace(value) {
			t.Errorf("value %q is not safe in a header", value)
		}
		changed[strings.ToUpper(name)] = value
	}
	for what, h := range map[string]map[string]string{"as sent": headers, "in capitals": changed} {
		got, sum := readMetadata(h, text(cache))
		if !maps.Equal(got, meta) || sum != digest {
			t.Errorf("%s: got %q and digest %q, want %q", what, got, sum, meta)
		}
	}
}

// TestDigestFindsRoom: metadata of 2 KB leave none for the digest among them.
func TestDigestFindsRoom(t *testing.T) {
	const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for _, size := range []int{0, maxMetadata - len(shaName) - len(digest), maxMetadata - len(shaName) - len(digest) + 1, maxMetadata} {
		meta := map[string]string{}
		if size > 0 {
			meta["m"] = strings.Repeat("x", size-1)
		}
		headers, cache := metadata(meta, digest)
		total := 0
		for name, value := range headers {
			total += len(name) + len(value)
		}
		if total > maxMetadata {
			t.Errorf("%d octets of metadata become %d", size, total)
		}
		if got, sum := readMetadata(headers, text(cache)); sum != digest || !maps.Equal(got, meta) && size > 0 {
			t.Errorf("%d octets of metadata: got digest %q", size, sum)
		}
	}
}

func TestForeignMetadataStays(t *testing.T) {
	foreign := map[string]string{"mtime": "1700000000.5", "mc--": "a", "mc--zz-": "b", "mc--a-4": "c", "mc--abc": "d", "x": "=?nonsense"}
	got, sum := readMetadata(foreign, "max-age=5")
	if !maps.Equal(got, foreign) || sum != "" {
		t.Errorf("got %q and digest %q, want %q", got, sum, foreign)
	}
	if got, _ := readMetadata(nil, ""); got != nil {
		t.Errorf("got %q for an object without metadata", got)
	}
}
