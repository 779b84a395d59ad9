package alldrivers_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

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
			if info := c.Info(); info.Driver != settings.Driver || info.ID != settings.ID || info.Name != settings.Name || info.Endpoint == "" {
				t.Errorf("got %+v, want what the settings say", info)
			}
			opened[settings.Driver] = true
		})
	}
	for _, d := range registry.Drivers() {
		if !opened[d.Name()] {
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
