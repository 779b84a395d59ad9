// Package doctest holds the documentation against the code: links lead somewhere, settings open, commands run, and the
// tests, rules, settings and hints that pages name exist. It has tests only.
package doctest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// root is the module's directory, seen from this one.
const root = "../.."

// pages returns the pages whose paths below root match one of the patterns.
func pages(t *testing.T, patterns ...string) []*page {
	t.Helper()
	var all []*page
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parse(filepath.ToSlash(path), string(raw)))
		}
	}
	if len(all) == 0 {
		t.Fatalf("no page matches %q", patterns)
	}
	return all
}

// everyPage are the patterns of all pages that are held against the code.
var everyPage = []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "docs/*/*.md", "examples/*/README.md", "examples/*/*/README.md"}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

func TestLinks(t *testing.T) {
	for _, p := range pages(t, everyPage...) {
		report(t, checkLinks(p, os.DirFS(root)))
	}
}

// Every page is in the index, so that it can be found.
func TestIndex(t *testing.T) {
	var names []string
	for _, p := range pages(t, "docs/*.md", "docs/providers/*.md") {
		if p.path != "docs/README.md" {
			names = append(names, strings.TrimPrefix(p.path, "docs/"))
		}
	}
	report(t, checkIndex(pages(t, "docs/README.md")[0], names))
}

func TestSettings(t *testing.T) {
	reg := alldrivers.New()
	for _, p := range pages(t, everyPage...) {
		report(t, checkSettings(p, reg, serviceAccountKey(t)))
	}
}

// The pages for administrators name settings, values, steps and hints as the code has them, and there is one for each driver.
func TestProviders(t *testing.T) {
	all := pages(t, "docs/providers/*.md")
	texts := literals(t, root)
	for _, p := range all {
		report(t, checkProvider(p, alldrivers.New(), texts))
	}
	var drivers []string
	for _, d := range alldrivers.New().Drivers() {
		drivers = append(drivers, d.Name())
	}
	report(t, checkNamed("driver", drivers, all...))
}

// The guarantees name tests that exist, and every rule of the conformance suite.
func TestGuarantees(t *testing.T) {
	p := pages(t, "docs/guarantees.md")[0]
	var ours, theirs []string
	for _, r := range connectiontest.Rules() {
		ours = append(ours, r.Name)
	}
	for _, r := range objecttest.Rules() {
		theirs = append(theirs, r.Name)
	}
	report(t, checkNames(p, testFunctions(t, root), append(slices.Clone(ours), theirs...)))
	report(t, checkNamed("rule", ours, p))
	// Other pages name tests too.
	for _, p := range pages(t, everyPage...) {
		report(t, checkNames(p, testFunctions(t, root), nil))
	}
}
