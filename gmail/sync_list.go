package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/url"
	"strconv"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// A listing says which messages messages.list is to name.
type listing struct {
	labels    []string // ids; a message must have all of them
	query     string
	spamTrash bool
	work      quota.Work
}

// list asks for one page of ids: newest first, and at most page_size. A page may be empty and not the last.
func (c *Conn) list(ctx context.Context, b *box, l listing, token string) (ids []string, next string, err error) {
	k := call{method: "messages.list", scope: scopeRead, safe: true, work: l.work}
	var page *gapi.ListMessagesResponse
	err = c.do(ctx, b, k, func(ctx context.Context) (err error) {
		call := c.gmail.Users.Messages.List("me").MaxResults(c.cfg.pageSize()).IncludeSpamTrash(l.spamTrash).Context(ctx)
		call.Fields("messages/id", "nextPageToken")
		if len(l.labels) > 0 {
			call.LabelIds(l.labels...)
		}
		if l.query != "" {
			call.Q(l.query)
		}
		if token != "" {
			call.PageToken(token)
		}
		page, err = call.Do()
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(page.NextPageToken) > maxPageToken {
		return nil, "", &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: fmt.Errorf("messages.list: a page token of %d octets", len(page.NextPageToken))}
	}
	for _, m := range page.Messages {
		if m != nil && m.Id != "" {
			ids = append(ids, m.Id)
		}
	}
	return ids, page.NextPageToken, nil
}

// each calls fn with every page of a listing, from the top; with some of them again if the server forgets its page tokens.
func (c *Conn) each(ctx context.Context, b *box, l listing, fn func(ids []string) error) error {
	var guard pageGuard
	restarts := 0
	for token := ""; ; {
		ids, next, err := c.list(ctx, b, l, token)
		if expiredPage(err, token) && restarts < mostRestarts {
			restarts++
			token, guard = "", pageGuard{}
			continue
		}
		if err == nil {
			err = fn(ids)
		}
		if err == nil {
			err = guard.next("messages.list", next, len(ids))
		}
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

// profile asks for the mailbox's address and newest history id.
func (c *Conn) profile(ctx context.Context, b *box, w quota.Work) (profile, error) {
	var p profile
	err := c.do(ctx, b, call{method: "getProfile", scope: scopeRead, safe: true, work: w}, func(ctx context.Context) error {
		return c.json(ctx, "/gmail/v1/users/me/profile", url.Values{"fields": {"emailAddress,historyId,messagesTotal"}}, &p)
	})
	if err == nil && p.History == "" {
		err = &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: errors.New("historyId: missing")}
	}
	if err != nil {
		err = named("getProfile", err)
		var e *connection.Error
		if missing(err) && errors.As(err, &e) {
			e.Kind = connection.ErrProtocol // the server lacks the call; it says nothing of any message
		}
		return profile{}, err
	}
	return p, nil
}

// history asks for one page of what happened since start. That the server knows no history so old is ErrStale.
func (c *Conn) history(ctx context.Context, b *box, start, token string) (historyPage, error) {
	query := url.Values{
		"startHistoryId": {start}, "maxResults": {strconv.FormatInt(c.cfg.pageSize(), 10)},
		"historyTypes": {"messageAdded", "messageDeleted", "labelAdded", "labelRemoved"},
	}
	if token != "" {
		query.Set("pageToken", token)
	}
	var page historyPage
	err := c.do(ctx, b, call{method: "history.list", scope: scopeRead, safe: true, work: quota.Delta}, func(ctx context.Context) error {
		page = historyPage{}
		return c.json(ctx, "/gmail/v1/users/me/history", query, &page)
	})
	switch {
	case err == nil && len(page.Next) > maxPageToken:
		err = &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: fmt.Errorf("a page token of %d octets", len(page.Next))}
	case missing(err):
		return historyPage{}, &connection.Error{
			Driver: DriverName, Kind: connection.ErrStale, Code: codeOf(err), Err: fmt.Errorf("the server's history does not reach back to %s", start),
		}
	}
	if err != nil {
		return historyPage{}, named("history.list", err)
	}
	return page, nil
}

// named puts the name of a call before the text of its error: what is missing may be the call and not what it is about.
func named(method string, err error) error {
	var e *connection.Error
	if !errors.As(err, &e) {
		return err
	}
	again := *e
	again.Err = errors.New(method)
	if e.Err != nil {
		again.Err = fmt.Errorf("%s: %w", method, e.Err)
	}
	return &again
}

// json makes a GET request within do and decodes the answer: for calls whose numbers the generated client cannot hold.
func (c *Conn) json(ctx context.Context, path string, query url.Values, into any) error {
	query.Set("alt", "json")
	query.Set("prettyPrint", "false")
	resp, err := c.get(ctx, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read whole, or not to the end for a reason that is told
	body := io.LimitedReader{R: resp.Body, N: maxPage + 1}
	err = json.NewDecoder(&body).Decode(into)
	if err == io.EOF { //nolint:errorlint // nothing at all came
		return io.ErrUnexpectedEOF
	}
	if body.N <= 0 {
		return &connection.Error{Driver: DriverName, Kind: connection.ErrTooLarge, Err: fmt.Errorf("an answer of more than %d octets", maxPage)}
	}
	return err
}

// expiredPage reports whether err of a listing may be about the page token, "" of none: the server knows it no more.
func expiredPage(err error, token string) bool {
	var e *connection.Error
	return token != "" && errors.As(err, &e) && e.Kind == connection.ErrRejected
}

// A pageGuard notices pages that lead nowhere. The zero value is ready.
type pageGuard struct {
	last  string // token
	mark  string // that of the last page whose number was a power of two: a circle of tokens comes back to it
	pages int
	empty int // pages in a row
}

// Pages that a server may give.
const (
	mostEmpty = 1000
	mostPages = 1 << 20
)

// next is told of a page with n entries and the token of the next, "" of none.
func (g *pageGuard) next(method, token string, n int) error {
	if token == "" {
		return nil
	}
	g.pages++
	if g.empty++; n > 0 {
		g.empty = 0
	}
	problem := ""
	switch {
	case token == g.last, token == g.mark:
		problem = "the same page token twice"
	case g.empty > mostEmpty:
		problem = fmt.Sprintf("more than %d empty pages in a row", mostEmpty)
	case g.pages > mostPages:
		problem = fmt.Sprintf("more than %d pages", mostPages)
	}
	if problem != "" {
		return &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: fmt.Errorf("%s: %s", method, problem)}
	}
	g.last = token
	if g.pages&(g.pages-1) == 0 {
		g.mark = token
	}
	return nil
}

// An idSet remembers ids by their hashes, in about 20 octets each.
type idSet struct {
	seed maphash.Seed
	set  map[uint64]struct{}
}

func newIDSet() *idSet { return &idSet{seed: maphash.MakeSeed(), set: make(map[uint64]struct{})} }

func (s *idSet) add(id string) { s.set[maphash.String(s.seed, id)] = struct{}{} }

func (s *idSet) has(id string) bool {
	_, ok := s.set[maphash.String(s.seed, id)]
	return ok
}
