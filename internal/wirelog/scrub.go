package wirelog

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A Scrubber removes known secrets from texts: as they are, in base64 wherever they lie in the encoded octets (so the
// response of SASL PLAIN is covered), percent-encoded, and quoted as IMAP quotes. ASCII letters match in either case,
// since servers echo commands in capitals. A nil *Scrubber changes nothing. It is safe for concurrent use.
type Scrubber struct{ forms []form }

type form struct {
	text  string
	word  bool // too short to be replaced within other words
	exact bool // case matters: base64
}

// shortSecret is the length below which a secret is only removed where it stands as a word: taking each "a" out of a
// text would hide nothing, but show the secret by its absence.
const shortSecret = 4

// NewScrubber returns a Scrubber for a login. user alone is no secret and is not removed, but the blob of user and
// password is. Empty passwords are ignored.
func NewScrubber(user string, passwords ...connection.Secret) *Scrubber {
	s := &Scrubber{}
	for _, p := range passwords {
		secret := p.Reveal()
		if secret == "" {
			continue
		}
		s.add(secret, false)
		s.add(url.QueryEscape(secret), false)
		s.add(url.PathEscape(secret), false)
		s.add(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret), false)
		for _, blob := range []string{"\x00" + user + "\x00" + secret, user + "\x00" + user + "\x00" + secret, user + ":" + secret, secret} {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
				s.add(enc.EncodeToString([]byte(blob)), true)
			}
		}
		s.addWithin(secret)
	}
	// The longest first, so that a form inside another does not leave the rest of it.
	slices.SortStableFunc(s.forms, func(a, b form) int { return len(b.text) - len(a.text) })
	s.forms = slices.CompactFunc(s.forms, func(a, b form) bool { return a == b })
	return s
}

func (s *Scrubber) add(text string, exact bool) {
	if text != "" {
		s.forms = append(s.forms, form{text: text, word: len(text) < shortSecret, exact: exact})
	}
}

// addWithin adds what base64 makes of secret at each of the three places where it may begin, without the characters
// that depend on its neighbours.
func (s *Scrubber) addWithin(secret string) {
	for shift := range 3 {
		padded := strings.Repeat("\x00", shift) + secret
		whole := padded[:len(padded)/3*3]
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte(whole))
			if skip := (shift*8 + 5) / 6; len(text) >= skip+2*shortSecret {
				s.add(text[skip:], true)
			}
		}
	}
}

// Text returns text with each secret replaced by [connection.Redacted].
func (s *Scrubber) Text(text string) string {
	if s == nil {
		return text
	}
	for _, f := range s.forms {
		text = f.remove(text)
	}
	return text
}

// Cut is Text for the beginning of a longer text: what its end shows of a secret is removed as well, unless that is
// shorter than any secret that Text removes within words.
func (s *Scrubber) Cut(text string) string {
	if s == nil {
		return text
	}
	text = s.Text(text)
	longest := 0
	for _, f := range s.forms {
		for n := min(len(f.text)-1, len(text)); n >= shortSecret && n > longest; n-- {
			end := text[len(text)-n:]
			if end == f.text[:n] || !f.exact && equalFold(end, f.text[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return text
	}
	return text[:len(text)-longest] + connection.Redacted
}

func (f form) remove(text string) string {
	var b strings.Builder
	for from := 0; ; {
		i := f.index(text, from)
		if i < 0 {
			if b.Len() == 0 {
				return text
			}
			b.WriteString(text)
			return b.String()
		}
		end := i + len(f.text)
		if f.word && (i > 0 && isWord(text[i-1]) || end < len(text) && isWord(text[end])) {
			from = i + 1
			continue
		}
		b.WriteString(text[:i])
		b.WriteString(connection.Redacted)
		text, from = text[end:], 0
	}
}

// index returns where f begins in text at or after from, -1 if nowhere.
func (f form) index(text string, from int) int {
	if f.exact {
		if i := strings.Index(text[from:], f.text); i >= 0 {
			return from + i
		}
		return -1
	}
	for i := from; i+len(f.text) <= len(text); i++ {
		if lower(text[i]) == lower(f.text[0]) && equalFold(text[i:i+len(f.text)], f.text) {
			return i
		}
	}
	return -1
}

func equalFold(a, b string) bool {
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c >= 0x80
}
