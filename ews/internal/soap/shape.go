package soap

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// The values of ItemShape.Base and FolderShape.Base.
const (
	IDOnly        = "IdOnly"
	Default       = "Default"
	AllProperties = "AllProperties"
)

// An ItemShape says what of an item is wanted. The zero ItemShape asks for ids alone.
type ItemShape struct {
	Base       string // "" = IDOnly
	MIME       bool   // IncludeMimeContent
	BodyType   string // "Best", "HTML" or "Text"; "" = the server's choice
	Properties []Path // besides those of Base
}

func (s ItemShape) write(w *writer, name string) {
	w.open(name)
	w.base(s.Base)
	if s.MIME {
		w.flag("t:IncludeMimeContent", true)
	}
	if s.BodyType != "" {
		w.oneOf("body type", s.BodyType, "Best", "HTML", "Text")
		w.leaf("t:BodyType", s.BodyType)
	}
	w.properties(s.Properties)
	w.end(name)
}

// A FolderShape says what of a folder, or of a person, is wanted. The zero FolderShape asks for ids alone.
type FolderShape struct {
	Base       string // "" = IDOnly
	Properties []Path // besides those of Base
}

func (s FolderShape) write(w *writer, name string) {
	w.open(name)
	w.base(s.Base)
	w.properties(s.Properties)
	w.end(name)
}

func (w *writer) base(base string) {
	if base == "" {
		base = IDOnly
	}
	w.oneOf("base shape", base, IDOnly, Default, AllProperties)
	w.leaf("t:BaseShape", base)
}

func (w *writer) properties(paths []Path) {
	if len(paths) == 0 {
		return
	}
	w.open("t:AdditionalProperties")
	for _, p := range paths {
		p.write(w)
	}
	w.end("t:AdditionalProperties")
}

// A Path names a property. The zero Path names none and cannot be sent.
type Path struct {
	element string
	attrs   [3]attribute
}

// Field returns the path of a property by its enumerated name: "item:Size".
func Field(uri string) Path {
	return Path{"t:FieldURI", [3]attribute{{"FieldURI", uri}}}
}

// IndexedField returns the path of one entry of a property: a header field by "item:InternetMessageHeader" and its name.
func IndexedField(uri, index string) Path {
	return Path{"t:IndexedFieldURI", [3]attribute{{"FieldURI", uri}, {"FieldIndex", index}}}
}

// Tag returns the path of a MAPI property by its id, 0x0E07 for one, and its type: "Integer", "String", "Binary", "SystemTime".
func Tag(id uint16, kind string) Path {
	return Path{"t:ExtendedFieldURI", [3]attribute{{"PropertyTag", fmt.Sprintf("0x%04X", id)}, {"PropertyType", kind}}}
}

// NamedProperty returns the path of a named MAPI property of a property set, which is a GUID.
func NamedProperty(set, name, kind string) Path {
	return Path{"t:ExtendedFieldURI", [3]attribute{{"PropertySetId", set}, {"PropertyName", name}, {"PropertyType", kind}}}
}

// NumberedProperty returns the path of a numbered MAPI property of a property set, which is a GUID.
func NumberedProperty(set string, id int, kind string) Path {
	return Path{"t:ExtendedFieldURI", [3]attribute{{"PropertySetId", set}, {"PropertyId", strconv.Itoa(id)}, {"PropertyType", kind}}}
}

// Key returns the key under which an answer's Extended holds the property, "" if it is not an extended one. Servers spell
// tags and sets in their own ways; the key does not depend on that.
func (p Path) Key() string {
	if p.element != "t:ExtendedFieldURI" {
		return ""
	}
	return extendedKey(p.attr)
}

func (p Path) attr(name string) string {
	for _, a := range p.attrs {
		if a.name == name {
			return a.value
		}
	}
	return ""
}

// extendedKey joins the attributes that identify an extended property: "0xe07", or "set/name".
func extendedKey(attr func(name string) string) string {
	if tag := attr("PropertyTag"); tag != "" {
		if n, err := strconv.ParseUint(tag, 0, 32); err == nil {
			return "0x" + strconv.FormatUint(n, 16)
		}
		return strings.ToLower(tag)
	}
	set := cmp.Or(attr("PropertySetId"), attr("DistinguishedPropertySetId"))
	return strings.ToLower(set) + "/" + attr("PropertyName") + attr("PropertyId")
}

func (p Path) write(w *writer) {
	if p.element == "" {
		w.fail(connection.ErrInvalid, "path: none given")
		return
	}
	a := p.attrs
	w.empty(p.element, a[0].name, a[0].value, a[1].name, a[1].value, a[2].name, a[2].value)
}

type attribute struct{ name, value string }

// A Property is a value of an extended property, to be set.
type Property struct {
	Path  Path
	Value string
}

func (p Property) write(w *writer) {
	if p.Path.Key() == "" {
		w.fail(connection.ErrInvalid, "property: its path is not that of an extended property")
		return
	}
	w.open("t:ExtendedProperty")
	p.Path.write(w)
	w.leaf("t:Value", p.Value)
	w.end("t:ExtendedProperty")
}
