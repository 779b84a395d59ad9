package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

// A job is one run of the program.
type job struct {
	options
	*printer
	env *connection.Env
}

func (j *job) do(ctx context.Context) (err error) {
	var archive *Archive
	if j.to != "" {
		store, err := j.openStore()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		archive = NewArchive(store)
	}
	source, err := j.openGmail(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	switch {
	case j.test:
		return j.tested(ctx, source)
	case j.list:
		return j.listed(ctx, source)
	}
	return j.mirror(ctx, source, archive)
}

// tested is -test.
func (j *job) tested(ctx context.Context, source connection.Connection) error {
	report, err := source.Test(ctx, nil)
	if ctx.Err() == nil {
		j.report(report)
	}
	return err
}

// listed is -list.
func (j *job) listed(ctx context.Context, source connection.MailboxLister) error {
	chosen, err := newSelection(j.filter)
	if err != nil {
		return err
	}
	for mb, err := range source.Mailboxes(ctx, nil) {
		if err != nil {
			return err
		}
		if chosen.match(mb) {
			j.event("mailbox", mb)
			j.say("%s\t%s", address(mb), mb.Display)
		}
	}
	return nil
}

// mirror brings the archive in step with Google.
func (j *job) mirror(ctx context.Context, source *gmail.Conn, archive *Archive) error {
	chosen, err := newSelection(j.filter)
	if err != nil {
		return err
	}
	began := time.Now()
	j.say("Mirroring %s into %s.", source.Info().Endpoint, archive.store.Info().Endpoint)
	plan := &forecast{workers: j.workers, usage: source.Usage}
	if err := plan.make(ctx, source, archive, chosen); err != nil {
		return err
	}
	j.planned(plan)
	archive.Progress = func(mailbox string, c *connection.Change, octets int64) {
		plan.advanced(mailbox, c.Op)
		j.advanced(mailbox, c, octets)
	}
	interval, idle := source.Polling()
	if j.interval > 0 {
		interval = j.interval
	}
	opts := &connection.MirrorOptions{
		Match: func(mb *connection.Mailbox) bool {
			j.name(mb)
			return chosen.match(mb)
		},
		Workers: j.workers,
		OnError: j.problem,
		Observe: j.observe,
	}
	if !j.once {
		opts.Interval, opts.IdleInterval = interval, max(interval, idle)
	}
	ended := func(mailbox string, whole bool) {
		j.ended(mailbox, whole)
		if whole && plan.ended(mailbox) {
			if err := archive.Finish(ctx, mailbox); err != nil {
				j.problem(mailbox, err)
			}
		}
	}
	stats, err := connection.Mirror(ctx, watched{source, ended}, archive, archive, opts)
	spent := source.Usage().Day
	j.event("done", map[string]any{"mirror": stats, "seconds": time.Since(began).Seconds(), "units_today": spent})
	j.say("%s up to date, %s failed; %s new, %s changed, %s removed at Google, in %s; %s spent today.",
		counted(stats.Mailboxes, "mailbox", "mailboxes"), number(stats.Failed), counted(stats.Added, "message", "messages"),
		number(stats.Updated), number(stats.Removed), time.Since(began).Round(10*time.Millisecond), counted(spent, "quota unit", "quota units"))
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case stats.Mailboxes == 0:
		// One mailbox that fails is its own matter. If all do, something is wrong that a test can name.
		return errors.Join(errors.New("no mailbox could be mirrored; this is what a test says"), j.tested(ctx, source))
	case stats.Failed > 0:
		// Each was shown when it happened.
		return fmt.Errorf("%s could not be mirrored whole", counted(stats.Failed, "mailbox", "mailboxes"))
	}
	return err
}

// watched tells when the Sync of a mailbox has ended.
type watched struct {
	connection.MailboxSyncer
	ended func(mailbox string, whole bool)
}

func (w watched) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return func(yield func(*connection.Change, error) bool) {
		whole := true
		defer func() { w.ended(opts.Mailbox, whole) }()
		for c, err := range w.MailboxSyncer.Sync(ctx, since, opts) {
			whole = whole && err == nil
			if !yield(c, err) {
				whole = false
				return
			}
		}
	}
}
