// Command gmailsync mirrors the mailboxes of a Google Workspace domain, or one mailbox of Gmail, into an archive, and keeps
// the archive in step.
//
//	go run ./examples/gmailsync -settings domain.json -to ~/mail-archive            all mailboxes, again and again
//	go run ./examples/gmailsync -settings domain.json -to ~/mail-archive -once      ... once
//	go run ./examples/gmailsync -settings domain.json -test                         see what would fail
//
// It is written to be copied: job.go is what a program does with this library, forecast.go tells how long it will take, and the
// rest is the command line. The archive that connection.Mirror fills is in examples/internal/mirrored.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mailconn/mailconn/examples/internal/interrupt"

	"github.com/mailconn/mailconn/examples/internal/mirrored"
)

func main() {
	os.Exit(run(interrupt.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // something failed: a mailbox perhaps; the others are in step
	exitUsage       = 2   // the command line is wrong
	exitInterrupted = 130 // Ctrl-C or SIGTERM; what was stored is kept
)

type options struct {
	settings, credentials, admin string
	to, filter                   string
	once, test, list, asJSON     bool
	verbose                      bool
	interval                     time.Duration
	workers                      int
}

const usage = `Gmailsync mirrors the mailboxes of a Google Workspace domain, or one mailbox of Gmail, into an archive. It changes nothing
at Google.

  gmailsync -settings domain.json -to DIR             all mailboxes, again and again, until Ctrl-C
  gmailsync -settings domain.json -to DIR -once       all mailboxes, once; run it again to fetch what is new
  gmailsync -credentials key.json -admin admin@example.org -filter '*@sales.example.org' -to DIR

Samples of settings files, for a domain and for one person, are in examples/gmailsync/settings. Begin with -test, then -list.

`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("gmailsync", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage) // nobody left to tell
		flags.PrintDefaults()
	}
	flags.StringVar(&o.settings, "settings", "", "settings `file` of the domain, or of one person's mailbox")
	flags.StringVar(&o.credentials, "credentials", "", "without -settings: the `file` with the JSON key of the service account")
	flags.StringVar(&o.admin, "admin", "", "without -settings: the `address` of an administrator, in whose name the directory is read")
	flags.StringVar(&o.to, "to", "", "archive: a `folder`, which is made if it is new, or the settings file of a store of files")
	flags.StringVar(&o.filter, "filter", "", "only these mailboxes: `addresses` or patterns such as *@sales.example.org, with commas between")
	flags.BoolVar(&o.once, "once", false, "bring every mailbox up to date and stop")
	flags.DurationVar(&o.interval, "interval", 0, "without -once: the pause between two looks at an active mailbox; 0 = what the settings say (poll_interval)")
	flags.BoolVar(&o.test, "test", false, "test the connection and stop")
	flags.BoolVar(&o.list, "list", false, "list the mailboxes and stop")
	flags.IntVar(&o.workers, "workers", 16, "mailboxes synced at once: Google limits each of them, not all together")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON lines for programs instead of text")
	flags.BoolVar(&o.verbose, "v", false, "log what the connections do, without secrets, to standard error")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	named := o.credentials != "" || o.admin != ""
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: unexpected; flags need a dash, and mailboxes go with -filter", rest[0])
	case o.settings != "" && named:
		return errors.New("-settings: -credentials and -admin do not go with it")
	case o.settings == "" && o.credentials == "":
		return errors.New("-settings: missing; or give -credentials and -admin")
	case o.settings == "" && o.admin == "":
		return errors.New("-admin: missing; a service account reads the directory in an administrator's name")
	case o.to == "" && !o.test && !o.list:
		return errors.New("-to: missing; say where to store the mail, for instance -to mail-archive")
	case o.interval < 0:
		return fmt.Errorf("-interval %s: want 0 or more", o.interval)
	case o.workers < 1:
		return fmt.Errorf("-workers %d: want at least 1", o.workers)
	}
	_, err := mirrored.NewSelection("filter", o.filter)
	return err
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "gmailsync: %v\nTry -help.\n", err) // nobody left to tell
		return exitUsage
	}
	p := &mirrored.Printer{Program: "gmailsync", Source: "at Google", Out: stdout, Errs: stderr, JSON: o.asJSON}
	job := &job{options: o, Printer: p, env: p.Env(o.verbose)}
	noted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(noted)
		p.Note("stopping. Press Ctrl-C again to end at once.")
	})
	err = job.do(ctx)
	if !stop() {
		<-noted
	}
	switch {
	case ctx.Err() != nil:
		p.Fail(fmt.Errorf("interrupted: %w", context.Cause(ctx)))
		return exitInterrupted
	case err != nil:
		p.Fail(err)
		return exitFailed
	}
	return exitOK
}
