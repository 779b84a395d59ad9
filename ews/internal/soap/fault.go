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
