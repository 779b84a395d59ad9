package imapclient

import (
	"math"
	"slices"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

const (
	smallFolder = 10_000  // messages that one SEARCH may list
	firstWindow = 5_000   // UIDs in a window of a larger folder
	lastWindow  = 1 << 30 // the most that a window grows to while it finds nothing
	askAtOnce   = 5_000   // UIDs that Skip is asked about in one go
)

// sweep deals with the messages of folder from its place on.
func (f *fetch) sweep(folder string) (found int, err error) {
	var b *box
	if err := f.do(folder, true, func(_ *session, now *box) error { b = now; return nil }); err != nil {
		return 0, err
	}
	p := f.places[folder]
	p.box = b
	if b.exists == 0 || b.uidNext != 0 && b.uidNext == p.uidNext && b.exists == p.exists {
		return 0, nil
	}
	begin := p.next
	var told goimap.UIDSet
	if found, err = f.windows(folder, b, &told, f.search); err != nil || f.full() {
		return found, err
	}
	if b.exists != p.vain && f.short(b, begin, told) {
		after := p.next
		p.next = begin
		more, err := f.windows(folder, b, &told, f.listed)
		if found += more; err != nil || f.full() {
			return found, err
		}
		p.next = max(p.next, after)
		if more == 0 {
			p.vain = b.exists
		}
	}
	p.uidNext, p.exists = b.uidNext, b.exists
	return found, nil
}

// windows deals with what list tells from the place on, but for told, to which it adds.
func (f *fetch) windows(folder string, b *box, told *goimap.UIDSet, list func(folder string, lo, hi uint32) ([]uint32, error)) (found int, err error) {
	p := f.places[folder]
	for width := uint64(firstWindow); p.next <= math.MaxUint32; {
		lo, hi := uint32(p.next), uint32(0)
		if end := p.next + width - 1; b.exists > smallFolder && end+1 < uint64(b.uidNext) {
			hi = uint32(end)
		}
		uids, err := list(folder, lo, hi)
		if err != nil {
			return found, err
		}
		uids = slices.DeleteFunc(uids, func(uid uint32) bool { return told.Contains(goimap.UID(uid)) })
		for _, uid := range uids {
			told.AddNum(goimap.UID(uid))
		}
		n, err := f.window(folder, b, uids)
		found += n
		if err != nil || f.full() {
			return found, err
		}
		if hi == 0 {
			break
		}
		p.next = uint64(hi) + 1
		if width = min(2*width, lastWindow); len(uids) > 0 {
			width = firstWindow
		}
	}
	return found, nil
}

// short reports whether SEARCH has told fewer messages from begin on than the server says there are. Some servers cut
// long answers off, and some search in an index that lags behind.
func (f *fetch) short(b *box, begin uint64, told goimap.UIDSet) bool {
	switch {
	case f.unseen || !f.opts.Since.IsZero():
		return false // nobody knows how many there are
	case begin == 1:
		return count(told) < uint64(b.exists)
	}
	return len(told) == 0 && uint64(b.uidNext) > begin
}

// listed returns the UIDs from lo to hi (0: no end), ascending, as FETCH tells them: none if the server refuses to.
func (f *fetch) listed(folder string, lo, hi uint32) (uids []uint32, err error) {
	last := hi
	if hi == 0 {
		last = math.MaxUint32
	}
	set := goimap.UIDSet{{Start: goimap.UID(lo), Stop: goimap.UID(hi)}}
	err = f.do(folder, false, func(s *session, _ *box) error {
		err := s.facts(f.ctx, f.op, set, &goimap.FetchOptions{UID: true}, func(about facts) {
			if about.uid >= lo && about.uid <= last { // "n:*" always has the last one
				uids = append(uids, about.uid)
			}
		})
		if err != nil && !s.broken() && !connection.Temporary(err) {
			uids, err = nil, nil // it knows no more than it said
		}
		return err
	})
	slices.Sort(uids)
	return slices.Compact(uids), err
}

func (f *fetch) search(folder string, lo, hi uint32) (uids []uint32, err error) {
	criteria := goimap.SearchCriteria{Since: f.since()}
	if f.unseen {
		criteria.NotFlag = []goimap.Flag{goimap.FlagSeen}
	}
	err = f.do(folder, false, func(s *session, _ *box) error {
		var err error
		uids, err = s.search(f.ctx, f.op, lo, hi, criteria)
		return err
	})
	return uids, err
}

// window hands over the messages of uids, and moves the place behind them.
func (f *fetch) window(folder string, b *box, uids []uint32) (found int, err error) {
	p := f.places[folder]
	for some := range slices.Chunk(uids, askAtOnce) {
		wanted, err := f.pass(b, f.conn.unflagged(folder, some))
		if err != nil {
			return found, err
		}
		found += len(wanted)
		for len(wanted) > 0 {
			n := len(wanted)
			if f.opts.Limit > 0 {
				n = min(n, f.opts.Limit-f.sent)
			}
			if err := f.batch(folder, b, wanted[:n]); err != nil {
				return found, err
			}
			p.next = uint64(wanted[n-1]) + 1
			if wanted = wanted[n:]; f.full() {
				return found, nil
			}
		}
		p.next = uint64(some[len(some)-1]) + 1
	}
	return found, nil
}
