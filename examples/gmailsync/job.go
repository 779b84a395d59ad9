package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
	"github.com/mailconn/mailconn/gmail"
)

// A job is one run of the program.
type job struct {
	options
	*mirrored.Printer
	env *connection.Env
}

func (j *job) do(ctx context.Context) (err error) {
	var archive *mirrored.Archive
	var memory *state
	if j.to != "" {
		store, err := mirrored.OpenStore(j.to, j.env)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		archive = mirrored.NewArchive(store)
		memory = &state{store}
	}
	source, err := j.openGmail(memory)
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
		j.Report(report)
	}
	return err
}

// listed is -list.
func (j *job) listed(ctx context.Context, source connection.MailboxLister) error {
	chosen, err := mirrored.NewSelection("filter", j.filter)
	if err != nil {
		return err
	}
	for mb, err := range source.Mailboxes(ctx, nil) {
		if err != nil {
			return err
		}
		if chosen.Match(mb) {
			j.Event("mailbox", mb)
			j.Say("%s\t%s", mirrored.Address(mb), mb.Display)
		}
	}
	return nil
}

// mirror brings the archive in step with Google.
func (j *job) mirror(ctx context.Context, source *gmail.Conn, archive *mirrored.Archive) error {
	chosen, err := mirrored.NewSelection("filter", j.filter)
	if err != nil {
		return err
	}
	began := time.Now()
	j.Say("Mirroring %s into %s.", source.Info().Endpoint, archive.Endpoint())
	plan := &forecast{workers: j.workers, usage: source.Usage}
	if err := plan.make(ctx, source, archive, chosen); err != nil {
		return err
	}
	now := plan.now()
	j.Event("forecast", now)
	if text := now.String(); text != "" {
		j.Say("%s", text)
	}
	j.Forecast = plan.progress
	archive.Progress = func(mailbox string, c *connection.Change, octets int64) {
		plan.advanced(mailbox, c.Op)
		j.Advanced(mailbox, c, octets)
	}
	interval, idle := source.Polling()
	if j.interval > 0 {
		interval = j.interval
	}
	opts := &connection.MirrorOptions{
		Match: func(mb *connection.Mailbox) bool {
			j.Name(mb)
			return chosen.Match(mb)
		},
		Workers: j.workers,
		OnError: j.Problem,
		Observe: j.Observe,
	}
	if !j.once {
		opts.Interval, opts.IdleInterval = interval, max(interval, idle)
	}
	ended := func(mailbox string, whole bool) {
		j.Ended(mailbox, whole)
		if whole && plan.ended(mailbox) {
			if err := archive.Finish(ctx, mailbox); err != nil {
				j.Problem(mailbox, err)
			}
		}
	}
	stats, err := connection.Mirror(ctx, mirrored.Watched{MailboxSyncer: source, Ended: ended}, archive, archive, opts)
	spent := source.Usage().Day
	j.Event("done", map[string]any{"mirror": stats, "seconds": time.Since(began).Seconds(), "units_today": spent})
	j.Say("%s up to date, %s failed; %s new, %s changed, %s removed at Google, in %s; %s spent today.",
		mirrored.Counted(stats.Mailboxes, "mailbox", "mailboxes"), mirrored.Number(stats.Failed), mirrored.Counted(stats.Added, "message", "messages"),
		mirrored.Number(stats.Updated), mirrored.Number(stats.Removed), time.Since(began).Round(10*time.Millisecond), mirrored.Counted(spent, "quota unit", "quota units"))
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case stats.Mailboxes == 0:
		// One mailbox that fails is its own matter. If all do, something is wrong that a test can name.
		return errors.Join(errors.New("no mailbox could be mirrored; this is what a test says"), j.tested(ctx, source))
	case stats.Failed > 0:
		// Each was shown when it happened.
		return fmt.Errorf("%s could not be mirrored whole", mirrored.Counted(stats.Failed, "mailbox", "mailboxes"))
	}
	return err
}
