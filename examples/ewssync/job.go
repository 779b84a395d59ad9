package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
)

// A job is one run of the program.
type job struct {
	options
	*mirrored.Printer
	env   *connection.Env
	stdin io.Reader
}

func (j *job) do(ctx context.Context) (err error) {
	source, err := j.openServer()
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
	store, err := mirrored.OpenStore(j.to, j.env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return j.mirror(ctx, source, mirrored.NewArchive(store))
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
func (j *job) listed(ctx context.Context, source server) error {
	chosen, err := mirrored.NewSelection("mailboxes", j.mailboxes)
	if err != nil {
		return err
	}
	for mb, err := range source.Mailboxes(ctx, nil) {
		if err != nil {
			return err
		}
		if chosen.Match(mb) {
			j.Event("mailbox", mb)
			j.Say("%s", mb.Name)
		}
	}
	return nil
}

// mirror brings the archive in step with the server.
func (j *job) mirror(ctx context.Context, source server, archive *mirrored.Archive) error {
	chosen, err := mirrored.NewSelection("mailboxes", j.mailboxes)
	if err != nil {
		return err
	}
	began := time.Now()
	j.Say("Mirroring %s into %s.", source.Info().Endpoint, archive.Endpoint())
	archive.Progress = j.Advanced
	opts := &connection.MirrorOptions{
		Match:   chosen.Match,
		Workers: j.workers,
		OnError: j.Problem,
		Observe: j.observe,
	}
	if j.follow {
		opts.Interval = j.interval
	}
	stats, err := connection.Mirror(ctx, mirrored.Watched{MailboxSyncer: source, Ended: j.Ended}, archive, archive, opts)
	j.Event("done", map[string]any{"mirror": stats, "seconds": time.Since(began).Seconds()})
	j.Say("%s up to date, %s failed; %s new, %s changed, %s removed on the server, in %s.",
		mirrored.Counted(stats.Mailboxes, "mailbox", "mailboxes"), mirrored.Number(stats.Failed), mirrored.Counted(stats.Added, "message", "messages"),
		mirrored.Number(stats.Updated), mirrored.Number(stats.Removed), time.Since(began).Round(10*time.Millisecond))
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

// observe shows what a person who waits wants to know. What is skipped or odd is not told: Exchange keeps many items that are no
// mail.
func (j *job) observe(ev connection.Event) {
	switch ev.Kind {
	case connection.EventRetry, connection.EventThrottled, connection.EventInsecure, connection.EventNotice, connection.EventPoisoned, connection.EventRestarted:
		j.Tell(ev)
	default: // progress tells the rest
	}
}
