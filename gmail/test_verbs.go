package gmail

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// verbs adds the steps verbs, write and remove.
func (t *tester) verbs(write bool) {
	c := t.conn
	var scopes []string
	if c.cfg.allows(VerbDelete) {
		scopes = append(scopes, map[string]string{DeleteTrash: scopeModify, DeleteHard: scopeFull}[c.cfg.deleteMode()])
	}
	if c.cfg.allows(VerbAppend) {
		scopes = append(scopes, scopeInsert, scopeLabels)
	}
	if c.cfg.allows(VerbSend) {
		scopes = append(scopes, scopeSend)
	}
	if len(scopes) == 0 {
		t.Skip("verbs", "verbs: this program only reads")
	} else {
		t.step("verbs", []string{"mailbox"}, func() (string, string, error) { return t.tokens(t.box, scopes) })
	}
	why := ""
	switch {
	case !write:
		why = "not asked for"
	case !c.cfg.allows(VerbAppend) || !c.cfg.allows(VerbDelete):
		why = "verbs: without both append and delete nothing can be written and removed again"
	}
	if why != "" {
		t.Skip("write", why)
		t.Skip("remove", why)
		return
	}
	d := &draft{tester: t}
	t.step("write", []string{"read", "verbs"}, d.write)
	if d.id == "" {
		t.Skip("remove", or(t.Without("write"), "nothing was written"))
		return
	}
	t.step("remove", nil, d.remove)
}

// A draft is what Test writes.
type draft struct {
	*tester
	id string // "" = it is not there
}

// write stores a message and reads it back. Its octets beyond ASCII show a server that changes what it is given.
func (d *draft) write() (detail, hint string, err error) {
	c := d.conn
	name := strings.ToLower(rand.Text())
	text := "From: mailconn <" + name + "@mailconn.invalid>\r\nMessage-ID: <" + name + "@mailconn.invalid>\r\nDate: " + time.Now().Format(time.RFC1123Z) +
		"\r\nSubject: mailconn test " + name + "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"A test of the connection (gr\xfc\xdfe). It is removed at once.\r\n"
	u, err := c.takeBody(d.ctx, strings.NewReader(text), int64(len(text)), maxAppend)
	if err != nil {
		return "", "", err
	}
	made, err := c.post(d.ctx, d.box, &posting{method: "messages.insert", scope: scopeInsert, date: ReceivedTime}, u)
	if err := errors.Join(err, u.close()); err != nil {
		return "", "verbs: if the message was stored all the same, its subject is mailconn test " + name, err
	}
	d.id = made.Id
	back, err := c.load(d.ctx, d.box, d.id, quota.Other)
	if err != nil {
		return "", "", err
	}
	got, err := io.ReadAll(io.LimitReader(back.Body(), int64(len(text))+1))
	if err := errors.Join(err, back.Close()); err != nil {
		return "", "", err
	}
	if !bytes.Equal(got, []byte(text)) {
		return "", "upload: this server changes what it is given in this form; json may do better", &connection.Error{
			Driver: DriverName, Kind: connection.ErrCorrupt, Err: fmt.Errorf("of %d octets that were written %d others are read", len(text), len(got)),
		}
	}
	return fmt.Sprintf("%d octets, written and read back", len(text)), "", nil
}

// remove deletes the message for good, or puts it into the trash where that is all that the account may.
func (d *draft) remove() (detail, hint string, err error) {
	c := d.conn
	err = c.do(d.ctx, d.box, call{method: "messages.delete", scope: scopeFull, safe: true, work: quota.Other}, func(ctx context.Context) error {
		return c.gmail.Users.Messages.Delete("me", d.id).Context(ctx).Do()
	})
	if err != nil && c.cfg.deleteMode() == DeleteTrash {
		detail = "in the trash"
		err = c.do(d.ctx, d.box, call{method: "messages.trash", scope: scopeModify, safe: true, work: quota.Other}, func(ctx context.Context) error {
			_, err := c.gmail.Users.Messages.Trash("me", d.id).Fields("id").Context(ctx).Do()
			return err
		})
	}
	if err != nil {
		return "", "the message " + d.id + " stays in the mailbox", err
	}
	return detail, "", nil
}
