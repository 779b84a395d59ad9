// Package utf7 reads and writes modified UTF-7 (RFC 3501, 5.1.3), in which IMAP and Maildir++ have folder names.
package utf7

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// alphabet is base64 with "," instead of "/", and no padding.
var alphabet = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// Encode writes s in modified UTF-7.
func Encode(s string) string {
	var b strings.Builder
	var wide []uint16
	flush := func() {
		if len(wide) == 0 {
			return
		}
		octets := make([]byte, 0, 2*len(wide))
		for _, u := range wide {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + alphabet.EncodeToString(octets) + "-")
		wide = wide[:0]
	}
	for _, r := range s {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case r >= 0x20 && r <= 0x7e:
			flush()
			b.WriteRune(r)
		default:
			wide = utf16.AppendRune(wide, r)
		}
	}
	flush()
	return b.String()
}

// Decode reads modified UTF-7. It accepts only what Encode would write, so that two names never decode to the
// same; else ok is false.
func Decode(s string) (_ string, ok bool) {
	var b strings.Builder
	for rest := s; rest != ""; {
		plain, after, found := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !found {
			break
		}
		code, after, found := strings.Cut(after, "-")
		if !found {
			return "", false
		}
		rest = after
		if code == "" {
			b.WriteByte('&')
			continue
		}
		octets, err := alphabet.DecodeString(code)
		if err != nil || len(octets)%2 != 0 {
			return "", false
		}
		wide := make([]uint16, 0, len(octets)/2)
		for i := 0; i < len(octets); i += 2 {
			wide = append(wide, uint16(octets[i])<<8|uint16(octets[i+1]))
		}
		b.WriteString(string(utf16.Decode(wide)))
	}
	decoded := b.String()
	return decoded, utf8.ValidString(decoded) && Encode(decoded) == s
}
