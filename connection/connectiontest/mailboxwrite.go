package connectiontest

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Delete implements connection.Deleter.
func (m *Mailbox) Delete(ctx context.Context, refs ...connection.Ref) error {
	return m.each(ctx, "delete", refs, func(s *stored) {
		m.state.messages = slices.DeleteFunc(m.state.messages, func(other *stored) bool { return other == s })
		m.state.tell(event{op: connection.Removed, ref: s.ref})
	})
}

// Mark implements connection.Marker.
func (m *Mailbox) Mark(ctx context.Context, refs []connection.Ref, flags ...connection.Flag) error {
	return m.each(ctx, "mark", refs, func(s *stored) {
		for _, f := range flags {
			if !slices.Contains(s.flags, f) {
				s.flags = append(s.flags, f)
			}
		}
		m.state.tell(event{op: connection.Updated, ref: s.ref})
	})
}

// each does act on the messages of refs that are there, and joins the errors of those on which it may not.
func (m *Mailbox) each(ctx context.Context, op string, refs []connection.Ref, act func(*stored)) error {
	var errs []error
	for _, ref := range refs {
		err := m.begin(ctx, op)
		if err == nil {
			err = m.planned(op, ref.ID)
		}
		if err != nil {
			var e *connection.Error
			if !errors.As(err, &e) || e.Ref.IsZero() {
				err = m.error(op, ref, "", connection.KindOf(err), err)
			}
			errs = append(errs, err)
			continue
		}
		m.state.mu.Lock()
		if s := m.state.find(ref); s != nil {
			act(s)
		}
		m.state.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Append implements connection.Appender.
func (m *Mailbox) Append(ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	var o connection.AppendOptions
	if opts != nil {
		o = *opts
	}
	if o.Received.IsZero() {
		o.Received = time.Now()
	}
	if err := m.begin(ctx, "append"); err != nil {
		return connection.Ref{}, err
	}
	if err := m.planned("append", ""); err != nil {
		return connection.Ref{}, m.failed("append", connection.Ref{}, "", err)
	}
	raw, err := m.readAll(ctx, "append", r, o.Size)
	if err != nil {
		return connection.Ref{}, err
	}
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	if !slices.Contains(m.state.folders, folder) && !o.CreateFolder {
		return connection.Ref{}, m.error("append", connection.Ref{Folder: folder}, "", connection.ErrNotFound, errors.New("no such folder"))
	}
	return m.state.add(folder, raw, o.Flags, o.Received), nil
}
