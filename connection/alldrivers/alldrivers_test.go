package alldrivers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

// aliases are the further names of drivers, under which settings of other programs may come.
func aliases() map[string]string {
	return map[string]string{
		"aws-s3": "s3", "minio": "s3", "openstack-swift": "swift",
		"rackspace-cloudfiles-us": "rackspace-cloudfiles", "rackspace-cloudfiles-uk": "rackspace-cloudfiles",
	}
}

// samples are the settings files that people copy; there is one for each driver at least.
const samples = "../../examples/archive/settings/*.json"

func TestEveryDriverOpensItsSample(t *testing.T) {
	paths, err := filepath.Glob(samples)
	if err != nil {
		t.Fatal(err)
	}
	registry := alldrivers.New()
	opened := map[string]bool{}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			settings, err := connection.ParseSettings(data)
			if err != nil {
				t.Fatal(err)
			}
			c, err := registry.Open(settings, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}()
			driver := settings.Driver
			if name, ok := aliases()[driver]; ok {
				driver = name
			}
			if info := c.Info(); info.Driver != driver || info.ID != settings.ID || info.Name != settings.Name || info.Endpoint == "" {
				t.Errorf("got %+v, want what the settings say", info)
			}
			opened[driver] = true
		})
	}
	for _, d := range registry.Drivers() {
		if !opened[d.Name()] && !opened[aliases()[d.Name()]] {
			t.Errorf("driver %s: no sample settings", d.Name())
		}
	}
}

func TestNewIsSeparate(t *testing.T) {
	a, b := alldrivers.New(), alldrivers.New()
	if a == b {
		t.Error("got the same registry twice")
	}
	var names []string
	for _, d := range a.Drivers() {
		names = append(names, d.Name())
		if len(d.Fields()) == 0 {
			t.Errorf("driver %s: no settings to draw a form from", d.Name())
		}
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "imap") || !slices.Contains(names, "maildir") || !slices.Contains(names, "file") {
		t.Errorf("got drivers %q", names)
	}
}

func TestUnknownDriver(t *testing.T) {
	_, err := alldrivers.New().Open(connection.Settings{Driver: "imapp"}, nil)
	if !errors.Is(err, connection.ErrConfig) {
		t.Errorf("got %v, want ErrConfig", err)
	}
}

// Whatever a connection logs says which one it is. Here nothing can be reached, and the protocol is logged too.
func TestLogsNameTheConnection(t *testing.T) {
	paths, err := filepath.Glob(samples)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		settings, err := connection.ParseSettings(data)
		if err != nil {
			t.Fatal(err)
		}
		settings.ID = "the one"
		var out bytes.Buffer
		c, err := alldrivers.New().Open(settings, &connection.Env{
			Logger: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: connection.LevelTrace})),
			Dial: func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				return here, there.Close()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = c.Test(ctx, nil)
		cancel()
		if closeErr := c.Close(); closeErr != nil {
			t.Error(closeErr)
		}
		name := settings.Driver
		if canonical, ok := aliases()[name]; ok {
			name = canonical
		}
		for line := range bytes.Lines(out.Bytes()) {
			var record struct{ Driver, Connection, Msg string }
			if json.Unmarshal(line, &record) != nil || record.Driver != name || record.Connection != "the one" {
				t.Errorf("%s: after %v: %s", path, err, line)
			}
		}
	}
}
