package ewstest

import (
	"strconv"
	"strings"
)

// A fault is a SOAP fault. It is an error for the functions of this package that need one.
type fault struct {
	code   string // "ErrorServerBusy"; "" for a fault that has none
	text   string
	values [][2]string // the Value elements of MessageXml
	server bool        // the fault is the server's, and not the client's

	line, column int // of a request that breaks the schema
	violation    string
}

func (f *fault) Error() string {
	if f.code == "" {
		return f.text
	}
	return f.code + ": " + f.text
}

// unknownRequest is the fault for an operation that the server does not know.
func unknownRequest(name string) *fault {
	return &fault{text: "Unknown request '" + name + "'.", server: true}
}

// code returns the code of the fault, or the first in the answer that tells an error.
func (r *reply) code() string {
	if r.fault != nil {
		return r.fault.code
	}
	if r.body == nil {
		return ""
	}
	for _, m := range append(r.body.find("ResponseMessages").children(), r.body) {
		if m.attr("ResponseClass") == "Error" {
			return m.value("ResponseCode")
		}
	}
	return ""
}

func (n *node) children() []*node {
	if n == nil {
		return nil
	}
	return n.kids
}

// envelope puts an answer, or one of a stream of them, into a SOAP envelope.
func (s *Server) envelope(rep *reply, body *node) *node {
	head := &node{space: nsSOAP, name: "Header", kids: []*node{s.serverVersion()}}
	if rep.fault != nil {
		body = s.faultNode(rep.fault)
		if s.product.speaks >= v2010 {
			head = nil // from 2010 on faults have no header
		}
	}
	e := &node{space: nsSOAP, name: "Envelope"}
	return e.add(head, &node{space: nsSOAP, name: "Body", kids: []*node{body}})
}

func (s *Server) serverVersion() *node {
	p := s.product
	n := typ("ServerVersionInfo").with("MajorVersion", strconv.Itoa(p.major)).with("MinorVersion", strconv.Itoa(p.minor)).
		with("MajorBuildNumber", strconv.Itoa(p.build)).with("MinorBuildNumber", strconv.Itoa(p.revn))
	if p.speaks >= v2010 {
		n.with("Version", p.speaks.String())
	}
	return n
}

// faultNode writes a fault as the product does: 2007 puts Line, Position and Violation into the detail itself, later ones
// into MessageXml.
func (s *Server) faultNode(f *fault) *node {
	old := s.product.speaks < v2010
	side := "Client"
	if f.server {
		side = "Server"
	}
	errorElement := func(name, text string) *node { return (&node{space: nsErrors, name: name}).say(text) }
	n := &node{space: nsSOAP, name: "Fault"}
	faultcode := (&node{name: "faultcode"}).say("soap11:" + side)
	faultcode.attrs = append(faultcode.attrs, attr{"xmlns", "soap11", nsSOAP})
	if f.code != "" && !old {
		faultcode = (&node{name: "faultcode"}).say("a:" + f.code)
		faultcode.attrs = append(faultcode.attrs, attr{"xmlns", "a", nsTypes})
	}
	text := &node{name: "faultstring", text: f.text}
	text.attrs = append(text.attrs, attr{"xml", "lang", "en-US"})
	n.add(faultcode, text)
	if f.code == "" {
		return n
	}
	detail := &node{name: "detail"}
	detail.add(errorElement("ResponseCode", f.code), errorElement("Message", strings.SplitN(f.text, ": ", 2)[0]))
	switch {
	case f.line > 0 && old:
		detail.add(errorElement("Line", strconv.Itoa(f.line)), errorElement("Position", strconv.Itoa(f.column)), errorElement("Violation", f.violation))
	case f.line > 0:
		detail.add(typ("MessageXml", typ("LineNumber").say(strconv.Itoa(f.line)), typ("LinePosition").say(strconv.Itoa(f.column)),
			typ("Violation").say(f.violation)))
	case len(f.values) > 0:
		detail.add(f.messageXML())
	}
	return n.add(detail)
}

// messageXML holds the values of an error.
func (f *fault) messageXML() *node {
	x := typ("MessageXml")
	for _, v := range f.values {
		x.add(typ("Value").with("Name", v[0]).say(v[1]))
	}
	return x
}
