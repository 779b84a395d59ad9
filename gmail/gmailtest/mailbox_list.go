package gmailtest

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPage is the most entries of a page, and usualPage how many there are if the client says nothing.
const (
	maxPage   = 500
	usualPage = 100
)

// A place is where a page of a list begins. Clients have it as a page token.
type place struct {
	epoch uint64 // of the mailbox's page tokens
	of    uint64 // a hash of what was asked for: a token is good for the same list alone
	nonce uint64 // tells tokens of the same place apart
	// For messages.list: behind the message with this time and arrival, or with OffsetPages behind so many messages.
	// For history.list: behind the record with this id. At the beginning, behind is 0.
	time   int64
	behind uint64
}

// token writes a place. There are signs in it that must be escaped in a URL, as an opaque text may have.
func (p place) token() string {
	text := fmt.Sprintf("%d %d %d %d %d", p.epoch, p.of, p.nonce, p.time, p.behind)
	return "+" + base64.StdEncoding.EncodeToString([]byte(text)) + "/="
}

func parsePlace(token string) (place, bool) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(token, "+"), "/="))
	if err != nil {
		return place{}, false
	}
	var p place
	n, err := fmt.Sscanf(string(b), "%d %d %d %d %d", &p.epoch, &p.of, &p.nonce, &p.time, &p.behind)
	return p, err == nil && n == 5 && p.token() == token
}

// pageFaults is what goes wrong with the lists of a mailbox.
type pageFaults struct {
	empty  int  // so many pages to come are empty, and not the last
	repeat bool // each page has the token with which it was asked for
	count  uint64
}

// place returns where the page begins that a request asks for.
func (q *request) place() (place, error) {
	asked := q.method
	for _, name := range []string{"q", "labelIds", "includeSpamTrash", "startHistoryId", "historyTypes", "labelId"} {
		asked += fmt.Sprintf("&%s=%q", name, q.query[name])
	}
	of := fnv.New64a()
	of.Write([]byte(asked))
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	first := place{epoch: mb.restart, of: of.Sum64()}
	token := q.query.Get("pageToken")
	if token == "" {
		return first, nil
	}
	p, ok := parsePlace(token)
	if !ok || p.epoch != first.epoch || p.of != first.of {
		return first, invalidArgument("Invalid pageToken")
	}
	return p, nil
}

// empty reports whether the page is to be an empty one; the token is then one for the same place.
func (mb *mailbox) emptyPage(p place) (token string, empty bool) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.pages.empty == 0 {
		return "", false
	}
	mb.pages.empty--
	mb.pages.count++
	p.nonce = mb.pages.count
	return p.token(), true
}

// nextToken is the token of the page behind: "" if there is none, or what the mailbox's faults make of it.
func (q *request) nextToken(p place, more bool) any {
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	switch asked := q.query.Get("pageToken"); {
	case mb.pages.repeat && asked != "":
		return asked
	case more || mb.pages.repeat:
		return p.token()
	}
	return nil
}

// A search is what messages.list is asked for.
type search struct {
	query     query
	labels    []string
	spamTrash bool
}

// finds reports whether the search has a message in it. The mailbox is locked.
func (f search) finds(m *message) bool {
	if !f.spamTrash && !f.query.anywhere && (m.has(labelSpam) && !slices.Contains(f.labels, labelSpam) ||
		m.has(labelTrash) && !slices.Contains(f.labels, labelTrash)) {
		return false
	}
	return !slices.ContainsFunc(f.labels, func(id string) bool { return !m.has(id) }) && f.query.find(m)
}

// page returns the messages of a search from a place on, the newest first, the place behind them, and whether any are there.
func (mb *mailbox) page(f search, from place, limit int, byOffset bool) (found []message, next place, more bool) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	at, skip := len(mb.list), uint64(0)
	if byOffset {
		skip = from.behind
	} else if from.behind > 0 {
		anchor := &message{internal: time.UnixMilli(from.time).UTC(), arrival: from.behind}
		at, _ = slices.BinarySearchFunc(mb.list, anchor, before)
	}
	next = from
	for i := at - 1; i >= 0; i-- {
		m := mb.list[i]
		if !f.finds(m) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(found) == limit {
			return found, next, true
		}
		found = append(found, *m)
		if byOffset {
			next.behind++
		} else {
			next.time, next.behind = m.internal.UnixMilli(), m.arrival
		}
	}
	return found, next, false
}

// search reads what a list is asked for.
func (s *Server) search(q *request) (search, error) {
	f, mb := search{labels: q.query["labelIds"]}, q.user.box
	var err error
	if f.spamTrash, err = q.flag("includeSpamTrash"); err != nil {
		return f, err
	}
	if q.query.Get("q") != "" && q.metadataOnly() {
		return f, forbidden("insufficientPermissions", "Metadata scope does not support 'q' parameter")
	}
	if f.query, err = mb.parseQuery(q.query.Get("q"), s.now()); err != nil {
		return f, malformed("invalidArgument", "Invalid query: "+err.Error())
	}
	return f, mb.knowLabels(f.labels)
}

func (s *Server) listMessages(q *request) (any, error) {
	mb := q.user.box
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
	if token, empty := mb.emptyPage(from); empty {
		return obj("nextPageToken", token, "resultSizeEstimate", 0), nil
	}
	found, next, more := mb.page(f, from, limit, s.opts.Mail.OffsetPages)
	list := make([]object, len(found))
	ids := make([]string, len(found))
	for i, m := range found {
		list[i], ids[i] = obj("id", m.id, "threadId", m.thread), m.id
	}
	mb.vanishing(ids)
	out := obj("nextPageToken", q.nextToken(next, more), "resultSizeEstimate", len(list))
	if len(list) == 0 {
		return out, nil
	}
	return append(obj("messages", list), out...), nil
}

// knowLabels refuses ids that are no labels.
func (mb *mailbox) knowLabels(ids []string) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	for _, id := range ids {
		if mb.labels[id] == nil {
			return invalidArgument("Invalid label: " + id)
		}
	}
	return nil
}

// vanishing removes the messages, of those that a list has told, that are to be gone when the client asks for them.
func (mb *mailbox) vanishing(ids []string) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	var gone []string
	for _, id := range ids {
		if mb.vanish[id] {
			delete(mb.vanish, id)
			gone = append(gone, id)
		}
	}
	mb.drop(gone)
}

// Vanish removes messages as soon as a list or the history has told a client of them, before it can read them.
func (s *Server) Vanish(mailbox string, id ...string) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.vanish == nil {
		mb.vanish = make(map[string]bool)
	}
	for _, i := range id {
		mb.vanish[i] = true
	}
}

// EmptyPages makes the next pages of messages.list and history.list empty, each with a token for what it should have had.
func (s *Server) EmptyPages(mailbox string, pages int) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.pages.empty = pages
}

// RepeatPages makes messages.list and history.list hand out the token with which they were called, for as long as it is on: the
// list has no end.
func (s *Server) RepeatPages(mailbox string, on bool) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.pages.repeat = on
}

// ExpirePageTokens makes all page tokens so far invalid: 400 invalidArgument.
func (s *Server) ExpirePageTokens(mailbox string) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.restart++
}

// number64 is a 64-bit number as replies have it: a string.
func number64(n int64) string { return strconv.FormatInt(n, 10) }
