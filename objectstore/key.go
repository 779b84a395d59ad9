package objectstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

// Limits that hold on every engine.
const (
	MaxKey     = 1024 // octets in a key
	MaxSegment = 255  // octets between two slashes of a key
	MaxMeta    = 2048 // octets in all names and values of an object's metadata
)

// InvalidKey is the Code of the error for a key that no engine can keep faithfully.
const InvalidKey = "InvalidKey"

// CheckKey returns nil if every engine can keep key as it is, else an ErrUnsupported with Code [InvalidKey] whose text
// is the rule that key breaks. A key is valid UTF-8 of 1 to [MaxKey] octets without control characters and without a
// backslash; its segments, between slashes, hold 1 to [MaxSegment] octets and are neither "." nor "..". So a key neither
// begins nor ends with a slash. Servers repair or resolve other keys, each in its own way: two keys would then be one.
func CheckKey(key string) error { return checkKey(key, false) }

// checkKey is CheckKey, with lax but for the rules that Tuning.AllowAnyKey lifts.
func checkKey(key string, lax bool) error {
	rule := keyRule(key, lax)
	if rule == "" {
		return nil
	}
	e := &connection.Error{Op: "key", Kind: connection.ErrUnsupported, Code: InvalidKey, Err: errors.New(rule)}
	if utf8.ValidString(key) && len(key) <= MaxKey {
		e.Key = key
	}
	return e
}

func keyRule(key string, lax bool) string {
	switch {
	case key == "":
		return "a key must not be empty"
	case len(key) > MaxKey:
		return fmt.Sprintf("a key has at most %d octets, not %d", MaxKey, len(key))
	case !utf8.ValidString(key):
		return "a key must be valid UTF-8"
	case strings.ContainsFunc(key, unicode.IsControl):
		return "a key must not hold control characters"
	case strings.Contains(key, `\`) && !lax:
		return `a key must not hold a backslash`
	case key[0] == '/':
		return "a key must not begin with a slash"
	case key[len(key)-1] == '/' && !lax:
		return "a key must not end with a slash"
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "" && !lax:
			return "a key must not hold two slashes in a row"
		case segment == ".", segment == "..":
			return fmt.Sprintf("a segment of a key must not be %q", segment)
		case len(segment) > MaxSegment:
			return fmt.Sprintf("a segment of a key has at most %d octets, not %d", MaxSegment, len(segment))
		}
	}
	return ""
}

// CheckMeta returns nil if every engine can keep meta. Names are ASCII letters, digits, '-', '_' and '.'; values are
// valid UTF-8 without control characters (ErrInvalid). Together they have at most [MaxMeta] octets (ErrTooLarge).
func CheckMeta(meta map[string]string) error {
	total := 0
	for name, value := range meta {
		total += len(name) + len(value)
		if name == "" || strings.ContainsFunc(name, notNameRune) {
			return &connection.Error{
				Op: "meta", Kind: connection.ErrInvalid,
				Err: fmt.Errorf("metadata name %q: want ASCII letters, digits, '-', '_' and '.'", name),
			}
		}
		if err := checkText("metadata "+name, value); err != nil {
			return err
		}
	}
	if total > MaxMeta {
		return &connection.Error{
			Op: "meta", Kind: connection.ErrTooLarge,
			Err: fmt.Errorf("metadata of %d octets, at most %d", total, MaxMeta),
		}
	}
	return nil
}

// CheckPut returns nil if opts, which may be nil, make sense for key: the rules of [CheckKey] and [CheckMeta] hold, Size
// is not negative, SHA256 is empty or 64 lower-case hexadecimal digits (ErrInvalid), and ContentType is text of at most
// [MaxMeta] octets.
func CheckPut(key string, opts *connection.PutOptions) error { return checkPut(key, opts, false) }

func checkPut(key string, opts *connection.PutOptions, lax bool) error {
	if err := checkKey(key, lax); err != nil {
		return err
	}
	if opts == nil {
		return nil
	}
	switch {
	case opts.Size < 0:
		return &connection.Error{Op: "put", Key: key, Kind: connection.ErrInvalid, Err: fmt.Errorf("size %d is negative", opts.Size)}
	case opts.SHA256 != "" && !IsSHA256(opts.SHA256):
		return &connection.Error{
			Op: "put", Key: key, Kind: connection.ErrInvalid,
			Err: errors.New("sha256: want 64 lower-case hexadecimal digits"),
		}
	}
	if len(opts.ContentType) > MaxMeta {
		return &connection.Error{
			Op: "put", Key: key, Kind: connection.ErrTooLarge,
			Err: fmt.Errorf("content type of %d octets, at most %d", len(opts.ContentType), MaxMeta),
		}
	}
	if err := checkText("content type", opts.ContentType); err != nil {
		return err
	}
	return CheckMeta(opts.Meta)
}

// CheckGet returns nil if opts, which may be nil, make sense for key; else ErrInvalid for a negative Offset or Length,
// or the error of [CheckKey].
func CheckGet(key string, opts *connection.GetOptions) error { return checkGet(key, opts, false) }

func checkGet(key string, opts *connection.GetOptions, lax bool) error {
	if err := checkKey(key, lax); err != nil {
		return err
	}
	if opts != nil && (opts.Offset < 0 || opts.Length < 0) {
		return &connection.Error{
			Op: "get", Key: key, Kind: connection.ErrInvalid,
			Err: fmt.Errorf("offset %d, length %d: want 0 or more", opts.Offset, opts.Length),
		}
	}
	return nil
}

// IsSHA256 reports whether s is a SHA-256 digest as this library writes it: 64 lower-case hexadecimal digits.
func IsSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func checkText(what, s string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return &connection.Error{
			Op: "meta", Kind: connection.ErrInvalid,
			Err: fmt.Errorf("%s: want UTF-8 text without control characters", what),
		}
	}
	return nil
}

func notNameRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}
