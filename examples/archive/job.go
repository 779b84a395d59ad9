package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
)

// A job is one run of the program.
type job struct {
	options
	*printer
	env      *connection.Env
	measured *telemetry
	total    int64 // messages at the source, if known
}

// archive moves the mail of -from into -to.
func (j *job) archive(ctx context.Context) (err error) {
	source, err := openSource(j.from, j.env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed("-from", source)) }()
	store, err := openStore(j.to, j.env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed("-to", store)) }()
	if err := j.tested(ctx, source, store); err != nil {
		return err
	}
	_, err = j.drain(ctx, source, store)
	if err == nil {
		j.say("Read it all again and look for damage at any time: go run ./examples/archive -verify %s", j.to)
	}
	return err
}

// tested tests both ends before anything is moved, and shows the report of one that fails.
func (j *job) tested(ctx context.Context, source connection.Source, store connection.ObjectStore) error {
	for _, end := range []struct {
		name string
		connection.Connection
		connection.TestOptions
	}{
		{"-from", source, connection.TestOptions{}},
		{"-to", store, connection.TestOptions{Write: true}},
	} {
		report, err := end.Test(ctx, &end.TestOptions)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			j.report(end.name, report)
			return fmt.Errorf("%s: %w", end.name, err)
		}
	}
	return nil
}

// testBoth is -test.
func (j *job) testBoth(ctx context.Context) error {
	var failed []error
	test := func(name, path string, opts connection.TestOptions, open func() (connection.Connection, error)) {
		if path == "" {
			return
		}
		c, err := open()
		if err != nil {
			failed = append(failed, err)
			return
		}
		report, err := c.Test(ctx, &opts)
		j.report(name, report)
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		failed = append(failed, err, closed(name, c))
	}
	test("-from", j.from, connection.TestOptions{}, func() (connection.Connection, error) { return openSource(j.from, j.env) })
	test("-to", j.to, connection.TestOptions{Write: true}, func() (connection.Connection, error) { return openStore(j.to, j.env) })
	if err := errors.Join(failed...); err != nil {
		return err
	}
	j.say("Everything works.")
	return nil
}

// drain moves the mail and prints what became of it.
func (j *job) drain(ctx context.Context, source connection.Source, store connection.ObjectStore) (connection.DrainStats, error) {
	began := time.Now()
	archive := mailarchive.New(store, source.Info())
	j.event("start", map[string]any{"from": source.Info(), "to": store.Info(), "run": archive.Run()})
	j.say("Reading from %s.", endpoint(source.Info()))
	j.say("Storing into %s.", endpoint(store.Info()))
	if j.follow {
		j.say("Waiting for more mail when there is none left; Ctrl-C ends that.")
	}
	stats, err := connection.Drain(ctx, source, archive.Store, &connection.DrainOptions{
		Fetch:   connection.FetchOptions{Follow: j.follow},
		Workers: j.workers,
		Keep:    j.keep,
		OnError: func(_ connection.Ref, err error) { j.problem(err) },
		Progress: func(s connection.DrainStats) {
			if s.Stored+s.Failed > 0 {
				j.progress("progress", s, func() string { return j.progressText(s, began) })
			}
		},
		Observe: j.measured.observe(func(ev connection.Event) {
			if ev.Kind == connection.EventPoisoned { // OnError tells the rest
				j.observe(ev)
			}
		}),
	})
	counts := archive.Counts()
	j.event("done", map[string]any{"drain": stats, "archive": counts, "run": archive.Run(), "seconds": time.Since(began).Seconds()})
	j.say("%s", j.summary(stats, counts, time.Since(began)))
	if stats.Stored > 0 {
		j.say("The manifest of this run is %s%s.", mailarchive.ManifestsPrefix, archive.Run())
	}
	return stats, err
}

func (j *job) progressText(s connection.DrainStats, began time.Time) string {
	stored := counted(s.Stored, "message")
	if j.total > 0 {
		stored = number(s.Stored) + " of " + counted(j.total, "message")
	}
	text := fmt.Sprintf("  %s stored, %s, %s", stored, octets(s.Bytes), rate(s.Stored, began))
	if !j.keep {
		text += fmt.Sprintf(", %s deleted at the source", number(s.Deleted))
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(", %s", counted(s.Failed, "failure"))
	}
	return text
}

func (j *job) summary(s connection.DrainStats, c mailarchive.Counts, took time.Duration) string {
	text := fmt.Sprintf("Stored %s (%s) in %s", counted(s.Stored, "message"), octets(s.Bytes), took.Round(10*time.Millisecond))
	if c.Known > 0 {
		text += fmt.Sprintf("; the archive had %s of them already, whole", number(c.Known))
	}
	if c.Repaired > 0 {
		text += fmt.Sprintf("; %s in the archive were damaged and are replaced", number(c.Repaired))
	}
	switch {
	case j.keep:
		text += ". Nothing was deleted at the source"
	default:
		text += fmt.Sprintf(". Deleted %s at the source", number(s.Deleted))
	}
	if s.Poisoned > 0 {
		text += fmt.Sprintf(". %s could not be stored and stayed there", counted(s.Poisoned, "message"))
	}
	return text + "."
}

// verifyArchive is -verify.
func (j *job) verifyArchive(ctx context.Context) (err error) {
	store, err := openArchive(j.verify, j.env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed("-verify", store)) }()
	j.say("Reading all of %s.", endpoint(store.Info()))
	_, err = j.check(ctx, store)
	return err
}

// check verifies the archive in store and prints what was found. Damage is an error.
func (j *job) check(ctx context.Context, store connection.ObjectStore) (mailarchive.VerifyReport, error) {
	began := time.Now()
	report, err := mailarchive.Verify(ctx, store, &mailarchive.VerifyOptions{
		Workers: j.workers,
		Damage: func(d mailarchive.Damage) {
			j.event("damage", d)
			j.say("%s: %s: %s", d.Kind, d.Key, d.Detail)
		},
		Progress: func(r mailarchive.VerifyReport) {
			j.progress("progress", r, func() string {
				return fmt.Sprintf("  %s read, %s, %s", counted(r.Messages, "message"), octets(r.Bytes), rate(r.Messages, began))
			})
		},
	})
	if err != nil {
		return report, err
	}
	j.event("verified", report)
	j.say("Read %s (%s) and %s of %s in %s.", counted(report.Messages, "message"), octets(report.Bytes),
		counted(report.Lines, "manifest line"), counted(report.Runs, "run"), time.Since(began).Round(10*time.Millisecond))
	if report.Unlisted > 0 {
		j.say("Whole, but in no manifest: %s. A run that is stopped leaves some; that alone is no damage.", counted(report.Unlisted, "message"))
	}
	if report.Foreign > 0 {
		j.say("No part of the archive, and left alone: %s.", counted(report.Foreign, "object"))
	}
	switch {
	case report.Damaged > 0:
		return report, fmt.Errorf("the archive is damaged: %s, listed above", counted(report.Damaged, "finding"))
	case report.Messages == 0:
		j.say("There is no message here yet.")
	default:
		j.say("Every message hashes to its name, and every manifest line leads to a message: the archive is whole.")
	}
	return report, nil
}

// closed closes c. An error is told: an expunge that was still due may have failed.
func closed(name string, c connection.Connection) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("%s: close: %w", name, err)
	}
	return nil
}

func endpoint(info connection.Info) string {
	text := info.Driver + " " + info.Endpoint
	if info.Name != "" {
		text = info.Name + " (" + text + ")"
	}
	return text
}
