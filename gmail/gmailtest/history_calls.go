package gmailtest

import "slices"

// listHistory tells what was recorded after an id.
func (s *Server) listHistory(q *request) (any, error) {
	mb, o := q.user.box, s.opts.Mail
	limit, err := q.number("maxResults", usualPage, maxPage)
	if err != nil {
		return nil, err
	}
	if !q.has("startHistoryId") {
		return nil, malformed("invalidArgument", "Missing required parameter: startHistoryId")
	}
	start, ok := o.parseHistoryID(q.query.Get("startHistoryId"))
	if !ok {
		return nil, errValue("startHistoryId", q.query.Get("startHistoryId"), "TYPE_UINT64")
	}
	kinds := q.query["historyTypes"]
	for _, kind := range kinds {
		if !slices.Contains([]string{historyAdded, historyDeleted, historyPlus, historyMinus}, kind) {
			return nil, errValue("historyTypes", kind, "TYPE_ENUM")
		}
	}
	from, err := q.place()
	if err != nil {
		return nil, err
	}
	after := start
	if from.behind > 0 {
		after = from.behind
	}
	page := mb.historyFrom(start, after, limit, kinds, q.query.Get("labelId"), o.SilentExpiry)
	if page.expired {
		return nil, notFound(noEntity)
	}
	if token, empty := mb.emptyPage(from); empty {
		return obj("nextPageToken", token, "historyId", o.historyID(page.told)), nil
	}
	next := from
	next.behind = page.next
	tail := obj("nextPageToken", q.nextToken(next, page.next > 0), "historyId", o.historyID(page.told))
	if len(page.records) == 0 {
		return tail, nil
	}
	list := make([]object, len(page.records))
	var ids []string
	for i, r := range page.records {
		list[i] = s.recordObject(mb, r)
		for _, e := range r.added {
			ids = append(ids, e.id)
		}
	}
	mb.vanishing(ids)
	return append(obj("history", list), tail...), nil
}

// recordObject is a record as history.list tells it.
func (s *Server) recordObject(mb *mailbox, r record) object {
	var messages []object
	seen := make(map[string]bool)
	brief := func(e entry) object {
		o := obj("id", e.id, "threadId", e.thread)
		if m, ok := mb.find(e.id); ok && s.opts.Mail.HistoryLabels && len(m.labels) > 0 {
			o = append(o, member{"labelIds", m.labels})
		}
		if !seen[e.id] {
			seen[e.id] = true
			messages = append(messages, o)
		}
		return o
	}
	entries := func(list []entry) any {
		var out []object
		for _, e := range list {
			out = append(out, obj("message", brief(e)))
		}
		return unlessEmpty(out)
	}
	labellings := func(list []labelling) any {
		var out []object
		for _, l := range list {
			out = append(out, obj("message", brief(l.entry), "labelIds", l.labels))
		}
		return unlessEmpty(out)
	}
	typed := obj("messagesAdded", entries(r.added), "messagesDeleted", entries(r.deleted), "labelsAdded", labellings(r.plus), "labelsRemoved", labellings(r.minus))
	return append(obj("id", s.opts.Mail.historyID(r.id), "messages", messages), typed...)
}

// unlessEmpty is a list, or nil, which an object leaves out.
func unlessEmpty(list []object) any {
	if len(list) == 0 {
		return nil
	}
	return list
}
