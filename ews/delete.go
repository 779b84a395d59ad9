package ews

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// deleteBatch is how many messages one request removes.
const deleteBatch = 100

var deleteTypes = map[string]string{DeleteHard: soap.HardDelete, DeleteSoft: soap.SoftDelete, DeleteTrash: soap.MoveToDeletedItems}

// Delete implements [connection.Deleter], in the way of Config.DeleteMode. Nobody is told: meetings are cancelled silently,
// and senders who asked for a receipt get none that says their mail was not read, except from servers below 2013 SP1,
// which have no switch for that. In a mailbox on hold what is deleted stays in Recoverable Items. A request that has no
// answer is repeated, since to delete what is gone is no error.
func (c *Conn) Delete(ctx context.Context, refs ...connection.Ref) error {
	const op = "delete"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return err
	}
	defer leave()
	var errs []error
	mailboxes := make(map[string][]connection.Ref)
	var order []string
	seen := make(map[connection.Ref]bool, len(refs))
	for _, ref := range refs {
		key := connection.Ref{Mailbox: ref.Mailbox, ID: ref.ID}
		switch {
		case ref.ID == "":
			errs = append(errs, c.problem(op, ref, connection.ErrInvalid, "the Ref has no ID"))
		case c.cfg.deleteMode() == DeleteNone:
			e := c.problem(op, ref, connection.ErrConfig, "the settings permit no deleting")
			e.Hint = "delete_mode: none; hard, soft or trash removes messages"
			errs = append(errs, e)
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

// deleteFrom removes messages of one mailbox, and returns an error for each that may still be there.
func (c *Conn) deleteFrom(ctx context.Context, op, mailbox string, refs []connection.Ref) []error {
	var errs []error
	t, err := c.target(mailbox)
	if err != nil {
		for _, ref := range refs {
			errs = append(errs, c.fail(op, target{}, ref, err))
		}
		return errs
	}
	byID := make(map[string]connection.Ref, len(refs))
	b := &batch{
		conn: c, t: t, most: deleteBatch,
		ask: func(ws []*wanted) soap.Operation {
			return soap.DeleteItem{Type: deleteTypes[c.cfg.deleteMode()], Items: idsOf(ws)}
		},
		got: func(ws []*wanted, i int, _ *soap.Response) (*wanted, outcome) {
			c.removed.Add(1)
			return ws[i], claimed // the server names no ids here
		},
	}
	b.refused = func(w *wanted, e *serverError) outcome {
		if e.code != "ErrorItemNotFound" {
			errs = append(errs, c.fail(op, t, byID[w.id.ID], e.final(true)))
		}
		return done
	}
	b.lost = func(w *wanted, err error) bool {
		errs = append(errs, c.fail(op, t, byID[w.id.ID], err))
		return true
	}
	for _, ref := range refs {
		byID[ref.ID] = ref
		b.queue = append(b.queue, &wanted{id: soap.ItemID{ID: ref.ID}})
	}
	if err := b.run(ctx); err != nil {
		for _, w := range b.queue {
			errs = append(errs, c.fail(op, t, byID[w.id.ID], err))
		}
	}
	if n := len(refs) - len(errs); n > 0 {
		c.emit(connection.Event{Kind: connection.EventDeleted, Mailbox: mailbox, Count: int64(n), Detail: fmt.Sprintf("delete_mode %s", c.cfg.deleteMode())})
	}
	return errs
}
