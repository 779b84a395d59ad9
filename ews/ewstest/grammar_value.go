package ewstest

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
)

var (
	dateTimeForm = regexp.MustCompile(`^-?\d{4,}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?$`)
	languageForm = regexp.MustCompile(`^[a-zA-Z]{1,8}(?:-[a-zA-Z0-9]{1,8})*$`)
)

// holds reports whether a text is of a value; otherwise it says which constraint failed.
func (g *grammar) holds(of, text string, v version) (constraint string, ok bool) {
	r := g.values[of]
	if r == nil {
		return "", lexical(of, text)
	}
	switch {
	case r.words != nil:
		since, known := r.words[text]
		return r.what, known && since <= v
	case r.high > 0:
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return r.what, err == nil && r.low <= n && n <= r.high
	case r.listOf != "":
		for _, word := range strings.Fields(text) {
			if _, ok := g.holds(r.listOf, word, v); !ok {
				return r.what, false
			}
		}
		return r.what, true
	}
	if r.other != "" {
		if what, ok := g.holds(r.other, text, v); ok || r.pattern == nil {
			return what, ok
		}
	}
	return r.what, r.pattern.MatchString(text)
}

// lexical holds a text against a type of XML Schema. White space around all but strings is collapsed.
func lexical(of, text string) bool {
	if of == "string" || of == "anyURI" {
		return true
	}
	text = strings.Trim(text, " \t\r\n")
	var err error
	switch of {
	case "boolean":
		return text == "true" || text == "false" || text == "1" || text == "0"
	case "int":
		_, err = strconv.ParseInt(text, 10, 32)
	case "long":
		_, err = strconv.ParseInt(text, 10, 64)
	case "nonNegativeInteger":
		_, err = strconv.ParseUint(text, 10, 64)
	case "unsignedShort":
		_, err = strconv.ParseUint(text, 10, 16)
	case "double":
		_, err = strconv.ParseFloat(text, 64)
	case "dateTime":
		return dateTimeForm.MatchString(text)
	case "language":
		return languageForm.MatchString(text)
	case "base64Binary":
		_, err = base64.StdEncoding.DecodeString(strings.Map(dropSpace, text))
	default:
		panic("ewstest: schema: no type " + of)
	}
	return err == nil
}

func dropSpace(r rune) rune {
	if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
		return -1
	}
	return r
}
