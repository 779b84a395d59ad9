package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/peertest"
)

// maxRSS is what a program that drains mail may hold in memory, all of it counted, whatever the mail.
const maxRSS = 64 * megabyte

// TestMemoryOfDraining runs the drain as a program of its own, without the race detector, and asks the kernel for the
// largest resident set that it had.
func TestMemoryOfDraining(t *testing.T) {
	if testing.Short() {
		t.Skip("drains 200 MB and 20,000 messages: not in short mode")
	}
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	small := corpus{count: 20_000, min: 3 << 10, max: 6 << 10}
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Users: []string{"large", "small"}, Dir: shortDir(t)})
	line := strings.Repeat("0123456789abcde ", 4) + "\r\n"
	huge := slices.Concat([]byte("Subject: 200 MB\r\n\r\n"), bytes.Repeat([]byte(line), 200*megabyte/len(line)))
	srv.Deliver("large", huge)
	srv.DeliverTo("small", "INBOX", small.messages())
	for _, test := range []struct {
		user     string
		messages int
		octets   int64
	}{
		{"large", 1, int64(len(huge))},
		{"small", small.count, small.octets()},
	} {
		for _, way := range []task{{Sink: "discard", Workers: 1}, {Sink: "files", Workers: 1}, {Sink: "store", Workers: 16}} {
			t.Run(test.user+"/"+way.Sink, func(t *testing.T) {
				way.Kind, way.Driver, way.Dir = "drain", "imap", shortDir(t)
				way.Config = map[string]any{
					"server": srv.Addr("imaps"), "mode": "tls", "username": test.user, "password": srv.Password, "ca_pem": srv.CAPEM,
				}
				input, err := json.Marshal(way)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), program, childArgument)
				cmd.Stdin = bytes.NewReader(input)
				var complaint bytes.Buffer
				cmd.Stderr = &complaint
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, &complaint)
				}
				var got tally
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatal(err)
				}
				if err := got.check(test.messages, test.octets); err != nil {
					t.Error(err)
				}
				if got.PeakRSS == 0 || got.PeakRSS > maxRSS {
					t.Errorf("peak RSS %s, want at most %s", megabytes(got.PeakRSS), megabytes(maxRSS))
				}
				t.Logf("peak RSS %s", megabytes(got.PeakRSS))
			})
		}
	}
}
