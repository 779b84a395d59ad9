package gmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

var _ connection.Deleter = (*Conn)(nil)

const (
	deleteBatch = 1000 // ids that one messages.batchDelete takes
	hopeless    = 10   // messages refused one by one after which the rest is not tried, if none was taken
)

// Delete implements [connection.Deleter], in the way of Config.DeleteMode: "trash" asks for each message, "delete" for up to
// 1,000 at once. It needs "delete" among Config.Verbs, else the error is ErrConfig. With Config.Retrieval "monitors" it needs
// no verb, and takes Refs of the destination alone: what lies in the mailboxes of users is not the archive's.
//
// messages.batchDelete does not say which of its messages it refuses; a batch is halved until that is known. A request that
// has no answer is repeated, since to delete what is gone is no error.
func (c *Conn) Delete(ctx context.Context, refs ...connection.Ref) error {
	const op = "delete"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return err
	}
	defer leave()
	forbidden := c.mayDelete(op)
	var errs []error
	mailboxes := make(map[string][]connection.Ref)
	var order []string
	seen := make(map[connection.Ref]bool, len(refs))
	for _, ref := range refs {
		key := connection.Ref{Mailbox: ref.Mailbox, ID: ref.ID}
		switch {
		case forbidden != nil:
			errs = append(errs, c.fail(op, ref, forbidden))
		case ref.ID == "":
			errs = append(errs, c.problem(op, ref, connection.ErrInvalid, "the Ref has no ID"))
		case !seen[key]:
			seen[key] = true
			if mailboxes[ref.Mailbox] == nil {
				order = append(order, ref.Mailbox)
			}
			mailboxes[ref.Mailbox] = append(mailboxes[ref.Mailbox], ref)
		}
	}
	for _, mailbox := range order {
		errs = append(errs, c.deleteFrom(ctx, op, mailbox, mailboxes[mailbox])...)
	}
	return errors.Join(errs...)
}

// mayDelete returns an error if the settings do not permit to delete.
func (c *Conn) mayDelete(op string) error {
	if c.cfg.monitored() {
		return nil
	}
	return c.allowed(op, VerbDelete)
}

// deleteFrom removes messages of one mailbox, and returns an error for each that may still be there.
func (c *Conn) deleteFrom(ctx context.Context, op, mailbox string, refs []connection.Ref) []error {
	d := &deleting{conn: c, op: op}
	var err error
	if d.box, err = c.box(ctx, mailbox); err == nil {
		err = c.mayDeleteFrom(ctx, d.box)
	}
	switch {
	case err != nil:
		d.failed(err, refs...)
	case c.cfg.deleteMode() == DeleteHard:
		for len(refs) > 0 {
			n := min(len(refs), deleteBatch)
			d.batch(ctx, refs[:n])
			refs = refs[n:]
		}
	default:
		d.trash(ctx, refs)
	}
	if d.done > 0 {
		c.emit(connection.Event{Kind: connection.EventDeleted, Mailbox: mailbox, Count: d.done, Detail: fmt.Sprintf("delete_mode %s", c.cfg.deleteMode())})
	}
	return d.errs
}

// mayDeleteFrom keeps monitors from any other mailbox than their destination.
func (c *Conn) mayDeleteFrom(ctx context.Context, b *box) error {
	if !c.cfg.monitored() {
		return nil
	}
	destination, err := c.destination(ctx)
	if err != nil {
		return err
	}
	if b.id != destination.ID {
		return &connection.Error{Kind: connection.ErrConfig, Err: errors.New("the message is not in the destination of the monitors"), Hint: "retrieval: monitors delete from monitors.destination alone"}
	}
	return nil
}

// A deleting removes messages of one mailbox.
type deleting struct {
	conn *Conn
	op   string
	box  *box

	mu   sync.Mutex
	done int64 // messages that are gone
	errs []error
}

func (d *deleting) failed(err error, refs ...connection.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ref := range refs {
		d.errs = append(d.errs, d.conn.fail(d.op, ref, err))
	}
}

func (d *deleting) gone(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done += int64(n)
}

// trash moves messages to the trash, some at once; the limiter says how many.
func (d *deleting) trash(ctx context.Context, refs []connection.Ref) {
	next := make(chan connection.Ref)
	var workers sync.WaitGroup
	for range min(maxParallel, len(refs)) {
		workers.Go(func() {
			for ref := range next {
				if err := d.trashOne(ctx, ref.ID); err != nil {
					d.failed(err, ref)
				} else {
					d.gone(1)
				}
			}
		})
	}
	for _, ref := range refs {
		next <- ref
	}
	close(next)
	workers.Wait()
}

func (d *deleting) trashOne(ctx context.Context, id string) error {
	c := d.conn
	return c.do(ctx, d.box, call{method: "messages.trash", scope: scopeModify, safe: true, work: quota.Other}, func(ctx context.Context) error {
		_, err := c.gmail.Users.Messages.Trash("me", id).Fields("id").Context(ctx).Do()
		if unknownMessage(err) {
			return nil
		}
		return err
	})
}

// batch removes messages by one request, or if that is refused by one for each half.
func (d *deleting) batch(ctx context.Context, refs []connection.Ref) {
	if len(d.errs) >= hopeless && d.done == 0 {
		d.failed(d.errs[len(d.errs)-1], refs...)
		return
	}
	c := d.conn
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	badIDs := false // the server may have stumbled over some of the ids
	err := c.do(ctx, d.box, call{method: "messages.batchDelete", scope: scopeFull, safe: true, work: quota.Other}, func(ctx context.Context) error {
		err := c.gmail.Users.Messages.BatchDelete("me", &gapi.BatchDeleteMessagesRequest{Ids: ids}).Context(ctx).Do()
		if len(ids) == 1 && unknownMessage(err) {
			return nil
		}
		badIDs = refusesIDs(err)
		return err
	})
	switch {
	case err == nil:
		d.gone(len(refs))
	case len(refs) > 1 && badIDs && permanent(err):
		d.batch(ctx, refs[:len(refs)/2])
		d.batch(ctx, refs[len(refs)/2:])
	default:
		d.failed(err, refs...)
	}
}

// unknownMessage reports whether the Gmail API said that there is no such message. A 404 that is not in Google's form comes
// from something else, which knows no such page.
func unknownMessage(err error) bool {
	var e *googleapi.Error
	return errors.As(err, &e) && e.Code == http.StatusNotFound && e.Message != ""
}

// refusesIDs reports whether an answer may be about some of the ids of a request only.
func refusesIDs(err error) bool {
	var e *googleapi.Error
	if !errors.As(err, &e) || e.Message == "" {
		return false
	}
	return e.Code == http.StatusBadRequest || e.Code == http.StatusNotFound || e.Code == http.StatusRequestEntityTooLarge
}

// permanent reports whether a smaller request may fare better than the one that met err: not if it is about the mailbox, or
// about who asks.
func permanent(err error) bool {
	if errors.Is(err, ErrNoMailbox) {
		return false
	}
	switch connection.KindOf(err) {
	case connection.ErrAuth, connection.ErrPermission, connection.ErrConfig, connection.ErrQuota, connection.ErrThrottled, connection.ErrCanceled, connection.ErrClosed:
		return false
	}
	return true
}
