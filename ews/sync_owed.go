package ews

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// An owed message could not be read. Later Syncs try it again, and the others do not wait for it.
type owed struct {
	ID    string `json:"id"`
	Tries int    `json:"n"`
	Next  int64  `json:"next"`            // when to try again; Unix seconds
	Known bool   `json:"known,omitempty"` // the host has it: nothing but its properties is wanted

	told bool // by this Sync
	soon bool // this Sync tries it again
}

const (
	maxOwed     = 1000 // messages of one mailbox
	longestRest = 12 * time.Hour
)

// mostInARow messages may fail while the server answers otherwise. After that it is no matter of messages.
const mostInARow = 10

var errTooMany = errors.New("messages in a row cannot be read")

// tooMany returns err of the last of n messages in a row as one that is about all of them.
func tooMany(n int, err error) *connection.Error {
	out := &connection.Error{Driver: DriverName, Kind: connection.KindOf(err)}
	if e := new(connection.Error); errors.As(err, &e) {
		out.Code, out.Hint, out.RetryAfter, err = e.Code, e.Hint, e.RetryAfter, e.Err
	}
	out.Err = fmt.Errorf("%d %w: %w", n, errTooMany, err)
	return out
}

// owes returns the place of a message among those owed, -1 if it is not.
func (f *folderHistory) owes(id string) int {
	return slices.IndexFunc(f.Owed, func(o owed) bool { return o.ID == id })
}

// settle forgets that a message is owed.
func (f *folderHistory) settle(id string) {
	if i := f.owes(id); i >= 0 {
		f.Owed = slices.Delete(f.Owed, i, i+1)
	}
}

// rest is how long a message is left alone after so many tries.
func rest(tries int) time.Duration {
	if tries <= 3 {
		return 0
	}
	return min(time.Minute<<min(tries-4, 10), longestRest)
}

// owe notes that a message of a folder could not be read. It returns false if this Sync has reported that before.
func (s *syncing) owe(folder, id string, known bool, why error) (news bool, err error) {
	f := s.history.Folders[folder]
	i := f.owes(id)
	if i < 0 {
		total := 0
		for _, other := range s.history.Folders {
			total += len(other.Owed)
		}
		if total >= maxOwed {
			return false, &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("more than %d messages of the mailbox cannot be read", maxOwed)}
		}
		i = len(f.Owed)
		f.Owed = append(f.Owed, owed{ID: id, Known: known})
	}
	o := &f.Owed[i]
	news, o.told = !o.told, true
	o.soon = news && connection.Temporary(why)
	o.Tries++
	o.Next = time.Now().Add(rest(o.Tries)).Unix()
	return news, nil
}

// unread reports a message that could not be read. known says that the host has it.
func (s *syncing) unread(folder string, e *connection.Error, known bool) error {
	e.Settled = true
	if e.Kind == connection.ErrTooLarge { // it never will be
		s.history.Folders[folder].settle(e.Ref.ID)
		return s.report(e)
	}
	news, err := s.owe(folder, e.Ref.ID, known, e)
	if err == nil && news {
		err = s.report(e)
	}
	if err != nil {
		return err
	}
	return s.inARow(e)
}

// inARow counts a message that could not be read. The Sync after one that ends because of too many has to come further than
// this one, or messages that nobody can read would hold up all others for ever: the Checkpoint says which are owed.
func (s *syncing) inARow(err error) error {
	// Of the messages of one answer those that cannot be read are told first.
	if s.row++; s.row <= mostInARow+s.conn.cfg.batchItems() {
		return nil
	}
	if err := s.checkpoint(true); err != nil {
		return err
	}
	return tooMany(s.row, err)
}

// well notes that messages can be read.
func (s *syncing) well() { s.row = 0 }

// due returns which messages of a folder are to be tried again, those tried least first, and how many are left alone.
func (f *folderHistory) due(now time.Time) (due []owed, later int) {
	for _, o := range f.Owed {
		switch {
		case o.told && !o.soon:
		case o.Next > now.Unix() && o.Next <= now.Add(longestRest).Unix(): // beyond that a clock was wrong
			later++
		default:
			due = append(due, o)
		}
	}
	slices.SortStableFunc(due, func(a, b owed) int { return cmp.Compare(a.Tries, b.Tries) })
	return due, later
}

// retry tries again what could not be read, in this Sync or before.
func (s *syncing) retry() error {
	s.well()
	for _, id := range s.inScope() {
		f := s.history.Folders[id]
		due, later := f.due(time.Now())
		if later > 0 {
			s.conn.emit(connection.Event{
				Kind: connection.EventSkipped, Mailbox: s.t.mailbox, Ref: s.t.folderRef(s.paths[id]), Count: int64(later),
				Detail: "could not be read; later syncs try again",
			})
		}
		var known, whole []soap.ItemID
		for _, o := range due {
			if o.Known {
				known = append(known, soap.ItemID{ID: o.ID})
			} else {
				whole = append(whole, soap.ItemID{ID: o.ID})
			}
		}
		err := s.updates(id, known)
		if err == nil {
			err = s.read(id, whole)
		}
		switch {
		case errors.Is(err, errTooMany):
			return nil // what is new was told before: this can wait
		case err != nil:
			return err
		}
		for _, o := range due { // what was neither told nor reported is gone, or is no mail
			if i := f.owes(o.ID); i >= 0 && f.Owed[i].Tries == o.Tries {
				f.settle(o.ID)
			}
		}
	}
	return nil
}
