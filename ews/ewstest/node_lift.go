package ewstest

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
)

const (
	liftFrom = 4 << 10 // octets of a text that is lifted
	liftMark = "\ue000"
)

var liftedForm = regexp.MustCompile(liftMark + `(\d+)` + liftMark)

// liftMarks are the ways to write the mark into a document, or rather their ends.
var liftMarks = [...]string{liftMark, "E000;", "e000;", "57344;"}

// lift takes long base64 texts out of a document, and leaves a mark in the place of each: encoding/xml reads octet by octet.
// A document that may hold the mark is left as it is.
func lift(doc []byte) (short []byte, texts [][]byte) {
	if len(doc) < liftFrom {
		return doc, nil
	}
	for _, mark := range liftMarks {
		if bytes.Contains(doc, []byte(mark)) {
			return doc, nil
		}
	}
	done := 0
	for at := 0; ; {
		begin := bytes.IndexByte(doc[at:], '>') + 1
		if begin == 0 {
			break
		}
		begin += at
		length := bytes.IndexByte(doc[begin:], '<')
		if length < 0 {
			break
		}
		at = begin + length
		if length < liftFrom || bytes.ContainsFunc(doc[begin:at], notBase64) {
			continue
		}
		short = append(short, doc[done:begin]...)
		short = fmt.Appendf(short, "%s%d%s", liftMark, len(texts), liftMark)
		texts = append(texts, doc[begin:at])
		done = at
	}
	if texts == nil {
		return doc, nil
	}
	return append(short, doc[done:]...), texts
}

func notBase64(c rune) bool {
	return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '/' && c != '='
}

// unlift puts the texts back in the places of their marks.
func unlift(data []byte, texts [][]byte) []byte {
	if texts == nil || !bytes.Contains(data, []byte(liftMark)) {
		return data
	}
	return liftedForm.ReplaceAllFunc(data, func(mark []byte) []byte {
		i, err := strconv.Atoi(string(mark[len(liftMark) : len(mark)-len(liftMark)]))
		if err != nil || i >= len(texts) {
			return mark // not one of ours
		}
		return texts[i]
	})
}
