// Package reader is the program, less its driver, that shows what memory it takes to fetch. It imports no package of tests,
// so that the program is as large as one that its users build.
package reader

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// Run fetches mailboxes, all at once, and throws the messages away. It reads its settings from the first line of input,
// tests the connection, says "idle" on output, and goes on at the second line. At the end it says how many octets came,
// "octets 4711", and returns when input ends, so that until then it can be looked at.
func Run(ctx context.Context, driver connection.Driver, mailboxes []string, input io.Reader, output io.Writer) error {
	in := bufio.NewReader(input)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	settings, err := connection.ParseSettings(line)
	if err != nil {
		return err
	}
	c, err := connection.NewRegistry(driver).Open(settings, nil)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the program ends, and nothing depends on it
	if report, err := c.Test(ctx, nil); err != nil {
		return fmt.Errorf("%w\n%s", err, report)
	}
	source, err := connection.As[connection.Fetcher](c)
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	if _, err := fmt.Fprintln(output, "idle"); err != nil {
		return err
	}
	if _, err := in.ReadBytes('\n'); err != nil {
		return err
	}
	octets, err := fetchAll(ctx, source, mailboxes)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(output, "octets", octets); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// fetchAll fetches from each mailbox in a goroutine of its own, and returns how many octets came.
func fetchAll(ctx context.Context, source connection.Fetcher, mailboxes []string) (int64, error) {
	var all sync.WaitGroup
	octets, errs := make([]int64, len(mailboxes)), make([]error, len(mailboxes))
	for i, mailbox := range mailboxes {
		all.Go(func() { octets[i], errs[i] = fetch(ctx, source, mailbox) })
	}
	all.Wait()
	total := int64(0)
	for i, err := range errs {
		if err != nil {
			return total, err
		}
		total += octets[i]
	}
	return total, nil
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
