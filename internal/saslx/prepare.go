package saslx

import (
	"strings"
	"unicode"
)

// prepare applies SASLprep (RFC 4013) to a name or password. Normalisation form KC needs tables that the standard
// library keeps to itself, so this knows the characters that people type: those that the form leaves alone, spaces,
// invisible ones, full-width ASCII and Latin-1. If s holds another, or one that SASLprep prohibits, it is returned as it
// is with ok false; nearly all servers store a password without any preparation.
func prepare(s string) (prepared string, ok bool) {
	var b strings.Builder
	left, right := false, false
	for _, r := range s {
		text := string(r)
		switch {
		case unicode.Is(toNothing, r):
			continue
		case unicode.Is(toSpace, r):
			text = " "
		case r >= 0xff01 && r <= 0xff5e:
			text = string(r - 0xfee0)
		case compatible[r] != "":
			text = compatible[r]
		case !unicode.Is(normal, r):
			return s, false
		}
		b.WriteString(text)
		if unicode.In(r, unicode.Hebrew, unicode.Arabic) {
			right = true
		} else if unicode.IsLetter(r) {
			left = true
		}
	}
	if right && (left || !bothEnds(b.String())) {
		return s, false // RFC 3454, 6
	}
	return b.String(), true
}

// bothEnds reports whether s begins and ends with a letter that is written from right to left.
func bothEnds(s string) bool {
	runes := []rune(s)
	return unicode.In(runes[0], unicode.Hebrew, unicode.Arabic) && unicode.In(runes[len(runes)-1], unicode.Hebrew, unicode.Arabic)
}

var (
	// RFC 3454, B.1.
	toNothing = &unicode.RangeTable{R16: []unicode.Range16{
		{0x00ad, 0x00ad, 1},
		{0x034f, 0x034f, 1},
		{0x1806, 0x1806, 1},
		{0x180b, 0x180d, 1},
		{0x200b, 0x200d, 1},
		{0x2060, 0x2060, 1},
		{0xfe00, 0xfe0f, 1},
		{0xfeff, 0xfeff, 1},
	}, LatinOffset: 1}
	// RFC 3454, C.1.2, without U+200B, which is in both tables: it becomes nothing.
	toSpace = &unicode.RangeTable{R16: []unicode.Range16{
		{0x00a0, 0x00a0, 1},
		{0x1680, 0x1680, 1},
		{0x2000, 0x200a, 1},
		{0x202f, 0x202f, 1},
		{0x205f, 0x205f, 1},
		{0x3000, 0x3000, 1},
	}, LatinOffset: 1}
	// Printable characters of Unicode 3.2 that stay as they are, whatever stands before and behind them.
	normal = &unicode.RangeTable{R16: []unicode.Range16{
		{0x0020, 0x007e, 1},
		{0x00a1, 0x00a7, 1},
		{0x00a9, 0x00a9, 1},
		{0x00ab, 0x00ac, 1},
		{0x00ae, 0x00ae, 1},
		{0x00b0, 0x00b1, 1},
		{0x00b6, 0x00b7, 1},
		{0x00bb, 0x00bb, 1},
		{0x00bf, 0x00ff, 1}, // Latin-1
		{0x0100, 0x0131, 1},
		{0x0134, 0x013e, 1},
		{0x0141, 0x0148, 1},
		{0x014a, 0x017e, 1}, // Latin Extended-A
		{0x0386, 0x0386, 1},
		{0x0388, 0x038a, 1},
		{0x038c, 0x038c, 1},
		{0x038e, 0x03a1, 1},
		{0x03a3, 0x03ce, 1}, // Greek
		{0x0400, 0x0481, 1},
		{0x0490, 0x04c4, 1}, // Cyrillic
		{0x05d0, 0x05ea, 1},
		{0x0621, 0x063a, 1},
		{0x0641, 0x064a, 1}, // Hebrew, Arabic
		{0x0e01, 0x0e30, 1},
		{0x1e00, 0x1e99, 1},
		{0x1ea0, 0x1ef9, 1}, // Thai consonants, Latin Extended Additional
		{0x2013, 0x2014, 1},
		{0x2018, 0x201e, 1},
		{0x2020, 0x2022, 1},
		{0x20ac, 0x20ac, 1}, // punctuation, the euro
		{0x3041, 0x3094, 1},
		{0x30a1, 0x30fa, 1},
		{0x4e00, 0x9fa5, 1},
		{0xac00, 0xd7a3, 1}, // Kana, Han, Hangul
	}, LatinOffset: 9}
	// What form KC makes of the rest of Latin-1.
	compatible = map[rune]string{
		0xa8: " \u0308", 0xaa: "a", 0xaf: " \u0304", 0xb2: "2", 0xb3: "3", 0xb4: " \u0301", 0xb5: "\u03bc",
		0xb8: " \u0327", 0xb9: "1", 0xba: "o", 0xbc: "1\u20444", 0xbd: "1\u20442", 0xbe: "3\u20444",
	}
)
