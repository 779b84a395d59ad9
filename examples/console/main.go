// Command console is a small web application that a host could start from: connections made from forms that the drivers
// describe, tests with a report as it happens, archive runs with progress, and an archive to search, read and replay.
//
//	go run ./examples/console                 and open the address that it prints
//	go run ./examples/console -state DIR      keep connections and archive in another folder
//
// It serves this machine alone, to whoever has the token in the address. state.go keeps connections, form.go makes forms of
// schemas, job.go runs what takes a while, archive.go searches, and pages.go and guard.go are the web.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mailconn/mailconn/examples/internal/interrupt"
)

func main() {
	os.Exit(run(interrupt.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Console is a web page on this machine to try mailconn with: make connections, test them, archive mail, find it again.

  console              keeps its state in the folder mailconn-console below your user's configuration folder
  console -state DIR   keeps it there

Open the address that it prints. Whoever has the address has your mail: it holds a token, which is new at each start.

`

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("console", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage) // nobody left to tell
		flags.PrintDefaults()
	}
	listen := flags.String("listen", "127.0.0.1:8025", "`address` of this machine to serve at; port 0 takes a free one")
	state := flags.String("state", "", "`folder` for connections and the archive; it is made if it is new, for you alone")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("%q: unexpected", flags.Arg(0))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "console: %v\nTry -help.\n", err)
		return 2
	}
	if err := serve(ctx, *listen, *state, stdout); err != nil {
		_, _ = fmt.Fprintf(stderr, "console: %v\n", err)
		return 1
	}
	return 0
}

// serve runs the console until ctx ends.
func serve(ctx context.Context, listen, dir string, stdout io.Writer) (err error) {
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return fmt.Errorf("-state: say where to keep the state: %w", err)
		}
		dir = filepath.Join(base, "mailconn-console")
	}
	listener, err := listenHere(ctx, listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // Shutdown has done so
	app, err := newApp(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.close()) }()
	token := rand.Text()
	server := &http.Server{
		Handler:           newGuard(token, listener.Addr().String(), app.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	_, err = fmt.Fprintf(stdout, "Open this address in a browser of this machine; Ctrl-C ends the console.\n\n  http://%s/?token=%s\n\nConnections and archive are in %s.\n",
		listener.Addr(), token, dir)
	if err != nil {
		return err
	}
	settled := make(chan struct{}) // Serve returns as soon as Shutdown begins, and requests still use the archive then
	stop := context.AfterFunc(ctx, func() {
		defer close(settled)
		app.stop() // ends what runs, so that its pages end
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if server.Shutdown(late) != nil {
			_ = server.Close() // a browser that does not let go
		}
	})
	err = server.Serve(listener)
	if stop() { // nobody has asked for the end
		return errors.Join(err, server.Close())
	}
	<-settled
	return nil
}

// listenHere listens at an address of this machine that no other machine reaches.
func listenHere(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("-listen: want an address like 127.0.0.1:8025: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("-listen %s: want a loopback address such as 127.0.0.1 or ::1; the console is for this machine alone", address)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-listen: %w; -listen 127.0.0.1:0 takes a free port", err)
	}
	return listener, nil
}
