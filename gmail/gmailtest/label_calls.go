package gmailtest

import (
	"net/http"
	"slices"
	"strings"
)

// labelMethods says what answers the methods of labels.
func (s *Server) labelMethods() {
	reading := append(scopesReading(), scopeLabels)
	writing := []string{scopeFull, scopeModify, scopeLabels}
	s.handle("labels.list", reading, s.listLabels)
	s.handle("labels.get", reading, s.getLabel)
	s.handle("labels.create", writing, s.createLabel)
	s.handle("labels.update", writing, s.updateLabel)
	s.handle("labels.patch", writing, s.updateLabel)
	s.handle("labels.delete", writing, s.deleteLabel)
}

// object is the label as labels.list tells it: without counts.
func (l *label) object() object {
	kind := "user"
	if l.system() {
		kind = "system"
	}
	o := obj("id", l.id, "name", l.name)
	if l.messages != "" {
		o = append(o, member{"messageListVisibility", l.messages})
	}
	if l.threads != "" {
		o = append(o, member{"labelListVisibility", l.threads})
	}
	return append(o, member{"type", kind})
}

func (s *Server) listLabels(q *request) (any, error) {
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	list := make([]object, len(mb.names))
	for i, l := range mb.names {
		list[i] = l.object()
	}
	return obj("labels", list), nil
}

// labelOf returns the label that a request names. The mailbox is locked.
func (mb *mailbox) labelOf(id string) (*label, error) {
	l := mb.labels[id]
	if l == nil {
		return nil, notFound(noEntity)
	}
	return l, nil
}

func (s *Server) getLabel(q *request) (any, error) {
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	l, err := mb.labelOf(q.id)
	if err != nil {
		return nil, err
	}
	messages, unread := 0, 0
	threads, unreadThreads := make(map[string]bool), make(map[string]bool)
	for _, m := range mb.list {
		if !m.has(l.id) {
			continue
		}
		messages++
		threads[m.thread] = true
		if m.has(labelUnread) {
			unread++
			unreadThreads[m.thread] = true
		}
	}
	return append(l.object(), obj("messagesTotal", messages, "messagesUnread", unread, "threadsTotal", len(threads), "threadsUnread", len(unreadThreads))...), nil
}

// A labelBody is a label as a client sends it. What it cannot set is passed over.
type labelBody struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	Type           string `json:"type"`
	Messages       string `json:"messageListVisibility"`
	Threads        string `json:"labelListVisibility"`
	MessagesTotal  int    `json:"messagesTotal"`
	MessagesUnread int    `json:"messagesUnread"`
	ThreadsTotal   int    `json:"threadsTotal"`
	ThreadsUnread  int    `json:"threadsUnread"`
	Color          *struct {
		Text       string `json:"textColor"`
		Background string `json:"backgroundColor"`
	} `json:"color"`
}

func (q *request) label() (labelBody, error) {
	var body labelBody
	if err := q.decode(&body); err != nil {
		return body, err
	}
	if !slices.Contains([]string{"", "show", "hide"}, body.Messages) {
		return body, malformed("invalidArgument", "Invalid value at 'label.message_list_visibility'")
	}
	if !slices.Contains([]string{"", "labelShow", "labelShowIfUnread", "labelHide"}, body.Threads) {
		return body, malformed("invalidArgument", "Invalid value at 'label.label_list_visibility'")
	}
	return body, nil
}

// maxLabelName is the longest name of a label, in characters.
const maxLabelName = 225

// checkName refuses a name that a user label cannot have; own is the label that has it already. The mailbox is locked.
func (mb *mailbox) checkName(name string, own *label) error {
	switch {
	case strings.TrimSpace(name) == "" || len([]rune(name)) > maxLabelName || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/"),
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }),
		slices.ContainsFunc(systemLabels, func(id string) bool { return strings.EqualFold(id, name) }):
		return invalidArgument("Invalid label name")
	}
	if l := mb.named(name); l != nil && l != own {
		return apiErr(http.StatusConflict, "aborted", "ABORTED", "Label name exists or conflicts")
	}
	return nil
}

func (s *Server) createLabel(q *request) (any, error) {
	body, err := q.label()
	if err != nil {
		return nil, err
	}
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if err := mb.checkName(body.Name, nil); err != nil {
		return nil, err
	}
	if len(mb.names)-len(systemLabels) >= maxLabels {
		return nil, invalidArgument("Too many labels")
	}
	l := mb.plantLabel(body.Name)
	l.messages, l.threads = body.Messages, body.Threads
	return l.object(), nil
}

// updateLabel is labels.update and labels.patch: both change what the body has.
func (s *Server) updateLabel(q *request) (any, error) {
	body, err := q.label()
	if err != nil {
		return nil, err
	}
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	l, err := mb.labelOf(q.id)
	if err != nil {
		return nil, err
	}
	if body.Name != "" && body.Name != l.name {
		if l.system() {
			return nil, invalidArgument("Invalid update request")
		}
		if err := mb.checkName(body.Name, l); err != nil {
			return nil, err
		}
		l.name = body.Name
	} else if body.Name == "" && q.method == "labels.update" {
		return nil, invalidArgument("Invalid label name")
	}
	l.messages, l.threads = or(body.Messages, l.messages), or(body.Threads, l.threads)
	return l.object(), nil
}

func (s *Server) deleteLabel(q *request) (any, error) {
	mb := q.user.box
	mb.mu.Lock()
	l, err := mb.labelOf(q.id)
	mb.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if l.system() {
		return nil, invalidArgument("Invalid delete request")
	}
	mb.removeLabel(q.id)
	return nil, nil
}
