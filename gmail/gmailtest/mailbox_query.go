package gmailtest

import (
	"bytes"
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A filter tells whether a search finds a message. It is called under the mailbox's lock.
type filter func(m *message) bool

// A query is the parameter q of messages.list, understood: the part of Gmail's search language that programs use.
type query struct {
	find     filter
	anywhere bool // it names spam or trash itself, so these are not left out
}

// parseQuery reads q. What the fake does not understand is an error: a wrong result would be worse.
func (mb *mailbox) parseQuery(text string, now time.Time) (query, error) {
	p := &queryParser{mb: mb, words: splitQuery(text), now: now}
	if len(p.words) == 0 {
		return query{find: func(*message) bool { return true }}, nil
	}
	find, err := p.either()
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q: not expected", p.words[0])
	}
	return query{find, p.anywhere}, err
}

// splitQuery cuts q into words, brackets and signs. Quotation marks keep blanks together and are left out.
func splitQuery(text string) []string {
	var words []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	quoted := false
	for _, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
			word.WriteRune(c)
		case c == ' ' || c == '\t' || c == '\n':
			flush()
		case strings.ContainsRune("(){}", c), c == '-' && word.Len() == 0:
			flush()
			words = append(words, string(c))
		default:
			word.WriteRune(c)
		}
	}
	flush()
	return words
}

type queryParser struct {
	mb       *mailbox
	words    []string
	now      time.Time
	anywhere bool
	depth    int // of signs and brackets
}

// maxQueryDepth bounds how deep signs and brackets lie within each other.
const maxQueryDepth = 50

func (p *queryParser) next(word string) bool {
	if len(p.words) == 0 || p.words[0] != word {
		return false
	}
	p.words = p.words[1:]
	return true
}

// either reads terms with OR between them.
func (p *queryParser) either() (filter, error) {
	all, err := p.all(")", "OR")
	if err != nil {
		return nil, err
	}
	for p.next("OR") {
		first := all
		second, err := p.all(")", "OR")
		if err != nil {
			return nil, err
		}
		all = func(m *message) bool { return first(m) || second(m) }
	}
	return all, nil
}

// all reads terms that must all hold, to one of the ends.
func (p *queryParser) all(ends ...string) (filter, error) {
	terms, err := p.terms(ends...)
	return func(m *message) bool {
		return !slices.ContainsFunc(terms, func(f filter) bool { return !f(m) })
	}, err
}

func (p *queryParser) terms(ends ...string) ([]filter, error) {
	var terms []filter
	for len(p.words) > 0 && !slices.Contains(ends, p.words[0]) {
		f, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, f)
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("a term is missing")
	}
	return terms, nil
}

func (p *queryParser) term() (filter, error) {
	p.depth++
	defer func() { p.depth-- }()
	switch {
	case p.depth > maxQueryDepth:
		return nil, fmt.Errorf("too many brackets")
	case p.next("-"):
		f, err := p.term()
		return func(m *message) bool { return !f(m) }, err
	case p.next("("):
		f, err := p.either()
		if err == nil && !p.next(")") {
			err = fmt.Errorf("a bracket is not closed")
		}
		return f, err
	case p.next("{"):
		terms, err := p.terms("}")
		if err == nil && !p.next("}") {
			err = fmt.Errorf("a bracket is not closed")
		}
		return func(m *message) bool {
			return slices.ContainsFunc(terms, func(f filter) bool { return f(m) })
		}, err
	case len(p.words) == 0:
		return nil, fmt.Errorf("a term is missing")
	}
	word := p.words[0]
	p.words = p.words[1:]
	name, value, ok := strings.Cut(word, ":")
	if !ok {
		return words(word), nil
	}
	return p.operator(strings.ToLower(name), value)
}

// operator makes the filter of one name:value.
func (p *queryParser) operator(name, value string) (filter, error) {
	lower := strings.ToLower(value)
	switch name {
	case "in", "label":
		return p.in(lower), nil
	case "is":
		switch lower {
		case "read":
			return func(m *message) bool { return !m.has(labelUnread) }, nil
		case "unread", "starred", "important":
			return labelled(strings.ToUpper(lower)), nil
		}
	case "rfc822msgid":
		want := strings.Trim(value, "<>")
		return indexed(func(m *message) bool { return strings.Trim(m.field("Message-Id"), "<> \t") == want }), nil
	case "subject", "from", "to", "cc", "bcc":
		return indexed(func(m *message) bool { return strings.Contains(strings.ToLower(m.field(name)), lower) }), nil
	case "after", "newer", "before", "older":
		at, err := queryTime(value)
		if name == "after" || name == "newer" {
			return func(m *message) bool { return !m.internal.Before(at) }, err
		}
		return func(m *message) bool { return m.internal.Before(at) }, err
	case "newer_than", "older_than":
		at, err := p.age(lower)
		return func(m *message) bool { return m.internal.After(at) == (name == "newer_than") }, err
	case "larger", "size", "smaller":
		n, err := querySize(lower)
		return func(m *message) bool { return (m.content.Size() > n) == (name != "smaller") }, err
	}
	return nil, fmt.Errorf("%s:%s: not understood by gmailtest", name, value)
}

// in is the filter of a place or label. Blanks and slashes of a label's name may be hyphens, as Gmail writes them.
func (p *queryParser) in(name string) filter {
	switch name {
	case "anywhere":
		p.anywhere = true
		return func(*message) bool { return true }
	case "trash", "spam":
		p.anywhere = true
	case "drafts", "chats":
		name = strings.TrimSuffix(name, "s")
	}
	id := strings.ToUpper(name)
	p.mb.mu.Lock()
	defer p.mb.mu.Unlock()
	if p.mb.labels[id] == nil {
		for _, l := range p.mb.names {
			if hyphens(l.name) == hyphens(name) {
				id = l.id
			}
		}
	}
	return labelled(id)
}

func hyphens(name string) string {
	return strings.NewReplacer(" ", "-", "/", "-").Replace(strings.ToLower(name))
}

func labelled(id string) filter { return func(m *message) bool { return m.has(id) } }

// indexed is a filter that needs the search index, which may lag.
func indexed(f filter) filter { return func(m *message) bool { return !m.trouble.Unlisted && f(m) } }

// words finds a word anywhere in the beginning of a message.
func words(word string) filter {
	want := []byte(strings.ToLower(word))
	return indexed(func(m *message) bool {
		text := make([]byte, min(m.content.Size(), maxHeader))
		n, _ := m.content.ReadAt(text, 0) // what can be read is searched
		return bytes.Contains(bytes.ToLower(text[:n]), want)
	})
}

// field returns the first header field of a name, unfolded; "" if there is none.
func (m *message) field(name string) string {
	h, err := mail.ReadMessage(bytes.NewReader(m.header()))
	if err != nil {
		return ""
	}
	return h.Header.Get(name)
}

// queryTime reads seconds since 1970, or a day, which begins in the Pacific time zone: Gmail takes it so.
func queryTime(value string) (time.Time, error) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{"2006/1/2", "2006-1-2", "1/2/2006"} {
		if t, err := time.ParseInLocation(layout, value, california()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: not a time", value)
}

// age reads a span like 3d back from now.
func (p *queryParser) age(value string) (time.Time, error) {
	if value != "" {
		if n, err := strconv.Atoi(value[:len(value)-1]); err == nil {
			switch value[len(value)-1] {
			case 'd':
				return p.now.AddDate(0, 0, -n), nil
			case 'm':
				return p.now.AddDate(0, -n, 0), nil
			case 'y':
				return p.now.AddDate(-n, 0, 0), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q: not a span", value)
}

// querySize reads a number of octets with k or m behind it.
func querySize(value string) (int64, error) {
	digits := strings.TrimRight(value, "kmb")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: not a size", value)
	}
	switch {
	case strings.HasPrefix(value[len(digits):], "k"):
		n <<= 10
	case strings.HasPrefix(value[len(digits):], "m"):
		n <<= 20
	}
	return n, nil
}
