package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// errSource is what a reader of the rules fails with.
// errSource has io.EOF in its chain, as the error of a connection that was closed may: it is no end of the message.
var errSource = fmt.Errorf("the source of the message broke: %w", io.EOF)

// broken reads as raw up to octet n and then fails.
func broken(raw []byte, n int) io.Reader {
	return io.MultiReader(bytes.NewReader(raw[:n]), failing{errSource})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// canceling reads as raw, and calls cancel on the way.
type canceling struct {
	r      *bytes.Reader
	cancel context.CancelFunc
}

func (c *canceling) Read(p []byte) (int, error) {
	if c.r.Len() < int(c.r.Size())/2 {
		c.cancel()
	}
	return c.r.Read(p[:min(len(p), 4096)])
}

func (x *exam) appender() connection.Appender { return x.open().(connection.Appender) }

func (x *exam) append(a connection.Appender, folder string, r io.Reader, opts *connection.AppendOptions) (ref connection.Ref, err error) {
	x.within(x.h.patience(), "Append", func() {
		ref, err = a.Append(x.ctx, folder, r, opts)
		x.noteError("append", err)
	})
	return ref, err
}

func checkAppendBytes(x *exam) {
	a := x.appender()
	give, want := x.carried()
	refs := map[connection.Ref]bool{}
	for i, raw := range give {
		opts := &connection.AppendOptions{}
		if i%2 == 0 {
			opts.Size = int64(len(raw))
		}
		if i%3 == 0 {
			opts.Flags, opts.Received = []connection.Flag{connection.FlagSeen}, time.Date(2026, 2, 13, 23, 31, 30, 0, time.UTC)
		}
		if i%5 == 0 {
			opts = nil
		}
		// A reader that gives what it likes, and hides that it could do more.
		ref, err := x.append(a, x.h.folder(), &canceling{bytes.NewReader(raw), func() {}}, opts)
		x.ok("append of "+describe(raw), err)
		if ref.ID != "" && refs[ref] {
			x.fail("two messages got the Ref %v", ref)
		}
		refs[ref] = true
	}
	x.leftIs("after Append of the corpus", want)
}

func checkAppendAll(x *exam) {
	want := x.plain(letters(0, 2))
	a := x.appender()
	for _, raw := range letters(0, 2) {
		_, err := x.append(a, x.h.folder(), bytes.NewReader(raw), nil)
		x.ok("append", err)
	}
	raw := x.large(1, 300<<10)
	for _, n := range []int{0, 1, 1000, len(raw) * 5 / 6, len(raw)} {
		for _, size := range []int64{0, int64(len(raw))} {
			if n == len(raw) && size > 0 {
				continue // all that was announced was read
			}
			when := fmt.Sprintf("of a message whose reader fails after %d octets (Size %d)", n, size)
			_, err := x.append(a, x.h.folder(), broken(raw, n), &connection.AppendOptions{Size: size})
			switch {
			case err == nil:
				x.fail("Append %s returned nil", when)
			case !errors.Is(err, errSource):
				x.fail("the error of Append %s does not hold its reader's: %v", when, err)
			}
			x.leftIs("after Append "+when, want)
		}
	}
	short := func(when string, size int64) {
		_, err := x.append(a, x.h.folder(), bytes.NewReader(raw), &connection.AppendOptions{Size: size})
		if err == nil {
			x.fail("Append of a message that is %s than announced returned nil", when)
		}
		x.leftIs("after Append of a message that is "+when+" than announced", want)
	}
	short("shorter", int64(len(raw))+1)
	short("longer", int64(len(raw))-1)
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	x.within(x.h.patience(), "Append whose context ends", func() {
		_, err := a.Append(ctx, x.h.folder(), &canceling{bytes.NewReader(raw), cancel}, nil)
		x.wantCtx("append", err, ctx)
	})
	x.leftIs("after Append whose context ended before the message did", want)
	for _, raw := range letters(10, 1) {
		_, err := x.append(a, x.h.folder(), bytes.NewReader(raw), nil)
		x.ok("append, after failed ones", err)
	}
	x.leftIs("after a good Append behind failed ones", append(slices.Clone(want), x.plain(letters(10, 1))...))
}

func checkAppendFolder(x *exam) {
	a := x.appender()
	before := x.h.Left(x.t)
	_, err := x.append(a, "No such folder", bytes.NewReader(letter(0)), nil)
	x.wantKind("append to a folder that is missing", err, connection.ErrNotFound)
	x.leftIs("after Append to a folder that is missing", before)
	_, err = x.append(a, "New folder", bytes.NewReader(letter(0)), &connection.AppendOptions{CreateFolder: true})
	x.ok("append with CreateFolder", err)
	_, err = x.append(a, "New folder", bytes.NewReader(letter(1)), nil)
	x.ok("append to a folder that CreateFolder made", err)
}

func checkOpenAgain(x *exam) {
	want := x.fillRaw(append(letters(0, 3), x.large(1, 300<<10))...)
	c := x.open()
	refs := x.refsOf(c.(connection.Fetcher))
	other := x.open().(connection.Opener)
	var keep []*connection.Message
	for _, o := range []connection.Opener{c.(connection.Opener), other} {
		for _, raw := range want {
			x.within(x.h.patience(), "Open", func() {
				m, err := o.Open(x.ctx, refs[string(raw)])
				x.ok("open", err)
				if m.Ref != refs[string(raw)] {
					x.fail("Open of %v gives a message with the Ref %v", refs[string(raw)], m.Ref)
				}
				if _, ok := m.Body.(io.ReadCloser); !ok {
					x.stop("the Body of an opened message cannot be closed: it is a %T", m.Body)
				}
				keep = append(keep, m)
			})
		}
	}
	// All at once are open; each still gives its own octets.
	for i, m := range keep {
		x.within(x.h.patience(), "reading what Open gave", func() {
			octets, err := x.read(m)
			if err != nil {
				x.fail("message %v: %v", m.Ref, err)
			} else if !bytes.Equal(octets, want[i%len(want)]) {
				x.fail("message %v: %s", m.Ref, compare(octets, want[i%len(want)]))
			}
			x.ok("open (closing a body)", closeBody(m.Body))
		})
	}
	d, ok := c.(connection.Deleter)
	if !ok {
		return
	}
	gone := refs[string(want[0])]
	x.delete(d, gone)
	for _, o := range []connection.Opener{c.(connection.Opener), other} {
		x.within(x.h.patience(), "Open of a message that is gone", func() {
			m, err := o.Open(x.ctx, gone)
			if err == nil {
				x.fail("Open of a message that is gone gives one of %d octets", m.Size)
				x.ok("open (closing a body)", closeBody(m.Body))
				return
			}
			x.wantKind("open", err, connection.ErrNotFound)
		})
	}
}

func checkMark(x *exam) {
	want := x.fill(0, 4)
	c := x.open()
	f, m := c.(connection.Fetcher), c.(connection.Marker)
	refs := x.refsOf(f)
	for range 2 {
		x.within(x.h.patience(), "Mark", func() {
			x.ok("mark", m.Mark(x.ctx, []connection.Ref{refs[string(want[0])], refs[string(want[2])]}, connection.FlagSeen))
		})
	}
	for _, got := range x.fetchAll(x.ctx, f, nil) {
		seen := slices.Contains(got.Flags, connection.FlagSeen)
		marked := bytes.Equal(got.raw, want[0]) || bytes.Equal(got.raw, want[2])
		if seen != marked {
			x.fail("message %v: \\Seen is %t, want %t (flags %q)", got.Ref, seen, marked, got.Flags)
		}
	}
	if diff := difference(raws(x.fetchAll(x.ctx, f, &connection.FetchOptions{Unseen: true})), [][]byte{want[1], want[3]}); diff != "" {
		x.fail("Fetch with Unseen after two of four messages were marked \\Seen: %s", diff)
	}
	x.leftIs("after Mark", want)
	d, ok := c.(connection.Deleter)
	if !ok {
		return
	}
	x.delete(d, refs[string(want[1])])
	x.within(x.h.patience(), "Mark of a message that is gone", func() {
		x.ok("mark of a message that is gone", m.Mark(x.ctx, []connection.Ref{refs[string(want[1])], refs[string(want[3])]}, connection.FlagSeen))
	})
	if unseen := x.fetchAll(x.ctx, f, &connection.FetchOptions{Unseen: true}); len(unseen) != 0 {
		x.fail("after the rest was marked \\Seen %d messages are unseen", len(unseen))
	}
}

func checkFolders(x *exam) {
	c := x.open()
	if l, ok := c.(connection.FolderLister); ok {
		seen := map[string]bool{}
		for f, err := range l.Folders(x.ctx, "") {
			x.ok("folders", err)
			switch {
			case f == nil || f.Name == "":
				x.fail("a folder has no name")
				continue
			case seen[f.Name]:
				x.fail("folder %q is listed twice", f.Name)
			case f.Messages < -1:
				x.fail("folder %q says that it holds %d messages", f.Name, f.Messages)
			}
			seen[f.Name] = true
		}
		if len(seen) == 0 {
			x.fail("there are no folders")
		}
		for range l.Folders(x.ctx, "") { //nolint:errcheck // left at once
			break // leaving early is allowed
		}
	}
	if l, ok := c.(connection.MailboxLister); ok {
		seen := map[string]bool{}
		for m, err := range l.Mailboxes(x.ctx, nil) {
			x.ok("mailboxes", err)
			if m == nil || seen[m.Name] {
				x.fail("mailbox %v is listed twice, or is nil", m)
				continue
			}
			seen[m.Name] = true
		}
		if len(seen) == 0 {
			x.fail("there are no mailboxes")
		}
	}
}
