package ewstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The namespaces of EWS. They are http on the wire.
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsTypes    = "http://schemas.microsoft.com/exchange/services/2006/types"
	nsMessages = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsErrors   = "http://schemas.microsoft.com/exchange/services/2006/errors"
	nsInstance = "http://www.w3.org/2001/XMLSchema-instance"
	nsSchema   = "http://www.w3.org/2001/XMLSchema"
)

const (
	maxDepth = 256 // of a request
)

// A payload is what an element holds as base64, made while it is sent. It is never changed.
type payload interface {
	io.ReaderAt
	Size() int64
}

// A node is an XML element: requests are parsed into nodes, and answers are made of them. A node that was handed over to be
// sent is not changed any more.
type node struct {
	space, name  string // the namespace's URI, and the local name
	attrs        []attr
	kids         []*node
	text         string  // character data
	payload      payload // sent as base64 in place of text
	line, column int     // of a request: where the name stands, counted from 1
}

// An attr is an attribute; space is "" for most.
type attr struct{ space, name, value string }

// typ returns an element of the namespace of types, msg one of that of messages.
func typ(name string, kids ...*node) *node { return &node{space: nsTypes, name: name, kids: kids} }

func msg(name string, kids ...*node) *node { return &node{space: nsMessages, name: name, kids: kids} }

// with adds an attribute, say sets the text, add appends children that are not nil. All return n.
func (n *node) with(name, value string) *node {
	n.attrs = append(n.attrs, attr{name: name, value: value})
	return n
}

func (n *node) say(text string) *node {
	n.text = text
	return n
}

func (n *node) add(kids ...*node) *node {
	for _, k := range kids {
		if k != nil {
			n.kids = append(n.kids, k)
		}
	}
	return n
}

// attr returns the value of an attribute without a namespace, "" if there is none.
func (n *node) attr(name string) string {
	v, _ := n.lookup(name)
	return v
}

func (n *node) lookup(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	for _, a := range n.attrs {
		if a.space == "" && a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// find goes down by local names, to the first child each, and returns nil if there is none. n may be nil.
func (n *node) find(path ...string) *node {
	for _, name := range path {
		n = n.child(name)
	}
	return n
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

// value returns the text of what find finds, without the white space around it; "" if there is nothing.
func (n *node) value(path ...string) string {
	if n = n.find(path...); n == nil {
		return ""
	}
	return strings.TrimSpace(n.text)
}

// A syntaxError says where a document is not well-formed.
type syntaxError struct {
	line, column int
	text         string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s Line %d, position %d.", e.text, e.line, e.column)
}

// parse reads a document: UTF-8 and XML 1.0, without a DOCTYPE, one root and nothing but white space around it.
func parse(doc []byte) (*node, *syntaxError) {
	doc, long := lift(bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf")))
	d := xml.NewDecoder(bytes.NewReader(doc))
	var wide struct{ line, by int } // a line that is longer than the decoder sees
	var root *node
	var open []*node
	var texts [][]byte // of the open elements
	for {
		line, column := d.InputPos()
		if line == wide.line {
			column += wide.by
		}
		fail := func(text string) (*node, *syntaxError) { return nil, &syntaxError{line, column, text} }
		tok, err := d.Token()
		if err != nil {
			if err == io.EOF && root != nil { //nolint:errorlint // only the bare io.EOF is the end
				return root, nil
			}
			line, column = d.InputPos()
			if err == io.EOF { //nolint:errorlint // only the bare io.EOF is the end
				return fail("Root element is missing.")
			}
			return fail(err.Error() + ".")
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if root != nil && len(open) == 0 {
				return fail("There are multiple root elements.")
			}
			if len(open) >= maxDepth {
				return fail("The maximum depth has been exceeded.")
			}
			n, why := element(tok)
			if why != "" {
				return fail(why)
			}
			n.line, n.column = line, column+1
			if len(open) > 0 {
				up := open[len(open)-1]
				up.kids = append(up.kids, n)
			} else {
				root = n
			}
			open, texts = append(open, n), append(texts, nil)
		case xml.EndElement:
			top := len(open) - 1
			open[top].text = string(texts[top])
			open, texts = open[:top], texts[:top]
		case xml.CharData:
			if len(open) > 0 {
				whole := unlift(tok, long)
				if more := len(whole) - len(tok); more > 0 {
					end, _ := d.InputPos()
					if wide.line != end {
						wide.line, wide.by = end, 0
					}
					wide.by += more
				}
				texts[len(open)-1] = append(texts[len(open)-1], whole...)
			} else if len(bytes.TrimSpace(tok)) > 0 {
				return fail("Data at the root level is invalid.")
			}
		case xml.Directive:
			return fail("For security reasons DTD is prohibited in this XML document.")
		}
	}
}

// element makes a node of a start tag. An undeclared prefix is where the decoder would put a namespace.
func element(tok xml.StartElement) (n *node, why string) {
	n = &node{space: tok.Name.Space, name: tok.Name.Local}
	if n.space != "" && !strings.Contains(n.space, ":") {
		return nil, fmt.Sprintf("'%s' is an undeclared prefix.", n.space)
	}
	for i, a := range tok.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		for _, other := range tok.Attr[:i] {
			if other.Name == a.Name {
				return nil, fmt.Sprintf("'%s' is a duplicate attribute name.", a.Name.Local)
			}
		}
		if s := a.Name.Space; s != "" && s != "xml" && !strings.Contains(s, ":") {
			return nil, fmt.Sprintf("'%s' is an undeclared prefix.", s)
		}
		n.attrs = append(n.attrs, attr{a.Name.Space, a.Name.Local, a.Value})
	}
	return n, ""
}
