package imapclient

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// target reports whether the folder is there that delete_mode moves messages to.
func (t *tester) target(s *session) error {
	began := time.Now()
	report := connection.Step{Name: "target", Status: connection.StatusOK}
	name, err := s.target(t.ctx, "test")
	if err == nil {
		var all []*connection.Folder
		if all, err = s.list(t.ctx, "test"); err == nil && !slices.ContainsFunc(all, func(f *connection.Folder) bool { return sameFolder(f.Name, name) }) {
			e := t.conn.problem("test", connection.Ref{Folder: name}, connection.ErrNotFound, "there is no such folder to move to")
			e.Hint = fmt.Sprintf("move_to: there is no %q; the server has %s", name, someNames(all))
			err = e
		}
	}
	report.Detail = name + ": messages are moved there"
	if err != nil {
		report.Status, report.Detail, report.Err = connection.StatusFailed, "", err
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return err
}

// probe writes a message of its own to folder, and removes that one again.
func (t *tester) probe(s *session, folder string) error {
	id := "<" + rand.Text() + "@mailconn.invalid>"
	raw := []byte("From: mailconn <test@mailconn.invalid>\r\nTo: mailconn <test@mailconn.invalid>\r\nSubject: connection test, to be removed\r\n" +
		"Date: " + time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\r\nMessage-ID: " + id + "\r\n\r\nThis message tests whether the folder can be written to.\r\n")
	began := time.Now()
	report := connection.Step{Name: "write", Status: connection.StatusOK}
	uid, err := t.put(s, folder, raw, id)
	same := false
	if err == nil && uid != 0 {
		same, err = t.compare(s, uid, raw)
	}
	switch {
	case err != nil:
		report.Status, report.Err = connection.StatusFailed, err
		if e := t.conn.fault("test", connection.Ref{Folder: folder}, err); e.Hint == "" {
			report.Hint = fmt.Sprintf("folders: the user cannot write to %q; only Append and Test need that", folder)
		}
	case uid == 0:
		report.Status, report.Detail = connection.StatusWarned, folder+": a message was appended, and cannot be found again"
		report.Hint = "folders: remove the message with the subject \"connection test, to be removed\" by hand"
	case !same:
		report.Status, report.Detail = connection.StatusWarned, folder+": a message was appended, and came back changed"
		report.Hint = "server: it changes messages that are appended"
	default:
		report.Detail = fmt.Sprintf("%s: %d octets were appended, and came back as they were", folder, len(raw))
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	if uid == 0 {
		return err
	}
	removeErr := t.remove(s, folder, uid)
	if err == nil {
		err = removeErr
	}
	return err
}

// put appends the probe and opens the folder for writing. The UID is 0 if it cannot be found out.
func (t *tester) put(s *session, folder string, raw []byte, id string) (uint32, error) {
	wire, err := s.wireName(t.ctx, "test", folder)
	if err != nil {
		return 0, err
	}
	a := &appending{conn: t.conn, ctx: t.ctx, ref: connection.Ref{Folder: folder}, size: int64(len(raw)), opts: &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagSeen}}}
	data, _, err := a.send(s, wire, bytes.NewReader(raw))
	if err != nil {
		return 0, a.explain(err)
	}
	b, err := s.open(t.ctx, "mark", folder) // that verb opens for writing whatever delete_mode is
	if err != nil {
		return 0, err
	}
	if data.UID != 0 && fmt.Sprint(data.UIDValidity) == b.validity {
		return uint32(data.UID), nil
	}
	uids, err := s.search(t.ctx, "test", 1, 0, goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: id}}})
	if err != nil || len(uids) != 1 {
		return 0, err
	}
	return uids[0], nil
}

// compare reports whether the message is what was appended.
func (t *tester) compare(s *session, uid uint32, raw []byte) (same bool, err error) {
	var got []byte
	err = s.run(t.ctx, "test", func() error {
		cmd := s.client.Fetch(uidSet([]uint32{uid}), &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}})
		var failed error
		if got, failed = firstOctets(cmd.Next, 2*len(raw)); failed != nil {
			return failed
		}
		return cmd.Close()
	})
	return bytes.Equal(got, raw), err
}

// remove marks and expunges the probe, and nothing else.
func (t *tester) remove(s *session, folder string, uid uint32) error {
	began := time.Now()
	report := connection.Step{Name: "remove", Status: connection.StatusOK, Detail: folder + ": it was marked \\Deleted and expunged"}
	only := []uint32{uid}
	err := s.mark(t.ctx, "test", only)
	marked := err == nil
	if marked && !s.has(goimap.CapUIDPlus) {
		err = s.mayExpunge(t.ctx, "test", only)
	}
	if err == nil {
		err = s.doubtful(t.ctx, "test", func() error {
			if s.has(goimap.CapUIDPlus) {
				return s.client.UIDExpunge(uidSet(only)).Close()
			}
			return s.client.Expunge().Close()
		})
	}
	var there []uint32
	if err == nil {
		there, err = s.searchSet(t.ctx, "test", only, goimap.SearchCriteria{})
	}
	switch {
	case err != nil && marked && connection.KindOf(err) == connection.ErrUnsupported:
		report.Status, report.Detail = connection.StatusWarned, folder+": it was marked \\Deleted, but not expunged: "+err.Error()
		report.Hint = t.conn.fault("test", connection.Ref{}, err).Hint
		err = nil
	case err != nil:
		report.Status, report.Detail, report.Err = connection.StatusFailed, "", err
		report.Hint = "username: may the user delete in this folder? The message with the subject \"connection test, to be removed\" is left there"
	case len(there) > 0:
		report.Status, report.Detail = connection.StatusWarned, folder+": it was expunged, and is still there"
		report.Hint = "delete_mode: the server does not expunge what is marked; some keep it, as an archive of all mail"
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return err
}

// firstOctets returns at most the given number of octets of the first body in a FETCH. After an error the command must
// not be touched.
func firstOctets(next nextMessage, most int) (got []byte, err error) {
	_, _, err = firstLiteral(next, func(lit io.Reader) error {
		got, err = io.ReadAll(io.LimitReader(lit, int64(most)))
		return err
	})
	return got, err
}
