package ews

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// spots is where folders were found by their names, so that not every Append has to list them all. The zero value is
// ready to use.
type spots struct {
	mu sync.Mutex
	by map[spot]string
}

type spot struct{ mailbox, path string }

const mostPlaces = 10_000

func (p *spots) find(at spot) (id string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok = p.by[at]
	return id, ok
}

func (p *spots) keep(at spot, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil || len(p.by) >= mostPlaces {
		p.by = make(map[spot]string)
	}
	p.by[at] = id
}

func (p *spots) forget(at spot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, at)
}

func (a *appending) spot() spot {
	return spot{mailbox: strings.ToLower(a.t.mailbox), path: a.path}
}

// folder finds the folder to append to, and makes it if that is asked for. remembered says that it was found earlier, and
// may be gone.
func (a *appending) folder() (id soap.FolderID, remembered bool, err error) {
	if a.t.public {
		return id, false, &connection.Error{Kind: connection.ErrUnsupported, Err: errNoPublicAppend}
	}
	if strings.EqualFold(a.path, inbox) && !a.t.archive {
		return a.conn.distinguished(a.t, inbox), false, nil
	}
	if known, ok := a.conn.spots.find(a.spot()); ok {
		return soap.FolderID{ID: known}, true, nil
	}
	f, err := a.conn.forest(a.ctx, a.t)
	if err != nil {
		return id, false, err
	}
	node, _, err := f.find(a.path)
	found := ""
	switch {
	case err == nil:
		found = node.id
	case !a.opts.CreateFolder:
		return id, false, &connection.Error{Kind: connection.ErrNotFound, Err: err, Hint: "the folder must exist, or AppendOptions.CreateFolder be set"}
	default:
		if found, err = a.create(f); err != nil {
			return id, false, err
		}
	}
	a.conn.spots.keep(a.spot(), found)
	return soap.FolderID{ID: found}, false, nil
}

var errNoPublicAppend = errors.New("messages cannot be added to public folders by this driver")

// create makes the folder, and those above it that are missing.
func (a *appending) create(f *forest) (string, error) {
	levels := strings.Split(a.path, "/")
	if slices.Contains(levels, "") {
		return "", &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("folder %q: a level has no name", a.path)}
	}
	parent, from := "", 0
	for id, prefix := range f.roots {
		if prefix == "" {
			parent = id
		}
	}
	for i := len(levels) - 1; i > 0 && from == 0; i-- {
		if node, _, err := f.find(strings.Join(levels[:i], "/")); err == nil {
			parent, from = node.id, i
		}
	}
	for i := from; i < len(levels); i++ {
		id, err := a.createBelow(parent, unescapeName(levels[i]), strings.Join(levels[:i+1], "/"))
		if err != nil {
			return "", err
		}
		parent = id
	}
	return parent, nil
}

// createBelow makes one folder. That somebody else has made it meanwhile is as good.
func (a *appending) createBelow(parent, name, path string) (string, error) {
	r, err := a.conn.one(a.ctx, a.t, soap.CreateFolder{Parent: soap.FolderID{ID: parent}, Folders: []soap.NewFolder{{Name: name, Class: "IPF.Note"}}})
	switch kind := connection.KindOf(err); {
	case err == nil && len(r.Folders) == 1 && r.Folders[0].ID != "":
		return r.Folders[0].ID, nil
	case err == nil, kind == connection.ErrExists, kind == connection.ErrUncertain:
		f, listErr := a.conn.forest(a.ctx, a.t)
		if listErr != nil {
			return "", listErr
		}
		node, _, findErr := f.find(path)
		if findErr == nil {
			return node.id, nil
		}
		if err == nil {
			err = findErr
		}
		// Nothing is known of the folder, but the message was certainly not stored.
		return "", &connection.Error{Kind: connection.ErrUnavailable, Err: fmt.Errorf("making the folder %q: %w", path, err)}
	}
	return "", err
}

// unescapeName is the reverse of escapeName.
func unescapeName(level string) string {
	var b strings.Builder
	for i := 0; i < len(level); i++ {
		if level[i] == '%' && i+2 < len(level) {
			if c, err := strconv.ParseUint(level[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(level[i])
	}
	return b.String()
}
