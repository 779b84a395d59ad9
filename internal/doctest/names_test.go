package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// goFiles parses the files of the tree whose names pass want, those of examples/thirdparty too.
func goFiles(t *testing.T, root string, want func(name string) bool, visit func(dir string, f *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != root):
			return filepath.SkipDir
		case d.IsDir() || !want(d.Name()):
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		visit(filepath.ToSlash(dir), f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	foundOnce sync.Once
	found     map[string][]string
)

// testFunctions returns the tests, fuzz targets and examples of the tree, and the folders that have one of the name.
func testFunctions(t *testing.T, root string) map[string][]string {
	t.Helper()
	foundOnce.Do(func() {
		found = make(map[string][]string)
		goFiles(t, root, func(name string) bool { return strings.HasSuffix(name, "_test.go") }, func(dir string, f *ast.File) {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
					found[fn.Name.Name] = append(found[fn.Name.Name], dir)
				}
			}
		})
	})
	return found
}

// literals returns the texts that the code, without its tests, holds as string literals.
func literals(t *testing.T, root string) (all []string) {
	t.Helper()
	goFiles(t, root, func(name string) bool { return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") }, func(dir string, f *ast.File) {
		if first, _, _ := strings.Cut(dir, "/"); first == "examples" || first == "bench" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					all = append(all, text)
				}
			}
			return true
		})
	})
	slices.Sort(all)
	return slices.Compact(all)
}

var (
	testName = regexp.MustCompile(`^(?:([a-z0-9/]+)\.)?((?:Test|Fuzz|Example)[A-Z][A-Za-z0-9_]*)$`)
	ruleName = regexp.MustCompile(`^(E[0-9]+-)?[a-z0-9]+(-[a-z0-9]+)+$`)
)

// checkNames finds tests that do not exist, as `TestName` or `folder.TestName`, and, if rules is not nil, what looks like a
// rule of a suite and is none.
func checkNames(p *page, tests map[string][]string, rules []string) (findings []string) {
	for _, c := range p.code {
		if m := testName.FindStringSubmatch(c.text); m != nil {
			dirs := tests[m[2]]
			if len(dirs) == 0 || m[1] != "" && !slices.ContainsFunc(dirs, func(dir string) bool { return dir == m[1] || path.Base(dir) == m[1] }) {
				findings = append(findings, p.at(c.line, "there is no test `%s`", c.text))
			}
			continue
		}
		if rules != nil && ruleName.MatchString(c.text) && !slices.Contains(rules, c.text) {
			findings = append(findings, p.at(c.line, "there is no rule `%s`", c.text))
		}
	}
	return findings
}

// checkNamed finds the names that none of the pages has in backticks.
func checkNamed(what string, names []string, pages ...*page) (findings []string) {
	for _, name := range names {
		if !slices.ContainsFunc(pages, func(p *page) bool {
			return slices.ContainsFunc(p.code, func(c code) bool { return c.text == name })
		}) {
			findings = append(findings, pages[0].at(1, "the %s `%s` is named nowhere", what, name))
		}
	}
	return findings
}
