package gmailtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The scopes that permit a method, as the API's discovery document has them.
func scopesReading() []string {
	return []string{scopeFull, scopeModify, scopeReadonly, scopeMetadata}
}

// gmailMethods says what answers the methods of Gmail.
func (s *Server) gmailMethods() {
	reading := scopesReading()
	modify, full := []string{scopeFull, scopeModify}, []string{scopeFull}
	s.handle("getProfile", append(reading, scopeCompose), s.getProfile)
	s.handle("watch", reading, s.startWatch)
	s.handle("stop", reading, s.stopWatch)
	s.handle("messages.list", reading, s.listMessages)
	s.handle("messages.get", reading, s.getMessage)
	s.handle("attachments.get", []string{scopeFull, scopeModify, scopeReadonly}, s.getAttachment)
	s.handle("messages.modify", modify, s.modifyMessage)
	s.handle("messages.trash", modify, s.trashMessage)
	s.handle("messages.untrash", modify, s.untrashMessage)
	s.handle("messages.delete", full, s.deleteMessage)
	s.handle("messages.batchDelete", full, s.batchDelete)
	s.handle("messages.batchModify", modify, s.batchModify)
	s.handle("history.list", reading, s.listHistory)
	s.handle("threads.list", reading, s.listThreads)
	s.handle("threads.get", reading, s.getThread)
	s.labelMethods()
	s.uploadMethods()
	s.batchService()
}

// What Google says where an id is none, or nothing is there.
const (
	noEntity  = "Requested entity was not found."
	invalidID = "Invalid id value"
)

func (s *Server) getProfile(q *request) (any, error) {
	messages, threads, told := q.user.box.profile()
	return obj("emailAddress", s.addressOf(q.user), "messagesTotal", messages, "threadsTotal", threads, "historyId", s.opts.Mail.historyID(told)), nil
}

// checkID refuses what is no message id of Google's, unless there is such a message.
func (mb *mailbox) checkID(id string) error {
	if _, err := strconv.ParseUint(id, 16, 64); err == nil {
		return nil
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.byID[id] == nil {
		return invalidArgument(invalidID)
	}
	return nil
}

// lookup finds the message that a request is for.
func (mb *mailbox) lookup(id string) (message, error) {
	if err := mb.checkID(id); err != nil {
		return message{}, err
	}
	m, ok := mb.find(id)
	if !ok {
		return message{}, notFound(noEntity)
	}
	return m, nil
}

func (s *Server) getMessage(q *request) (any, error) {
	format, err := q.choice("format", "full", "minimal", "full", "raw", "metadata")
	if err != nil {
		return nil, err
	}
	if q.metadataOnly() && (format == "full" || format == "raw") {
		return nil, forbidden("insufficientPermissions", "Metadata scope doesn't allow format "+strings.ToUpper(format))
	}
	m, err := q.user.box.lookup(q.id)
	if err != nil {
		return nil, err
	}
	return s.tell(q, &m, format), nil
}

// tell is a message in one of the formats.
func (s *Server) tell(q *request, m *message, format string) object {
	root := &part{}
	switch {
	case format == "full":
		root = mimeWalk{}.read(m.reader(), "", 0)
	case format == "metadata" || q.asks("snippet"):
		root = mimeWalk{}.read(io.LimitReader(m.reader(), maxHeader), "", 0)
	}
	out := s.brief(m)
	out = append(out, obj("snippet", root.snippet(), "sizeEstimate", m.sizeEstimate(), "historyId", s.opts.Mail.historyID(m.history),
		"internalDate", number64(m.internal.UnixMilli()))...)
	switch format {
	case "metadata":
		return append(out, obj("payload", obj("mimeType", root.kind, "headers", headers(root.fields, q.query["metadataHeaders"])))...)
	case "full":
		return append(out, obj("payload", root.object())...)
	case "raw":
		if s.opts.Mail.PayloadWithRaw {
			out = append(out, obj("payload", obj("partId", "", "raw", "bm90IHRoaXM=", "headers", headers(root.fields, nil)))...)
		}
		return append(out, obj("raw", q.user.box.raw(m))...)
	}
	return out
}

// asks reports whether the client wants a field to be told. It spares the work that the field costs.
func (q *request) asks(field string) bool {
	fields := q.query.Get("fields")
	return fields == "" || strings.Contains(fields, "*") || strings.Contains(fields, field)
}

// addressOf returns the current address of a user.
func (s *Server) addressOf(a *account) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.Email
}

// metadataOnly reports whether the token permits no more than metadata.
func (q *request) metadataOnly() bool {
	return !slices.ContainsFunc(q.grant.scopes, func(scope string) bool {
		return scope == scopeFull || scope == scopeModify || scope == scopeReadonly
	})
}

// brief is what every reply with a message tells of it.
func (s *Server) brief(m *message) object {
	o := obj("id", m.id, "threadId", m.thread)
	if len(m.labels) > 0 {
		o = append(o, member{"labelIds", m.labels})
	}
	return o
}

// sizeEstimate is not the size, as estimates are.
func (m *message) sizeEstimate() int { return int(m.content.Size() + m.content.Size()>>5 + 17) }

// raw is the field raw of a message, nil if there is to be none.
func (mb *mailbox) raw(m *message) any {
	if m.trouble.NoRaw != 0 && mb.withoutRaw(m.id) {
		return nil
	}
	if m.trouble.Spoiled {
		var text bytes.Buffer
		enc := base64.NewEncoder(base64.URLEncoding, &text)
		_, _ = io.Copy(enc, m.reader()) // into memory
		return json.RawMessage(`"` + text.String() + `!"`)
	}
	return content{m.content, m.content.Size()}
}

// withoutRaw counts the replies that have no raw.
func (mb *mailbox) withoutRaw(id string) bool {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	m := mb.byID[id]
	if m == nil || m.trouble.NoRaw == 0 {
		return false
	}
	if m.trouble.NoRaw > 0 {
		m.trouble.NoRaw--
	}
	return true
}

func (s *Server) getAttachment(q *request) (any, error) {
	m, err := q.user.box.lookup(q.id)
	if err != nil {
		return nil, err
	}
	id, ok := strings.CutPrefix(q.sub, attachmentID(""))
	if !ok {
		return nil, invalidArgument("Invalid attachment token")
	}
	p := mimeWalk{want: id}.read(m.reader(), "", 0).find(id)
	if p == nil {
		return nil, invalidArgument("Invalid attachment token")
	}
	return obj("size", int(p.size), "data", content{bytes.NewReader(p.data), int64(len(p.data))}), nil
}

// A change of labels, as messages.modify and messages.batchModify have it.
type relabelling struct {
	IDs    []string `json:"ids"`
	Add    []string `json:"addLabelIds"`
	Remove []string `json:"removeLabelIds"`
}

// fixedLabels can neither be given nor taken by a client.
var fixedLabels = []string{labelSent, labelDraft, labelChat}

func (mb *mailbox) checkLabels(lists ...[]string) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	for _, list := range lists {
		if len(list) > 100 {
			return invalidArgument("Too many labels")
		}
		for _, id := range list {
			if mb.labels[id] == nil || slices.Contains(fixedLabels, id) {
				return invalidArgument("Invalid label: " + id)
			}
		}
	}
	return nil
}

func (mb *mailbox) check(r relabelling) error {
	if err := mb.checkLabels(r.Add, r.Remove); err != nil {
		return err
	}
	if slices.ContainsFunc(r.Add, func(id string) bool { return slices.Contains(r.Remove, id) }) {
		return invalidArgument("Cannot both add and remove the same label")
	}
	return nil
}

func (s *Server) modifyMessage(q *request) (any, error) {
	mb := q.user.box
	var body struct {
		Add    []string `json:"addLabelIds"`
		Remove []string `json:"removeLabelIds"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	change := relabelling{[]string{q.id}, body.Add, body.Remove}
	if len(body.Add)+len(body.Remove) == 0 {
		return nil, invalidArgument("No label add or removes specified")
	}
	if err := mb.check(change); err != nil {
		return nil, err
	}
	return s.relabel(mb, change)
}

// relabel changes the labels of one message and returns it.
func (s *Server) relabel(mb *mailbox, r relabelling) (any, error) {
	m, err := mb.lookup(r.IDs[0])
	if err != nil {
		return nil, err
	}
	mb.modify(r.IDs, r.Add, r.Remove)
	if m, err = mb.lookup(r.IDs[0]); err != nil {
		return nil, err
	}
	return s.brief(&m), nil
}

func (s *Server) trashMessage(q *request) (any, error) {
	if err := q.user.box.stuck(q.id); err != nil {
		return nil, err
	}
	return s.relabel(q.user.box, relabelling{[]string{q.id}, []string{labelTrash}, []string{labelInbox}})
}

func (s *Server) untrashMessage(q *request) (any, error) {
	return s.relabel(q.user.box, relabelling{[]string{q.id}, nil, []string{labelTrash}})
}

// stuck refuses to remove a message that cannot be removed.
func (mb *mailbox) stuck(ids ...string) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	for _, id := range ids {
		if m := mb.byID[id]; m != nil && m.trouble.Stuck {
			return failedPrecondition("Precondition check failed.")
		}
	}
	return nil
}

func (s *Server) deleteMessage(q *request) (any, error) {
	if err := q.user.box.stuck(q.id); err != nil {
		return nil, err
	}
	if _, err := q.user.box.lookup(q.id); err != nil {
		return nil, err
	}
	q.user.box.remove(q.id)
	return nil, nil
}

// maxBatchIDs is how many ids batchDelete and batchModify take.
const maxBatchIDs = 1000

func (mb *mailbox) checkIDs(ids []string) error {
	if len(ids) == 0 {
		return invalidArgument("No message ids specified")
	}
	if len(ids) > maxBatchIDs {
		return invalidArgument("Too many message ids specified")
	}
	for _, id := range ids {
		if err := mb.checkID(id); err != nil {
			return err
		}
	}
	return nil
}

// batchDelete removes messages, those that there are: it gives no guarantee that there were any.
func (s *Server) batchDelete(q *request) (any, error) {
	mb := q.user.box
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	if err := mb.checkIDs(body.IDs); err != nil {
		return nil, err
	}
	if err := mb.stuck(body.IDs...); err != nil {
		return nil, err
	}
	mb.remove(body.IDs...)
	return nil, nil
}

func (s *Server) batchModify(q *request) (any, error) {
	mb := q.user.box
	var body relabelling
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	if err := mb.checkIDs(body.IDs); err != nil {
		return nil, err
	}
	if err := mb.check(body); err != nil {
		return nil, err
	}
	mb.modify(body.IDs, body.Add, body.Remove)
	return nil, nil
}
