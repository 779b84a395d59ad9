package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/schema"
)

// A form asks for the settings of a driver. It is made of the driver's schema and knows no driver.
type form struct {
	Driver string
	Main   []*field // those that nearly every connection needs
	More   []*field
}

// A field is one setting in a form.
type field struct {
	Name, ID    string
	Label, Help string
	Kind        string // "text", "secret", "long", "number", "list", "select" or "checkbox"
	Value       string
	Checked     bool
	Options     []string
	Default     string
	Recommended string
	Min, Max    string
	Stored      bool   // a secret is kept that the page does not show
	Clear       bool   // and somebody wants it forgotten
	Again       bool   // a secret was typed that the page does not show and nobody has kept
	When        string // JSON: the fields and values that this one matters with
	Error       string

	defaultChecked bool
}

// mainFields are the settings that come first, whatever the driver.
var mainFields = []string{
	"server", "mode", "username", "password", "from_address", "path", "location", "identity", "credential", "bucket", "admin",
	"credentials", "delete_mode", "folders",
}

// newForm makes the form of d with the settings in config; without any it proposes what is recommended.
func newForm(d connection.Driver, config json.RawMessage) (*form, error) {
	root, err := schema.Of(d)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if len(config) > 0 {
		dec := json.NewDecoder(bytes.NewReader(config))
		dec.UseNumber()
		if err := dec.Decode(&values); err != nil {
			return nil, fmt.Errorf("the stored settings: %w", err)
		}
	}
	f := &form{Driver: d.Name()}
	f.walk(root, "", values, config == nil)
	slices.SortStableFunc(f.Main, func(a, b *field) int { return slices.Index(mainFields, a.Name) - slices.Index(mainFields, b.Name) })
	return f, nil
}

func (f *form) walk(s *jsonschema.Schema, prefix string, values map[string]any, propose bool) {
	for _, name := range s.PropertyOrder {
		property := s.Properties[name]
		if property.Type == "object" {
			inner, _ := values[name].(map[string]any)
			f.walk(property, prefix+name+".", inner, propose)
			continue
		}
		one := newField(prefix+name, property)
		switch value, given := values[name]; {
		case given:
			one.set(value)
		case propose:
			one.Value = one.Recommended
		}
		if slices.Contains(mainFields, one.Name) {
			f.Main = append(f.Main, one)
		} else {
			f.More = append(f.More, one)
		}
	}
}

func newField(name string, s *jsonschema.Schema) *field {
	one := &field{
		Name: name, ID: "f-" + strings.ReplaceAll(name, ".", "-"), Label: s.Title, Help: s.Description,
		Default: plain(s.Default), Recommended: plain(s.Extra[schema.Recommended]), Kind: "text",
	}
	if when, err := json.Marshal(s.Extra[schema.When]); err == nil && s.Extra[schema.When] != nil {
		one.When = string(when)
	}
	switch {
	case s.Format == "password" && strings.Contains(name, "pem"), name == "credentials":
		one.Kind = "longsecret"
	case s.Format == "password":
		one.Kind = "secret"
	case s.Type == "boolean":
		one.Kind, one.defaultChecked = "checkbox", one.Default == "true"
		one.Checked = one.defaultChecked
	case s.Type == "integer":
		one.Kind, one.Min, one.Max = "number", bound(s.Minimum), bound(s.Maximum)
	case s.Type == "array":
		one.Kind, one.Default = "list", ""
	case s.Enum != nil:
		one.Kind = "select"
		for _, value := range s.Enum {
			if text, ok := value.(string); ok && text != "" {
				one.Options = append(one.Options, text)
			}
		}
	case strings.HasSuffix(name, "_pem"):
		one.Kind = "long"
	}
	return one
}

func bound(n *float64) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("%.0f", *n)
}

// plain returns JSON, or what is to become JSON, as people write it.
func plain(value any) string {
	raw, ok := value.(json.RawMessage)
	if !ok || raw == nil {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// set takes a stored value. A secret stays where it is.
func (f *field) set(value any) {
	switch f.Kind {
	case "secret", "longsecret":
		f.Stored = value != ""
	case "checkbox":
		f.Checked = value == true
	case "list":
		var lines []string
		if all, ok := value.([]any); ok {
			for _, one := range all {
				lines = append(lines, fmt.Sprint(one))
			}
		}
		f.Value = strings.Join(lines, "\n")
	default:
		f.Value = fmt.Sprint(value)
	}
}

// Opened reports whether somebody must see what else there is to set.
func (f *form) Opened() bool {
	return slices.ContainsFunc(f.More, func(one *field) bool { return one.Error != "" || one.Again })
}

// fields returns all of them.
func (f *form) fields() []*field { return slices.Concat(f.Main, f.More) }

// read takes what a browser sent, and returns the settings. A secret that was left empty stays as it is in old.
func (f *form) read(sent url.Values, old json.RawMessage) (json.RawMessage, error) {
	var kept map[string]any
	if len(old) > 0 {
		if err := json.Unmarshal(old, &kept); err != nil {
			return nil, fmt.Errorf("the stored settings: %w", err)
		}
	}
	settings := make(map[string]any)
	for _, one := range f.fields() {
		if value := one.read(sent, kept); value != nil {
			put(settings, strings.Split(one.Name, "."), value)
		}
	}
	return json.Marshal(settings)
}

// forget says of the secrets that somebody has sent that they are to be typed again: settings that are refused are not kept,
// and a page shows no secret.
func (f *form) forget(sent url.Values) {
	for _, one := range f.fields() {
		if one.Kind == "secret" || one.Kind == "longsecret" {
			one.Again = sent.Get("s."+one.Name) != ""
		}
	}
}

// read returns the value of one field, nil for none.
func (f *field) read(sent url.Values, kept map[string]any) any {
	text := strings.TrimSpace(sent.Get("s." + f.Name))
	switch f.Kind {
	case "secret", "longsecret":
		value, _ := lookup(kept, strings.Split(f.Name, "."))
		f.Stored, f.Clear = value != nil, sent.Get("clear."+f.Name) != ""
		text = sent.Get("s." + f.Name) // a blank may be part of it
		switch {
		case text != "":
			return text
		case f.Clear:
			return nil
		}
		return value
	case "checkbox":
		if f.Checked = text != ""; f.Checked == f.defaultChecked {
			return nil
		}
		return f.Checked
	}
	if f.Value = text; text == "" {
		return nil
	}
	switch f.Kind {
	case "number":
		if json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
	case "list":
		var lines []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		return lines
	}
	return text
}

func put(into map[string]any, path []string, value any) {
	if len(path) > 1 {
		inner, ok := into[path[0]].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			into[path[0]] = inner
		}
		put(inner, path[1:], value)
		return
	}
	into[path[0]] = value
}

func lookup(in map[string]any, path []string) (any, bool) {
	value, ok := in[path[0]]
	if len(path) == 1 || !ok {
		return value, ok
	}
	inner, _ := value.(map[string]any)
	return lookup(inner, path[1:])
}

// blame puts err to the field that it names, if it names one, and returns its text for the top of the page.
func (f *form) blame(err error) string {
	text := err.Error()
	if _, after, found := strings.Cut(text, "config: "); found {
		text = after
	}
	var at *field
	for _, one := range f.fields() {
		if strings.HasPrefix(text, one.Name+":") && (at == nil || len(one.Name) > len(at.Name)) {
			at = one
		}
	}
	if at != nil {
		at.Error = strings.TrimSpace(strings.TrimPrefix(text, at.Name+":"))
	}
	return text
}
