package gmail

import (
	"context"
	"strings"
	"sync"
	"time"
)

// news carries what Notify is told to those who follow a mailbox. The zero news is ready. It is safe for concurrent use.
type news struct {
	mu sync.Mutex
	by map[string]map[*listener]struct{} // by id and by address of the mailbox
}

// listen returns a listener for a mailbox; news from now on wake it, also while it does not wait. It must be closed.
func (n *news) listen(b *box) *listener {
	l := &listener{news: n, names: []string{strings.ToLower(b.id)}, wake: make(chan struct{}, 1)}
	if address := strings.ToLower(b.email()); b.id != "" && address != "" && address != l.names[0] {
		l.names = append(l.names, address)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.by == nil {
		n.by = make(map[string]map[*listener]struct{})
	}
	for _, name := range l.names {
		if n.by[name] == nil {
			n.by[name] = make(map[*listener]struct{})
		}
		n.by[name][l] = struct{}{}
	}
	return l
}

// tell wakes the listeners of a mailbox, and reports whether there is one.
func (n *news) tell(mailbox, historyID string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	listeners := n.by[strings.ToLower(mailbox)]
	for l := range listeners {
		if !isHistoryID(historyID) {
			l.unknown = true
		} else if compareHistory(historyID, l.newest) > 0 {
			l.newest = historyID
		}
		select {
		case l.wake <- struct{}{}:
		default: // it will look at what is set above
		}
	}
	return len(listeners) > 0
}

// A listener is one who follows a mailbox. Its methods are for one goroutine.
type listener struct {
	news  *news
	names []string
	wake  chan struct{}

	newest  string // of the history ids that news.tell was told; both are guarded by news.mu
	unknown bool   // it was told of news without one
}

// close ends the listening.
func (l *listener) close() {
	l.news.mu.Lock()
	defer l.news.mu.Unlock()
	for _, name := range l.names {
		if delete(l.news.by[name], l); len(l.news.by[name]) == 0 {
			delete(l.news.by, name)
		}
	}
}

// wait waits for news behind the history id seen ("" = unknown: any news will do), for d to pass, or for ctx to end, which
// is the only error. It reports whether there is news.
func (l *listener) wait(ctx context.Context, d time.Duration, seen string) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-l.wake:
			if l.behind(seen) {
				return true, nil
			}
		case <-timer.C:
			return false, nil
		}
	}
}

// behind reports whether the news is behind seen, and forgets it.
func (l *listener) behind(seen string) bool {
	l.news.mu.Lock()
	defer l.news.mu.Unlock()
	found := l.unknown || seen == "" || compareHistory(l.newest, seen) > 0
	l.unknown = false
	return found
}
