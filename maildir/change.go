package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// An action is what is done to each message of a call. It works in two steps, with a sync of the directories between:
// what stage has written is durable before finish takes anything away.
type action interface {
	stage(f *finder, id string, at spot) error
	finish(f *finder, id string, at spot) error
	// touched returns the directories that stage wrote to, and that finish wrote to.
	touched() (staged, finished []*directory)
	close()
}

// change finds the messages of refs, wherever in their folders they are now, and applies an action to each. A message
// that is not there is no error. It returns one *Error for each Ref that was not changed, joined, and how many were.
func (c *Conn) change(ctx context.Context, op string, refs []connection.Ref, newAction func(*tree, folder) (action, error)) (int, error) {
	var errs []error
	failAll := func(refs []connection.Ref, err error) {
		for _, ref := range refs {
			e := c.fail(op, ref, err)
			e.Ref = ref
			errs = append(errs, e)
		}
	}
	changed := 0
	for mailbox, refs := range groups(refs, func(r connection.Ref) string { return r.Mailbox }) {
		if mailbox == "" && c.pattern.many() {
			failAll(refs, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("the ref names no mailbox, and this connection has many")})
			continue
		}
		for t, err := range c.trees(ctx, mailbox) {
			switch {
			case err == nil:
			case connection.KindOf(err) == connection.ErrNotFound:
				continue // no such mailbox: its messages are gone
			default:
				failAll(refs, err)
				continue
			}
			for name, refs := range groups(refs, func(r connection.Ref) string { return r.Folder }) {
				n, err := c.changeFolder(ctx, t, name, refs, newAction, failAll)
				changed += n
				if err != nil && connection.KindOf(err) != connection.ErrNotFound { // no such folder: as above
					failAll(refs, err)
				}
			}
		}
	}
	return changed, errors.Join(errs...)
}

// groups yields refs by key, in the order of their first.
func groups(refs []connection.Ref, key func(connection.Ref) string) func(yield func(string, []connection.Ref) bool) {
	return func(yield func(string, []connection.Ref) bool) {
		var order []string
		by := map[string][]connection.Ref{}
		for _, r := range refs {
			k := key(r)
			if by[k] == nil {
				order = append(order, k)
			}
			by[k] = append(by[k], r)
		}
		for _, k := range order {
			if !yield(k, by[k]) {
				return
			}
		}
	}
}

// changeFolder applies an action to refs, of one folder. An error concerns all of them.
func (c *Conn) changeFolder(ctx context.Context, t *tree, name string, refs []connection.Ref, newAction func(*tree, folder) (action, error),
	failAll func([]connection.Ref, error),
) (int, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	fo, err := c.folder(t, name)
	if err != nil {
		return 0, err
	}
	f, err := c.newFinder(t, fo)
	if err != nil {
		return 0, err
	}
	defer f.close()
	act, err := newAction(t, fo)
	if err != nil {
		return 0, err
	}
	defer act.close()
	var ids []string
	for _, r := range refs {
		if r.ID == "" {
			failAll([]connection.Ref{r}, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("the ref has no id")})
			continue
		}
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	one := func(id string) []connection.Ref {
		return []connection.Ref{{Mailbox: refs[0].Mailbox, Folder: name, ID: id}}
	}
	var done []string
	for try := 0; len(ids) > 0; try++ {
		found, bad, err := f.find(ctx, ids)
		if err != nil {
			return 0, err
		}
		for id, err := range bad {
			failAll(one(id), err)
		}
		finished, renamed := c.apply(ctx, f, act, found, func(id string, err error) { failAll(one(id), err) })
		done = append(done, finished...)
		if len(renamed) > 0 && try == maxRescans {
			for _, id := range renamed {
				failAll(one(id), &connection.Error{Kind: connection.ErrUnavailable, Err: errors.New("the file is renamed all the time")})
			}
			break
		}
		ids = renamed
	}
	_, wrote := act.touched()
	if err := syncAll(wrote); err != nil {
		for _, id := range done {
			failAll(one(id), err)
		}
		return 0, nil
	}
	return len(done), nil
}

// apply runs both steps of act on what was found. It returns which IDs are done and which files had another name.
func (c *Conn) apply(ctx context.Context, f *finder, act action, found map[string]spot, fail func(id string, err error)) (done, renamed []string) {
	staged := make([]string, 0, len(found))
	sort := func(id string, err error, into *[]string) {
		switch {
		case err == nil:
			*into = append(*into, id)
		case errors.Is(err, fs.ErrNotExist):
			renamed = append(renamed, id)
		default:
			fail(id, err)
		}
	}
	for id, at := range found {
		err := ended(ctx)
		if err == nil {
			err = act.stage(f, id, at)
		}
		sort(id, err, &staged)
	}
	wrote, _ := act.touched()
	if err := syncAll(wrote); err != nil {
		for _, id := range staged {
			fail(id, err)
		}
		return nil, renamed
	}
	for _, id := range staged {
		err := ended(ctx)
		if err == nil {
			err = act.finish(f, id, found[id])
		}
		sort(id, err, &done)
	}
	return done, renamed
}

func syncAll(dirs []*directory) error {
	for _, d := range dirs {
		if err := d.sync(); err != nil {
			return fmt.Errorf("sync %s: %w", d.path(""), err)
		}
	}
	return nil
}
