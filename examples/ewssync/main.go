// Command ewssync mirrors the mailboxes of an Exchange server into an archive, and keeps the archive in step.
//
//	go run ./examples/ewssync -settings exchange.json -to ~/mail-archive            all mailboxes, once
//	go run ./examples/ewssync -settings exchange.json -to ~/mail-archive -follow    ... again and again
//	go run ./examples/ewssync -settings exchange.json -test                         see what would fail
//
// It is written to be copied: job.go is what a program does with this library, and the rest is the command line. The archive
// that connection.Mirror fills is in examples/internal/mirrored.
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
	os.Exit(run(interrupt.Context(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // something failed: a mailbox perhaps; the others are in step
	exitUsage       = 2   // the command line is wrong
	exitInterrupted = 130 // Ctrl-C or SIGTERM; what was stored is kept
)

type options struct {
	settings, server, username, passwordFile string
	to, mailboxes                            string
	once, follow, test, list, asJSON         bool
	verbose                                  bool
	interval                                 time.Duration
	workers                                  int
}

const usage = `Ewssync mirrors the mailboxes of an Exchange server into an archive. It changes nothing on the server.

  ewssync -settings exchange.json -to DIR              all mailboxes, once; run it again to fetch what is new
  ewssync -settings exchange.json -to DIR -follow      again and again, until Ctrl-C
  ewssync -server mail.example.org -username svc@example.org -password-file pw -mailboxes ann@example.org -to DIR

A sample of a settings file is in examples/ewssync/settings. Begin with -test, then -list.

`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("ewssync", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage) // nobody left to tell
		flags.PrintDefaults()
	}
	flags.StringVar(&o.settings, "settings", "", "settings `file` of the Exchange server")
	flags.StringVar(&o.server, "server", "", "without -settings: the server's fully qualified `name`")
	flags.StringVar(&o.username, "username", "", "without -settings: the `account` with impersonation rights")
	flags.StringVar(&o.passwordFile, "password-file", "", "without -settings: `file` whose first line is the account's password, - for standard input")
	flags.StringVar(&o.to, "to", "", "archive: a `folder`, which is made if it is new, or the settings file of a store of files")
	flags.StringVar(&o.mailboxes, "mailboxes", "", "only these mailboxes: `addresses` or patterns such as *@sales.example.org, with commas between")
	flags.BoolVar(&o.once, "once", false, "bring every mailbox up to date and stop; so it is without -follow, too")
	flags.BoolVar(&o.follow, "follow", false, "look for changes again and again, until Ctrl-C")
	flags.DurationVar(&o.interval, "interval", time.Minute, "with -follow: the pause between")
	flags.BoolVar(&o.test, "test", false, "test the connection and stop")
	flags.BoolVar(&o.list, "list", false, "list the mailboxes and stop")
	flags.IntVar(&o.workers, "workers", 4, "mailboxes synced at once")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON lines for programs instead of text")
	flags.BoolVar(&o.verbose, "v", false, "log what the connections do, with the protocol but without secrets, to standard error")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	server := o.server != "" || o.username != "" || o.passwordFile != ""
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: unexpected; flags need a dash, and mailboxes go with -mailboxes", rest[0])
	case o.settings != "" && server:
		return errors.New("-settings: -server, -username and -password-file do not go with it")
	case o.settings == "" && o.username == "":
		return errors.New("-settings: missing; or give -server, -username and -password-file")
	case o.settings == "" && o.passwordFile == "":
		return errors.New("-password-file: missing; a password in the command line would be seen by everybody on this machine")
	case o.once && o.follow:
		return errors.New("-once: does not go with -follow")
	case o.to == "" && !o.test && !o.list:
		return errors.New("-to: missing; say where to store the mail, for instance -to mail-archive")
	case o.interval <= 0:
		return fmt.Errorf("-interval %s: want more than nothing", o.interval)
	case o.workers < 1:
		return fmt.Errorf("-workers %d: want at least 1", o.workers)
	}
	_, err := mirrored.NewSelection("mailboxes", o.mailboxes)
	return err
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "ewssync: %v\nTry -help.\n", err) // nobody left to tell
		return exitUsage
	}
	p := &mirrored.Printer{Program: "ewssync", Source: "on the server", Out: stdout, Errs: stderr, JSON: o.asJSON}
	job := &job{options: o, Printer: p, env: p.Env(o.verbose), stdin: stdin}
	job.env.Observe = job.observe
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
