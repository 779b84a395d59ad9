package ewstest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// prefixSets are the prefixes of the namespaces of SOAP, types, messages and errors.
var prefixSets = [...][4]string{
	PrefixSMT: {"s", "t", "m", "e"}, PrefixSOAP: {"SOAP", "T", "M", "E"}, PrefixSOAP11: {"soap11", "ns1", "ns2", "ns3"},
	PrefixAEH: {"e", "a", "h", "x"}, PrefixDefault: {},
}

// A writer writes nodes in a dialect. The first error of the underlying writer sticks, as bufio's does.
type writer struct {
	*bufio.Writer
	d       Dialect
	rng     *rand.Rand
	newline string
	quote   byte
}

func newWriter(w *bufio.Writer, d Dialect) *writer {
	x := &writer{Writer: w, d: d, rng: rand.New(rand.NewPCG(d.Seed, 2)), newline: "\n", quote: '"'} //nolint:gosec // tests want to be repeated
	if d.CRLF {
		x.newline = "\r\n"
	}
	if d.SingleQuotes {
		x.quote = '\''
	}
	return x
}

// say writes s. A bufio.Writer keeps its error for Flush.
func (w *writer) say(s string) { _, _ = w.WriteString(s) }

// document writes a whole document, and flushes it.
func (w *writer) document(root *node) error {
	if w.d.BOM {
		w.say("\ufeff")
	}
	switch w.d.Declaration {
	case DeclareUTF8:
		w.say(`<?xml version="1.0" encoding="utf-8"?>`)
	case DeclareXML11:
		w.say(`<?xml version="1.1" encoding="utf-8"?>`)
	case DeclareUTF16:
		w.say(`<?xml version="1.0" encoding="utf-16"?>`)
	case DeclareNone:
	}
	if w.d.Pretty {
		w.say(w.newline)
	}
	w.aside()
	if err := w.element(root, "", 0); err != nil {
		return err
	}
	if w.d.Pretty {
		w.say(w.newline)
	}
	return w.Flush()
}

// aside writes a comment or a processing instruction, now and then.
func (w *writer) aside() {
	if !w.d.Comments {
		return
	}
	switch w.rng.IntN(6) {
	case 0:
		w.say(`<!-- <t:MimeContent>AAAA</t:MimeContent> & "so" on > - -->`)
	case 1:
		w.say(`<?note </s:Envelope> ?>`)
	}
}

// prefix returns that of a namespace, with the colon; "" for none.
func (w *writer) prefix(space string) string {
	if i := slices.Index([]string{nsSOAP, nsTypes, nsMessages, nsErrors}, space); i >= 0 {
		if p := prefixSets[w.d.Prefixes][i]; p != "" {
			return p + ":"
		}
	}
	return ""
}

// element writes n. outer is the default namespace there.
func (w *writer) element(n *node, outer string, depth int) error {
	if n.payload != nil && w.d.Base64 == Base64Absent {
		return nil
	}
	name, inner := w.prefix(n.space)+n.name, outer
	w.say("<" + name)
	if depth == 0 {
		for i, space := range []string{nsSOAP, nsTypes, nsMessages, nsErrors} {
			if p := prefixSets[w.d.Prefixes][i]; p != "" {
				w.attribute("xmlns:"+p, space)
			}
		}
		w.attribute("xmlns:xsi", nsInstance)
		w.attribute("xmlns:xsd", nsSchema)
	}
	if w.prefix(n.space) == "" {
		if inner = n.space; inner != outer {
			w.attribute("xmlns", inner)
		}
	}
	for _, a := range w.attributes(n) {
		key := a.name
		switch {
		case a.space == nsInstance:
			key = "xsi:" + key
		case a.space != "":
			key = a.space + ":" + key // xml and xmlns, which are prefixes
		}
		w.attribute(key, a.value)
	}
	kids, text := w.children(n), w.text(n)
	if len(kids) == 0 && text == "" && (n.payload == nil || w.d.Base64 == Base64Empty) {
		w.say("/>")
		return nil
	}
	w.say(">")
	w.characters(n.name, text)
	if n.payload != nil {
		if err := w.base64(n.payload); err != nil {
			return err
		}
	}
	for _, k := range kids {
		w.indent(depth + 1)
		w.aside()
		if err := w.element(k, inner, depth+1); err != nil {
			return err
		}
	}
	if len(kids) > 0 {
		w.aside()
		w.indent(depth)
	}
	w.say("</" + name)
	if w.d.Spaces {
		w.say(" ")
	}
	w.say(">")
	return nil
}

func (w *writer) indent(depth int) {
	if w.d.Pretty {
		w.say(w.newline + strings.Repeat("  ", depth))
	}
}

func (w *writer) attribute(name, value string) {
	w.say(" " + name + "=")
	_ = w.WriteByte(w.quote) // a bufio.Writer keeps its error for Flush
	w.escape(value, true)
	_ = w.WriteByte(w.quote)
}

// attributes are those of n in the dialect.
func (w *writer) attributes(n *node) []attr {
	list := n.attrs
	if n.name == "ServerVersionInfo" {
		list = slices.Clone(list)
		if w.d.Server == ServerInfoNoVersion {
			list = slices.DeleteFunc(list, func(a attr) bool { return a.name == "Version" })
		}
		if w.d.Server == ServerInfoPadded {
			for i, a := range list {
				if a.name != "Version" {
					list[i].value = "0" + a.value
				}
			}
		}
	}
	if w.d.Extra && w.rng.IntN(3) == 0 && n.name != "faultcode" {
		list = append(slices.Clone(list), attr{name: "FutureUse", value: `<"'>&`})
	}
	return list
}

// children are those of n in the dialect.
func (w *writer) children(n *node) []*node {
	kids := n.kids
	if w.d.Server == ServerInfoAbsent && n.name == "Header" && n.space == nsSOAP {
		kids = slices.DeleteFunc(slices.Clone(kids), func(k *node) bool { return k.name == "ServerVersionInfo" })
	}
	if mime := n.child("MimeContent"); w.d.Nested && mime != nil && mime.payload != nil { // the nested one has none
		kids = nest(kids)
	}
	if n.name == "Fault" && n.space == nsSOAP {
		kids = w.d.Faults.lay(kids)
	}
	if w.d.Extra && len(kids) > 0 && roomy(n) {
		at := w.rng.IntN(len(kids) + 1)
		kids = slices.Insert(slices.Clone(kids), at, &node{
			space: n.space, name: "FutureElement",
			kids: []*node{(&node{space: n.space, name: "Id"}).say("x"), (&node{space: n.space, name: "ResponseCodes"}).say("ErrorServerBusy")},
		})
	}
	return kids
}

// roomy reports whether n is an element into which later versions may put something: not a list, of whose children each
// is an entry.
func roomy(n *node) bool {
	return n.child("ResponseCode") != nil && n.name != "detail" || n.space == nsTypes && (n.child("ItemId") != nil || n.child("FolderId") != nil) &&
		!strings.HasSuffix(n.name, "Event") && n.name != "Delete" && n.name != "ReadFlagChange"
}

// nest puts attachments into an item, behind what the schema has before them.
func nest(kids []*node) []*node {
	at := 0
	for i, k := range kids {
		switch k.name {
		case "MimeContent", "ItemId", "ParentFolderId", "ItemClass", "Subject", "Sensitivity", "Body":
			at = i + 1
		}
	}
	const inner = "UmVjZWl2ZWQ6IG5lc3RlZA0KDQppbm5lcg0K" // a small message
	return slices.Insert(slices.Clone(kids), at, typ("Attachments",
		typ("ItemAttachment",
			typ("AttachmentId").with("Id", "AAAattachment1"),
			typ("Name").say("inner"),
			typ("Message",
				typ("MimeContent").with("CharacterSet", "UTF-8").say(inner),
				typ("ItemId").with("Id", "AAAinner=").with("ChangeKey", "CQ=="),
				typ("Subject").say("inner"))),
		typ("FileAttachment",
			typ("AttachmentId").with("Id", "AAAattachment2"),
			typ("Name").say("a.bin"),
			typ("Content").say("AAECAw=="))))
}

// lay arranges the children of a fault.
func (l FaultLayout) lay(kids []*node) []*node {
	kids = slices.Clone(kids)
	replace := func(text func(code string) string) {
		for i, k := range kids {
			if k.name == "faultcode" {
				changed := *k
				changed.text, changed.attrs = text(k.text), nil
				if strings.Contains(changed.text, ":") {
					changed.attrs = []attr{{"xmlns", "soap11", nsSOAP}}
				}
				kids[i] = &changed
			}
		}
	}
	drop := func(name string) {
		kids = slices.DeleteFunc(kids, func(k *node) bool { return k.name == name })
	}
	switch l {
	case FaultUnprefix:
		replace(func(code string) string { return code[strings.LastIndexByte(code, ':')+1:] })
	case FaultGeneric:
		replace(func(string) string { return "soap11:Client" })
	case FaultNoDetail:
		code := (&node{kids: kids}).value("detail", "ResponseCode")
		replace(func(old string) string {
			if code == "" {
				return old[strings.LastIndexByte(old, ':')+1:]
			}
			return code
		})
		drop("detail")
	case FaultFirstText:
		slices.Reverse(kids)
	case FaultNoCode:
		replace(func(string) string { return "Server" })
		drop("detail")
	case FaultEmpty:
		return nil
	case FaultUsual:
	}
	return kids
}

// written are the elements that hold what people wrote.
var written = map[string]bool{"Subject": true, "DisplayName": true, "Name": true, "DisplayTo": true, "DisplayCc": true}

// text is that of n in the dialect.
func (w *writer) text(n *node) string {
	if n.name == "FolderClass" {
		return n.text
	}
	if w.d.Spaces && (n.name == "ResponseCode" || n.name == "faultcode") {
		return fmt.Sprintf("%s\t %s %s", w.newline, n.text, w.newline)
	}
	return n.text
}

// characters writes text as an element's content.
func (w *writer) characters(element, text string) {
	if text == "" {
		return
	}
	if written[element] {
		w.dirt()
	}
	half := 0
	if w.d.Comments && w.rng.IntN(3) == 0 {
		half = len(text) / 2
		for half > 0 && text[half]&0xc0 == 0x80 { // within a character
			half--
		}
	}
	for i, part := range []string{text[:half], text[half:]} {
		if i > 0 && half > 0 {
			w.say("<!-- half -->")
		}
		switch {
		case part == "":
		case w.d.CDATA && w.rng.IntN(2) == 0 && !strings.Contains(part, "\r"): // a CR in CDATA would become LF
			w.say("<![CDATA[" + strings.ReplaceAll(part, "]]>", "]]]]><![CDATA[>") + "]]>")
		default:
			w.escape(part, false)
		}
	}
}

func (w *writer) dirt() {
	for _, kind := range []struct {
		dirt Dirt
		text string
	}{{DirtReferences, "&#x0;&#x1A;&#xFFFE;&#xD800;&#26;"}, {DirtControls, "\x01"}, {DirtUTF8, "\xff\xc3("}, {DirtNonchars, "\uFFFE"}} {
		if w.d.Dirt&kind.dirt != 0 {
			w.say(kind.text)
		}
	}
}

// escape writes text as XML demands it, octet by octet: what is no UTF-8 stays as it is.
func (w *writer) escape(text string, attribute bool) {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '<':
			w.say("&lt;")
		case c == '>':
			w.say("&gt;")
		case c == '&':
			w.say("&amp;")
		case c == '"' && attribute:
			w.say("&quot;")
		case c == '\'' && attribute:
			w.say("&#39;")
		case c == '\r', attribute && (c == '\n' || c == '\t'), c < ' ' && c != '\n' && c != '\t': // Exchange does so too with those that XML forbids
			w.say(fmt.Sprintf("&#x%X;", c))
		default:
			_ = w.WriteByte(c) // a bufio.Writer keeps its error for Flush
		}
	}
}
