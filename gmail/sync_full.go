package gmail

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// listing lists the mailbox and tells all messages that the host does not have. It begins where the Checkpoint says, but
// for a reconciliation, which always begins at the top: what was read is then known, and ids cost next to nothing.
func (s *syncing) listing() error {
	p := s.place
	if p.Base == "" {
		p.Base = string(s.profile.History)
	}
	if err := s.folders(); err != nil {
		return err
	}
	if err := s.hostHas(); err != nil {
		return err
	}
	// The base must outlive whatever happens from here on: mail that comes meanwhile is found from it.
	if err := s.checkpoint(); err != nil {
		return err
	}
	r := newReview(s)
	lists := s.scope.listings(quota.Full, "")
	resumed := p.List > 0 || p.PageToken != ""
	for i, token := p.List, p.PageToken; i < len(lists); i, token = i+1, "" {
		if err := r.list(i, &lists[i], token); err != nil {
			return err
		}
	}
	// What leaves a list shifts what is behind it, perhaps past the page that is asked for next. While messages are read there
	// is much time for that, while ids are listed there is little.
	for range mostSweeps {
		if r.pages <= len(lists) && !resumed || resumed && s.opts.Known == nil || r.fresh == 0 {
			break
		}
		if err := r.sweep(lists); err != nil {
			return err
		}
	}
	if p.Phase == phaseReconcile {
		if err := r.reconcile(); err != nil {
			return err
		}
	}
	p.Phase, p.Cursor, p.Base, p.List, p.PageToken, p.FullAt = phaseDelta, p.Base, "", 0, "", s.conn.now().Unix()
	s.listed = true
	return s.checkpoint()
}

// hostHas makes the first listing a reconciliation if the host says by itself that it has messages.
func (s *syncing) hostHas() error {
	if !s.anew || s.opts.Refs == nil || s.opts.Known == nil {
		return nil
	}
	for _, err := range s.opts.Refs(s.ctx) {
		if err != nil {
			return err
		}
		s.place.Phase = phaseReconcile
		return nil
	}
	return nil
}

// A review is a listing under way.
type review struct {
	*syncing
	done  *idSet // listed by this Sync
	skip  *idSet // known to be left out
	pages int    // listed
	fresh int    // messages that the last pass found to be read; to begin with some

	// What the host has of what was listed, in that order, and which labels it has been found under: an index into combos.
	known  []string
	index  map[string]int
	under  []int
	combos combos
}

func newReview(s *syncing) *review {
	return &review{syncing: s, done: newIDSet(), skip: newIDSet(), fresh: 1, index: make(map[string]int)}
}

// list reads one of the scope's listings from a page token on.
func (r *review) list(i int, l *listing, token string) error {
	p := r.place
	var guard pageGuard
	for restarts := 0; ; {
		ids, next, err := r.conn.list(r.ctx, r.box, *l, token)
		if expiredPage(err, token) && restarts < mostRestarts {
			// The base stays: what came since is in the history behind it.
			restarts++
			token, guard = "", pageGuard{}
			continue
		}
		if err == nil && guard == (pageGuard{}) && next == "" && len(ids) == 0 && l.query != "" {
			ids, next, err = r.unfiltered(l, token)
		}
		if err != nil {
			return err
		}
		r.pages++
		if err := r.page(ids); err != nil {
			return err
		}
		if err := guard.next("messages.list", next, len(ids)); err != nil {
			return err
		}
		if p.Phase == phaseFull {
			p.List, p.PageToken = i, next
			if next == "" {
				p.List = i + 1
			}
		}
		if err := r.checkpoint(); err != nil || next == "" {
			return err
		}
		token = next
	}
}

const mostSweeps = 3

// sweep lists the ids once more, and tells the messages that were not listed before.
func (r *review) sweep(lists []listing) error {
	r.fresh = 0
	for _, l := range lists {
		if err := r.conn.each(r.ctx, r.box, l, r.page); err != nil {
			return err
		}
	}
	return nil
}

// unfiltered lists a page without the query, for a server that finds nothing at all with it: one that does not know Gmail's
// operators would leave the archive empty without a word.
func (r *review) unfiltered(l *listing, token string) (ids []string, next string, err error) {
	if total, err := r.profile.Messages.Int64(); err == nil && total == 0 {
		return nil, "", nil
	}
	if token != "" { // an earlier Sync may have found out that the query is to be left, or this is but the last page
		if ids, next, err = r.conn.list(r.ctx, r.box, *l, ""); err != nil || len(ids) > 0 || next != "" {
			return nil, "", err
		}
	}
	l.query = ""
	err = r.conn.leftOut(r.ctx, r.box, r.scope, func(ids []string) {
		for _, id := range ids {
			r.skip.add(id)
		}
	})
	if err != nil {
		return nil, "", err
	}
	return r.conn.list(r.ctx, r.box, *l, token)
}

// leftOut lists what a scope leaves out, by label.
func (c *Conn) leftOut(ctx context.Context, b *box, s *scope, found func(ids []string)) error {
	for _, label := range s.out {
		err := c.eachOf(ctx, b, label, func(ids []string) error {
			found(ids)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachOf is each for the messages of a label. That the server has no such label, or not any more, is no error.
func (c *Conn) eachOf(ctx context.Context, b *box, label string, fn func(ids []string) error) error {
	begun := false // then the server knew the label, and refuses something else
	err := c.each(ctx, b, listing{labels: []string{label}, spamTrash: true, work: quota.Full}, func(ids []string) error {
		begun = true
		return fn(ids)
	})
	var e *connection.Error
	if !begun && (missing(err) || errors.As(err, &e) && e.Kind == connection.ErrRejected) {
		return nil
	}
	return err
}

// page tells the messages of a page that the host does not have.
func (r *review) page(ids []string) error {
	var fresh []string
	for _, id := range ids {
		if !r.done.has(id) && !r.skip.has(id) {
			r.done.add(id)
			fresh = append(fresh, id)
		}
	}
	has, err := r.syncing.known(fresh)
	if err != nil {
		return err
	}
	if len(has) > 0 && r.anew && r.place.Phase == phaseFull {
		r.place.Phase, r.place.List, r.place.PageToken = phaseReconcile, 0, ""
	}
	var wants []want
	for _, id := range fresh {
		switch {
		case has[id]:
			r.has(id)
		case r.pending(id) < 0: // else it is tried again with the history
			wants = append(wants, want{id: id})
		}
	}
	r.fresh += len(wants)
	return r.read(wants, quota.Full)
}

// has notes that the host has a message.
func (r *review) has(id string) {
	if _, ok := r.index[id]; !ok {
		r.index[id] = len(r.known)
		r.known, r.under = append(r.known, id), append(r.under, 0)
	}
}

// Labels of Gmail's own that are no folders.
var categories = [...]string{"CATEGORY_PERSONAL", "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS"}

// reconcile tells of the messages that the host has which labels they have now, and which are gone. The labels are found by
// listing the ids under each: a hundredth of what it costs to ask message by message.
func (r *review) reconcile() error {
	if len(r.known) > 0 || len(r.scope.out) > 0 {
		for _, label := range r.labelIDs() {
			if err := r.survey(label); err != nil {
				return err
			}
		}
	}
	var doubtful []want
	for i, id := range r.known {
		labels := r.combos.labels(r.under[i])
		if !r.scope.inFolders(labels, r.labels) { // to say so removes it: the pages of a label may have shifted
			doubtful = append(doubtful, want{id: id, labels: true, held: true})
			continue
		}
		if err := r.update(id, labels, true); err != nil {
			return err
		}
	}
	if err := r.read(doubtful, quota.Full); err != nil {
		return err
	}
	return r.removed()
}

// labelIDs returns all labels, those that the scope leaves out first.
func (r *review) labelIDs() []string {
	ids := append([]string{}, r.scope.out...)
	for _, f := range systemFolders {
		ids = append(minus(ids, []string{f.id}), f.id)
	}
	ids = append(r.scope.out, minus(ids, r.scope.out)...)
	ids = append(append(ids, labelUnread), categories[:]...)
	return append(ids, sortedKeys(r.labels.paths())...)
}

// survey notes which of the messages that the host has are under a label.
func (r *review) survey(label string) error {
	return r.conn.eachOf(r.ctx, r.box, label, func(ids []string) error {
		if r.scope.leavesOut([]string{label}) { // the scope's listings have not named these
			var fresh []string
			for _, id := range ids {
				if _, ok := r.index[id]; !ok && !r.done.has(id) {
					fresh = append(fresh, id)
				}
			}
			has, err := r.syncing.known(fresh)
			if err != nil {
				return err
			}
			for _, id := range fresh {
				if has[id] {
					r.has(id)
				}
			}
		}
		for _, id := range ids {
			if i, ok := r.index[id]; ok {
				r.under[i] = r.combos.with(r.under[i], label)
			}
		}
		return nil
	})
}

// removed tells what the host has and the mailbox has not, in whatever folder. Nothing is told unless the listing went to
// its end.
func (r *review) removed() error {
	if r.opts.Refs == nil {
		return nil
	}
	there := newIDSet()
	all := func() error {
		return r.conn.each(r.ctx, r.box, listing{spamTrash: true, work: quota.Full}, func(ids []string) error {
			for _, id := range ids {
				there.add(id)
			}
			return nil
		})
	}
	if err := all(); err != nil {
		return err
	}
	var gone []connection.Ref // the host may not be changed while it tells what it has
	for ref, err := range r.opts.Refs(r.ctx) {
		if err != nil {
			return err
		}
		if ref.Mailbox == r.box.id && ref.ID != "" && !there.has(ref.ID) {
			gone = append(gone, ref)
		}
	}
	if len(gone) > 0 { // a page that shifted must not cost a message
		if err := all(); err != nil {
			return err
		}
		gone = slices.DeleteFunc(gone, func(ref connection.Ref) bool { return there.has(ref.ID) })
	}
	if total, err := r.profile.Messages.Int64(); err == nil && total > 0 && len(there.set) == 0 && len(gone) > 0 {
		return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("messages.list names none of the mailbox's %d messages", total)}
	}
	for _, ref := range gone {
		r.settle(ref.ID)
		if err := r.tell(&connection.Change{Op: connection.Removed, Ref: ref}); err != nil {
			return err
		}
	}
	return nil
}

// combos are the sets of labels that occur, each once: a mailbox has many messages and few of these. Number 0 is the empty
// one. The zero value is ready.
type combos struct {
	sets [][]string
	next map[comboStep]int
}

type comboStep struct {
	from  int
	label string
}

// with returns the number of a set with one more label.
func (c *combos) with(from int, label string) int {
	step := comboStep{from, label}
	if to, ok := c.next[step]; ok {
		return to
	}
	if c.next == nil {
		c.next, c.sets = make(map[comboStep]int), make([][]string, 1)
	}
	c.sets = append(c.sets, append(minus(c.sets[from], []string{label}), label))
	c.next[step] = len(c.sets) - 1
	return c.next[step]
}

// labels returns the set with a number.
func (c *combos) labels(number int) []string {
	if number == 0 {
		return nil
	}
	return c.sets[number]
}
