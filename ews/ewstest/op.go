package ewstest

// operations are what the server knows. They run with Server.mu held, so that what they tell is of one moment.
var operations = map[string]func(*Server, *request) *reply{
	"SyncFolderHierarchy":    opSyncFolderHierarchy,
	"SyncFolderItems":        opSyncFolderItems,
	"GetFolder":              opGetFolder,
	"FindFolder":             opFindFolder,
	"CreateFolder":           opCreateFolder,
	"FindItem":               opFindItem,
	"GetItem":                opGetItem,
	"CreateItem":             opCreateItem,
	"UpdateItem":             opUpdateItem,
	"DeleteItem":             opDeleteItem,
	"MoveItem":               opMoveItem,
	"GetAttachment":          opGetAttachment,
	"ExportItems":            opExportItems,
	"UploadItems":            opUploadItems,
	"ResolveNames":           opResolveNames,
	"ExpandDL":               opExpandDL,
	"GetSearchableMailboxes": opGetSearchableMailboxes,
	"FindPeople":             opFindPeople,
	"Subscribe":              opSubscribe,
	"GetEvents":              opGetEvents,
	"GetStreamingEvents":     opGetStreamingEvents,
	"Unsubscribe":            opUnsubscribe,
	"ConvertId":              opConvertId,
}

// answer makes the reply of an operation that has response messages.
func (req *request) answer(messages ...*node) *reply {
	return &reply{body: msg(req.name+"Response", msg("ResponseMessages", messages...))}
}

// success makes one response message with its payload.
func (req *request) success(payload ...*node) *node {
	n := msg(req.name+"ResponseMessage", msg("ResponseCode").say("NoError")).with("ResponseClass", "Success")
	return n.add(payload...)
}

// failure makes one response message that tells an error.
func (req *request) failure(f *fault) *node {
	n := msg(req.name+"ResponseMessage", msg("MessageText").say(f.text), msg("ResponseCode").say(f.code),
		msg("DescriptiveLinkKey").say("0")).with("ResponseClass", "Error")
	if len(f.values) > 0 {
		n.add(f.messageXML())
	}
	return n
}
