package imapclient

import "bytes"

// filterFlags removes from a list what go-imap does not take for a flag.
func (g *guard) filterFlags(list []byte) []byte {
	if len(list) < 2 || list[0] != '(' || list[len(list)-1] != ')' {
		return list
	}
	inner := list[1 : len(list)-1]
	good := true
	for flag := range bytes.FieldsSeq(inner) {
		good = good && validFlag(flag)
	}
	if good && !bytes.Contains(inner, []byte("  ")) && !bytes.HasSuffix(inner, []byte(" ")) {
		return list
	}
	kept := []byte{'('}
	for flag := range bytes.FieldsSeq(inner) {
		if !validFlag(flag) {
			g.quirk("flag")
			continue
		}
		if len(kept) > 1 {
			kept = append(kept, ' ')
		}
		kept = append(kept, flag...)
	}
	return append(kept, ')')
}

// Limits of the flags of one message, of which many are in memory at a time. Cyrus knows 128 keywords, Dovecot's Maildir 26.
const (
	maxFlags    = 512
	maxFlagText = 16 << 10 // octets of all
)

// fewFlags cuts a list of flags off where it passes the limits.
func (g *guard) fewFlags(list []byte) []byte {
	if len(list) < 2 || list[0] != '(' || len(list) <= maxFlagText && bytes.Count(list, []byte(" ")) < maxFlags {
		return list
	}
	g.quirk("many-flags")
	kept := []byte{'('}
	n := 0
	for flag := range bytes.FieldsSeq(list[1 : len(list)-1]) {
		if n++; n > maxFlags || len(kept)+1+len(flag) >= maxFlagText {
			break
		}
		if n > 1 {
			kept = append(kept, ' ')
		}
		kept = append(kept, flag...)
	}
	return append(kept, ')')
}

// validFlag reports whether go-imap takes the octets for a flag.
func validFlag(flag []byte) bool {
	if string(flag) == `\*` {
		return true
	}
	flag = bytes.TrimPrefix(flag, []byte(`\`))
	for _, c := range flag {
		if !isAtomChar(c) && c < 0xa0 {
			return false
		}
	}
	return len(flag) > 0
}
