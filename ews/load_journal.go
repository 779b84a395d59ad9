package ews

import (
	"bytes"
	"errors"
	"io"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/journal"
)

// unwrap replaces a journal report by the message in it. What is no report, or one that cannot be taken apart without
// losing something, stays as it is. Of a large report that is known only at its end: its Body then ends in an error, and
// not in io.EOF.
func (l *loader) unwrap(m *loaded) {
	ref := m.msg.Ref
	if m.body.rest != nil {
		report, err := journal.Unwrap(io.MultiReader(&m.body.head, m.body.rest))
		l.told(ref, err)
		if err == nil {
			m.msg.Envelope, m.msg.Size = &report.Envelope, -1
		}
		m.body = newContent(l, ref, nil, report.Body)
		return
	}
	raw := make([]byte, m.body.head.Len())
	if _, err := m.body.head.ReadAt(raw, 0); err != nil && err != io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		return
	}
	report, err := journal.Unwrap(bytes.NewReader(raw))
	var inner []byte
	if err == nil {
		inner, err = io.ReadAll(io.LimitReader(report.Body, int64(len(raw))))
	}
	if err == nil {
		// The limit may hide how the body ends.
		_, err = report.Body.Read(make([]byte, 1))
		if err == io.EOF { //nolint:errorlint // as above
			err = nil
		}
	}
	l.told(ref, err)
	if err == nil {
		m.msg.Envelope, m.msg.Size = &report.Envelope, int64(len(inner))
		m.body.head.Reset(inner)
	}
}

// told reports a report that is delivered as it came.
func (l *loader) told(ref connection.Ref, err error) {
	if err == nil || errors.Is(err, journal.ErrNotReport) {
		return
	}
	l.conn.emit(connection.Event{
		Kind: connection.EventQuirk, Mailbox: l.t.mailbox, Ref: ref, Detail: "a journal report that cannot be taken apart", Err: err,
	})
}
