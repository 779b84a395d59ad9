package wirelog

import (
	"strings"
	"unicode"
)

// Harmless replaces what a terminal or a log would not show as it is. The result is valid UTF-8.
func Harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// Clip shortens a server's text for an error.
func Clip(text string) string {
	const longest = 400
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
