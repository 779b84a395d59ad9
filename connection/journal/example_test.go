package journal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/journal"
)

// A sink that archives the messages of a journal mailbox, whatever driver reads it. What is no report is archived as it
// came, and so is a report that cannot be opened.
func ExampleUnwrap() {
	store := func(ctx context.Context, m *connection.Message) (err error) {
		spooled, err := connection.Spool(m, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, spooled.Close()) }()
		if err := storeReport(ctx, spooled.Reader()); err != nil {
			fmt.Println("as it came:", err)
			return volume(ctx, nil, spooled.Reader())
		}
		return nil
	}

	for _, raw := range []string{
		"X-MS-Journal-Report:\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" +
			"Sender: ann@example.org\nTo: bob@example.org, Expanded: team@example.org\nBcc: chief@example.org\n" +
			"--b\nContent-Type: message/rfc822\n\nSubject: lunch\n\n--b--\n",
		"Subject: no report\n\n",
	} {
		if err := store(context.Background(), &connection.Message{Body: strings.NewReader(raw)}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// {ann@example.org [bob@example.org chief@example.org]}
	// Subject: lunch
	// as it came: unwrap: invalid argument: is no journal report
	// Subject: no report
}

// storeReport stores all messages of a report.
func storeReport(ctx context.Context, r io.Reader) error {
	report, err := journal.Unwrap(r)
	for err == nil {
		err = volume(ctx, &report.Envelope, report.Body)
		if errors.Is(err, journal.ErrMore) {
			err = report.Next()
		} else if err == nil {
			return nil
		}
	}
	return err
}

// volume stands for where an archive keeps its messages.
func volume(_ context.Context, envelope *connection.Envelope, body io.Reader) error {
	if envelope != nil {
		fmt.Println(*envelope)
	}
	_, err := io.Copy(os.Stdout, body)
	return err
}
