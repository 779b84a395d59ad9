package gmail_test

import (
	"fmt"
	"testing"

	"github.com/mailconn/mailconn/internal/drivertest"
)

// To look at 5,000 mailboxes in which nothing happens costs at most two units for each and no download, with a bounded
// number of goroutines, in less than 200 MB by the kernel's own count: in a program of its own that is built as its users build it.
func TestIdleMailboxes(t *testing.T) {
	const (
		mailboxes  = 5000
		limit      = 200 << 20
		goroutines = 300
	)
	path := drivertest.Build(t, "./testdata/idler")
	server, client := drivertest.Start(t, path, "server", fmt.Sprint(mailboxes)), drivertest.Start(t, path, "client")
	client.Tell(t, server.Hear(t))
	look := func(name string, wantAdded, leastUnits, mostUnits, wantGets int) {
		t.Helper()
		client.Tell(t, "look")
		var looked, added, most, units, gets, lists int
		scan(t, client, "mailboxes %d added %d goroutines %d", &looked, &added, &most)
		server.Tell(t, "count")
		scan(t, server, "units %d gets %d lists %d", &units, &gets, &lists)
		t.Logf("%s: %d units, %d downloads, %d goroutines, %.1f MiB at most", name, units, gets, most, float64(client.Peak(t))/(1<<20))
		if looked != mailboxes || added != wantAdded || gets != wantGets {
			t.Errorf("%s: %d mailboxes, %d messages, %d downloads; want %d, %d, %d", name, looked, added, gets, mailboxes, wantAdded, wantGets)
		}
		if units < leastUnits || units > mostUnits {
			t.Errorf("%s: %d units, want %d to %d", name, units, leastUnits, mostUnits)
		}
		if most > goroutines {
			t.Errorf("%s: %d goroutines, want at most %d", name, most, goroutines)
		}
		if peak := client.Peak(t); peak > limit {
			t.Errorf("%s: %.1f MiB, want at most %d", name, float64(peak)/(1<<20), limit>>20)
		}
	}
	look("first", mailboxes, mailboxes, 30*mailboxes, mailboxes)
	client.ForgetPeak(t)
	look("idle", 0, mailboxes, 2*mailboxes, 0)
}

// scan reads a line of a program.
func scan(t *testing.T, p *drivertest.Program, format string, values ...any) {
	t.Helper()
	line := p.Hear(t)
	if _, err := fmt.Sscanf(line, format, values...); err != nil {
		t.Fatalf("got %q, want a line like %q: %v", line, format, err)
	}
}
