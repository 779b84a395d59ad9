package audit

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits on what a server may send.
const (
	maxBody  = 1 << 20 // octets of an answer
	maxDepth = 32      // elements inside one another
	maxPages = 100     // of one list
)

// An answer is what a body of the feed says.
type answer struct {
	gdata    bool // it is an entry, a feed or a GData error, and not a page for people
	monitors []Monitor
	next     string // where the list goes on
	code     int    // of an AppsForYourDomainErrors
	reason   string
	input    string
}

// leaf are the elements that hold no others, so that it does not matter whether they are closed.
var leaf = map[string]bool{"property": true, "link": true}

var errXML = errors.New("the answer is no XML")

// parse reads a body. It matches elements by their local names, since the samples of the documentation use prefixes that
// they do not declare, and end tags that do not fit; so what is not closed is not missed. The error is for what is no XML at
// all, and for what passes a limit; the answer then holds what was understood.
func parse(body []byte) (*answer, error) {
	a := &answer{}
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // all that matters is ASCII
	var entry *Monitor
	finish := func() {
		if entry != nil && entry.Destination != "" {
			a.monitors = append(a.monitors, *entry)
		}
		entry = nil
	}
	defer finish()
	for first, depth := true, 0; ; {
		token, err := d.RawToken()
		if err == io.EOF { //nolint:errorlint // only the bare one is the end
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("%w: %w", errXML, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			name := strings.ToLower(t.Name.Local)
			if first {
				first = false
				a.gdata = name == "feed" || name == "entry" || name == "appsforyourdomainerrors" || name == "error"
				if !a.gdata {
					return a, nil // a page: nothing in it is for us
				}
			}
			if !leaf[name] {
				depth++
			}
			if depth > maxDepth {
				return a, fmt.Errorf("elements lie more than %d deep", maxDepth)
			}
			switch name {
			case "entry":
				finish()
				entry, depth = &Monitor{}, 2 // whatever was not closed before
			case "property":
				if entry != nil {
					entry.set(attribute(t, "name"), attribute(t, "value"))
				}
			case "link":
				if attribute(t, "rel") == "next" {
					a.next = attribute(t, "href")
				}
			case "error":
				a.refused(t)
			}
		case xml.EndElement:
			name := strings.ToLower(t.Name.Local)
			if !leaf[name] {
				depth--
			}
			if name == "entry" {
				finish()
			}
		case xml.CharData:
			if first && len(bytes.TrimSpace(bytes.TrimPrefix(t, []byte("\ufeff")))) > 0 {
				return a, errXML
			}
		}
	}
}

// refused takes the first error element.
func (a *answer) refused(t xml.StartElement) {
	if a.code != 0 {
		return
	}
	if code, err := strconv.Atoi(strings.TrimSpace(attribute(t, "errorCode"))); err == nil {
		a.code = code
	}
	a.reason, a.input = attribute(t, "reason"), attribute(t, "invalidInput")
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}
