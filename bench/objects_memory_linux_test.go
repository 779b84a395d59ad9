package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// maxStoreRSS is what a program that stores one large object may hold in memory, all of it counted: the program itself,
// and what part_workers times part_size, 4 times 16 MB, comes to.
const maxStoreRSS = 96 * megabyte

// TestMemoryOfPutting streams 1 GB whose size nobody knows into each store, by a program of its own without the race
// detector, and asks the kernel for the largest resident set that it had.
func TestMemoryOfPutting(t *testing.T) {
	if testing.Short() {
		t.Skip("stores 1 GB in each store: not in short mode")
	}
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, start := range map[string]func() connection.Settings{
		"s3":        func() connection.Settings { return objecttest.NewS3(t, nil).Settings() },
		"azureblob": func() connection.Settings { return objecttest.NewAzure(t, nil).Settings() },
		"swift":     func() connection.Settings { return objecttest.NewSwift(t, nil).Settings() },
		"b2":        func() connection.Settings { return objecttest.NewB2(t, nil).Settings() },
		"atmos":     func() connection.Settings { return objecttest.NewAtmos(t, nil).Settings() },
	} {
		t.Run(name, func(t *testing.T) {
			settings := start()
			work := task{Kind: "stream", Driver: settings.Driver, Address: "large", Messages: 1, Size: 1 << 30}
			if err := json.Unmarshal(settings.Config, &work.Config); err != nil {
				t.Fatal(err)
			}
			input, err := json.Marshal(work)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program, childArgument)
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // where what cannot seek is kept
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
			if err := got.check(1, 1<<30); err != nil {
				t.Error(err)
			}
			if got.PeakRSS == 0 || got.PeakRSS > maxStoreRSS {
				t.Errorf("peak RSS %s, want at most %s", megabytes(got.PeakRSS), megabytes(maxStoreRSS))
			}
			t.Logf("peak RSS %s", megabytes(got.PeakRSS))
		})
	}
}
