package imaptest

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
)

// utf7 is the base64 of modified UTF-7 (RFC 3501, 5.1.3).
var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// wireName returns a folder's name in modified UTF-7.
func wireName(name string) string {
	var b strings.Builder
	var pending []rune
	flush := func() {
		if len(pending) == 0 {
			return
		}
		units := utf16.Encode(pending)
		octets := make([]byte, 0, 2*len(units))
		for _, u := range units {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + utf7.EncodeToString(octets) + "-")
		pending = pending[:0]
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			pending = append(pending, r)
			continue
		}
		flush()
		b.WriteRune(r)
		if r == '&' {
			b.WriteByte('-')
		}
	}
	flush()
	return b.String()
}
