package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/rss"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// memoryLimit is how much memory the program may use at its peak to store an object of any size, with four parts in flight.
const memoryLimit = 96 << 20

// zeros is endless.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A gibibyte of unknown size goes into each store from a pipe. The servers keep no zeros, and run in the test's process.
func TestMemory(t *testing.T) {
	const size = 1 << 30
	for name, settings := range map[string]func(t *testing.T) connection.Settings{
		"s3":        func(t *testing.T) connection.Settings { return objecttest.NewS3(t, nil).Settings() },
		"azureblob": func(t *testing.T) connection.Settings { return objecttest.NewAzure(t, nil).Settings() },
		"swift":     func(t *testing.T) connection.Settings { return objecttest.NewSwift(t, nil).Settings() },
		"b2":        func(t *testing.T) connection.Settings { return objecttest.NewB2(t, nil).Settings() },
		"atmos":     func(t *testing.T) connection.Settings { return objecttest.NewAtmos(t, nil).Settings() },
		"file": func(t *testing.T) connection.Settings {
			return connection.Settings{Driver: "file", Config: json.RawMessage(fmt.Sprintf(`{"location": %q}`, t.TempDir()))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t)
			data, err := json.Marshal(settings(t))
			if err != nil {
				t.Fatal(err)
			}
			cmd := v.command("-settings", v.write("settings.json", string(data)), "put", "-as", "big", "-")
			var output bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = io.LimitReader(zeros{}, size), &output, &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			peak := int64(0)
			look := time.NewTicker(10 * time.Millisecond)
			defer look.Stop()
			for running := true; running; {
				select {
				case err := <-ended:
					if err != nil {
						t.Fatalf("%v\n%s", err, output.String())
					}
					running = false
				case <-look.C:
					if now, err := rss.Peak(cmd.Process.Pid); err == nil { // it may have ended
						peak = max(peak, now)
					}
				}
			}
			t.Logf("peak %.1f MiB", float64(peak)/(1<<20))
			if peak == 0 || peak > memoryLimit {
				t.Errorf("got a peak of %d octets, want at most %d", peak, memoryLimit)
			}
			if r := v.run("-settings", "settings.json", "stat", "big").want(exitOK); !strings.Contains(r.out, "1073741824") && !strings.Contains(r.out, "1.0 GiB") && !strings.Contains(r.out, "1 GiB") {
				t.Errorf("got\n%s, want an object of %d octets", r.out, size)
			}
		})
	}
}
