package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/connection/schema"
)

var update = flag.Bool("update", false, "write the schemas and tables instead of comparing them")

// golden compares a file with what it is to hold.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r"), nil), want) {
		t.Errorf("%s is not what the code says: go test ./connection/schema -update writes it anew", name)
	}
}

func TestSchemaOfEachDriver(t *testing.T) {
	for _, d := range alldrivers.New().Drivers() {
		s, err := schema.Of(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve(nil); err != nil {
			t.Errorf("%s: %v", d.Name(), err)
		}
		raw, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", d.Name()+".json"), append(raw, '\n'))
	}
}

func TestEveryFieldIsExplained(t *testing.T) {
	for _, d := range alldrivers.New().Drivers() {
		names := make(map[string]connection.Field)
		for _, f := range d.Fields() {
			names[f.Name] = f
			if f.Label == "" || f.Label == f.Name || f.Help == "" {
				t.Errorf("%s: %s: label %q, help %q", d.Name(), f.Name, f.Label, f.Help)
			}
		}
		for _, f := range names {
			if f.Enum != nil && f.Recommended != "" && !slices.Contains(f.Enum, f.Recommended) {
				t.Errorf("%s: %s: %q is recommended, which it does not take", d.Name(), f.Name, f.Recommended)
			}
			for other, values := range f.When {
				on, ok := names[other]
				if !ok {
					t.Errorf("%s: %s depends on %s, which is no field", d.Name(), f.Name, other)
				}
				for _, value := range values {
					if on.Enum != nil && !slices.Contains(on.Enum, value) || on.Type == "boolean" && value != "true" && value != "false" {
						t.Errorf("%s: %s depends on %s being %q, which it never is", d.Name(), f.Name, other, value)
					}
				}
			}
		}
	}
}

// What a schema says of the settings that people copy, and of settings that drivers refuse.
func TestSchemaJudgesAsTheDriver(t *testing.T) {
	paths, err := filepath.Glob("../../examples/archive/settings/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("samples %v, error %v", paths, err)
	}
	registry := alldrivers.New()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		settings, err := connection.ParseSettings(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := judge(t, registry, settings.Driver, string(settings.Config)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, tc := range []struct{ driver, config, field string }{
		{"imap", `{"server": "mail.example.org", "username": "u", "password": "p", "sever": "x"}`, "sever"},
		{"imap", `{"server": "mail.example.org", "username": "u", "password": "p", "mode": "ssl"}`, "mode"},
		{"imap", `{"server": 1, "username": "u", "password": "p"}`, "server"},
		{"imap", `{"server": "mail.example.org", "username": "u", "password": "p", "messages_per_cycle": 1000}`, "messages_per_cycle"},
		{"imap", `{"server": "mail.example.org", "username": "u", "password": "p", "polling_interval": "soon"}`, "polling_interval"},
		{"imap", `{"server": "mail.example.org", "username": "u", "password": "p", "oauth2": {"clientid": "x"}}`, "clientid"},
		{"imap", `{"server": "mail.example.org", "username": "u", "password": "p", "folders": [1]}`, "folders"},
		{"pop3", `{"server": "mail.example.org", "username": "u", "password": "p", "idle": true}`, "idle"},
	} {
		if err := judge(t, registry, tc.driver, tc.config); err == nil {
			t.Errorf("%s: the schema takes %s", tc.driver, tc.config)
		}
		_, err := registry.Open(connection.Settings{Driver: tc.driver, Config: json.RawMessage(tc.config)}, nil)
		if err == nil || !strings.Contains(err.Error(), tc.field) {
			t.Errorf("%s: the driver takes %s: %v", tc.driver, tc.config, err)
		}
	}
}

// judge holds settings against the schema of their driver.
func judge(t *testing.T, registry *connection.Registry, name, config string) error {
	t.Helper()
	for _, d := range registry.Drivers() {
		if d.Name() != name {
			continue
		}
		s, err := schema.Of(d)
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := s.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal([]byte(config), &value); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(value)
	}
	t.Fatalf("no driver %s", name)
	return nil
}

type tagged struct {
	Number int                 `json:"number,omitempty" default:"x"`
	Wait   connection.Duration `json:"wait,omitempty" recommended:"soon"`
}

func (tagged) Validate() error { return nil }

func TestMistakenTags(t *testing.T) {
	d := connection.NewDriver("odd", func(tagged, *connection.Env) (connection.Connection, error) { return nil, nil })
	if s, err := schema.Of(d); err == nil || !strings.Contains(err.Error(), "odd: number: default") {
		t.Errorf("got %v, error %v", s, err)
	}
}

func TestTablesOfTheDocumentation(t *testing.T) {
	var page bytes.Buffer
	page.WriteString("# Settings\n\nEvery driver's settings, as the code declares them (`connection/schema` writes this page). A duration is text such as\n" +
		"`\"1m30s\"`, or a whole number of milliseconds. A secret is text that is never printed. Recommended is what suits an\narchive where that is not the default.\n")
	for _, d := range alldrivers.New().Drivers() {
		fmt.Fprintf(&page, "\n## %s\n\n", d.Name())
		if err := schema.Markdown(&page, d); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "../../docs/settings.md", page.Bytes())
}

func ExampleOf() {
	for _, d := range alldrivers.New().Drivers() {
		if d.Name() != "maildir" {
			continue
		}
		s, err := schema.Of(d)
		if err != nil {
			fmt.Println(err)
			return
		}
		mode := s.Properties["delete_mode"]
		fmt.Println(mode.Title, mode.Enum, string(mode.Default))
	}
	// Output: Delete [none remove trash move] "none"
}
