package ewstest

import (
	"fmt"
	"slices"
	"strings"
)

// A walker holds elements against the grammar of a version.
type walker struct {
	g *grammar
	v version
}

// checkSchema holds the header and the operation against the grammar of the version.
func checkSchema(header, op *node, v version) *fault {
	w := walker{theGrammar(), v}
	if f := w.header(header); f != nil {
		return f
	}
	r := w.g.operations[op.name]
	if r.since > v {
		return violation(op, fmt.Sprintf("The element 'Body' in namespace '%s' has invalid child element '%s' in namespace '%s'.", nsSOAP, op.name, op.space))
	}
	if f := w.element(op, r); f != nil {
		return f
	}
	return checkExtended(op)
}

// violation is the fault for a request that breaks the schema, as Exchange words it.
func violation(at *node, text string) *fault {
	return &fault{
		code: "ErrorSchemaValidation", text: "The request failed schema validation: " + text,
		line: at.line, column: at.column, violation: text,
	}
}

// header checks the children of soap:Header. Those of other namespaces than types are not EWS's business.
func (w walker) header(header *node) *fault {
	for i, k := range header.children() {
		if k.space != nsTypes {
			continue
		}
		r := w.g.headers[k.name]
		if r == nil {
			return violation(k, fmt.Sprintf("The element 'Header' in namespace '%s' has invalid child element %s.", nsSOAP, named(k)))
		}
		for _, other := range header.kids[:i] {
			if other.space == k.space && other.name == k.name {
				return violation(k, fmt.Sprintf("The header %s occurs more than once.", named(k)))
			}
		}
		if k.name == "RequestServerVersion" {
			// Its value is the version's business: a wrong one is another fault.
			if _, there := k.lookup("Version"); there && len(k.kids) == 0 {
				continue
			}
		}
		if f := w.element(k, r); f != nil {
			return f
		}
	}
	return nil
}

func named(n *node) string { return fmt.Sprintf("'%s' in namespace '%s'", n.name, n.space) }

// element holds one element against a model: its attributes, its text, and its content.
func (w walker) element(n *node, r *model) *fault {
	if f := w.attributes(n, r); f != nil {
		return f
	}
	if r.text != "" {
		if len(n.kids) > 0 {
			return violation(n.kids[0], fmt.Sprintf("The element %s cannot contain child element %s because the parent element's content model is text only.",
				named(n), named(n.kids[0])))
		}
		return w.text(n, r.text)
	}
	if strings.TrimSpace(n.text) != "" {
		return violation(n, fmt.Sprintf("The element %s cannot contain text.", named(n)))
	}
	if r.content == nil {
		if len(n.kids) > 0 {
			return violation(n.kids[0], fmt.Sprintf("The element %s cannot contain child element %s because the parent element's content model is empty.",
				named(n), named(n.kids[0])))
		}
		return nil
	}
	return w.content(n, r.content)
}

func (w walker) attributes(n *node, r *model) *fault {
	for _, a := range n.attrs {
		if a.space == nsInstance || a.space == nsSOAP {
			continue
		}
		i := slices.IndexFunc(r.attrs, func(ar attrRule) bool { return ar.name == a.name && ar.since <= w.v })
		if i < 0 || a.space != "" {
			return violation(n, fmt.Sprintf("The '%s' attribute is not declared.", a.name))
		}
		if what, ok := w.g.holds(r.attrs[i].value, a.value, w.v); !ok {
			return violation(n, fmt.Sprintf("The '%s' attribute is invalid - The value '%s' is invalid according to its datatype '%s'%s",
				a.name, shorten(a.value), r.attrs[i].value, constraint(what)))
		}
	}
	for _, ar := range r.attrs {
		if _, there := n.lookup(ar.name); ar.required && !there && ar.since <= w.v {
			return violation(n, fmt.Sprintf("The required attribute '%s' is missing.", ar.name))
		}
	}
	return nil
}

func constraint(what string) string {
	if what == "" {
		return "."
	}
	return " - The " + what + " constraint failed."
}

func (w walker) text(n *node, of string) *fault {
	if what, ok := w.g.holds(of, n.text, w.v); !ok {
		return violation(n, fmt.Sprintf("The '%s:%s' element is invalid - The value '%s' is invalid according to its datatype '%s'%s",
			n.space, n.name, shorten(n.text), of, constraint(what)))
	}
	return nil
}

// shorten keeps a fault readable.
func shorten(text string) string {
	if len(text) > 100 {
		return strings.ToValidUTF8(text[:100], "") + "…"
	}
	return text
}

// content holds the children of n against a content.
func (w walker) content(n *node, content *particle) *fault {
	m := &matcher{w: w, kids: n.kids}
	end, ok := m.match(content, 0)
	if m.bad != nil {
		return m.bad
	}
	if ok && end == len(n.kids) {
		return nil
	}
	if end > m.reached {
		m.reached, m.wanted = end, nil
	}
	if end = m.reached; end < len(n.kids) {
		return violation(n.kids[end], fmt.Sprintf("The element %s has invalid child element %s.%s", named(n), named(n.kids[end]), m.possible()))
	}
	return violation(n, fmt.Sprintf("The element %s has incomplete content.%s", named(n), m.possible()))
}

// A matcher walks over the children of one element. The schema is such that the next child always decides what comes: nothing
// is ever tried twice.
type matcher struct {
	w       walker
	kids    []*node
	reached int         // the first child that nothing took
	wanted  []*particle // what could have stood there
	bad     *fault      // of a child that was taken
}

// match takes children from i on, and returns where it ended, and whether p is satisfied.
func (m *matcher) match(p *particle, i int) (end int, ok bool) {
	if p.since > m.w.v {
		return i, true // there is no such thing yet
	}
	n := 0
	for ; p.max < 0 || n < p.max; n++ {
		next, took := m.once(p, i)
		if m.bad != nil {
			return i, false
		}
		if !took {
			if next > i { // it began, and did not end
				return next, false
			}
			break
		}
		if next == i { // it is satisfied with nothing
			n = max(n, p.min)
			break
		}
		i = next
	}
	return i, n >= p.min
}

// once takes p a single time.
func (m *matcher) once(p *particle, i int) (end int, ok bool) {
	switch p.kind {
	case elementParticle:
		return m.take(p, i)
	case sequenceParticle:
		at := i
		for _, part := range p.parts {
			next, ok := m.match(part, at)
			if !ok {
				return next, false
			}
			at = next
		}
		return at, true
	}
	empty := false
	for _, part := range p.parts {
		next, ok := m.match(part, i)
		if next > i || m.bad != nil {
			return next, ok
		}
		empty = empty || ok && part.min == 0
	}
	return i, empty
}

// take takes one child, if it is the right one.
func (m *matcher) take(p *particle, i int) (end int, ok bool) {
	if i < len(m.kids) && m.kids[i].space == p.space && m.kids[i].name == p.name {
		if m.bad = m.w.child(m.kids[i], p.of); m.bad != nil {
			return i, false
		}
		return i + 1, true
	}
	if i > m.reached {
		m.reached, m.wanted = i, nil
	}
	if i == m.reached {
		m.wanted = append(m.wanted, p)
	}
	return i, false
}

// child holds a child against its type or value.
func (w walker) child(n *node, of string) *fault {
	if of == "any" {
		return nil
	}
	if r := w.g.types[of]; r != nil {
		return w.element(n, r)
	}
	return w.element(n, &model{text: of})
}

// possible lists what could have stood where the walk ended.
func (m *matcher) possible() string {
	if len(m.wanted) == 0 {
		return ""
	}
	var names []string
	for _, p := range m.wanted {
		if !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	return fmt.Sprintf(" List of possible elements expected: '%s' in namespace '%s'.", strings.Join(names, ", "), m.wanted[0].space)
}

// checkExtended holds every path to an extended property against what the schema cannot say: a tag, or a set of properties
// with a name or a number.
func checkExtended(n *node) *fault {
	if n.space == nsTypes && n.name == "ExtendedFieldURI" {
		has := func(name string) bool { _, there := n.lookup(name); return there }
		set := has("PropertySetId") != has("DistinguishedPropertySetId")
		member := has("PropertyName") != has("PropertyId")
		none := !has("PropertySetId") && !has("DistinguishedPropertySetId") && !has("PropertyName") && !has("PropertyId")
		if has("PropertyTag") && !none || !has("PropertyTag") && !(set && member) {
			return &fault{
				code: "ErrorInvalidExtendedProperty", text: "Extended property attribute combination is invalid.",
				line: n.line, column: n.column, violation: "Extended property attribute combination is invalid.",
			}
		}
	}
	for _, k := range n.kids {
		if f := checkExtended(k); f != nil {
			return f
		}
	}
	return nil
}
