// Package schema describes the settings of drivers as JSON Schema (draft 2020-12), for hosts that draw forms, check
// settings in an editor or document them. It stands apart so that package connection needs no more than the standard
// library.
package schema

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/mailconn/mailconn/connection"
)

// Keywords of our own, which other programs ignore.
const (
	// Recommended is the value for an archive, where that is not the default.
	Recommended = "x-recommended"
	// When names the fields that a field depends on, each with the values at which it matters.
	When = "x-when"
	// MinDuration and MaxDuration bound a duration, as text such as "10s".
	MinDuration, MaxDuration = "x-minimum-duration", "x-maximum-duration"
)

// duration is what [connection.Duration] reads from a string.
const duration = `^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$|^0$`

// Of returns the schema of the settings that d reads, with the properties in the order of its Config. A secret is
// writeOnly and has the format "password"; a duration is a string, or a whole number of milliseconds; an object is closed,
// as drivers refuse unknown fields. What a driver accepts is what its Validate accepts, and that is less than a schema
// can say. An error is a mistake in the driver's tags.
func Of(d connection.Driver) (*jsonschema.Schema, error) {
	root := object()
	root.Schema, root.Title = "https://json-schema.org/draft/2020-12/schema", d.Name()
	for _, f := range d.Fields() {
		property, err := property(f)
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %s: %w", d.Name(), f.Name, err)
		}
		at := root
		path := strings.Split(f.Name, ".")
		for _, name := range path[:len(path)-1] {
			inner, ok := at.Properties[name]
			if !ok {
				inner = object()
				add(at, name, inner)
			}
			at = inner
		}
		add(at, path[len(path)-1], property)
	}
	return root, nil
}

func object() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Properties: make(map[string]*jsonschema.Schema), AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}}
}

func add(to *jsonschema.Schema, name string, s *jsonschema.Schema) {
	to.Properties[name] = s
	to.PropertyOrder = append(to.PropertyOrder, name)
}

// property describes one field.
func property(f connection.Field) (*jsonschema.Schema, error) {
	s := &jsonschema.Schema{Title: f.Label, Description: f.Help, Extra: make(map[string]any)}
	if f.When != nil {
		s.Extra[When] = f.When
	}
	switch f.Type {
	case "string":
		s.Type = "string"
		for _, value := range f.Enum {
			s.Enum = append(s.Enum, value)
		}
	case "secret":
		s.Type, s.Format, s.WriteOnly = "string", "password", true
	case "boolean":
		s.Type = "boolean"
	case "number":
		s.Type = "integer"
	case "list":
		s.Type, s.Items = "array", &jsonschema.Schema{Type: "string"}
	case "object":
		s.Type = "object"
	case "duration":
		s.Types, s.Pattern = []string{"string", "integer"}, duration
	default:
		return nil, fmt.Errorf("type %q has no schema", f.Type)
	}
	var err error
	if s.Default, err = value(f, f.Default); err != nil {
		return nil, fmt.Errorf("default: %w", err)
	}
	recommended, err := value(f, f.Recommended)
	if err != nil {
		return nil, fmt.Errorf("recommended: %w", err)
	}
	if recommended != nil {
		s.Extra[Recommended] = recommended
	}
	return s, bounds(s, f)
}

// value returns a tag's text as JSON of the field's type, nil for none.
func value(f connection.Field, text string) (json.RawMessage, error) {
	switch {
	case text == "":
		return nil, nil
	case f.Type == "duration":
		if _, err := time.ParseDuration(text); err != nil {
			return nil, err
		}
		return json.Marshal(text)
	case f.Type == "string" || f.Type == "secret":
		return json.Marshal(text)
	case !json.Valid([]byte(text)):
		return nil, fmt.Errorf("%q is no JSON", text)
	}
	return json.RawMessage(text), nil
}

// bounds adds what the tags min and max say.
func bounds(s *jsonschema.Schema, f connection.Field) error {
	for _, b := range []struct {
		text, name string
		to         **float64
	}{{f.Min, MinDuration, &s.Minimum}, {f.Max, MaxDuration, &s.Maximum}} {
		switch {
		case b.text == "":
		case f.Type == "duration":
			if _, err := time.ParseDuration(b.text); err != nil {
				return err
			}
			s.Extra[b.name] = b.text
		default:
			n, err := strconv.ParseFloat(b.text, 64)
			if err != nil {
				return err
			}
			*b.to = &n
		}
	}
	return nil
}
