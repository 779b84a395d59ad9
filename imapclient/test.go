package imapclient

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// Test implements [connection.Connection]. It makes a connection of its own, in the steps resolve, connect, tls,
// greeting, capabilities and auth, then looks at what the server offers (extensions), opens each configured folder
// (open), reads the first KiB of one message without marking it as read (read), lists the folders there are (folders) and
// looks for that which messages are moved to (target). With TestOptions.Write it appends a small message to the first
// folder and reads it again (write), and marks and expunges that one (remove); who fetches from the folder at that
// moment may see it. The order of steps is that of the protocol, so mode starttls has its greeting before tls.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	r := &connection.Report{Info: c.info, Started: time.Now()}
	var o connection.TestOptions
	if opts != nil {
		o = *opts
	}
	step := func(s connection.Step) {
		if s.Err != nil {
			e := c.fault("test", connection.Ref{}, s.Err)
			s.Err, s.Hint = e, hintFor(e, s.Hint)
		}
		r.Steps = append(r.Steps, s)
		if o.Progress != nil {
			o.Progress(s)
		}
	}
	ctx, cancel, leave, err := c.enter(ctx, "test")
	if err != nil {
		step(connection.Step{Name: "connect", Status: connection.StatusFailed, Err: err})
		return r, r.Err()
	}
	defer leave()
	defer cancel()
	t := &tester{conn: c, ctx: ctx, step: step, write: o.Write}
	if len(c.cfg.Mailboxes) > 0 {
		if t.conn, err = c.at("test", c.cfg.Mailboxes[0]); err != nil {
			step(connection.Step{Name: "connect", Status: connection.StatusFailed, Err: err})
			return r, r.Err()
		}
	}
	if err := t.run(); err != nil && r.OK() {
		// Every failure belongs to a step: one between two of them is the next one's.
		step(connection.Step{Name: "open", Status: connection.StatusFailed, Err: err})
	}
	t.skipRest(r, o.Write)
	if len(c.cfg.Mailboxes) > 1 {
		t.others(c)
	}
	return r, r.Err()
}

// others logs in to the mailboxes behind the first one, which alone is tested whole.
func (t *tester) others(c *Conn) {
	for _, name := range c.cfg.Mailboxes[1:] {
		began := time.Now()
		report := connection.Step{Name: "mailbox", Status: connection.StatusOK, Detail: name + ": logged in"}
		one, err := c.at("test", name)
		var s *session
		if err == nil {
			s, err = newSession(t.ctx, one, nil)
		}
		if err != nil {
			report.Status, report.Detail, report.Err = connection.StatusFailed, name, err
		} else {
			s.logout(t.ctx)
		}
		report.Elapsed = time.Since(began)
		t.step(report)
		if t.ctx.Err() != nil {
			return
		}
	}
}

// hintFor returns hint, or what else there is to say to a person.
func hintFor(e *connection.Error, hint string) string {
	switch {
	case hint != "":
		return hint
	case e.Hint != "":
		return e.Hint
	}
	switch e.Kind {
	case connection.ErrCanceled:
		return "the test was stopped before it was done; nothing is known to be wrong"
	case connection.ErrClosed:
		return "the connection was closed; open it again to test it"
	case connection.ErrTimeout:
		return "no_data_timeout, connect_timeout: the server does not answer in time; raise them if it is only slow"
	case connection.ErrThrottled, connection.ErrUnavailable:
		return "server: it asks to come back later; its words are in the error"
	}
	return "server: is this an IMAP server, and is it well? Its own log may say more"
}

type tester struct {
	conn  *Conn
	ctx   context.Context
	step  func(connection.Step)
	write bool
}

// skipRest reports the steps that were not reached.
func (t *tester) skipRest(r *connection.Report, write bool) {
	names := []string{"resolve", "connect", "tls", "greeting", "capabilities", "auth", "open", "read"}
	if write {
		names = append(names, "write", "remove")
	}
	for _, name := range names {
		if slices.ContainsFunc(r.Steps, func(s connection.Step) bool { return s.Name == name }) {
			continue
		}
		detail := "an earlier step failed"
		switch {
		case name == "read" && r.OK():
			detail = "the folders are empty"
		case r.OK():
			detail = "not needed"
		}
		t.step(connection.Step{Name: name, Status: connection.StatusSkipped, Detail: detail})
	}
}

// run returns the first failed step's error.
func (t *tester) run() error {
	s, err := newSession(t.ctx, t.conn, t.step)
	if err != nil {
		return err
	}
	defer t.farewell(s)
	t.extensions(s)
	var first error
	read := ""
	folders := t.conn.cfg.plainFolders()
	if t.conn.cfg.listed() {
		if folders, err = t.folders(s); err != nil {
			return err
		}
	}
	for _, folder := range folders {
		exists, err := t.open(s, folder)
		if err != nil && first == nil {
			first = err
		}
		if s.broken() {
			return first
		}
		if exists > 0 && read == "" {
			read = folder
		}
	}
	if first == nil && read != "" {
		first = t.read(s, read)
	}
	if first == nil && !t.conn.cfg.listed() {
		_, first = t.folders(s)
	}
	if first == nil && t.conn.cfg.moves() {
		first = t.target(s)
	}
	if first == nil && t.write && len(folders) > 0 {
		first = t.probe(s, folders[0])
	}
	return first
}

// offers are the extensions that matter to this driver.
var offers = []goimap.Cap{
	goimap.CapUIDPlus, goimap.CapMove, goimap.CapIdle, goimap.CapCondStore, goimap.CapSpecialUse, goimap.CapLiteralPlus, "COMPRESS=DEFLATE",
}

// extensions reports what the server offers, and what the settings want and it does not.
func (t *tester) extensions(s *session) {
	var there, missing []string
	for _, name := range offers {
		switch {
		case t.conn.cfg.disabled(string(name)):
			missing = append(missing, string(name)+" (disable_extensions)")
		case slices.Contains(s.guard.l.caps, strings.ToUpper(string(name))):
			there = append(there, string(name))
		default:
			missing = append(missing, string(name))
		}
	}
	report := connection.Step{Name: "extensions", Status: connection.StatusOK, Detail: "offered: " + textOr(strings.Join(there, ", "), "none")}
	if len(missing) > 0 {
		report.Detail += "; not offered: " + strings.Join(missing, ", ")
	}
	if t.conn.cfg.Idle && !s.has(goimap.CapIdle) {
		report.Status, report.Hint = connection.StatusWarned, "idle: the server does not offer it; the folders are polled as polling_interval and polling_idle_max say"
	}
	t.step(report)
}

// folders returns the folders that the settings mean.
func (t *tester) folders(s *session) ([]string, error) {
	cfg := &t.conn.cfg
	began := time.Now()
	all, err := s.list(t.ctx, "test")
	names := cfg.among(all)
	report := connection.Step{Name: "folders", Status: connection.StatusOK}
	if !cfg.listed() {
		names = cfg.plainFolders()
	}
	switch {
	case err != nil && !cfg.listed() && !s.broken():
		// The names are known without the list.
		report.Status, report.Detail, report.Hint = connection.StatusWarned, err.Error(), "username: the server does not list the folders"
		err = nil
	case err == nil && len(names) == 0:
		e := t.conn.problem("test", connection.Ref{}, connection.ErrNotFound, "%w", errNoFolder)
		e.Hint = "folders: the server has " + someNames(all)
		err = e
		fallthrough
	case err != nil:
		report.Status, report.Err = connection.StatusFailed, err
	default:
		report.Detail = fmt.Sprintf("%d of %d folders: %s", len(names), len(all), wirelog.Clip(strings.Join(names, ", ")))
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return names, err
}

// someNames lists folders for a person.
func someNames(all []*connection.Folder) string {
	const most = 10
	var names []string
	for _, f := range all[:min(len(all), most)] {
		names = append(names, f.Name)
	}
	if len(all) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// farewell logs out. That is no step, unless ctx ends meanwhile.
func (t *tester) farewell(s *session) {
	began, alive := time.Now(), t.ctx.Err() == nil
	s.logout(t.ctx)
	if alive && t.ctx.Err() != nil {
		t.step(connection.Step{Name: "logout", Status: connection.StatusFailed, Elapsed: time.Since(began), Err: t.conn.ended(t.ctx, "test", connection.Ref{})})
	}
}

// open reports whether folder can be opened as the verbs will, and what is there.
func (t *tester) open(s *session, folder string) (exists uint32, err error) {
	began := time.Now()
	report := connection.Step{Name: "open", Status: connection.StatusOK}
	b, err := s.open(t.ctx, "test", folder)
	if err == nil {
		report.Detail, report.Hint = t.describe(s, b)
		if report.Hint != "" {
			report.Status = connection.StatusWarned
		}
		exists = b.exists
		if b.readOnly && t.conn.cfg.deletes() {
			e := t.conn.problem("test", connection.Ref{Folder: folder}, connection.ErrPermission, "the folder is read-only, and delete_mode is %s", t.conn.cfg.DeleteMode)
			e.Hint = "delete_mode: none reads without removing; or give the user the right to delete in this folder"
			err = e
		}
	} else {
		err = t.nearest(s, folder, err)
	}
	if err != nil {
		report.Status, report.Err, report.Hint = connection.StatusFailed, err, ""
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return exists, err
}

// describe says what a folder is, and what a person should know before mail is deleted in it.
func (t *tester) describe(s *session, b *box) (detail, warning string) {
	access := "read-write"
	if b.readOnly {
		access = "read-only"
	}
	if !t.conn.cfg.deletes() {
		access = "opened for reading only, since delete_mode is none"
	}
	detail = fmt.Sprintf("%s: %d messages, %s", b.folder, b.exists, access)
	switch {
	case !b.lasting:
		warning = "folders: the server does not number messages for good (no UIDVALIDITY, or UIDNOTSTICKY): a message can be deleted only over the connection that read it"
	case t.conn.cfg.DeleteMode == DeleteExpunge && !s.has(goimap.CapUIDPlus) && t.conn.cfg.AllowPlainExpunge:
		warning = "allow_plain_expunge: the server has no UIDPLUS, so each expunge also removes what others have marked as deleted"
	case t.conn.cfg.DeleteMode == DeleteExpunge && !s.has(goimap.CapUIDPlus):
		warning = "delete_mode: the server has no UIDPLUS; expunge works only while nobody else marks messages as deleted, and a message marked by another client in the same instant is removed too"
	}
	return detail, warning
}

// nearest adds to the error of a folder that is missing the names of those that are there.
func (t *tester) nearest(s *session, folder string, err error) error {
	if connection.KindOf(err) != connection.ErrNotFound || s.broken() {
		return err
	}
	all, listErr := s.list(t.ctx, "test")
	if listErr != nil || len(all) == 0 {
		return err
	}
	e := t.conn.fault("test", connection.Ref{Folder: folder}, err)
	e.Hint = fmt.Sprintf("folders: there is no %q; the server has %s", folder, someNames(all))
	return e
}

// testRead is how much of a message Test reads.
const testRead = 1 << 10

// read fetches the beginning of the first message.
func (t *tester) read(s *session, folder string) error {
	began := time.Now()
	report := connection.Step{Name: "read", Status: connection.StatusOK}
	got, octets := false, int64(0)
	_, err := s.selected(t.ctx, "test", folder)
	if err == nil {
		err = s.run(t.ctx, "test", func() error {
			cmd := s.client.Fetch(goimap.SeqSetNum(1), &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{
				{Peek: true, Partial: &goimap.SectionPartial{Size: testRead}},
			}})
			var failed error
			got, octets, failed = firstLiteral(cmd.Next, nil)
			if failed != nil {
				return failed
			}
			return cmd.Close()
		})
	}
	switch {
	case err != nil:
		report.Status, report.Err = connection.StatusFailed, err
	case !got:
		report.Status = connection.StatusWarned
		report.Detail = "the server sent nothing of the first message; somebody may have removed it just now"
	default:
		report.Detail = fmt.Sprintf("%s: the first %d octets of a message", folder, octets)
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return err
}

type nextMessage func() *goclient.FetchMessageData

// firstLiteral counts the octets of the first body in a FETCH, of which read, if not nil, may take the first ones. After
// an error the command must not be touched.
func firstLiteral(next nextMessage, read func(io.Reader) error) (got bool, octets int64, err error) {
	for msg := next(); msg != nil; msg = next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			section, ok := item.(goclient.FetchItemDataBodySection)
			if !ok || section.Literal == nil || got {
				continue
			}
			got, octets = true, section.Literal.Size()
			if read != nil {
				if err := read(section.Literal); err != nil {
					return got, octets, err
				}
			}
			if _, err := io.Copy(io.Discard, section.Literal); err != nil {
				return got, octets, err
			}
		}
	}
	return got, octets, nil
}
