package main

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

func driverOf(t *testing.T, name string) connection.Driver {
	t.Helper()
	for _, d := range alldrivers.New().Drivers() {
		if d.Name() == name {
			return d
		}
	}
	t.Fatalf("no driver %s", name)
	return connection.Driver{}
}

func formOf(t *testing.T, name, config string) *form {
	t.Helper()
	var raw json.RawMessage
	if config != "" {
		raw = json.RawMessage(config)
	}
	f, err := newForm(driverOf(t, name), raw)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sent is what a browser sends of a form that nobody has touched.
func sent(f *form) url.Values {
	values := make(url.Values)
	for _, one := range f.fields() {
		switch {
		case one.Kind == "checkbox" && one.Checked:
			values.Set("s."+one.Name, "true")
		case one.Kind != "checkbox":
			values.Set("s."+one.Name, one.Value)
		}
	}
	return values
}

func readBack(t *testing.T, f *form, values url.Values, old string) map[string]any {
	t.Helper()
	raw, err := f.read(values, json.RawMessage(old))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFormOfEachDriver(t *testing.T) {
	for _, d := range alldrivers.New().Drivers() {
		f, err := newForm(d, json.RawMessage("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if len(f.fields()) != len(d.Fields()) || len(f.Main) == 0 {
			t.Errorf("%s: %d fields of %d, %d of them first", d.Name(), len(f.fields()), len(d.Fields()), len(f.Main))
		}
		if got := readBack(t, f, sent(f), ""); len(got) > 0 {
			t.Errorf("%s: an empty form gives %v", d.Name(), got)
		}
	}
}

func TestFormKeepsWhatIsStored(t *testing.T) {
	const config = `{"server": "mail.example.org", "username": "ann", "password": "secret one", "idle": true, "folders": ["INBOX", "Sent Items"],
		"messages_per_cycle": 7, "polling_interval": "1m30s", "oauth2": {"tenant": "t", "client_id": "c", "client_secret": "secret two"}}`
	f := formOf(t, "imap", config)
	for _, one := range f.fields() {
		if strings.Contains(one.Value, "secret") {
			t.Errorf("%s shows %q", one.Name, one.Value)
		}
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(config), &want); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, f, sent(f), config); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	values := sent(f)
	values.Set("s.password", " new, with blanks ")
	values.Set("clear.oauth2.client_secret", "1")
	values.Del("s.idle")
	values.Set("s.messages_per_cycle", "many")
	got := readBack(t, f, values, config)
	inner, _ := got["oauth2"].(map[string]any)
	if _, kept := inner["client_secret"]; kept || got["password"] != " new, with blanks " || got["idle"] != nil || got["messages_per_cycle"] != "many" {
		t.Errorf("got %v", got)
	}
}

func TestNewFormProposes(t *testing.T) {
	got := readBack(t, formOf(t, "imap", ""), sent(formOf(t, "imap", "")), "")
	want := map[string]any{"delete_mode": "expunge", "connect_timeout": "30s", "no_data_timeout": "60s"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBlame(t *testing.T) {
	f := formOf(t, "imap", "{}")
	text := f.blame(errors.New("imap open: invalid setting: config: messages_per_cycle: got a string, want a whole number"))
	if text != "messages_per_cycle: got a string, want a whole number" {
		t.Errorf("the page says %q", text)
	}
	for _, one := range f.fields() {
		if (one.Error != "") != (one.Name == "messages_per_cycle") {
			t.Errorf("%s is blamed: %q", one.Name, one.Error)
		}
	}
	if text := f.blame(errors.New("something else")); text != "something else" {
		t.Errorf("the page says %q", text)
	}
}
