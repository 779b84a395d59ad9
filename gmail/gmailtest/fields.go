package gmailtest

import "strings"

// A mask is what the fields parameter selects. A nil mask selects everything.
type mask struct {
	members map[string]*mask // a nil mask: all of it
}

// child returns the mask of a member, and whether the member is selected at all.
func (m *mask) child(name string) (*mask, bool) {
	if m == nil {
		return nil, true
	}
	if inner, ok := m.members[name]; ok {
		return inner, true
	}
	inner, ok := m.members["*"]
	return inner, ok
}

// parseMask reads a fields parameter for an answer of a schema: "messages(id,threadId),nextPageToken", "payload/headers/name",
// "*". What the schema does not have is an error, as at Google.
func parseMask(text, schema string) (*mask, *apiError) {
	p := maskParser{rest: text}
	m := p.list(schema, 0)
	if m == nil || p.rest != "" {
		return nil, errFields(or(p.wrong, text))
	}
	return m, nil
}

// maxMask is the deepest nesting of a mask.
const maxMask = 32

type maskParser struct {
	rest  string
	wrong string // the name that the schema does not have
}

// list reads selections up to a closing parenthesis or the end; nil if there is something wrong.
func (p *maskParser) list(schema string, depth int) *mask {
	m := &mask{members: make(map[string]*mask)}
	for {
		if depth > maxMask || !p.selection(m, schema, depth) {
			return nil
		}
		if !strings.HasPrefix(p.rest, ",") {
			return m
		}
		p.rest = p.rest[1:]
	}
}

// selection reads one path, with what stands in parentheses behind it, into m.
func (p *maskParser) selection(m *mask, schema string, depth int) bool {
	end := strings.IndexAny(p.rest, ",()/")
	if end < 0 {
		end = len(p.rest)
	}
	name := p.rest[:end]
	inner, ok := schemaOf(schema, name)
	if !ok {
		p.wrong = name
		return false
	}
	p.rest = p.rest[end:]
	var below *mask
	switch {
	case strings.HasPrefix(p.rest, "/"):
		p.rest = p.rest[1:]
		below = &mask{members: make(map[string]*mask)}
		if depth > maxMask || !p.selection(below, inner, depth+1) {
			return false
		}
	case strings.HasPrefix(p.rest, "("):
		p.rest = p.rest[1:]
		if below = p.list(inner, depth+1); below == nil || !strings.HasPrefix(p.rest, ")") {
			return false
		}
		p.rest = p.rest[1:]
	}
	m.add(name, below)
	return true
}

// add selects a member, also when it is selected already in parts. A nil mask selects it already.
func (m *mask) add(name string, below *mask) {
	if m == nil {
		return
	}
	old, ok := m.members[name]
	if !ok || old == nil || below == nil {
		if !ok {
			m.members[name] = below
			return
		}
		m.members[name] = nil
		return
	}
	for k, v := range below.members {
		old.add(k, v)
	}
}

// schemaOf returns the schema of a member of a schema, "" for a plain value, and whether there is such a member.
func schemaOf(schema, name string) (string, bool) {
	if schema == "" {
		return "", false
	}
	if name == "*" {
		return anything, true
	}
	if schema == anything {
		return anything, name != ""
	}
	for field := range strings.FieldsSeq(schemas[schema]) {
		n, inner, _ := strings.Cut(field, ":")
		if n == name {
			return inner, true
		}
	}
	return "", false
}

// anything is the schema that has every member.
const anything = "*"

// schemas are the members of Google's answers, with the schemas of those that are objects or lists of objects.
var schemas = map[string]string{
	"Profile":              "emailAddress messagesTotal threadsTotal historyId",
	"WatchResponse":        "historyId expiration",
	"ListLabelsResponse":   "labels:Label",
	"Label":                "id name messageListVisibility labelListVisibility type messagesTotal messagesUnread threadsTotal threadsUnread color:LabelColor",
	"LabelColor":           "textColor backgroundColor",
	"ListMessagesResponse": "messages:Message nextPageToken resultSizeEstimate",
	"Message":              "id threadId labelIds snippet historyId internalDate payload:MessagePart sizeEstimate raw classificationLabelValues:*",
	"MessagePart":          "partId mimeType filename headers:MessagePartHeader body:MessagePartBody parts:MessagePart",
	"MessagePartHeader":    "name value",
	"MessagePartBody":      "attachmentId size data",
	"ListHistoryResponse":  "history:History nextPageToken historyId",
	"History":              "id messages:Message messagesAdded:HistoryMessage messagesDeleted:HistoryMessage labelsAdded:HistoryLabels labelsRemoved:HistoryLabels",
	"HistoryMessage":       "message:Message",
	"HistoryLabels":        "message:Message labelIds",
	"ListThreadsResponse":  "threads:Thread nextPageToken resultSizeEstimate",
	"Thread":               "id snippet historyId messages:Message",
	"Users":                "kind etag trigger_event users:User nextPageToken",
	"User": "kind id etag primaryEmail name:UserName isAdmin isDelegatedAdmin lastLoginTime creationTime deletionTime agreedToTerms suspended " +
		"suspensionReason archived changePasswordAtNextLogin ipWhitelisted emails:* aliases nonEditableAliases customerId orgUnitPath " +
		"isMailboxSetup isEnrolledIn2Sv isEnforcedIn2Sv includeInGlobalAddressList isGuestUser guestAccountInfo:* externalIds:* relations:* " +
		"addresses:* organizations:* phones:* languages:* posixAccounts:* gender:* ims:* keywords:* locations:* notes:* websites:* sshPublicKeys:* " +
		"customSchemas:* thumbnailPhotoEtag thumbnailPhotoUrl recoveryEmail recoveryPhone hashFunction password",
	"UserName": "givenName familyName fullName displayName",
	"Members":  "kind etag members:Member nextPageToken",
	"Member":   "kind id etag email role type status delivery_settings",
}
