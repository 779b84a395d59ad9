package imapclient

import "sync"

// news is what the server has told, unasked or while it was idle, of the number of messages in the folder selected.
type news struct {
	come chan struct{} // holds a token once mail was announced that the last look cannot have known

	mu    sync.Mutex
	known uint32
}

// counted takes an EXISTS or EXPUNGE (RFC 9051, 7.4.1 and 7.5.1), and reports whether the number of messages is another
// one now. An EXISTS that answers a SELECT announces no mail.
func (g *guard) counted(typ string, n uint32) bool {
	w := &g.news
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.known
	switch {
	case typ == "EXPUNGE" && w.known > 0:
		w.known--
	case typ != "EXISTS":
	case g.selecting():
		w.known = n
		w.clear()
	default:
		if n > w.known {
			select {
			case w.come <- struct{}{}:
			default:
			}
		}
		w.known = n
	}
	return w.known != before
}

// messages returns how many messages there are.
func (w *news) messages() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known
}

// clear forgets what was announced, as a look at the folder begins.
func (w *news) clear() {
	select {
	case <-w.come:
	default:
	}
}

// any reports whether mail was announced since the last look began.
func (w *news) any() bool { return len(w.come) > 0 }
