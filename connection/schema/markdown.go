package schema

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// Markdown writes the settings of d as a table, in the order of its Config.
func Markdown(w io.Writer, d connection.Driver) error {
	if _, err := fmt.Fprint(w, "| setting | meaning | values | default | recommended |\n|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, f := range d.Fields() {
		meaning := f.Label
		if f.Help != "" {
			meaning += ": " + f.Help
		}
		for _, name := range slices.Sorted(maps.Keys(f.When)) {
			meaning += fmt.Sprintf(" (with `%s` %s)", name, strings.Join(f.When[name], ", "))
		}
		_, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", f.Name, cell(meaning), cell(values(f)), code(f.Default), code(f.Recommended))
		if err != nil {
			return err
		}
	}
	return nil
}

// values says what a field takes.
func values(f connection.Field) string {
	if f.Enum != nil {
		all := make([]string, 0, len(f.Enum))
		for _, value := range f.Enum {
			if value != "" {
				all = append(all, "`"+value+"`")
			}
		}
		return strings.Join(all, ", ")
	}
	text := f.Type
	switch {
	case f.Min != "" && f.Max != "":
		text += fmt.Sprintf(", %s to %s", f.Min, f.Max)
	case f.Min != "":
		text += ", at least " + f.Min
	case f.Max != "":
		text += ", at most " + f.Max
	}
	return text
}

// cell makes text fit for a cell: no line break, and a bar or a backslash does not count.
func cell(text string) string {
	return strings.NewReplacer("\n", " ", `\`, `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
