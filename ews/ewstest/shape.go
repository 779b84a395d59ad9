package ewstest

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// A shape is what an ItemShape asks for.
type shape struct {
	base     int // 0 IdOnly, 1 Default, 2 AllProperties
	mime     bool
	utf8     bool // MimeContentUTF8
	named    []string
	extended []*node // ExtendedFieldURI
}

func readShape(n *node) shape {
	sh := shape{base: map[string]int{"Default": 1, "AllProperties": 2}[n.value("BaseShape")]}
	sh.mime = isTrue(n.value("IncludeMimeContent"))
	for _, p := range n.child("AdditionalProperties").children() {
		switch p.name {
		case "ExtendedFieldURI":
			sh.extended = append(sh.extended, p)
		case "FieldURI":
			uri := p.attr("FieldURI")
			sh.named = append(sh.named, uri)
			sh.mime = sh.mime || uri == "item:MimeContent"
			sh.utf8 = sh.utf8 || uri == "item:MimeContentUTF8"
		}
	}
	return sh
}

// isTrue reads an xs:boolean.
func isTrue(text string) bool { return text == "true" || text == "1" }

// item tells an item as a shape asks for it, without its MIME. With find, only what FindItem can tell is told unless it is
// asked for by name.
func (s *Server) itemNode(it *item, sh shape, find bool) *node {
	n := typ(it.kind, s.itemIDNode(it))
	v := &view{s: s, it: it}
	for _, p := range properties {
		if p.make == nil {
			n.add(v.extendedNodes(sh.extended)...)
			continue
		}
		asked := slices.Contains(sh.named, p.uri)
		if !asked && (p.base > sh.base || find && !p.find) || p.mail && !it.isMail() {
			continue
		}
		n.add(p.make(v))
	}
	if s.opts.Quirks.StrayDate && sh.base == 0 && !slices.Contains(sh.named, "item:DateTimeReceived") {
		if sent, err := v.head().header.Date(); err == nil {
			n.add(leaf("DateTimeReceived", xsTime(sent)))
		}
	}
	return n
}

// itemIDNode is the ItemId of an item.
func (s *Server) itemIDNode(it *item) *node {
	return typ("ItemId").with("Id", s.id(itemIDs, it.folder.mb.number, it.n)).with("ChangeKey", changeKey(it.update))
}

// The flags of PR_MESSAGE_FLAGS.
const (
	flagRead   = 0x01
	flagUnsent = 0x08
)

// tag returns the number of a property tag, written in hexadecimal or decimal; -1 if there is none.
func tag(path *node) int {
	text := path.attr("PropertyTag")
	base := 10
	if hex, found := strings.CutPrefix(strings.ToLower(text), "0x"); found {
		text, base = hex, 16
	}
	n, err := strconv.ParseUint(text, base, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// extendedNodes tells extended properties: those that the item has.
func (v *view) extendedNodes(paths []*node) []*node {
	var all []*node
	for _, path := range paths {
		value, there := "", true
		switch tag(path) {
		case 0x007d: // PR_TRANSPORT_MESSAGE_HEADERS
			value, there = string(v.head().raw), len(v.head().raw) > 0 && !v.it.draft
		case 0x0e07: // PR_MESSAGE_FLAGS
			value = strconv.Itoa(v.it.flags())
		case 0x0e06: // PR_MESSAGE_DELIVERY_TIME
			value = xsTime(v.it.received)
		case 0x0e08: // PR_MESSAGE_SIZE
			value = strconv.FormatInt(v.it.size(v.s), 10)
		case 0x001a: // PR_MESSAGE_CLASS
			value = v.it.class
		default:
			value, there = v.it.kept(path)
		}
		if there {
			all = append(all, typ("ExtendedProperty", pathNode(path), typ("Value").say(value)))
		}
	}
	return all
}

// flags are PR_MESSAGE_FLAGS.
func (it *item) flags() int {
	n := 0
	if it.read {
		n |= flagRead
	}
	if it.draft {
		n |= flagUnsent
	}
	return n
}

// kept finds an extended property that a client set.
func (it *item) kept(path *node) (string, bool) {
	if it.more == nil {
		return "", false
	}
	for _, p := range it.more.extended {
		if samePath(p.child("ExtendedFieldURI"), path) {
			return p.value("Value"), true
		}
	}
	return "", false
}

func samePath(a, b *node) bool {
	for _, name := range []string{"DistinguishedPropertySetId", "PropertySetId", "PropertyName", "PropertyId", "PropertyType"} {
		if !strings.EqualFold(a.attr(name), b.attr(name)) {
			return false
		}
	}
	return tag(a) == tag(b)
}

// pathNode repeats the path that was asked for.
func pathNode(path *node) *node {
	n := typ(path.name)
	n.attrs = path.attrs
	return n
}

// folderNode tells a folder as a FolderShape asks for it, and for whom.
func (f *Folder) node(shape *node, v version) *node {
	base := map[string]int{"Default": 1, "AllProperties": 2}[shape.value("BaseShape")]
	var named []string
	var extended []*node
	for _, p := range shape.child("AdditionalProperties").children() {
		if p.name == "ExtendedFieldURI" {
			extended = append(extended, p)
		}
		named = append(named, p.attr("FieldURI"))
	}
	n := typ(f.kind, f.idNode("FolderId"))
	tell := func(uri string, least int, value *node) {
		if base >= least || slices.Contains(named, uri) {
			n.add(value)
		}
	}
	if f.parent != nil {
		tell("folder:ParentFolderId", 2, f.parent.idNode("ParentFolderId"))
	}
	tell("folder:FolderClass", 2, leaf("FolderClass", f.class))
	tell("folder:DisplayName", 1, typ("DisplayName").say(f.name))
	tell("folder:TotalCount", 1, typ("TotalCount").say(strconv.Itoa(f.live)))
	tell("folder:ChildFolderCount", 1, typ("ChildFolderCount").say(strconv.Itoa(len(f.kids))))
	for _, path := range extended {
		if value, there := f.extended(path); there {
			n.add(typ("ExtendedProperty", pathNode(path), typ("Value").say(value)))
		}
	}
	if v >= v2013 {
		tell("folder:DistinguishedFolderId", 2, leaf("DistinguishedFolderId", f.known))
	}
	if f.kind != "CalendarFolder" && f.kind != "ContactsFolder" {
		tell("folder:UnreadCount", 1, typ("UnreadCount").say(strconv.Itoa(f.unread())))
	}
	return n
}

// extended tells an extended property of a folder.
func (f *Folder) extended(path *node) (string, bool) {
	switch tag(path) {
	case 0x6698: // PR_REPLICA_LIST
		if f.replica == "" {
			return "", false
		}
		return base64.StdEncoding.EncodeToString([]byte(f.replica + "\x00")), true
	case 0x66b5: // PR_FOLDER_PATHNAME: U+FFFE between the levels, which XML forbids
		return "\ufffe" + strings.ReplaceAll(f.path(), "/", "\ufffe"), true
	case 0x3613: // PR_CONTAINER_CLASS
		return f.class, f.class != ""
	}
	return "", false
}

func (f *Folder) unread() int {
	n := 0
	for it := range f.all() {
		if !it.read && it.isMail() {
			n++
		}
	}
	return n
}

func (f *Folder) idNode(name string) *node {
	return typ(name).with("Id", f.ID()).with("ChangeKey", changeKey(f.update))
}
