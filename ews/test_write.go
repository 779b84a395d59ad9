package ews

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// store adds the steps write and remove.
func (t *tester) store(box *opened, asked bool) {
	if !asked {
		t.Skip("write", "not asked for")
		t.Skip("remove", "not asked for")
		return
	}
	token := strings.ToLower(rand.Text())
	draft := &draft{tester: t, box: box.target, subject: "mailconn test " + token, id: "<" + token + "@mailconn.invalid>"}
	t.step("write", nil, draft.write)
	t.step("remove", nil, draft.remove)
}

// A draft is what Test writes.
type draft struct {
	*tester
	box     target
	subject string
	id      string // Message-ID
	item    soap.ItemID
	sent    bool // it may be there
}

// write stores the draft and reads it back.
func (d *draft) write() (detail, hint string, err error) {
	c := d.conn
	text := "Message-ID: " + d.id + "\r\nDate: " + time.Now().Format(time.RFC1123Z) + "\r\nSubject: " + d.subject +
		"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nA test of the connection. It is removed at once.\r\n"
	d.sent = true
	r, err := c.one(d.ctx, d.box, soap.CreateItem{
		Disposition: soap.SaveOnly, Folder: c.distinguished(d.box, "drafts"),
		Items: []soap.NewItem{{MIME: soap.Content{R: strings.NewReader(text), Size: int64(len(text))}}},
	})
	if err != nil {
		d.sent = errors.Is(err, connection.ErrUncertain) || d.ctx.Err() != nil
		return "", "access: the account must be permitted to write in the mailbox, and that must not be full", err
	}
	if len(r.Items) != 1 || r.Items[0].ID == "" {
		return "", "", d.wrong("the server gives no id for what it stored")
	}
	d.item = soap.ItemID{ID: r.Items[0].ID, ChangeKey: r.Items[0].ChangeKey}
	back, err := d.mime(d.box, soap.ItemID{ID: d.item.ID})
	switch {
	case err != nil:
		return "", "", err
	case !bytes.Contains(back, []byte(strings.Trim(d.id, "<>"))):
		return "", "", &connection.Error{Driver: DriverName, Kind: connection.ErrCorrupt, Err: errors.New("what was stored is not what is read")}
	}
	return fmt.Sprintf("a draft of %d octets, read back as %d", len(text), len(back)), "", nil
}

// remove removes the draft, also when the test was ended meanwhile.
func (d *draft) remove() (detail, hint string, err error) {
	if !d.sent {
		return "there is nothing to remove", "", nil
	}
	ctx := d.ctx
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
	}
	stays := `look for a draft with the subject "` + d.subject + `" and delete it`
	items := []soap.ItemID{d.item}
	if d.item.ID == "" {
		if items, err = d.search(ctx); err != nil {
			return "", stays, err
		}
		if len(items) == 0 {
			return "the draft is not there", "", nil
		}
	}
	_, err = d.conn.one(ctx, d.box, soap.DeleteItem{Type: soap.HardDelete, Items: items[:1]})
	if err != nil && codeOf(err) != "ErrorItemNotFound" {
		return "", stays, err
	}
	return "the draft is gone", "", nil
}

// search looks for the draft among the newest ones: the server did not tell its id.
func (d *draft) search(ctx context.Context) ([]soap.ItemID, error) {
	r, err := d.conn.one(ctx, d.box, soap.FindItem{
		Shape: soap.ItemShape{Properties: []soap.Path{soap.Field("item:Subject")}}, Page: &soap.Page{Max: 50},
		Sort:    []soap.Order{{By: soap.Field("item:DateTimeReceived"), Descending: true}},
		Parents: []soap.FolderID{d.conn.distinguished(d.box, "drafts")},
	})
	if err != nil {
		return nil, err
	}
	var found []soap.ItemID
	for _, item := range r.Items {
		if item.Subject == d.subject {
			found = append(found, soap.ItemID{ID: item.ID})
		}
	}
	return found, nil
}
