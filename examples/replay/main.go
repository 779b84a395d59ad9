// Command replay sends messages of an archive again, as examples/archive made it: to a user who lost them, or to an
// auditor.
//
//	go run ./examples/replay      a demonstration that needs nothing but Go
//	go run ./examples/replay -archive ~/mail-archive -folder 'INBOX*' -to bob@example.org -via smtp.json -dry-run
//	go run ./examples/replay -archive ~/mail-archive -to bob@example.org -via smtp.json <sha256> <sha256>…
//
// It says of each message whether it was sent, refused and why, or whether that is unknown, and never sends one twice by
// itself. It is written to be copied: select.go finds messages in an archive, replay.go sends them, demo.go shows it, the
// rest is the command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mailconn/mailconn/examples/internal/interrupt"
)

func main() {
	os.Exit(run(interrupt.Context(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // something was refused, failed, or is unknown
	exitUsage       = 2   // the command line is wrong
	exitInterrupted = 130 // Ctrl-C or SIGTERM
)

type options struct {
	archive, via, to, from, list string
	query                        query
	keys                         []string
	dryRun, test                 bool
}

const usage = `Replay sends messages of an archive, as examples/archive makes it, again.

  replay                                                               a demonstration: an archive, a mail server, and what it says
  replay -archive DIR -via smtp.json -to bob@example.org KEY…          these messages, by key or SHA-256
  replay -archive DIR -via smtp.json -to bob@example.org -list FILE    those that a file lists, one a line; - is standard input
  replay -archive DIR -via smtp.json -to bob@example.org -folder INBOX those that the manifests know, by folder, time, mailbox
  replay -archive DIR -folder '*' -dry-run                             shows what would be sent; with -via also tests the server
  replay -archive DIR -via smtp.json -test                             tests the connections

The archive may also be the settings file of an object store. A sample of smtp.json is in examples/archive/settings.
Of each message it says one of: sent, sent to some, refused, not sent, unknown. Unknown means that the connection was lost
before the server's answer to the whole message: look at the recipient before sending it again.

`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage) // nobody left to tell
		flags.PrintDefaults()
	}
	flags.StringVar(&o.archive, "archive", "", "archive: a `folder`, or the settings file of an object store")
	flags.StringVar(&o.via, "via", "", "settings `file` of the server to send through")
	flags.StringVar(&o.to, "to", "", "`address` to send to, or several with commas between them")
	flags.StringVar(&o.from, "from", "", "envelope sender, an `address`; without it the one that the manifest knows, else from_address of the settings")
	flags.StringVar(&o.list, "list", "", "`file` that lists keys, one a line; - is standard input")
	flags.StringVar(&o.query.folder, "folder", "", "messages of folders that match this `pattern`: * stands for anything but /")
	flags.StringVar(&o.query.mailbox, "mailbox", "", "messages of this `mailbox`")
	flags.Func("since", "messages received at or after this `time`, 2026-01-31 or 2026-01-31T12:00:00Z; stored, where the source keeps no times", func(s string) error { return parseTime(s, &o.query.since) })
	flags.Func("until", "messages received before this `time`", func(s string) error { return parseTime(s, &o.query.until) })
	flags.BoolVar(&o.dryRun, "dry-run", false, "send nothing; show what would be sent")
	flags.BoolVar(&o.test, "test", false, "test the connections and stop")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.keys = flags.Args()
	return o, o.check()
}

func parseTime(s string, t *time.Time) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, s); err == nil {
			*t = at
			return nil
		}
	}
	return errors.New("want 2026-01-31, or 2026-01-31T12:00:00Z")
}

func (o *options) check() error {
	switch {
	case o.archive == "":
		return errors.New("-archive: missing; say where the messages are")
	case o.via == "" && !o.dryRun:
		return errors.New("-via: missing; say through which server to send, or look first with -dry-run")
	case o.test:
		return nil
	case o.to == "" && !o.dryRun:
		return errors.New("-to: missing; say to whom to send")
	case len(o.keys) == 0 && o.list == "" && o.query.empty():
		return errors.New("say which messages: keys, -list, or -folder, -mailbox, -since, -until; -folder '*' is all that are in folders of the first level")
	}
	for _, address := range o.recipients() {
		if _, domain, _ := strings.Cut(address, "@"); domain == "" {
			return fmt.Errorf("-to: %q: want addresses such as bob@example.org, with commas between them", address)
		}
	}
	return o.query.check()
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case len(args) == 0: // a demonstration
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "replay: %v\nTry -help.\n", err) // nobody left to tell
		return exitUsage
	}
	if len(args) == 0 {
		err = demonstrate(ctx, stdout)
	} else {
		err = replay(ctx, o, stdin, stdout)
	}
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		_, _ = fmt.Fprintf(stderr, "replay: interrupted: %v\n", err)
		return exitInterrupted
	default:
		_, _ = fmt.Fprintf(stderr, "replay: %v\n", err)
		return exitFailed
	}
}

// recipients splits -to.
func (o *options) recipients() []string {
	var all []string
	for address := range strings.SplitSeq(o.to, ",") {
		if address = strings.TrimSpace(address); address != "" {
			all = append(all, address)
		}
	}
	return all
}
