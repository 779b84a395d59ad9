package ews

import (
	"errors"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// A source is a folder that a fetch reads, and how far it has come there.
type source struct {
	t       target
	id      string
	path    string
	foreign bool // its class was asked for by name, so that what is no mail is wanted too
	search  bool // by FindItem, instead of by SyncFolderItems
	lost    bool // it cannot be read any more

	state string // of SyncFolderItems
	find  search
}

func newSource(f *fetch, s *store, n *folderNode, path string) *source {
	p := &source{t: s.t, id: n.id, path: path}
	p.foreign = n.class != "" && !derived(n.class, "IPF.Note") && f.conn.cfg.visits(n.class)
	// Search folders and public folders cannot be synchronised.
	p.search = f.opts.Unseen || !f.opts.Since.IsZero() || n.kind == kindSearch || s.t.public
	return p
}

// syncPage is the most that SyncFolderItems gives at once.
const syncPage = 512

// read yields what is new in the folder.
func (p *source) read(f *fetch) error {
	if p.search {
		return p.find.read(f, p)
	}
	stuck, restarts := 0, 0
	for !f.over {
		r, err := f.conn.oneWith(f.ctx, p.t, soap.SyncFolderItems{
			Folder: soap.FolderID{ID: p.id}, SyncState: p.state, Max: syncPage,
		}, callOptions{patient: f.opts.Follow})
		switch {
		case errors.Is(err, connection.ErrUnsupported) && p.state == "":
			p.search = true
			return p.find.read(f, p)
		case codeOf(err) == "ErrorInvalidSyncStateData" && p.state != "" && restarts == 0:
			restarts++
			p.state = "" // what was yielded lately is remembered
			f.conn.emit(connection.Event{
				Kind: connection.EventRestarted, Mailbox: p.t.mailbox, Ref: p.t.folderRef(p.path), Detail: "the server has forgotten the state of this folder",
			})
			continue
		case err != nil:
			return err
		}
		var ids []soap.ItemID
		for _, change := range r.Changes {
			if change.Op == soap.Created && change.Item != nil && change.Item.ID != "" && (p.foreign || isMail(change.Item.Kind, change.Item.Class)) {
				ids = append(ids, soap.ItemID{ID: change.Item.ID})
			}
		}
		if err := f.deliver(p, ids); err != nil || f.over {
			return err
		}
		if stuck++; len(r.Changes) > 0 || r.SyncState != p.state {
			stuck = 0
		}
		p.state = r.SyncState
		switch {
		case r.Last, !r.LastKnown && len(r.Changes) == 0:
			return nil
		case stuck >= mostTries, p.state == "":
			return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server says that there is more in this folder, and does not tell what")}
		}
	}
	return nil
}

// A search is how far the listing of a folder by FindItem has come. It goes on by the time of arrival rather than by
// number, since numbers change when something is deleted.
type search struct {
	form   form
	cursor time.Time // all that arrived before was yielded; zero = nothing
	whole  time.Time // when the folder was last read from its beginning
}

// A form is how a search asks for what arrived lately.
type form uint8

const (
	notBefore form = iota // at or after the cursor
	after                 // after the second before the cursor, for servers that refuse the above
	anyTime               // the server refuses that too: everything, by number
)

// How many items FindItem is asked for: servers give at most 1000, and 250 with a restriction.
const (
	searchPage     = 1000
	restrictedPage = 250
)

// searchAnew is how often Follow reads a folder from its beginning again: what was moved there has old times.
const searchAnew = 10 * time.Minute

func (s *search) read(f *fetch, p *source) error {
	if now := time.Now(); s.whole.IsZero() || now.Sub(s.whole) >= searchAnew {
		s.whole, s.cursor = now, time.Time{}
	}
	if s.cursor.IsZero() && !f.opts.Since.IsZero() {
		s.cursor = f.opts.Since.UTC().Truncate(time.Second)
	}
	c := f.conn
	offset, removed, empty := 0, c.removed.Load(), 0
	for !f.over {
		r, err := c.oneWith(f.ctx, p.t, s.ask(f, p, offset), callOptions{patient: f.opts.Follow})
		switch {
		case refusesRestriction(err) && s.form != anyTime:
			s.form++
			offset = 0
			continue
		case err != nil:
			return err
		}
		var ids []soap.ItemID
		newest := s.cursor
		for i := range r.Items {
			item := &r.Items[i]
			if item.ID != "" && (p.foreign || isMail(item.Kind, item.Class)) {
				ids = append(ids, soap.ItemID{ID: item.ID})
			}
			if t := item.Received.UTC().Truncate(time.Second); t.After(newest) {
				newest = t
			}
		}
		if err := f.deliver(p, ids); err != nil || f.over {
			return err
		}
		now := c.removed.Load()
		switch {
		case s.form != anyTime && newest.After(s.cursor):
			s.cursor, offset = newest, 0
			if r.Last {
				return nil
			}
		case r.Last && (offset == 0 || now == removed):
			return nil
		case now != removed: // numbers have changed: from the beginning, what was yielded is skipped
			offset = 0
		default:
			next := max(r.NextOffset, offset+len(r.Items))
			if empty++; len(r.Items) > 0 {
				empty = 0
			}
			if next <= offset || empty >= mostTries {
				return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server says that there is more in this folder, and does not tell what")}
			}
			offset = next
		}
		removed = now
	}
	return nil
}

func refusesRestriction(err error) bool {
	switch codeOf(err) {
	case "ErrorInvalidRestriction", "ErrorUnsupportedPathForQuery", "ErrorUnsupportedQueryFilter", "ErrorRestrictionTooComplex":
		return true
	}
	return false
}

func (s *search) ask(f *fetch, p *source, offset int) soap.FindItem {
	received, isRead := soap.Field("item:DateTimeReceived"), soap.Field("message:IsRead")
	var parts []*soap.Restriction
	if f.opts.Unseen && s.form != anyTime {
		parts = append(parts, soap.Equal(isRead, "false"))
	}
	if !s.cursor.IsZero() {
		switch s.form {
		case notBefore:
			parts = append(parts, soap.GreaterOrEqual(received, s.cursor.Format(time.RFC3339)))
		case after:
			parts = append(parts, soap.Greater(received, s.cursor.Add(-time.Second).Format(time.RFC3339)))
		}
	}
	ask := soap.FindItem{
		Shape: soap.ItemShape{Properties: []soap.Path{received, soap.Field("item:ItemClass")}},
		Page:  &soap.Page{Max: searchPage, Offset: offset}, Sort: []soap.Order{{By: received}}, Parents: []soap.FolderID{{ID: p.id}},
	}
	switch len(parts) {
	case 0:
		return ask
	case 1:
		ask.Restriction = parts[0]
	default:
		ask.Restriction = soap.And(parts...)
	}
	ask.Page.Max = restrictedPage
	return ask
}
