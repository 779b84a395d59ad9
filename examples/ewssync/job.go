package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A job is one run of the program.
type job struct {
	options
	*printer
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
	store, err := j.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return j.mirror(ctx, source, NewArchive(store))
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
func (j *job) listed(ctx context.Context, source server) error {
	chosen, err := newSelection(j.mailboxes)
	if err != nil {
		return err
	}
	for mb, err := range source.Mailboxes(ctx, nil) {
		if err != nil {
			return err
		}
		if chosen.match(mb) {
			j.event("mailbox", mb)
			j.say("%s", mb.Name)
		}
	}
	return nil
}

// mirror brings the archive in step with the server.
func (j *job) mirror(ctx context.Context, source server, archive *Archive) error {
	chosen, err := newSelection(j.mailboxes)
	if err != nil {
		return err
	}
	began := time.Now()
	j.say("Mirroring %s into %s.", source.Info().Endpoint, archive.store.Info().Endpoint)
	archive.Progress = j.advanced
	opts := &connection.MirrorOptions{
		Match:   chosen.match,
		Workers: j.workers,
		OnError: j.problem,
		Observe: j.observe,
	}
	if j.follow {
		opts.Interval = j.interval
	}
	stats, err := connection.Mirror(ctx, watched{source, j.ended}, archive, archive, opts)
	j.event("done", map[string]any{"mirror": stats, "seconds": time.Since(began).Seconds()})
	j.say("%s up to date, %s failed; %s new, %s changed, %s removed on the server, in %s.",
		counted(stats.Mailboxes, "mailbox", "mailboxes"), number(stats.Failed), counted(stats.Added, "message", "messages"),
		number(stats.Updated), number(stats.Removed), time.Since(began).Round(10*time.Millisecond))
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
	server
	ended func(mailbox string, whole bool)
}

func (w watched) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return func(yield func(*connection.Change, error) bool) {
		whole := true
		defer func() { w.ended(opts.Mailbox, whole) }()
		for c, err := range w.server.Sync(ctx, since, opts) {
			whole = whole && err == nil
			if !yield(c, err) {
				whole = false
				return
			}
		}
	}
}
