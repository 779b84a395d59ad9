package maildir

import (
	"bytes"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// maxKeywords is the largest dovecot-keywords that is read: 26 keywords are all that a name can carry.
const maxKeywords = 64 << 10

// keywords are the names of a folder's lower-case flags, from its dovecot-keywords.
type keywords [26]connection.Flag

// readKeywords returns the keywords of the folder in dir. A file that is missing, or is not what Dovecot writes, names
// none: messages matter more than their keywords.
func readKeywords(root *os.Root, dir string) *keywords {
	k := &keywords{}
	name := path.Join(dir, "dovecot-keywords")
	if fi, err := root.Lstat(name); err != nil || !fi.Mode().IsRegular() {
		return k
	}
	f, err := root.OpenFile(name, openFile, 0)
	if err != nil {
		return k
	}
	defer func() { _ = f.Close() }() // only read
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return k
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeywords))
	if err != nil {
		return k
	}
	for line := range bytes.Lines(data) {
		number, name, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		n, err := strconv.Atoi(number)
		if ok && err == nil && n >= 0 && n < len(k) && isKeyword(name) {
			k[n] = connection.Flag(name)
		}
	}
	return k
}

// isKeyword reports whether s is an atom (RFC 9051, 9: flag-keyword).
func isKeyword(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) }) < 0
}

// flags returns the flags that an info part stands for. A letter without a meaning is none.
func (k *keywords) flags(info string) []connection.Flag {
	letters := flagLetters(info)
	if letters == "" {
		return nil
	}
	flags := make([]connection.Flag, 0, len(letters))
	for i := range len(letters) {
		c := letters[i]
		if c >= 'a' && c <= 'z' {
			if k != nil && k[c-'a'] != "" {
				flags = append(flags, k[c-'a'])
			}
			continue
		}
		for _, f := range systemFlags {
			if f.letter == c {
				flags = append(flags, f.flag)
			}
		}
	}
	return flags
}

// letters returns the letters for flags, and the flags that this folder has none for.
func (k *keywords) letters(flags []connection.Flag) (letters string, unknown []connection.Flag) {
next:
	for _, flag := range flags {
		for _, f := range systemFlags {
			if strings.EqualFold(string(f.flag), string(flag)) {
				letters += string(f.letter)
				continue next
			}
		}
		for i, name := range k {
			if name != "" && strings.EqualFold(string(name), string(flag)) {
				letters += string(rune('a' + i))
				continue next
			}
		}
		unknown = append(unknown, flag)
	}
	return letters, unknown
}
