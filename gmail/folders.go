package gmail

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// Folders implements [connection.FolderLister]: a folder for each label that is one, hidden ones too; Gmail's own under their
// ids (INBOX, SENT, DRAFT, TRASH, SPAM, CHAT, and STARRED and IMPORTANT, which show messages that lie elsewhere), and
// Archive, where a message lies that no label puts into another. ID is the label's id, which outlives a rename; Archive has
// none.
//
// What a label's name holds besides levels is encoded: %XX stands for an octet of a control character, of "~", "%" and `\`,
// of the delimiter, of a blank at an end of a level, and of a level named "." or "..". Of two names that differ in nothing but
// case the one of the younger label has "~" and the label's id behind it.
func (c *Conn) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	const op = "folders"
	var used atomic.Bool
	return func(yield func(*connection.Folder, error) bool) {
		if used.Swap(true) {
			yield(nil, c.usedTwice(op))
			return
		}
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		b, err := c.box(ctx, c.mailboxOr(mailbox))
		if err != nil {
			yield(nil, c.failMailbox(op, mailbox, err))
			return
		}
		set, err := c.labelSet(ctx, b)
		if err != nil {
			yield(nil, c.failMailbox(op, mailbox, err))
			return
		}
		for _, folder := range set.folders(b.id) {
			if !yield(folder, nil) {
				return
			}
		}
	}
}

// labelSet asks for the labels of a mailbox, and keeps them for labels.
func (c *Conn) labelSet(ctx context.Context, b *box) (*labelSet, error) {
	var list *gapi.ListLabelsResponse
	err := c.do(ctx, b, call{method: "labels.list", scope: scopeRead, safe: true, work: quota.Delta}, func(ctx context.Context) (err error) {
		list, err = c.gmail.Users.Labels.List("me").Fields("labels(id,name,type)").Context(ctx).Do()
		return err
	})
	if err != nil {
		return nil, err
	}
	set := newLabelSet(list.Labels, c.cfg.folderDelimiter())
	c.labelCache.put(b, set, c.now())
	return set, nil
}

// labels returns the labels of a mailbox that were last asked for, and asks again if one of ids is not among them; a label that
// remains unknown is not asked for again soon.
func (c *Conn) labels(ctx context.Context, b *box, ids ...string) (*labelSet, error) {
	set, age := c.labelCache.get(b, c.now())
	if set != nil {
		if _, _, _, known := set.sort(ids); known || age < labelsAge {
			return set, nil
		}
	}
	return c.labelSet(ctx, b)
}

// forgetLabels makes the next labels ask again.
func (c *Conn) forgetLabels(b *box) { c.labelCache.drop(b) }

const (
	labelsAge  = time.Minute // how long an unknown label is not asked for again
	mostLabels = 100_000     // kept in all; a mailbox has up to 10,000
	mostSets   = 1000
)

// A labelCache keeps the labels of the mailboxes that were looked at last.
type labelCache struct {
	mu   sync.Mutex
	sets map[*box]agedLabels
	size int
}

type agedLabels struct {
	set *labelSet
	at  time.Time
}

func (l *labelCache) get(b *box, now time.Time) (*labelSet, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sets[b]
	return s.set, now.Sub(s.at)
}

func (l *labelCache) put(b *box, set *labelSet, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(b)
	if l.sets == nil {
		l.sets = make(map[*box]agedLabels)
	}
	for other := range l.sets {
		if len(l.sets) < mostSets && l.size+len(set.byID) <= mostLabels {
			break
		}
		l.remove(other)
	}
	l.sets[b] = agedLabels{set, now}
	l.size += len(set.byID)
}

func (l *labelCache) drop(b *box) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(b)
}

func (l *labelCache) remove(b *box) {
	if s, ok := l.sets[b]; ok {
		l.size -= len(s.set.byID)
		delete(l.sets, b)
	}
}
