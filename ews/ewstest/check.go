package ewstest

import "errors"

// CheckRequest holds the document of a request against the schema of EWS: its envelope, its header, the order and number of
// its elements, their namespaces, attributes and values, and what the declared version knows. version is a value of
// RequestServerVersion, and counts if the document names none; "" is the oldest. It returns nil for a request that Exchange
// would take, whatever it then finds in the store.
func CheckRequest(version string, xml []byte) error {
	doc, bad := parse(xml)
	if bad != nil {
		return bad
	}
	if f := checkEnvelope(doc); f != nil {
		return f
	}
	header, op := doc.child("Header"), doc.child("Body").kids[0]
	if theGrammar().operations[op.name] == nil {
		return unknownRequest(op.name)
	}
	if declared := header.child("RequestServerVersion").attr("Version"); declared != "" {
		version = declared
	}
	v, known := versionNamed(cmpOr(version, v2007.String()))
	if !known {
		return errors.New("ErrorInvalidServerVersion: no version " + version)
	}
	if f := checkSchema(header, op, v); f != nil {
		return f
	}
	return nil
}

// checkEnvelope holds the SOAP 1.1 around a request against its rules: Envelope, at most one Header, one Body with one child.
func checkEnvelope(doc *node) *fault {
	if doc.space != nsSOAP || doc.name != "Envelope" {
		return violation(doc, "The root element is not an Envelope of SOAP 1.1.")
	}
	kids := doc.kids
	if len(kids) > 0 && kids[0].space == nsSOAP && kids[0].name == "Header" {
		kids = kids[1:]
	}
	if len(kids) != 1 || kids[0].space != nsSOAP || kids[0].name != "Body" {
		return violation(doc, "The Envelope must hold an optional Header and then one Body.")
	}
	if body := kids[0]; len(body.kids) != 1 || body.kids[0].space != nsMessages {
		return violation(body, "The Body must hold one operation of the namespace '"+nsMessages+"'.")
	}
	return nil
}
