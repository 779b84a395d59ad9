package soap

import "github.com/mailconn/mailconn/connection"

// A Restriction is what items or folders of a Find must fulfil. A nil *Restriction is none. Servers may refuse some, and may
// ignore others silently: apply each on this side too.
type Restriction struct {
	element string
	attrs   []string
	path    Path
	value   *string // what the path is compared with
	wrapped bool    // the value stands inside FieldURIOrConstant
	parts   []*Restriction
}

// Equal holds for a property of this value.
func Equal(p Path, value string) *Restriction { return compare("t:IsEqualTo", p, value) }

// NotEqual holds for a property of any other value.
func NotEqual(p Path, value string) *Restriction { return compare("t:IsNotEqualTo", p, value) }

// Greater holds for a property above the value. Times are written as in RFC 3339, in UTC.
func Greater(p Path, value string) *Restriction { return compare("t:IsGreaterThan", p, value) }

// GreaterOrEqual holds for a property not below the value. Servers other than Exchange may refuse it.
func GreaterOrEqual(p Path, value string) *Restriction {
	return compare("t:IsGreaterThanOrEqualTo", p, value)
}

// Less holds for a property below the value.
func Less(p Path, value string) *Restriction { return compare("t:IsLessThan", p, value) }

// LessOrEqual holds for a property not above the value. Servers other than Exchange may refuse it.
func LessOrEqual(p Path, value string) *Restriction {
	return compare("t:IsLessThanOrEqualTo", p, value)
}

func compare(element string, p Path, value string) *Restriction {
	return &Restriction{element: element, path: p, value: &value, wrapped: true}
}

// Contains holds for a property with the text in it, in any case.
func Contains(p Path, text string) *Restriction {
	return &Restriction{
		element: "t:Contains", attrs: []string{"ContainmentMode", "Substring", "ContainmentComparison", "IgnoreCase"},
		path: p, value: &text,
	}
}

// Exists holds if there is such a property.
func Exists(p Path) *Restriction { return &Restriction{element: "t:Exists", path: p} }

// Not holds if the other does not.
func Not(r *Restriction) *Restriction {
	return &Restriction{element: "t:Not", parts: []*Restriction{r}}
}

// And holds if all of them do; there must be one at least.
func And(parts ...*Restriction) *Restriction { return &Restriction{element: "t:And", parts: parts} }

// Or holds if any of them does; there must be one at least.
func Or(parts ...*Restriction) *Restriction { return &Restriction{element: "t:Or", parts: parts} }

// write writes the element m:Restriction, or nothing for nil.
func (r *Restriction) write(w *writer) {
	if r == nil {
		return
	}
	w.open("m:Restriction")
	r.expression(w, 0)
	w.end("m:Restriction")
}

// maxNesting keeps a restriction that holds itself from being written for ever.
const maxNesting = 32

func (r *Restriction) expression(w *writer, depth int) {
	if r == nil || r.element == "" || depth > maxNesting {
		w.fail(connection.ErrInvalid, "restriction: empty or nested too deeply")
	}
	if w.err != nil {
		return
	}
	w.open(r.element, r.attrs...)
	switch r.element {
	case "t:Not", "t:And", "t:Or":
		w.some("restriction", len(r.parts))
		for _, part := range r.parts {
			part.expression(w, depth+1)
		}
	default:
		r.path.write(w)
		r.constant(w)
	}
	w.end(r.element)
}

func (r *Restriction) constant(w *writer) {
	switch {
	case r.value == nil:
	case r.wrapped:
		w.open("t:FieldURIOrConstant")
		w.constant(*r.value)
		w.end("t:FieldURIOrConstant")
	default:
		w.constant(*r.value)
	}
}

// constant writes the attribute Value, which the schema requires, also when it is empty.
func (w *writer) constant(value string) {
	w.buf = append(w.buf, `<t:Constant Value="`...)
	w.escape("constant", value)
	w.buf = append(w.buf, `"/>`...)
}
