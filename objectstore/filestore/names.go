package filestore

import (
	"strings"

	"github.com/mailconn/mailconn/objectstore"
)

// How a key becomes a path. The mapping is reversible, the same on every system, and yields no two names that a file
// system could take for one:
//
//   - a segment of a key is a directory, the last one a file;
//   - lower-case ASCII letters, digits and some punctuation stand for themselves, "!x" for the letter X, "%hh" for any
//     other octet; so names never differ in case or in Unicode normalisation alone, and hold nothing that Windows forbids;
//   - a file's name without a dot gets the suffix %f, a directory's with a dot %d, so that the keys "a" and "a/b" can
//     both be there, and the usual names ("messages/ab/cd/….eml") look as they are;
//   - a segment of 80 octets or more is cut: each 80 octets are a directory with the suffix %c, the rest has %f or %d;
//   - beside a file, its sidecar has the suffix %m.
//
// No name begins with a dot, which keeps .tmp apart.
const (
	suffixFile    = "%f"
	suffixDir     = "%d"
	suffixCut     = "%c"
	suffixSidecar = "%m"

	pieceLen = 80 // 3 x 80 octets and two suffixes fit in the 255 that file systems have
)

type nameKind uint8

const (
	foreignName nameKind = iota // not a name of ours
	fileName
	dirName
	cutName
)

// keyPath returns the directories and the file name of key, which has passed CheckKey.
func keyPath(key string) (dirs []string, name string) {
	for {
		segment, rest, more := strings.Cut(key, "/")
		for len(segment) >= pieceLen {
			dirs = append(dirs, encodePiece(segment[:pieceLen])+suffixCut)
			segment = segment[pieceLen:]
			if len(segment) < pieceLen {
				if !more {
					return dirs, encodePiece(segment) + suffixFile
				}
				dirs = append(dirs, encodePiece(segment)+suffixDir)
				segment = ""
			}
		}
		if !more {
			return dirs, wholeName(segment, fileName)
		}
		if segment != "" {
			dirs = append(dirs, wholeName(segment, dirName))
		}
		key = rest
	}
}

// wholeName returns the name of a segment that is not cut.
func wholeName(segment string, kind nameKind) string {
	name := encodePiece(segment)
	dotted := strings.Contains(name, ".")
	switch {
	case kind == fileName && !dotted:
		return name + suffixFile
	case kind == dirName && dotted:
		return name + suffixDir
	}
	return name
}

// parseName returns the part of a key that name stands for in a directory; cut says whether that directory has the
// suffix %c. Names that keyPath never yields are foreign.
func parseName(name string, cut bool) (piece string, kind nameKind) {
	body := name
	if i := len(name) - 2; i >= 0 && name[i] == '%' {
		switch name[i:] {
		case suffixFile:
			kind = fileName
		case suffixDir:
			kind = dirName
		case suffixCut:
			kind = cutName
		default:
			return "", foreignName
		}
		body = name[:i]
	}
	piece, ok := decodePiece(body)
	if !ok {
		return "", foreignName
	}
	switch {
	case kind == cutName:
		ok = len(piece) == pieceLen
	case len(piece) >= pieceLen:
		ok = false
	case cut:
		ok = kind != foreignName
	case piece == "":
		ok = false
	case kind == foreignName:
		kind = dirName
		if strings.Contains(body, ".") {
			kind = fileName
		}
	default:
		ok = wholeName(piece, kind) == name
	}
	if !ok || encodePiece(piece) != body {
		return "", foreignName
	}
	return piece, kind
}

const hexDigits = "0123456789abcdef"

// plain holds the octets that stand for themselves.
var plain = func() (set [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789-_.+=@,#&()[]' ;") {
		set[c] = true
	}
	return set
}()

func encodePiece(s string) string {
	safe := true
	for i := range len(s) {
		if !plain[s[i]] {
			safe = false
			break
		}
	}
	if safe && !escapeEdges(s) {
		return s
	}
	device := isDevice(s)
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		c := s[i]
		edge := i == 0 && (c == '.' || c == ' ' || device) || i == len(s)-1 && (c == '.' || c == ' ')
		switch {
		case edge, !plain[c] && (c < 'A' || c > 'Z'):
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		case c >= 'A' && c <= 'Z':
			b = append(b, '!', c+'a'-'A')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// escapeEdges reports whether s has a first or last octet that stands for itself elsewhere only.
func escapeEdges(s string) bool {
	if s == "" {
		return false
	}
	first, last := s[0], s[len(s)-1]
	return first == '.' || first == ' ' || last == '.' || last == ' ' || isDevice(s)
}

// isDevice reports whether Windows would open a device instead of a file named s. A capital letter does not: it is
// written "!x".
func isDevice(s string) bool {
	base, _, _ := strings.Cut(s, ".")
	base = strings.TrimRight(base, " ")
	switch len(base) {
	case 3:
		return base == "con" || base == "prn" || base == "aux" || base == "nul"
	case 4:
		return (base[:3] == "com" || base[:3] == "lpt") && base[3] >= '0' && base[3] <= '9'
	}
	return false
}

func decodePiece(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '!') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '!' && i+1 < len(s) && s[i+1] >= 'a' && s[i+1] <= 'z':
			b = append(b, s[i+1]-'a'+'A')
			i++
		case c == '%' && i+2 < len(s):
			hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
		case c == '!', c == '%':
			return "", false
		default:
			b = append(b, c)
		}
	}
	return string(b), true
}

// nameDigest returns the SHA-256 that a content-addressed key carries: its last segment without extension, if that is
// 64 lower-case hexadecimal digits.
func nameDigest(key string) string {
	segment := key[strings.LastIndexByte(key, '/')+1:]
	if i := strings.IndexByte(segment, '.'); i >= 0 {
		segment = segment[:i]
	}
	if !objectstore.IsSHA256(segment) {
		return ""
	}
	return segment
}
