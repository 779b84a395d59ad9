package connection_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

type demoConfig struct {
	connection.Identity
	connection.NetworkSettings
	Username string              `json:"username" label:"User name"`
	Password connection.Secret   `json:"password,omitzero"`
	Folders  []string            `json:"folders" default:"[\"INBOX\"]"`
	Batch    int                 `json:"messages_per_cycle" default:"50" min:"1" max:"100"`
	Poll     connection.Duration `json:"polling_interval" default:"50ms" min:"1ms"`
	Fast     bool                `json:"fast"`
	OAuth2   *struct {
		ClientID string `json:"client_id"`
	} `json:"oauth2"`
	Unwrap  *bool `json:"unwrap,omitempty" default:"true" recommended:"false" when:"mode=tls,starttls username=x"`
	Refused bool  `json:"refused,omitempty" form:"false"`
}

func (c demoConfig) Validate() error { return c.NetworkSettings.Validate() }

type demoConn struct{ config demoConfig }

func (c *demoConn) Info() connection.Info {
	return connection.Info{ID: c.config.ID, Name: c.config.Name, Driver: "demo", Endpoint: c.config.Server}
}

func (c *demoConn) Test(context.Context, *connection.TestOptions) (*connection.Report, error) {
	return &connection.Report{}, nil
}
func (c *demoConn) Close() error { return nil }

func openDemo(c demoConfig, _ *connection.Env) (*demoConn, error) {
	if c.Username == "nobody" {
		return nil, &connection.Error{Op: "open", Kind: connection.ErrInvalid}
	}
	return &demoConn{c}, nil
}

var demo = connection.NewDriver("demo", openDemo)

func TestOpenReadsSettings(t *testing.T) {
	s, err := connection.ParseSettings([]byte("\xef\xbb\xbf" + `{"id": "vol1", "name": "Journal", "driver": "demo", "config":
		{"server": "mail.example.org:1993", "username": "a", "password": "secret", "no_data_timeout": 1500, "polling_interval": "2s",
		 "mode": "starttls", "folders": ["A", "B"], "oauth2": {"client_id": "x"}, "min_tls": null}}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := connection.NewRegistry(demo).Open(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := c.(*demoConn).config
	if got.ID != "vol1" || got.Name != "Journal" || got.Server != "mail.example.org:1993" || got.Password.Reveal() != "secret" ||
		got.NoDataTimeout.D() != 1500*time.Millisecond || got.Poll.D() != 2*time.Second || got.Mode != connection.ModeSTARTTLS ||
		!reflect.DeepEqual(got.Folders, []string{"A", "B"}) || got.Batch != 50 || got.OAuth2.ClientID != "x" || got.MinTLS != "1.2" {
		t.Errorf("got %+v", got)
	}
	if info := c.Info(); info.ID != "vol1" || info.Name != "Journal" {
		t.Errorf("info %+v lacks the host's id and name", info)
	}
}

func TestOpenRefuses(t *testing.T) {
	reg := connection.NewRegistry(demo, demo.Alias("other"))
	for _, tt := range []struct{ config, want string }{
		{`{}`, `config: server: missing`},
		{``, `config: server: missing`},
		{`{"server": "h", "pasword": "x"}`, `config: "pasword": unknown field; did you mean "password"?`},
		{`{"server": "h", "Password": "x"}`, `config: "Password": unknown field; did you mean "password"?`},
		{`{"server": "h", "connectTimeout": "1s"}`, `did you mean "connect_timeout"?`},
		{`{"server": "h", "zzzzzzzzzzzzzz": 1}`, `config: "zzzzzzzzzzzzzz": unknown field; there are server, mode`},
		{`{"server": "h", "server": "i"}`, `config: server: given twice`},
		{`{"server": 7}`, `config: server: got a number, want a string`},
		{`{"server": "h", "messages_per_cycle": "50"}`, `config: messages_per_cycle: got a string, want a whole number`},
		{`{"server": "h", "messages_per_cycle": 1.5}`, `config: messages_per_cycle: got a fraction, want a whole number`},
		{`{"server": "h", "messages_per_cycle": 0}`, `config: messages_per_cycle: 0: want 1 to 100`},
		{`{"server": "h", "messages_per_cycle": 101}`, `config: messages_per_cycle: 101: want 1 to 100`},
		{`{"server": "h", "fast": "yes"}`, `config: fast: got a string, want true or false`},
		{`{"server": "h", "folders": "INBOX"}`, `config: folders: got a string, want a list of strings`},
		{`{"server": "h", "mode": "ssl"}`, `config: mode: "ssl": want tls, starttls, tls-when-available or insecure`},
		{`{"server": "h", "polling_interval": "soon"}`, `config: polling_interval: "soon" is no duration`},
		{`{"server": "h", "polling_interval": 0}`, `config: polling_interval: 0: want at least 1ms`},
		{`{"server": "h", "connect_timeout": "-1s"}`, `config: connect_timeout: negative`},
		{`{"server": "h", "password": "[redacted]"}`, `config: password: this is the text "[redacted]"`},
		{`{"server": "h", "password": 5}`, `config: password: want a string`},
		{`{"server": "h", "oauth2": {"client_i": 1}}`, `config: oauth2."client_i": unknown field; did you mean "client_id"?`},
		{`{"server": "h", "oauth2": 1}`, `config: oauth2: got a number, want an object`},
		{`["h"]`, `config: got a list, want an object`},
		{"{\n\"server\": \"h\",\n}", `line 3, column 1`},
		{`{"server": "h"`, `no JSON: the text ends too early`},
		{`{"server": "h"} x`, `something follows the closing brace`},
		{"{\"server\": \"\xff\"}", `is not UTF-8`},
		{`{"server": "https://h/"}`, `config: server: want host or host:port, not a URL`},
		{`{"server": "h:99999"}`, `the port must be a number from 1 to 65535`},
		{`{"server": "h:"}`, `the port must be`},
		{`{"server": ":993"}`, `the host is missing`},
		{`{"server": "a b"}`, `spaces or control characters`},
		{`{"server": "h\r\nX"}`, `spaces or control characters`},
		{`{"server": "h", "ca_pem": "x"}`, `config: ca_pem: no certificate in it`},
		{`{"server": "h", "pin_sha256": ["x"]}`, `config: pin_sha256: "x": want a SHA-256`},
		{`{"server": "h", "client_cert_pem": "x"}`, `config: client_key_pem: missing`},
		{`{"server": "h", "client_key_pem": "x"}`, `config: client_cert_pem: missing`},
		{`{"server": "h", "min_tls": "1.4"}`, `config: min_tls: "1.4": want 1.0, 1.1, 1.2 or 1.3`},
	} {
		_, err := reg.Open(connection.Settings{Driver: "demo", Config: json.RawMessage(tt.config)}, nil)
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\n got %v\nwant ErrConfig with %s", tt.config, err, tt.want)
		}
	}
	for _, tt := range []struct{ driver, want string }{
		{"", "driver: missing"}, {"dmo", `did you mean "demo"?`}, {"ftp", "this program has demo, other"},
	} {
		_, err := reg.Open(connection.Settings{Driver: tt.driver}, nil)
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("driver %q: got %v, want %s", tt.driver, err, tt.want)
		}
	}
	c, err := reg.Open(connection.Settings{Driver: "other", Config: json.RawMessage(`{"server": "h", "username": "nobody"}`)}, nil)
	if c != nil || !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("a driver's refusal: got %v, %v; want a nil interface and the error", c, err)
	}
	for text, want := range map[string]string{
		`{"driver": "x", "confg": {}}`: `did you mean "config"?`,
		`{"config": {}}`:               `driver: missing`,
		`hello`:                        `no JSON`,
	} {
		if _, err := connection.ParseSettings([]byte(text)); !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestFields(t *testing.T) {
	byName := make(map[string]connection.Field)
	for _, f := range demo.Fields() {
		byName[f.Name] = f
	}
	for name, want := range map[string]connection.Field{
		"messages_per_cycle": {Name: "messages_per_cycle", Type: "number", Label: "messages_per_cycle", Default: "50", Min: "1", Max: "100"},
		"username":           {Name: "username", Type: "string", Label: "User name"},
		"password":           {Name: "password", Type: "secret", Label: "password"},
		"polling_interval":   {Name: "polling_interval", Type: "duration", Label: "polling_interval", Default: "50ms", Min: "1ms"},
		"unwrap":             {Name: "unwrap", Type: "boolean", Label: "unwrap", Default: "true", Recommended: "false", When: map[string][]string{"mode": {"tls", "starttls"}, "username": {"x"}}},
		"oauth2.client_id":   {Name: "oauth2.client_id", Type: "string", Label: "client_id"},
	} {
		if got := byName[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if mode := byName["mode"]; len(mode.Enum) != 4 || mode.Default != "tls" {
		t.Errorf("mode: %+v", mode)
	}
	if _, ok := byName["ID"]; ok {
		t.Error("the host's id is no setting")
	}
	if _, ok := byName["refused"]; ok {
		t.Error("a field that no form shows is listed")
	}
}

func TestAs(t *testing.T) {
	c := &demoConn{}
	if _, err := connection.As[connection.Connection](c); err != nil {
		t.Error(err)
	}
	_, err := connection.As[connection.Source](c)
	if !errors.Is(err, connection.ErrUnsupported) || !strings.Contains(err.Error(), "Delete, Fetch") || !strings.Contains(err.Error(), "demo") {
		t.Errorf("err = %v, want ErrUnsupported naming what is missing", err)
	}
	if _, err := connection.As[connection.Source](nil); !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("err = %v, want ErrInvalid", err)
	}
}

func TestSettingsDoNotPrintTheirConfig(t *testing.T) {
	s := connection.Settings{ID: "vol1", Name: "Journal", Driver: "demo", Config: json.RawMessage(`{"password": "hunter2"}`)}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, verb+verb+"\n", s, &s)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("open", "settings", s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("open", "settings", &s)
	octets := strings.Trim(fmt.Sprint([]byte("hunter2")), "[]")
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), octets) || strings.Count(out.String(), "vol1") != 12 {
		t.Errorf("want the ID each time and never the password:\n%s", &out)
	}
	if raw, err := json.Marshal(s); err != nil || !strings.Contains(string(raw), "hunter2") {
		t.Errorf("got %s, %v; want JSON to keep what a host stores", raw, err)
	}
}

type nestedConfig struct {
	Retry struct {
		Attempts int                 `json:"attempts" default:"5"`
		Wait     connection.Duration `json:"wait" default:"2s"`
	} `json:"retry"`
}

func (nestedConfig) Validate() error { return nil }

func TestNestedSettingsHaveTheirDefaults(t *testing.T) {
	for config, want := range map[string]int{`{}`: 5, `{"retry": null}`: 5, `{"retry": {}}`: 5, `{"retry": {"attempts": 7}}`: 7} {
		var got nestedConfig
		driver := connection.NewDriver("nested", func(c nestedConfig, _ *connection.Env) (*demoConn, error) {
			got = c
			return &demoConn{}, nil
		})
		_, err := connection.NewRegistry(driver).Open(connection.Settings{Driver: "nested", Config: []byte(config)}, nil)
		if err != nil || got.Retry.Attempts != want || got.Retry.Wait.D() != 2*time.Second {
			t.Errorf("%s: got %+v, %v; want %d attempts, 2s apart", config, got, err, want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"server": "h", "username": "a", "polling_interval": 5, "oauth2": {"client_id": "x"}}`))
	f.Add([]byte(`{"server": "h", "folders": ["a", null], "messages_per_cycle": 1e2}`))
	reg := connection.NewRegistry(demo)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := reg.Open(connection.Settings{Driver: "demo", Config: data}, nil)
		if (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("the error has several lines: %q", err)
		}
	})
}

func TestEnvFor(t *testing.T) {
	var none *connection.Env
	none.For("imap", "").Log().Info("nobody hears this")
	var out bytes.Buffer
	env := &connection.Env{Logger: slog.New(slog.NewTextHandler(&out, nil))}
	env.For("imap", "journal").Log().Info("one")
	env.For("imap", "").Log().Info("two", "mailbox", "ann")
	env.Log().Info("three")
	var got []string
	for line := range strings.Lines(out.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "msg=")
		got = append(got, line)
	}
	if want := []string{"one driver=imap connection=journal", "two driver=imap connection=imap mailbox=ann", "three"}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}
