package gmail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
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
const candidates = 5

// find looks for the message in its folder by its Message-ID. The Ref has no ID if it is not found, or has no Message-ID that
// can be searched for.
func (a *appending) find(u *upload) (connection.Ref, error) {
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
		if found, err := a.holds(m.Id, u); err != nil || found {
			return a.box.ref(m.Id), err
		}
	}
	return connection.Ref{}, nil
}

// unsearchable reports whether r may end a word of Gmail's search, or mean something in it.
func unsearchable(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'(){}<>,;:\`, r)
}

// holds reports whether a message is the one that Append was to make: it lies in the folder, and its octets are those of u,
// at most with trace fields in front. That two messages have one Message-ID does not make them one.
func (a *appending) holds(id string, u *upload) (bool, error) {
	c := a.conn
	m, err := c.load(a.ctx, a.box, id, quota.Other)
	switch kind := connection.KindOf(err); {
	case err == nil:
	case missing(err), kind == connection.ErrUnsupported, kind == connection.ErrTooLarge, kind == connection.ErrCorrupt:
		return false, nil // whatever it is, it is not known to be ours
	default:
		return false, err
	}
	there, err := a.inFolder(m.Labels)
	if err == nil && there {
		there, err = endsWith(m.Body(), m.Size, u)
	}
	return there, errors.Join(err, m.Close())
}

func (a *appending) inFolder(labels []string) (bool, error) {
	if a.label != "" {
		return slices.Contains(labels, a.label), nil
	}
	set, err := a.conn.labels(a.ctx, a.box, labels...)
	if err != nil {
		return false, err
	}
	folder, _, _, _ := set.sort(labels)
	return folder == folderArchive, nil
}

// endsWith reports whether the last of the octets that r holds are those of u.
func endsWith(r io.ReadSeeker, size int64, u *upload) (bool, error) {
	if size < u.size {
		return false, nil
	}
	if _, err := r.Seek(size-u.size, io.SeekStart); err != nil {
		return false, err
	}
	ours := u.spool.Reader()
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for left := u.size; left > 0; {
		n := min(left, int64(len(a)))
		if _, err := io.ReadFull(r, a[:n]); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(ours, b[:n]); err != nil {
			return false, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		left -= n
	}
	return true, nil
}
