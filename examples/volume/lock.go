package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// holdFlags are the flags of hold.
type holdFlags struct {
	until string
	off   bool
}

func holdCommand(flags *flag.FlagSet) func(*session, []string) error {
	f := &holdFlags{}
	flags.StringVar(&f.until, "until", "", "retain until the end of this `date` (2030-12-31); a legal hold stays as it is")
	flags.BoolVar(&f.off, "off", false, "end the legal hold; a retention stays as it is")
	return f.hold
}

func (f *holdFlags) hold(s *session, keys []string) error {
	var until time.Time
	switch {
	case len(keys) == 0:
		return misused("hold: which keys?")
	case f.until != "" && f.off:
		return misused("hold: -until and -off do not go together")
	case f.until != "":
		var err error
		if until, err = parseDate(f.until); err != nil {
			return usageError{fmt.Errorf("hold: -until: %w", err)}
		}
	}
	locker, err := connection.As[connection.Locker](s.store)
	if err != nil {
		return err
	}
	return s.each(len(keys), func(i int) error {
		lock := connection.Lock{RetainUntil: until, LegalHold: !f.off}
		if f.until != "" {
			info, err := s.store.Stat(s.ctx, keys[i])
			if err != nil {
				return err
			}
			lock.LegalHold = info.Lock.LegalHold
		}
		if err := locker.Lock(s.ctx, keys[i], lock); err != nil {
			return err
		}
		text := "holding " + keys[i]
		switch {
		case f.off:
			text = "no longer holding " + keys[i]
		case f.until != "":
			text = fmt.Sprintf("retaining %s until %s", keys[i], until.Format(time.RFC3339))
		}
		return s.tell(map[string]any{"key": keys[i], "lock": lock}, text)
	})
}

func restoreCommand(flags *flag.FlagSet) func(*session, []string) error {
	days := flags.Int("days", 7, "for how many days the objects are to be readable")
	return func(s *session, keys []string) error {
		switch {
		case len(keys) == 0:
			return misused("restore: which keys?")
		case *days < 1:
			return misused("restore: -days %d: want at least 1", *days)
		}
		restorer, err := connection.As[connection.Restorer](s.store)
		if err != nil {
			return err
		}
		return s.each(len(keys), func(i int) error {
			if err := restorer.Restore(s.ctx, keys[i], time.Duration(*days)*24*time.Hour); err != nil {
				return err
			}
			info, err := s.store.Stat(s.ctx, keys[i])
			if err != nil {
				return err
			}
			state := map[connection.RestoreState]string{
				connection.RestoreNone:    "can be read, as it is in no cold tier",
				connection.RestoreNeeded:  "is asked for; the store does not tell more yet",
				connection.RestorePending: "is on its way, which takes hours: ask with stat",
				connection.RestoreDone:    "can be read",
			}[info.Restore]
			return s.tell(info, keys[i]+" "+state)
		})
	}
}
