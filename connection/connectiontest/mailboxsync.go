package connectiontest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// Sync implements connection.Syncer. A checkpoint is the life of the history and a place in it.
func (m *Mailbox) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	var o connection.SyncOptions
	if opts != nil {
		o = *opts
	}
	return func(yield func(*connection.Change, error) bool) {
		err := m.begin(ctx, "sync")
		if err == nil {
			err = m.planned("sync", "")
		}
		if err != nil {
			yield(nil, m.failed("sync", connection.Ref{}, "", err))
			return
		}
		m.state.mu.Lock()
		life, end := m.state.life, len(m.state.history)
		m.state.mu.Unlock()
		at, known := 0, false
		if since != "" {
			if at, err = m.place(since, life, end); err != nil {
				if o.Known == nil {
					yield(nil, err)
					return
				}
				at, known = 0, true
			}
		}
		for ; at < end; at++ {
			if err := m.begin(ctx, "sync"); err != nil {
				yield(nil, err)
				return
			}
			done := connection.Checkpoint("")
			if !known || at == end-1 {
				done = connection.Checkpoint(fmt.Sprintf("1:%d:%d", life, at+1))
			}
			more, err := m.yieldChange(ctx, at, done, &o, known, yield)
			if err != nil {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

func (m *Mailbox) place(cp connection.Checkpoint, life, end int) (int, error) {
	var of, at int
	if _, err := fmt.Sscanf(string(cp), "1:%d:%d", &of, &at); err != nil || of != life || at < 0 || at > end {
		return 0, m.error("sync", connection.Ref{}, "", connection.ErrStale, errors.New("the checkpoint is not one of this mailbox's present history"))
	}
	return at, nil
}

// yieldChange yields the event at the place given as the change that it is by now, or at least its checkpoint.
func (m *Mailbox) yieldChange(ctx context.Context, at int, done connection.Checkpoint, o *connection.SyncOptions, known bool, yield func(*connection.Change, error) bool) (more bool, err error) {
	m.state.mu.Lock()
	e := m.state.history[at]
	s := m.state.find(e.ref)
	m.state.mu.Unlock()
	change := &connection.Change{Op: e.op, Ref: e.ref, Checkpoint: done}
	wanted := o.Mailbox == "" && (len(o.Folders) == 0 || slices.Contains(o.Folders, e.ref.Folder+e.folder))
	switch e.op {
	case connection.FolderAdded:
		change.Folder = &connection.Folder{Name: e.folder, Messages: -1}
	case connection.Added, connection.Updated:
		if s == nil {
			wanted = false // a Removed follows
			break
		}
		msg, b := m.message(ctx, "sync", s)
		defer b.stale.Store(true)
		change.Message = msg
		if e.op == connection.Updated {
			msg.Body = nil
			break
		}
		if known && wanted {
			has, err := o.Known(ctx, []connection.Ref{e.ref})
			if err != nil {
				return false, m.failed("sync", e.ref, "", err)
			}
			if len(has) == 1 && has[0] {
				change.Op, msg.Body = connection.Updated, nil
			}
		}
	}
	if !wanted {
		change = &connection.Change{Op: connection.Progressed, Checkpoint: done}
	} else if err := m.planned("sync", e.ref.ID); err != nil {
		var item *connection.Error
		if !errors.As(err, &item) {
			err = m.error("sync", e.ref, "", connection.KindOf(err), err)
		}
		more := yield(nil, err)
		return more && errors.As(err, &item) && !item.Ref.IsZero(), nil
	}
	return yield(change, nil), nil
}
