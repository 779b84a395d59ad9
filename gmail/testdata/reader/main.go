// Command reader fetches mailboxes, all at once, and throws the messages away, so that a test can see what memory that
// takes. It reads its settings from the first line of its standard input, tests the connection, says that it is idle, and
// goes on at the second line. At the end it says how many octets came, and waits to be looked at until its input ends.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

func main() {
	if err := run(context.Background(), os.Args[1:], bufio.NewReader(os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, mailboxes []string, in *bufio.Reader) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	settings, err := connection.ParseSettings(line)
	if err != nil {
		return err
	}
	c, err := connection.NewRegistry(gmail.Driver()).Open(settings, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if report, err := c.Test(ctx, nil); err != nil {
		return fmt.Errorf("%w\n%s", err, report)
	}
	source, err := connection.As[connection.Fetcher](c)
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	fmt.Println("idle")
	if _, err := in.ReadBytes('\n'); err != nil {
		return err
	}
	var all sync.WaitGroup
	octets, errs := make([]int64, len(mailboxes)), make([]error, len(mailboxes))
	for i, mailbox := range mailboxes {
		all.Go(func() { octets[i], errs[i] = fetch(ctx, source, mailbox) })
	}
	all.Wait()
	total := int64(0)
	for i, err := range errs {
		if err != nil {
			return err
		}
		total += octets[i]
	}
	fmt.Println("octets", total)
	_, err = io.Copy(io.Discard, in)
	return err
}

func fetch(ctx context.Context, source connection.Fetcher, mailbox string) (octets int64, err error) {
	for m, err := range source.Fetch(ctx, &connection.FetchOptions{Mailbox: mailbox}) {
		if err != nil {
			return octets, err
		}
		n, err := io.Copy(io.Discard, m.Body)
		if octets += n; err != nil {
			return octets, err
		}
	}
	return octets, nil
}
