// Command volume looks after a bucket: it stores files in any object store, reads them back, lists, checks, locks,
// restores and removes them.
//
//	go run ./examples/volume -settings store.json put letter.eml
//	go run ./examples/volume -settings store.json verify
//
// It is written to be copied: each verb is a short function over connection.ObjectStore, and works with every driver.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/examples/internal/interrupt"

	"github.com/mailconn/mailconn/connection"
)

func main() {
	os.Exit(run(interrupt.Context(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // something failed, or an object is damaged
	exitUsage       = 2   // the command line is wrong
	exitInterrupted = 130 // Ctrl-C or SIGTERM
)

const usage = `Volume looks after the objects of a bucket.

  volume -settings FILE test [-write]                  test the connection
  volume -settings FILE put [flags] FILE|FOLDER|- …    store files, all files of folders, or standard input (-as KEY)
  volume -settings FILE get [flags] KEY [FILE|-]       read an object into a file, or to standard output
  volume -settings FILE ls [-d] [PREFIX]               list keys; -d folds what is behind the next slash
  volume -settings FILE stat KEY …                     describe objects
  volume -settings FILE rm KEY …                       remove objects
  volume -settings FILE verify [PREFIX]                read everything, compare it with its digests, report damage
  volume -settings FILE hold [flags] KEY …             protect objects from change: legal hold, or retention with -until
  volume -settings FILE restore [-days N] KEY …        bring objects back from a cold tier

FILE is a settings file as in examples/archive/settings, or a folder, which then is the store.
Flags of a command come behind its name: volume put -help.

`

// A session is one run of the program.
type session struct {
	ctx     context.Context //nolint:containedctx // of the program
	store   connection.ObjectStore
	in      io.Reader
	json    bool
	workers int
	printer
}

// A command is a verb of the command line. parse defines its flags and returns what runs it with the arguments behind
// them; an error of that type usageError shows how it is used.
type command struct {
	name  string
	args  string // for its usage
	parse func(flags *flag.FlagSet) func(s *session, args []string) error
}

var commands = [...]command{
	{"test", "[-write]", testCommand},
	{"put", "[flags] FILE|FOLDER|- …", putCommand},
	{"get", "[flags] KEY [FILE|-]", getCommand},
	{"ls", "[-d] [PREFIX]", listCommand},
	{"stat", "KEY …", statCommand},
	{"rm", "KEY …", removeCommand},
	{"verify", "[PREFIX]", verifyCommand},
	{"hold", "[-until DATE | -off] KEY …", holdCommand},
	{"restore", "[-days N] KEY …", restoreCommand},
}

// A usageError is a command line that makes no sense.
type usageError struct{ error }

func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	s := &session{ctx: ctx, in: in, printer: newPrinter(out, errs)}
	err := s.run(args)
	var use usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &use):
		s.complain("volume: %v\nTry volume -help.", err)
		return exitUsage
	case ctx.Err() != nil:
		s.complain("volume: interrupted: %v", err)
		return exitInterrupted
	}
	s.complain("volume: %v", err)
	return exitFailed
}

func (s *session) run(args []string) (err error) {
	flags := flag.NewFlagSet("volume", flag.ContinueOnError)
	flags.SetOutput(s.errs)
	flags.Usage = func() {
		s.complain("%s", strings.TrimSuffix(usage, "\n"))
		flags.PrintDefaults()
	}
	settings := flags.String("settings", "", "settings `file` of the store, or a folder")
	verbose := flags.Bool("v", false, "log what the connection does, without secrets, to standard error")
	flags.BoolVar(&s.json, "json", false, "print JSON lines for programs")
	flags.IntVar(&s.workers, "workers", 8, "objects in work at once")
	if err := flags.Parse(args); err != nil {
		return asUsage(err)
	}
	if flags.NArg() == 0 {
		return misused("say what to do: %s", strings.Join(names(), ", "))
	}
	at := slices.Index(names(), flags.Arg(0))
	if at < 0 {
		return misused("%q is no command; there are %s", flags.Arg(0), strings.Join(names(), ", "))
	}
	cmd := commands[at]
	own := flag.NewFlagSet("volume "+cmd.name, flag.ContinueOnError)
	own.SetOutput(s.errs)
	own.Usage = func() {
		s.complain("volume -settings FILE %s %s", cmd.name, cmd.args)
		own.PrintDefaults()
	}
	do := cmd.parse(own)
	if err := own.Parse(flags.Args()[1:]); err != nil {
		return asUsage(err)
	}
	switch {
	case *settings == "":
		return misused("-settings: missing; samples are in examples/archive/settings")
	case s.workers < 1:
		return misused("-workers %d: want at least 1", s.workers)
	}
	if s.store, err = openStore(*settings, s.env(*verbose)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	return do(s, own.Args())
}

// asUsage marks an error of the flags; asking for help is none.
func asUsage(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err}
}

func names() []string {
	all := make([]string, len(commands))
	for i, c := range commands {
		all[i] = c.name
	}
	return all
}

// env is what the connection is lent.
func (s *session) env(verbose bool) *connection.Env {
	env := &connection.Env{Observe: func(ev connection.Event) {
		switch ev.Kind {
		case connection.EventRetry, connection.EventThrottled:
			s.complain("note: %s: trying again: %v", ev.Detail, ev.Err)
		case connection.EventMarker:
			s.complain("note: %s: only a marker was written; earlier versions stay in the bucket", ev.Key)
		case connection.EventInsecure, connection.EventNotice:
			s.complain("note: %s: %s", ev.Kind, ev.Detail)
		default: // the results tell the rest
		}
	}}
	if verbose {
		env.Logger = slog.New(slog.NewTextHandler(s.errs, &slog.HandlerOptions{Level: connection.LevelTrace}))
	}
	return env
}
