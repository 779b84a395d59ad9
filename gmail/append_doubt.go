package gmail

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"strings"
	"sync"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// mostDoubts is how many messages with an unknown fate are remembered.
const mostDoubts = 1000

// doubts are the messages of which nobody knows whether an Append has stored them. The zero value is ready.
type doubts struct {
	mu  sync.Mutex
	all []doubt // the oldest first
}

// A doubt is one of them.
type doubt struct {
	mailbox string
	folder  string
	sum     [sha256.Size]byte
}

func (d *doubts) has(one doubt) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.all, one)
}

func (d *doubts) add(one doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.all, one) {
		return
	}
	if len(d.all) == mostDoubts {
		d.all = slices.Delete(d.all, 0, 1)
	}
	d.all = append(d.all, one)
}

func (d *doubts) drop(one doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.all, one); i >= 0 {
		d.all = slices.Delete(d.all, i, i+1)
	}
}

// doubt returns what u would be remembered by.
func (a *appending) doubt(u *upload) (doubt, error) {
	one := doubt{mailbox: a.box.id, folder: a.label}
	h := sha256.New()
	if _, err := io.Copy(h, u.spool.Reader()); err != nil {
		return doubt{}, err
	}
	h.Sum(one.sum[:0])
	return one, nil
}

// candidates is how many messages with one Message-ID are looked at.
const candidates = 10

// find looks for the message in its folder by its Message-ID. The Ref has no ID if it is not found, or has no Message-ID that
// can be searched for.
func (a *appending) find() (connection.Ref, error) {
	id := strings.TrimSuffix(strings.TrimPrefix(a.head.messageID(), "<"), ">")
	if id == "" || len(id) > 500 || strings.ContainsFunc(id, unsearchable) {
		return connection.Ref{}, nil
	}
	c := a.conn
	var list *gapi.ListMessagesResponse
	err := c.do(a.ctx, a.box, call{method: "messages.list", scope: scopeRead, safe: true, work: quota.Other}, func(ctx context.Context) (err error) {
		list, err = c.gmail.Users.Messages.List("me").Q("rfc822msgid:" + id).IncludeSpamTrash(true).MaxResults(candidates).Fields("messages(id)").Context(ctx).Do()
		return err
	})
	if err != nil {
		return connection.Ref{}, err
	}
	for _, m := range list.Messages[:min(len(list.Messages), candidates)] {
		if found, err := a.holds(m.Id); err != nil || found {
			return a.box.ref(m.Id), err
		}
	}
	return connection.Ref{}, nil
}

// unsearchable reports whether r may end a word of Gmail's search, or mean something in it.
func unsearchable(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'(){}<>,;:\`, r)
}

// holds reports whether a message lies in the folder that was asked for: one with the same Message-ID in another is not what
// Append was to make.
func (a *appending) holds(id string) (bool, error) {
	c := a.conn
	var m *gapi.Message
	err := c.do(a.ctx, a.box, call{method: "messages.get", scope: scopeRead, safe: true, work: quota.Other}, func(ctx context.Context) (err error) {
		m, err = c.gmail.Users.Messages.Get("me", id).Format("minimal").Fields("id,labelIds").Context(ctx).Do()
		if unknownMessage(err) {
			m, err = nil, nil
		}
		return err
	})
	if err != nil || m == nil {
		return false, err
	}
	if a.label != "" {
		return slices.Contains(m.LabelIds, a.label), nil
	}
	set, err := c.labels(a.ctx, a.box, m.LabelIds...)
	if err != nil {
		return false, err
	}
	folder, _, _, _ := set.sort(m.LabelIds)
	return folder == folderArchive, nil
}
