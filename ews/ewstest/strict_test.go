package ewstest

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden are the requests of testdata/golden by their operations, with what of them must be there and what may be repeated,
// by the names of elements. Whatever else they hold may be left out, and not be doubled.
var golden = map[string]struct{ required, repeated string }{
	"SyncFolderHierarchy": {"FolderShape BaseShape DistinguishedFolderId FieldURI", "FieldURI"},
	"SyncFolderItems":     {"ItemShape BaseShape SyncFolderId DistinguishedFolderId MaxChangesReturned", "ItemId"},
	"GetFolder":           {"FolderShape BaseShape FolderIds FolderId FieldURI DistinguishedFolderId", "FieldURI ExtendedFieldURI FolderId DistinguishedFolderId"},
	"FindFolder": {
		"FolderShape BaseShape ParentFolderIds DistinguishedFolderId FieldURI Contains Constant", "DistinguishedFolderId FieldURI",
	},
	"CreateFolder": {"ParentFolderId DistinguishedFolderId Folders Folder", "Folder"},
	"FindItem": {
		"ItemShape BaseShape ParentFolderIds DistinguishedFolderId FieldURI And IsGreaterThan IsEqualTo FieldURIOrConstant Constant FieldOrder",
		"DistinguishedFolderId FieldURI IsGreaterThan IsEqualTo FieldOrder",
	},
	"GetItem":       {"ItemShape BaseShape ItemIds ItemId FieldURI ExtendedFieldURI", "ItemId FieldURI ExtendedFieldURI"},
	"CreateItem":    {"DistinguishedFolderId Items Message ExtendedFieldURI Value", "Message ExtendedProperty"},
	"UpdateItem":    {"DistinguishedFolderId ItemChanges ItemChange ItemId Updates SetItemField FieldURI Message", "ItemChange SetItemField"},
	"DeleteItem":    {"ItemIds ItemId", "ItemId"},
	"MoveItem":      {"ToFolderId DistinguishedFolderId ItemIds ItemId", "ItemId"},
	"GetAttachment": {"AttachmentIds AttachmentId", "AttachmentId"},
	"ExportItems":   {"ItemIds ItemId", "ItemId"},
	"UploadItems":   {"Items Item ParentFolderId Data", "Item"},
	"Subscribe": {
		"PullSubscriptionRequest DistinguishedFolderId EventTypes EventType Timeout", "DistinguishedFolderId EventType",
	},
	"GetStreamingEvents": {"SubscriptionIds SubscriptionId ConnectionTimeout", "SubscriptionId"},
	"GetEvents":          {"SubscriptionId Watermark", ""},
	"Unsubscribe":        {"SubscriptionId", ""},
	"ResolveNames":       {"DistinguishedFolderId UnresolvedEntry", "DistinguishedFolderId"},
	"ExpandDL":           {"Mailbox", ""},
	"FindPeople": {
		"BaseShape FieldURI IndexedPageItemView FieldOrder DistinguishedFolderId", "FieldURI FieldOrder",
	},
	"GetSearchableMailboxes": {"", ""},
	"ConvertId":              {"SourceIds AlternateId", "AlternateId"},
}

// a list with one element less is still a list.
var several = map[string][]string{
	"SyncFolderHierarchy": {"FieldURI"}, "GetFolder": {"FolderId", "DistinguishedFolderId", "FieldURI", "ExtendedFieldURI"},
	"FindItem": {"FieldURI", "IsGreaterThan", "IsEqualTo"}, "GetItem": {"ItemId", "FieldURI", "ExtendedFieldURI"}, "DeleteItem": {"ItemId"},
	"Subscribe": {"EventType"},
}

func readGolden(t *testing.T, name string) *node {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	n, bad := parse(doc)
	if bad != nil {
		t.Fatal(bad)
	}
	return n
}

// write makes a document of a node.
func write(n *node) string {
	prefix := map[string]string{nsSOAP: "s:", nsTypes: "t:", nsMessages: "m:", "urn:foreign": "f:"}
	var b strings.Builder
	var one func(n *node)
	one = func(n *node) {
		b.WriteString("<" + prefix[n.space] + n.name)
		if n.name == "Envelope" {
			b.WriteString(` xmlns:s="` + nsSOAP + `" xmlns:t="` + nsTypes + `" xmlns:m="` + nsMessages + `" xmlns:f="urn:foreign"`)
		}
		for _, a := range n.attrs {
			if a.space != "" {
				continue
			}
			b.WriteString(" " + a.name + `="`)
			var value bytes.Buffer
			_ = xml.EscapeText(&value, []byte(a.value)) // a buffer does not fail
			b.WriteString(value.String() + `"`)
		}
		b.WriteString(">")
		var text bytes.Buffer
		_ = xml.EscapeText(&text, []byte(n.text)) // a buffer does not fail
		b.WriteString(text.String())
		for _, k := range n.kids {
			one(k)
		}
		b.WriteString("</" + prefix[n.space] + n.name + ">")
	}
	one(n)
	return b.String()
}

// below returns all elements below n, with their parents.
func below(n *node, visit func(parent *node, i int)) {
	for i := range n.kids {
		visit(n, i)
		below(n.kids[i], visit)
	}
}

// TestEveryOperationIsHeldAgainstItsGrammar changes each request of testdata/golden in every way in which a client could get it
// wrong, and expects what Exchange would say.
func TestEveryOperationIsHeldAgainstItsGrammar(t *testing.T) {
	for name := range operations {
		t.Run(name, func(t *testing.T) {
			expect, known := golden[name]
			if !known {
				t.Fatal("no golden request")
			}
			doc := readGolden(t, name+".request.xml")
			op := doc.child("Body").kids[0]
			check := func(what string, wantOK bool) {
				t.Helper()
				if err := CheckRequest("", []byte(write(doc))); (err == nil) != wantOK {
					t.Errorf("%s: got %v", what, err)
				}
			}
			check("as it is", true)
			required, repeated := strings.Fields(expect.required), strings.Fields(expect.repeated)
			below(op, func(parent *node, i int) {
				kids := parent.kids
				k := kids[i]
				try := func(what string, wantOK bool, changed ...*node) {
					t.Helper()
					parent.kids = changed
					check(k.name+" "+what, wantOK)
					parent.kids = kids
				}
				without := slices.Delete(slices.Clone(kids), i, i+1)
				left := slices.ContainsFunc(without, func(o *node) bool { return o.space == k.space && slices.Contains(several[name], o.name) })
				try("missing", !slices.Contains(required, k.name) || slices.Contains(several[name], k.name) && left, without...)
				try("doubled", slices.Contains(repeated, k.name) && !strings.HasPrefix(k.name+parent.name, "FieldURI") || k.name == "FieldURI" && parent.name == "AdditionalProperties", slices.Insert(slices.Clone(kids), i, k)...)
				if i > 0 && kids[i-1].name != k.name && !(slices.Contains(repeated, k.name) && slices.Contains(repeated, kids[i-1].name)) {
					swapped := slices.Clone(kids)
					swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
					try("before its elder", false, swapped...)
				}
				for what, other := range map[string]node{
					"misspelt":                   {space: k.space, name: k.name + "s"},
					"in lower case":              {space: k.space, name: strings.ToLower(k.name)},
					"of a foreign namespace":     {space: "urn:foreign", name: k.name},
					"of no namespace":            {name: k.name},
					"of the other namespace":     {space: map[string]string{nsTypes: nsMessages, nsMessages: nsTypes}[k.space], name: k.name},
					"with a foreign child":       {space: k.space, name: k.name, kids: append([]*node{{space: "urn:foreign", name: "x"}}, k.kids...)},
					"with an unknown attribute":  {space: k.space, name: k.name, kids: k.kids, attrs: append([]attr{{name: "Foo", value: "1"}}, k.attrs...)},
					"with a misspelt attribute":  {space: k.space, name: k.name, kids: k.kids, attrs: append([]attr{{name: "id", value: "1"}}, k.attrs...)},
					"with text between children": {space: k.space, name: k.name, kids: k.kids, text: "text"},
				} {
					if what == "with text between children" && len(k.kids) == 0 {
						continue
					}
					wrong := slices.Clone(kids)
					other.attrs = append(other.attrs, k.attrs[:len(k.attrs)*boolToInt(other.attrs == nil)]...)
					if other.kids == nil && other.text == "" {
						other.text = k.text
					}
					wrong[i] = &other
					try(what, false, wrong...)
				}
			})
			for i, a := range op.attrs {
				attrs := op.attrs
				op.attrs = slices.Delete(slices.Clone(attrs), i, i+1)
				check("without the attribute "+a.name, !slices.Contains([]string{"Traversal", "DeleteType", "ConflictResolution", "ReturnFullContactData", "DestinationFormat"}, a.name))
				op.attrs = append(slices.Clone(attrs[:i]), attr{name: a.name, value: "Nonsense"})
				check("with a wrong "+a.name, false)
				op.attrs = attrs
			}
		})
	}
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
