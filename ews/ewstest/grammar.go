package ewstest

import (
	_ "embed" // the schema
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed schema.txt
var schemaText string

//go:embed values.txt
var valuesText string

// A grammar is the schema, read.
type grammar struct {
	headers    map[string]*model
	operations map[string]*model
	types      map[string]*model
	unread     map[string][]string // types that were not read yet
	values     map[string]*valueRule
	macros     map[string][]string
}

// A model is what an element may hold.
type model struct {
	since   version
	attrs   []attrRule
	text    string // the value of its text; "" for none
	content *particle
}

type attrRule struct {
	name, value string
	required    bool
	since       version
}

// A particle is a part of a content: an element, a sequence, or a choice.
type particle struct {
	kind        particleKind
	space, name string // of an element
	of          string // its type or value
	min, max    int    // how often; max < 0 = any number
	since       version
	parts       []*particle
}

type particleKind uint8

const (
	elementParticle particleKind = iota
	sequenceParticle
	choiceParticle
)

// theGrammar reads the schema once. It panics on what it cannot read: the text is a part of this package.
var theGrammar = sync.OnceValue(func() *grammar {
	g := &grammar{
		headers: map[string]*model{}, operations: map[string]*model{}, types: map[string]*model{},
		values: map[string]*valueRule{}, macros: map[string][]string{}, unread: map[string][]string{},
	}
	for _, words := range entries(valuesText) {
		g.values[words[1]] = readValue(words[3:])
	}
	for _, words := range entries(schemaText) {
		name, since := splitVersion(words[1])
		switch words[0] {
		case "macro":
			g.macros[name] = words[2:]
		case "header":
			g.headers[name] = g.model(words[2:], since, nsTypes)
		case "operation":
			g.operations[name] = g.model(words[2:], since, nsMessages)
		case "type":
			g.unread[name] = words[2:]
		default:
			panic("ewstest: schema: " + words[0])
		}
	}
	for name := range g.unread {
		g.readType(name)
	}
	return g
})

// readType returns a type, which it reads first if need be: one may be like another that comes later.
func (g *grammar) readType(name string) *model {
	if g.types[name] == nil {
		g.types[name] = g.model(g.unread[name], v2007, nsTypes)
	}
	return g.types[name]
}

// entries splits a text into its lines, which go on where the next begins with a tab, and those into words.
func entries(text string) [][]string {
	var all [][]string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || line[0] == '#':
		case line[0] == '\t':
			all[len(all)-1] = append(all[len(all)-1], words...)
		default:
			all = append(all, words)
		}
	}
	return all
}

var versionMarks = map[string]version{"2010": v2010, "2010_SP1": v2010SP1, "2010_SP2": v2010SP2, "2013": v2013, "2013_SP1": v2013SP1, "2016": v2016}

// splitVersion takes the version off a word.
func splitVersion(word string) (string, version) {
	word, mark, found := strings.Cut(word, "@")
	if !found {
		return word, v2007
	}
	v, known := versionMarks[mark]
	if !known {
		panic("ewstest: schema: version " + mark)
	}
	return word, v
}

// model reads what stands behind a name.
func (g *grammar) model(words []string, since version, space string) *model {
	r := &model{since: since}
	for i, word := range words {
		if word == "=" {
			p := &parser{g: g, words: words[i+1:], space: space}
			content := p.sequence("")
			if r.content != nil {
				content.parts = append(r.content.parts[:len(r.content.parts):len(r.content.parts)], content.parts...)
			}
			r.content = content
			break
		}
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "text":
			r.text = value
		case "like":
			base := g.readType(value)
			r.attrs, r.content = append(r.attrs, base.attrs...), base.content
		default:
			value, v := splitVersion(value)
			name, required := strings.CutSuffix(key, "!")
			r.attrs = append(r.attrs, attrRule{name, value, required, v})
		}
	}
	return r
}

// A parser reads the content of a model.
type parser struct {
	g     *grammar
	words []string
	space string
}

// sequence reads parts up to the word end, which it leaves there; "|" ends it too.
func (p *parser) sequence(end string) *particle {
	s := &particle{kind: sequenceParticle, min: 1, max: 1}
	for len(p.words) > 0 && p.words[0] != "|" && (end == "" || !strings.HasPrefix(p.words[0], end)) {
		s.parts = append(s.parts, p.part())
	}
	return s
}

func (p *parser) part() *particle {
	word := p.words[0]
	p.words = p.words[1:]
	switch {
	case word == "(":
		return p.group()
	case word[0] == '%':
		name, occurs := splitOccurs(word[1:])
		sub := &parser{g: p.g, words: p.g.macros[name], space: p.space}
		part := sub.part()
		part.min, part.max = occurs[0], occurs[1]
		return part
	}
	word, since := splitVersion(word)
	word, occurs := splitOccurs(word)
	part := &particle{kind: elementParticle, space: p.space, min: occurs[0], max: occurs[1], since: since}
	if rest, found := strings.CutPrefix(word, "t:"); found {
		part.space, word = nsTypes, rest
	}
	var named bool
	if part.name, part.of, named = strings.Cut(word, ":"); !named {
		part.of = part.name
	}
	return part
}

// group reads what stands between "(" and ")".
func (p *parser) group() *particle {
	c := &particle{kind: choiceParticle, parts: []*particle{p.sequence(")")}}
	for p.words[0] == "|" {
		p.words = p.words[1:]
		c.parts = append(c.parts, p.sequence(")"))
	}
	_, occurs := splitOccurs(p.words[0])
	p.words = p.words[1:]
	c.min, c.max = occurs[0], occurs[1]
	return c
}

// splitOccurs takes ?, * or + off a word.
func splitOccurs(word string) (string, [2]int) {
	switch word[len(word)-1] {
	case '?':
		return word[:len(word)-1], [2]int{0, 1}
	case '*':
		return word[:len(word)-1], [2]int{0, -1}
	case '+':
		return word[:len(word)-1], [2]int{1, -1}
	}
	return word, [2]int{1, 1}
}

// A valueRule is what a text may be.
type valueRule struct {
	words   map[string]version // one of these
	low     int64              // or a number from low to high
	high    int64
	pattern *regexp.Regexp // or what fits
	other   string         // or another value
	listOf  string         // or a list of such
	what    string         // for people: Enumeration, MinInclusive, Pattern…
}

// readValue reads what stands behind "=".
func readValue(words []string) *valueRule {
	switch words[0] {
	case "one":
		r := &valueRule{words: map[string]version{}, what: "Enumeration"}
		for _, w := range words[2:] {
			name, since := splitVersion(w)
			r.words[name] = since
		}
		return r
	case "from":
		return &valueRule{low: number(words[1]), high: number(words[3]), what: "MinInclusive or MaxInclusive"}
	case "pattern":
		return &valueRule{pattern: regexp.MustCompile("^(?:" + words[1] + ")$"), what: "Pattern"}
	case "list":
		return &valueRule{listOf: words[2], what: "List"}
	}
	r := &valueRule{other: words[0], what: "Union"}
	if len(words) > 2 {
		r.pattern = regexp.MustCompile("^(?:" + words[3] + ")$")
	}
	return r
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("ewstest: schema: %v", err))
	}
	return n
}
