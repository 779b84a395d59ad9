package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

const (
	testTime    = 5 * time.Second // for counting messages
	testDetails = 20              // lines of detail
	staleAfter  = 36 * time.Hour  // the Maildir specification's age of what was left behind in tmp
)

// Test implements [connection.Connection]. Its steps are open (the path, and the mailboxes that it matches), folders
// (with message counts, as far as they are counted within five seconds), read (one message), and with
// TestOptions.Write write and remove: a dot file, which no program takes for a message, goes through tmp to new.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	r := &tester{c: c, report: &connection.Report{Info: c.Info(), Started: time.Now()}}
	if opts != nil {
		r.opts = *opts
	}
	bound, done, err := c.begin(ctx)
	if err == nil {
		defer done()
		r.run(bound)
	} else {
		r.step("open", time.Now(), "", "", err)
	}
	for _, name := range []string{"open", "folders", "read", "write", "remove"}[len(r.report.Steps):] {
		detail := "an earlier step failed"
		if r.report.OK() {
			detail = "not asked for"
		}
		r.add(connection.Step{Name: name, Status: connection.StatusSkipped, Detail: detail})
	}
	return r.report, r.report.Err()
}

type tester struct {
	c      *Conn
	opts   connection.TestOptions
	report *connection.Report
}

func (r *tester) add(s connection.Step) {
	r.report.Steps = append(r.report.Steps, s)
	if r.opts.Progress != nil {
		r.opts.Progress(s)
	}
}

// step adds a step that began at since. It returns whether to go on.
func (r *tester) step(name string, since time.Time, detail, warning string, err error) bool {
	s := connection.Step{Name: name, Status: connection.StatusOK, Detail: detail, Hint: warning, Elapsed: time.Since(since)}
	if warning != "" {
		s.Status = connection.StatusWarned
	}
	if err != nil {
		e := r.c.fail("test", connection.Ref{}, err)
		if e.Hint == "" {
			e.Hint = "path: look at " + quoted(r.c.cfg.Path) + " by hand"
		}
		s.Status, s.Err, s.Hint = connection.StatusFailed, e, e.Hint
	}
	r.add(s)
	return err == nil
}

// A survey is what Test finds out about all mailboxes.
type survey struct {
	mailboxes, folders, messages int
	lines                        []string
	partial                      bool
	stale                        int
	sample                       connection.Ref
	troubles                     []error
}

func (r *tester) run(ctx context.Context) {
	began := time.Now()
	s := &survey{}
	first := ""
	for t, err := range r.c.trees(ctx, "") {
		if e, ok := errors.AsType[*connection.Error](err); ok && !e.Ref.IsZero() {
			s.troubles = append(s.troubles, err)
			continue
		}
		if err != nil {
			r.step("open", began, "", "", err)
			return
		}
		if s.folders == 0 {
			first = t.mailbox // one that has no folder to be read has none to be written to
		}
		if err := r.mailbox(ctx, t, s, began); err != nil {
			if s.mailboxes == 0 && !r.c.pattern.many() {
				r.step("open", began, "", "", err)
				return
			}
			s.troubles = append(s.troubles, err)
		}
		s.mailboxes++
		if s.partial {
			break
		}
	}
	hint := ""
	if len(s.troubles) > 0 {
		hint = r.c.fail("test", connection.Ref{}, s.troubles[0]).Error()
	}
	if s.mailboxes == 0 {
		r.step("open", began, "", "", errors.Join(s.troubles...))
		return
	}
	r.step("open", began, fmt.Sprintf("%s found%s", number(s.mailboxes, "mailbox", "mailboxes"), s.more()), hint, nil)
	r.folders(s, began)
	if !r.read(ctx, s.sample) || !r.opts.Write {
		return
	}
	r.write(ctx, first)
}

// number says how many, in words that fit.
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (s *survey) more() string {
	if s.partial {
		return fmt.Sprintf(" in %s, there may be more", testTime)
	}
	return ""
}

// mailbox adds the folders of t to s.
func (r *tester) mailbox(ctx context.Context, t *tree, s *survey, began time.Time) error {
	all, err := r.c.folders(t)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return r.c.noMaildir(t)
	}
	wanted, _ := r.c.selectFolders(t, all, nil)
	for _, fo := range wanted {
		if s.partial {
			return nil
		}
		n := 0
		p, err := openPass(t.root, fo.dir)
		if err == nil {
			err = p.each(ctx, func(d *directory, name string, typ fs.FileMode) error {
				if typ.IsRegular() && isMessageName(name) {
					n++
					if s.sample.IsZero() {
						unique, _ := splitName(name)
						s.sample = connection.Ref{Mailbox: t.mailbox, Folder: fo.name, ID: escape(unique)}
					}
				}
				if n%chunk == 0 && time.Since(began) > testTime {
					s.partial = true
					return errStop
				}
				return nil
			})
			p.close()
		}
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
		if missing := missingSubs(t.root, fo.dir); len(missing) > 0 {
			s.troubles = append(s.troubles, fmt.Errorf("%s: %s missing", t.path(fo.dir), strings.Join(missing, " and ")))
		}
		s.folders++
		s.messages += n
		s.stale += r.c.countStale(ctx, t, fo)
		if len(s.lines) < testDetails {
			line := fmt.Sprintf("%s: %s", connection.Ref{Mailbox: t.mailbox, Folder: fo.name}, number(n, "message", "messages"))
			s.lines = append(s.lines, line+s.more())
		}
	}
	return nil
}

func (r *tester) folders(s *survey, began time.Time) {
	detail := fmt.Sprintf("%s, %s%s", number(s.folders, "folder", "folders"), number(s.messages, "message", "messages"), s.more())
	for _, line := range s.lines {
		detail += "\n" + line
	}
	if s.folders > len(s.lines) {
		detail += "\n…"
	}
	hint := ""
	switch {
	case s.folders == 0:
		hint = "include, exclude: they leave no folder to read"
	case s.stale > 0:
		hint = fmt.Sprintf("%s in tmp since more than 36 hours: deliveries that were broken off. They are not read and not touched", number(s.stale, "file is", "files are"))
	}
	r.step("folders", began, detail, hint, nil)
}

// read opens one message, as the verbs do.
func (r *tester) read(ctx context.Context, ref connection.Ref) bool {
	began := time.Now()
	if ref.IsZero() {
		return r.step("read", began, "there is no message to read", "", nil)
	}
	m, err := r.c.Open(ctx, ref)
	var n int64
	if err == nil {
		n, err = io.Copy(io.Discard, m.Body)
		if closer, ok := m.Body.(io.Closer); ok {
			err = errors.Join(err, closer.Close())
		}
	}
	if errors.Is(err, connection.ErrNotFound) {
		return r.step("read", began, "the message went away before it was read", "", nil)
	}
	return r.step("read", began, number(int(n), "octet", "octets")+" of one message", "", err)
}

// write makes a file in tmp of the first folder of mailbox, brings it to new, and removes it.
func (r *tester) write(ctx context.Context, mailbox string) {
	began := time.Now()
	for t, err := range r.c.trees(ctx, mailbox) {
		if err != nil {
			r.step("write", began, "", "", err)
			return
		}
		all, err := r.c.folders(t)
		wanted, _ := r.c.selectFolders(t, all, nil)
		if err == nil && len(wanted) == 0 {
			err = r.c.noMaildir(t)
		}
		if err != nil {
			r.step("write", began, "", "", err)
			return
		}
		to, name, err := r.deliver(ctx, t, wanted[0])
		if !r.step("write", began, "a file went through tmp to new of "+quoted(wanted[0].name), "", err) {
			return
		}
		began = time.Now()
		err = unlink(to, name)
		if err == nil {
			err = to.sync()
		}
		to.close()
		r.step("remove", began, "", "", err)
		return
	}
}

func (r *tester) deliver(ctx context.Context, t *tree, fo folder) (_ *directory, name string, err error) {
	tmp, err := openSub(t.root, fo.dir, "tmp")
	if err != nil {
		return nil, "", err
	}
	defer tmp.close()
	to, err := openSub(t.root, fo.dir, "new")
	if err != nil {
		return nil, "", err
	}
	d := &delivery{c: r.c, root: t.root, dir: fo.dir, sub: "new"}
	name = ".mailconn-test." + r.c.uniqueName()
	if _, err = d.write(ctx, tmp, name, strings.NewReader("test\n")); err == nil {
		err = d.place(tmp, name, to, name)
	}
	if err != nil {
		if gone := unlink(tmp, name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		to.close()
		return nil, "", err
	}
	return to, name, nil
}

// missingSubs returns which of cur, new and tmp dir lacks.
func missingSubs(root *os.Root, dir string) []string {
	var missing []string
	for _, sub := range []string{"cur", "new", "tmp"} {
		if fi, err := root.Stat(path.Join(dir, sub)); notThere(err) || err == nil && !fi.IsDir() {
			missing = append(missing, sub)
		}
	}
	return missing
}

// noMaildir says that the tree holds no folder at all.
func (c *Conn) noMaildir(t *tree) error {
	return &connection.Error{
		Kind: connection.ErrConfig, Err: errors.New("is no Maildir: " + strings.Join(missingSubs(t.root, "."), ", ") + " missing"),
		Hint: "path: " + quoted(t.path("")) + " must hold cur, new and tmp, or folders that do; an unmounted file system looks like this",
	}
}

// countStale counts the files in tmp that are older than 36 hours, as far as they can be looked at.
func (c *Conn) countStale(ctx context.Context, t *tree, fo folder) int {
	tmp, err := openSub(t.root, fo.dir, "tmp")
	if err != nil {
		return 0
	}
	defer tmp.close()
	n := 0
	oldest := time.Now().Add(-staleAfter)
	_ = tmp.each(ctx, func(d *directory, name string, typ fs.FileMode) error { // a report for people, nothing depends on it
		if fi, err := d.root.Lstat(d.rel(name)); err == nil && typ.IsRegular() && fi.ModTime().Before(oldest) {
			n++
		}
		return nil
	})
	return n
}

// reportStale tells of files in tmp that deliveries have left behind.
func (c *Conn) reportStale(ctx context.Context, t *tree, fo folder) {
	if n := c.countStale(ctx, t, fo); n > 0 {
		c.env.Log().WarnContext(ctx, "files in tmp are older than 36 hours", "path", t.path(path.Join(fo.dir, "tmp")), "count", n)
		c.observe(connection.Event{
			Kind: connection.EventNotice, Mailbox: t.mailbox, Ref: connection.Ref{Mailbox: t.mailbox, Folder: fo.name},
			Count: int64(n), Detail: "files in tmp are older than 36 hours: deliveries that were broken off",
		})
	}
}
