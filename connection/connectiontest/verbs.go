package connectiontest

import (
	"bytes"
	"context"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// A verb is one method of a connection, called with arguments that would work.
type verb struct {
	name string
	call func(ctx context.Context) error
}

// verbsOf returns the verbs that c has, those that remove something last. ref and key are of something that is there, if there is anything.
func (x *exam) verbsOf(c connection.Connection, ref connection.Ref, key string) []verb {
	all := []verb{{"test", func(ctx context.Context) error {
		report, err := c.Test(ctx, nil)
		x.noteReport(report, err)
		return err
	}}}
	add := func(name string, call func(ctx context.Context) error) { all = append(all, verb{name, call}) }
	body := func() io.Reader { return bytes.NewReader(letter(100)) }
	if f, ok := c.(connection.Fetcher); ok {
		add("fetch", func(ctx context.Context) error { return ends(f.Fetch(ctx, nil)) })
		add("fetch with Follow", func(ctx context.Context) error {
			return ends(f.Fetch(ctx, &connection.FetchOptions{Follow: true}))
		})
	}
	if s, ok := c.(connection.Syncer); ok {
		add("sync", func(ctx context.Context) error { return ends(s.Sync(ctx, "", nil)) })
	}
	if l, ok := c.(connection.FolderLister); ok {
		add("folders", func(ctx context.Context) error { return ends(l.Folders(ctx, "")) })
	}
	if l, ok := c.(connection.MailboxLister); ok {
		add("mailboxes", func(ctx context.Context) error { return ends(l.Mailboxes(ctx, nil)) })
	}
	if o, ok := c.(connection.Opener); ok && !ref.IsZero() {
		add("open", func(ctx context.Context) error {
			m, err := o.Open(ctx, ref)
			if err == nil {
				err = closeBody(m.Body)
			}
			return err
		})
	}
	if m, ok := c.(connection.Marker); ok && !ref.IsZero() {
		add("mark", func(ctx context.Context) error { return m.Mark(ctx, []connection.Ref{ref}, connection.FlagFlagged) })
	}
	if a, ok := c.(connection.Appender); ok {
		add("append", func(ctx context.Context) error {
			_, err := a.Append(ctx, x.h.folder(), body(), nil)
			return err
		})
	}
	if s, ok := c.(connection.Sender); ok {
		add("send", func(ctx context.Context) error {
			_, err := s.Send(ctx, connection.Envelope{From: sender, To: []string{recipient}}, body(), nil)
			return err
		})
	}
	if s, ok := c.(connection.ObjectStore); ok {
		add("put", func(ctx context.Context) error {
			_, err := s.Put(ctx, key+"-other", body(), nil)
			return err
		})
		add("get", func(ctx context.Context) error {
			o, err := s.Get(ctx, key, nil)
			if err == nil {
				err = o.Body.Close()
			}
			return err
		})
		add("stat", func(ctx context.Context) error {
			_, err := s.Stat(ctx, key)
			return err
		})
		add("list", func(ctx context.Context) error { return ends(s.List(ctx, nil)) })
		add("delete objects", func(ctx context.Context) error { return s.Delete(ctx, key) })
	}
	if d, ok := c.(connection.Deleter); ok && !ref.IsZero() {
		add("delete", func(ctx context.Context) error { return d.Delete(ctx, ref) })
	}
	return all
}

// ends runs an iterator of any kind and returns its last error.
func ends[T any](seq func(yield func(T, error) bool)) error {
	var last error
	for _, err := range seq {
		last = err
	}
	return last
}

// closeBody closes the Body that an Opener gave, which must be an io.ReadCloser.
func closeBody(body io.Reader) error {
	if c, ok := body.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// prepared fills the fixture with what the verbs of c need, and returns its Ref or key.
func (x *exam) prepared(c connection.Connection) (ref connection.Ref, key string) {
	if f, ok := c.(connection.Fetcher); ok && x.h.Fill != nil {
		x.fill(0, 3)
		ref = x.fetchAll(x.ctx, f, nil)[0].Ref
	}
	if s, ok := c.(connection.ObjectStore); ok {
		key = "prepared/object"
		x.put(s, key, letter(0), nil)
	}
	return ref, key
}

// world is all that can be seen of the fixture, to find out whether a verb changed it.
func (x *exam) world() [][]byte {
	var all [][]byte
	if x.h.Left != nil {
		all = append(all, x.h.Left(x.t)...)
	}
	if x.h.Outbox != nil {
		for _, s := range x.h.Outbox(x.t) {
			all = append(all, s.Raw)
		}
	}
	c := x.open()
	if s, ok := c.(connection.ObjectStore); ok {
		for _, info := range x.list(s, nil) {
			all = append(all, append([]byte(info.Key+"\n"), x.get(s, info.Key)...))
		}
	}
	return all
}

// unchanged fails the rule if the fixture is not as it was.
func (x *exam) unchanged(when string, before [][]byte) {
	var diff string
	if !poll(x.h.Eventual, func() bool { diff = difference(x.world(), before); return diff == "" }) {
		x.fail("%s the fixture is not as it was:\n%s", when, diff)
	}
}
