package ews_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

// A message of 150 MB, and eight streams at once, take at most 32 MiB more than the program has that does nothing: by the
// kernel's own count, in a program of their own that is built as its users build it.
func TestMemory(t *testing.T) {
	const limit = 32 << 20
	path := drivertest.Build(t, "./testdata/reader")
	for _, test := range []struct {
		name            string
		mailboxes, each int
		octets          int64
	}{
		{"one of 150 MB", 1, 1, 150_000_000},
		{"eight streams", 8, 2, 20_000_000},
		{"20,000 small ones", 1, 20_000, 4_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, nil)
			var names []string
			for i := range test.mailboxes {
				name := fmt.Sprintf("reader%d@corp.test", i)
				r.AddMailbox(name, ewstest.MailboxOptions{}).Folder("Inbox").Fill(test.each, uint64(i)<<32, test.octets)
				names = append(names, name)
			}
			p := startReader(t, path, r.impersonating(), names)
			p.Expect(t, "idle")
			idle := p.Resident(t)
			p.ForgetPeak(t)
			p.Tell(t, "go on")
			p.Expect(t, fmt.Sprintf("octets %d", int64(test.mailboxes*test.each)*test.octets))
			peak := p.Peak(t)
			t.Logf("idle %.1f MiB, peak %.1f MiB", float64(idle)/(1<<20), float64(peak)/(1<<20))
			if peak-idle > limit {
				t.Errorf("it took %.1f MiB more than idle, want at most %d MiB", float64(peak-idle)/(1<<20), limit>>20)
			}
		})
	}
}

// startReader starts the program under testdata/reader, which reads mailboxes of r.
func startReader(t *testing.T, path string, r *rig, mailboxes []string) *drivertest.Program {
	t.Helper()
	u, err := url.Parse(r.URL(true))
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"server": u.Host, "allow_any_host": true, "disable_autodiscover": true, "server_name": r.cfg.Server, "ca_pem": r.CA(),
		"username": r.cfg.Username, "password": canary, "mailboxes": mailboxes,
	})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(connection.Settings{Driver: "ews", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	p := drivertest.Start(t, path, mailboxes...)
	p.Tell(t, string(settings))
	return p
}
