// Command archive moves mail into an archive: it fetches every message, stores it under its SHA-256, and deletes it at
// the source only when it is safe.
//
//	go run ./examples/archive                                     a demonstration that needs nothing but Go
//	go run ./examples/archive -from mail.json -to ~/mail-archive  the same with your mail server
//	go run ./examples/archive -verify ~/mail-archive              read an archive and report any damage
//
// It is written to be copied: examples/internal/mailarchive is the archive and reads it again, job.go is what an
// archiver does with this library, and the rest is the command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/mailconn/mailconn/examples/internal/interrupt"
)

func main() {
	os.Exit(run(interrupt.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // something failed, or the archive is damaged
	exitUsage       = 2   // the command line is wrong
	exitInterrupted = 130 // Ctrl-C or SIGTERM; what is stored is acknowledged
)

type options struct {
	from, to, verify, otel              string
	follow, keep, test, asJSON, verbose bool
	workers                             int
}

const usage = `Archive moves mail into an archive, and deletes a message at its source only when it is safely stored.

  archive                                 a demonstration: a mail server on this machine, 300 messages, an archive
  archive -from mail.json -to DIR         move the mail of mail.json's server or folder into the archive DIR
  archive -from mail.json -to store.json  the same into any object store
  archive -verify DIR                     read the whole archive and report any damage

Samples of settings files are in examples/archive/settings. Begin with -test, then -keep.

`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("archive", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage) // nobody left to tell
		flags.PrintDefaults()
	}
	flags.StringVar(&o.from, "from", "", "settings `file` of the mail to archive")
	flags.StringVar(&o.to, "to", "", "archive: a `folder`, which is made if it is new, or the settings file of an object store")
	flags.StringVar(&o.verify, "verify", "", "read this archive, a `folder` or a settings file, and report damage")
	flags.BoolVar(&o.follow, "follow", false, "wait for more mail until Ctrl-C")
	flags.BoolVar(&o.keep, "keep", false, "delete nothing at the source")
	flags.BoolVar(&o.test, "test", false, "test the connections of -from and -to and stop; writes a small object to -to and removes it")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON lines for programs instead of text")
	flags.BoolVar(&o.verbose, "v", false, "log what the connections do, with the protocol but without secrets, to standard error")
	flags.StringVar(&o.otel, "otel", "", "export OpenTelemetry metrics and traces: stdout, or otlp for the collector of OTEL_EXPORTER_OTLP_ENDPOINT")
	flags.IntVar(&o.workers, "workers", 16, "messages stored at once")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: unexpected; flags need a dash, and settings files go with -from and -to", rest[0])
	case o.workers < 1:
		return fmt.Errorf("-workers %d: want at least 1", o.workers)
	case o.otel != "" && o.otel != otelStdout && o.otel != otelOTLP:
		return fmt.Errorf("-otel %s: want %s or %s", o.otel, otelStdout, otelOTLP)
	case o.verify != "" && (o.from != "" || o.to != "" || o.test || o.follow || o.keep):
		return errors.New("-verify: only -workers and -json go with it")
	case o.test && o.from == "" && o.to == "":
		return errors.New("-test: say what to test with -from, -to or both")
	case o.from != "" && o.to == "" && !o.test:
		return errors.New("-to: missing; say where to store the mail, for instance -to mail-archive")
	case o.from == "" && !o.test && (o.follow || o.keep):
		return errors.New("-from: missing; -follow and -keep need a source")
	}
	return nil
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "archive: %v\nTry -help.\n", err) // nobody left to tell
		return exitUsage
	}
	p := newPrinter(stdout, stderr, o.asJSON)
	measured, err := newTelemetry(ctx, o.otel, stdout)
	if err != nil {
		p.fail(err)
		return exitFailed
	}
	job := &job{options: o, printer: p, env: p.env(o.verbose), measured: measured}
	job.env.Observe = measured.observe(p.observe)
	noted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(noted)
		p.note("stopping: what is stored is acknowledged first. Press Ctrl-C again to end at once.")
	})
	defer func() {
		if !stop() {
			<-noted // it writes where the caller may read as soon as run has returned
		}
	}()
	switch {
	case o.verify != "":
		err = job.verifyArchive(ctx)
	case o.test:
		err = job.testBoth(ctx)
	case o.from == "":
		err = job.demonstrate(ctx)
	default:
		err = job.archive(ctx)
	}
	err = errors.Join(err, measured.stop())
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		p.fail(fmt.Errorf("interrupted: %w", err))
		return exitInterrupted
	}
	p.fail(err)
	return exitFailed
}
