package gmailtest

import (
	"io"
	"slices"
)

// thread returns the messages of a thread, the oldest first.
func (mb *mailbox) thread(id string) []message {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	var out []message
	for _, m := range mb.list {
		if m.thread == id {
			out = append(out, mb.shown(m))
		}
	}
	return out
}

// threadPage returns the threads that have messages of a search, by the newest of those, the newest thread first.
func (mb *mailbox) threadPage(f search, skip uint64, limit int) (ids []string, more bool) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	seen := make(map[string]bool)
	for _, m := range slices.Backward(mb.list) {
		if seen[m.thread] || !f.finds(m) {
			continue
		}
		if len(ids) == limit {
			return ids, true
		}
		if seen[m.thread] = true; uint64(len(seen)) > skip {
			ids = append(ids, m.thread)
		}
	}
	return ids, false
}

// listThreads is threads.list. Its pages are counted from the newest thread.
func (s *Server) listThreads(q *request) (any, error) {
	limit, err := q.number("maxResults", usualPage, maxPage)
	if err != nil {
		return nil, err
	}
	f, err := s.search(q)
	if err != nil {
		return nil, err
	}
	from, err := q.place()
	if err != nil {
		return nil, err
	}
	ids, more := q.user.box.threadPage(f, from.behind, limit)
	list := make([]object, len(ids))
	for i, id := range ids {
		list[i] = s.threadObject(id, q.user.box.thread(id))
	}
	from.behind += uint64(len(ids))
	return obj("threads", unlessEmpty(list), "nextPageToken", q.nextToken(from, more), "resultSizeEstimate", len(list)), nil
}

// threadObject is what a list tells of a thread.
func (s *Server) threadObject(id string, messages []message) object {
	newest, snippet := uint64(0), ""
	for _, m := range messages {
		newest, snippet = max(newest, m.history), m.snippet()
	}
	return obj("id", id, "snippet", snippet, "historyId", s.opts.Mail.historyID(newest))
}

// snippet is the beginning of the first plain text, if it begins early.
func (m *message) snippet() string {
	return mimeWalk{}.read(io.LimitReader(m.reader(), maxHeader), "", 0).snippet()
}

func (s *Server) getThread(q *request) (any, error) {
	format, err := q.choice("format", "full", "full", "metadata", "minimal")
	if err != nil {
		return nil, err
	}
	if q.metadataOnly() && format == "full" {
		return nil, forbidden("insufficientPermissions", "Metadata scope doesn't allow format FULL")
	}
	messages := q.user.box.thread(q.id)
	if len(messages) == 0 {
		return nil, notFound(noEntity)
	}
	list := make([]object, len(messages))
	for i := range messages {
		list[i] = s.tell(q, &messages[i], format)
	}
	return append(s.threadObject(q.id, messages), member{"messages", list}), nil
}
