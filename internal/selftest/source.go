package selftest

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// modulePath is this module's own path.
const modulePath = "github.com/mailconn/mailconn"

// A Package is the source of one folder, tests included.
type Package struct {
	Path  string // below the module's path: "imapclient", "" for the root
	Fset  *token.FileSet
	Files []*File
}

// A File is one parsed Go file.
type File struct {
	*ast.File
	Path  string // below the module's root
	Test  bool   // name ends in _test.go
	Lines int
}

// A Finding is one violation of a rule, at "file:line".
type Finding struct{ Where, What string }

// String returns "file:line: what".
func (f Finding) String() string { return f.Where + ": " + f.What }

// Load parses every Go package below root, the module's folder. Folders whose names begin with "." or "_", and those
// named testdata, are passed over, as the go command does. Files that another system's build takes are included.
func Load(root string) ([]*Package, error) {
	packages := make(map[string]*Package)
	err := filepath.WalkDir(root, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != root && (strings.ContainsAny(base[:1], "._") || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		dir := path.Dir(below)
		if dir == "." {
			dir = ""
		}
		p := packages[dir]
		if p == nil {
			p = NewPackage(dir)
			packages[dir] = p
		}
		return p.Add(below, string(text))
	})
	if err != nil {
		return nil, err
	}
	all := make([]*Package, 0, len(packages))
	for _, p := range packages {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Package) int { return cmp.Compare(a.Path, b.Path) })
	return all, nil
}

// NewPackage returns a package without files.
func NewPackage(path string) *Package { return &Package{Path: path, Fset: token.NewFileSet()} }

// Add parses text as the file name.
func (p *Package) Add(name, text string) error {
	f, err := parser.ParseFile(p.Fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p.Files = append(p.Files, &File{
		File: f, Path: name, Test: strings.HasSuffix(name, "_test.go"), Lines: strings.Count(text, "\n"),
	})
	return nil
}

// Library reports whether hosts link this package, so that the rules of library code hold: not programs, not what only
// tests use.
func (p *Package) Library() bool {
	first, _, _ := strings.Cut(p.Path, "/")
	return first != "examples" && first != "bench" && p.Path != "internal/peertest" && !strings.HasPrefix(p.Path, "internal/selftest")
}

// Code returns the files that are not tests.
func (p *Package) Code() []*File {
	var code []*File
	for _, f := range p.Files {
		if !f.Test {
			code = append(code, f)
		}
	}
	return code
}

// find makes a Finding at a position.
func (p *Package) find(at token.Pos, format string, args ...any) Finding {
	where := p.Fset.Position(at)
	return Finding{Where: fmt.Sprintf("%s:%d", where.Filename, where.Line), What: fmt.Sprintf(format, args...)}
}

// imports returns the paths that f imports, with the names by which f calls them.
func (f *File) imports() map[string]string {
	names := make(map[string]string)
	for _, spec := range f.Imports {
		target := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[target] = name
	}
	return names
}

// uses reports the places where f uses one of names from the package pkg: uses(f, "os", "Getenv").
func (p *Package) uses(f *File, pkg string, names ...string) []Finding {
	local, ok := f.imports()[pkg]
	if !ok {
		return nil
	}
	var found []Finding
	ast.Inspect(f.File, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && slices.Contains(names, sel.Sel.Name) {
			found = append(found, p.find(sel.Pos(), "%s.%s", path.Base(pkg), sel.Sel.Name))
		}
		return true
	})
	return found
}

// resolve tells for each identifier of files what it refers to, as far as that can be known without the packages that
// they import.
func (p *Package) resolve(files []*File) *types.Info {
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object)}
	parsed := make([]*ast.File, 0, len(files))
	for _, f := range files {
		parsed = append(parsed, f.File)
	}
	conf := types.Config{
		Importer: noImports{}, Error: func(error) {}, // every name of another package is an error
		FakeImportC: true, DisableUnusedImportCheck: true,
	}
	_, _ = conf.Check(p.Path, p.Fset, parsed, info) // as above
	return info
}

// noImports is an importer that knows no package.
type noImports struct{}

var _ types.Importer = noImports{}

func (noImports) Import(string) (*types.Package, error) { return nil, errNotImported }

var errNotImported = errors.New("not imported")
