package ews_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// An export is all that the server gives, and a part that says so is asked for again.
func TestE41Export(t *testing.T) {
	r := newRig(t, nil)
	whole := large(700_000)
	cut := append(letter(1), "=== Truncated Data ==="...)
	ids := r.alice.Deliver("Inbox", whole, cut)
	c := r.open(t)
	export, err := c.Export(t.Context(), connection.Ref{ID: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(export)
	if err != nil || !bytes.HasSuffix(data, whole) || len(data) == len(whole) {
		t.Errorf("got %d octets, error %v, want the server's own form around %d", len(data), err, len(whole))
	}
	if err := export.Close(); err != nil {
		t.Error(err)
	}
	calls := r.Calls("ExportItems")
	done := make(chan error, 1)
	go func() {
		export, err := c.Export(t.Context(), connection.Ref{ID: ids[1]})
		if err == nil {
			err = export.Close()
		}
		done <- err
	}()
	eventually(t, "a second try", func() bool { return r.Calls("ExportItems") > calls+1 })
	r.alice.Remove(ids[1])
	mustBe(t, <-done, connection.ErrNotFound)
}

func TestExportRefused(t *testing.T) {
	r := newRig(t, &ewstest.Options{Without: []string{"ExportItems"}})
	ids := r.alice.Deliver("Inbox", letter(1))
	c := r.open(t)
	_, err := c.Export(t.Context(), connection.Ref{ID: ids[0]})
	if e := theError(t, err, connection.ErrUnsupported); e.Op != "export" || e.Ref.ID != ids[0] {
		t.Errorf("got %v", err)
	}
	_, err = c.Export(t.Context(), connection.Ref{})
	mustBe(t, err, connection.ErrInvalid)
}

// The header as it was received, where the message itself has lost it.
func TestTransportHeaders(t *testing.T) {
	r := newRig(t, &ewstest.Options{MIME: ewstest.MIMEResynthesised})
	raw := []byte("Received: from a by b;\r\n Fri, 13 Feb 2026 23:31:30 +0000\r\nDKIM-Signature: v=1; a=b\r\nX-Own: 1\r\nFrom: ann@corp.test\r\n" +
		"Subject: hello\r\nMessage-ID: <1@corp.test>\r\n\r\nHello.\r\n")
	ids := r.alice.Deliver("Inbox", raw)
	c := r.open(t)
	head, err := c.TransportHeaders(t.Context(), connection.Ref{ID: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	if want, _, _ := bytes.Cut(raw, []byte("\r\n\r\n")); head != string(want)+"\r\n\r\n" && head != string(want)+"\r\n" && head != string(want) {
		t.Errorf("got %q, want %q", head, want)
	}
	r.alice.Remove(ids[0])
	_, err = c.TransportHeaders(t.Context(), connection.Ref{ID: ids[0]})
	if e := theError(t, err, connection.ErrNotFound); e.Ref.ID != ids[0] {
		t.Errorf("got %v", err)
	}
	_, err = c.TransportHeaders(t.Context(), connection.Ref{})
	mustBe(t, err, connection.ErrInvalid)
}
