package soap

import (
	"strings"
	"time"
)

// A Fault is a SOAP fault: the server's refusal of a whole request. It may come with any HTTP status.
type Fault struct {
	Code           string // the server's own code, "ErrorServerBusy"; "" if it gives none
	Text           string // faultstring, else the detail's Message; for people
	Actor          string // the local part of faultcode: "Client", "Server", "ErrorSchemaValidation"
	Values         map[string]string
	Line, Position int    // where in the request the fault is, if told
	Violation      string // what is wrong with the request, if told
	InnerCode      string // the code of the error below this one, if told
}

// Error returns the code, the text, and where in the request the fault lies.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString("soap fault")
	if f.Code != "" {
		b.WriteString(" " + f.Code)
	}
	if f.InnerCode != "" {
		b.WriteString(" (" + f.InnerCode + ")")
	}
	if f.Text != "" {
		b.WriteString(": " + excerpt(f.Text))
	}
	if f.Line > 0 {
		b.WriteString(" at line " + itoa(f.Line) + ", position " + itoa(f.Position))
	}
	if f.Violation != "" && f.Violation != f.Text {
		b.WriteString(": " + excerpt(f.Violation))
	}
	return b.String()
}

// BackOff returns how long the server asks us to wait, and false if it does not say. It may be 0.
func (f *Fault) BackOff() (time.Duration, bool) { return backOff(f.Values) }

// UnknownRequest reports whether the server does not know the operation at all: a fault without a code and with a text such as
// "Unknown request 'ExportItems'.".
func (f *Fault) UnknownRequest() bool {
	return f.Code == "" && strings.Contains(strings.ToLower(f.Text), "unknown request")
}

// A detail is what a fault's detail or a MessageXml says, in either of their layouts.
type detail struct {
	code, text     string
	line, position int
	violation      string
	values         map[string]string
}

// detail reads the descendants of the element at depth d. Exchange 2007 puts Line, Position and Violation directly into a
// fault's detail; later ones put LineNumber, LinePosition, Violation and Value elements into a MessageXml.
func (r *Reader) detail(into *detail, d int) error {
	for {
		name, err := r.s.child(d)
		if name == nil || err != nil {
			return err
		}
		if err := r.detailChild(into, string(name)); err != nil {
			return err
		}
	}
}

func (r *Reader) detailChild(into *detail, name string) error {
	key := r.s.attr("Name")
	switch name {
	case "ResponseCode", "Message", "Line", "LineNumber", "Position", "LinePosition", "Violation", "Value":
	default:
		return r.detail(into, r.s.depth)
	}
	text, err := r.s.leaf()
	if err != nil {
		return err
	}
	switch name {
	case "ResponseCode":
		into.code = local(text)
	case "Message":
		into.text = r.s.hidden(text)
	case "Line", "LineNumber":
		into.line = int(min(max(0, natural(text)), 1<<31-1))
	case "Position", "LinePosition":
		into.position = int(min(max(0, natural(text)), 1<<31-1))
	case "Violation":
		into.violation = r.s.hidden(text)
	case "Value":
		if into.values == nil {
			into.values = map[string]string{}
		}
		into.values[key] = text
		return r.entry()
	}
	return nil
}

// fault reads the Fault at depth d, and returns it. The code is the detail's ResponseCode, or else the local part of
// faultcode if that is one of Exchange's.
func (r *Reader) fault(d int) error {
	f, more := &Fault{}, detail{}
	for {
		name, err := r.s.child(d)
		if err != nil {
			return err
		}
		if name == nil {
			break
		}
		switch string(name) {
		case "faultcode":
			f.Actor, err = r.s.leaf()
			f.Actor = local(f.Actor)
		case "faultstring":
			f.Text, err = r.s.said()
		case "detail":
			err = r.detail(&more, r.s.depth)
		}
		if err != nil {
			return err
		}
	}
	f.Code, f.Values, f.Violation = more.code, more.values, more.violation
	f.Line, f.Position, f.InnerCode = more.line, more.position, excerpt(more.values["InnerErrorResponseCode"])
	if f.Code == "" && strings.HasPrefix(f.Actor, "Error") {
		f.Code = f.Actor
	}
	if f.Text == "" {
		f.Text = more.text
	}
	if f.Actor == "" && f.Text == "" && f.Code == "" && len(f.Values) == 0 {
		return r.s.protocol("fault is empty")
	}
	return f
}
