package gmail_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/gmailtest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

// A message of 50 MB takes at most 32 MiB in all, and mailboxes at once little more than one: by the kernel's own count, in a
// program of its own that is built as its users build it. Temporary files are not in memory.
func TestMemory(t *testing.T) {
	path := drivertest.Build(t, "./testdata/reader")
	for _, test := range []struct {
		name            string
		mailboxes, each int
		octets          int64
		limit           int64 // MiB, of the whole program
	}{
		{"one of 50 MB", 1, 1, 50_000_000, 32},
		{"four of 20 MB at once", 1, 4, 20_000_000, 64},
		{"eight mailboxes", 8, 4, 3_000_000, 96},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := gmailtest.NewServer(t, nil)
			var names []string
			for i := range test.mailboxes {
				name := fmt.Sprintf("reader%d@corp.example", i)
				srv.AddUser(gmailtest.User{Email: name})
				for range test.each {
					srv.DeliverWith(name, nil, gmailtest.Delivery{Content: madeUp(test.octets)})
				}
				names = append(names, name)
			}
			p := startReader(t, path, srv, names)
			p.Expect(t, "idle")
			idle := p.Resident(t)
			p.ForgetPeak(t)
			p.Tell(t, "go on")
			p.Expect(t, fmt.Sprintf("octets %d", int64(test.mailboxes*test.each)*test.octets))
			peak := p.Peak(t)
			t.Logf("idle %.1f MiB, peak %.1f MiB", float64(idle)/(1<<20), float64(peak)/(1<<20))
			if peak > test.limit<<20 {
				t.Errorf("it took %.1f MiB, want at most %d MiB", float64(peak)/(1<<20), test.limit)
			}
		})
	}
}

// startReader starts the program under testdata/reader, which reads mailboxes of srv.
func startReader(t *testing.T, path string, srv *gmailtest.Server, mailboxes []string) *drivertest.Program {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"credentials": string(srv.ServiceAccountJSON()), "admin": "admin@corp.example", "endpoint": srv.URL(), "custom_endpoints": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(connection.Settings{Driver: "gmail", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	p := drivertest.Start(t, path, mailboxes...)
	p.Tell(t, string(settings))
	return p
}
