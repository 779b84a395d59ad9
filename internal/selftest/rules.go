package selftest

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// A Rule is one house rule about the source of a package.
type Rule struct {
	Name  string
	Check func(*Package) []Finding
}

// maxLines is how long a file that is no test may be before it holds more than one thing.
const maxLines = 500

// Rules returns the rules that each package is held against by itself.
func Rules() []Rule {
	return []Rule{
		{"package comment", packageComment},
		{"exported identifiers have doc comments", docComments},
		{"no init function", noInit},
		{"no mutable package variable", noMutableVariables},
		{"library code reads no environment, prints nothing and never exits", noSideDoors},
		{"no time.Sleep", noSleep},
		{"a skipped test says why", skipsSayWhy},
		{"nothing is left undone", nothingUndone},
		{"error texts do not begin with failed to", errorTexts},
		{"no file is longer than 500 lines", fileLength},
		{"testing stays out of library code", noTesting},
	}
}

func packageComment(p *Package) []Finding {
	for _, f := range p.Code() {
		if f.Doc != nil {
			return nil
		}
	}
	if code := p.Code(); len(code) > 0 {
		return []Finding{p.find(code[0].Package, "package %s has no package comment", code[0].Name.Name)}
	}
	return nil
}

func docComments(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Code() {
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiver(d))) {
					found = append(found, p.find(d.Pos(), "%s has no doc comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					found = append(found, p.undocumented(d, spec)...)
				}
			}
		}
	}
	return found
}

// undocumented returns spec's exported names if neither it nor its group has a comment.
func (p *Package) undocumented(d *ast.GenDecl, spec ast.Spec) []Finding {
	var names []*ast.Ident
	var doc *ast.CommentGroup
	switch s := spec.(type) {
	case *ast.TypeSpec:
		names, doc = []*ast.Ident{s.Name}, s.Doc
	case *ast.ValueSpec:
		names, doc = s.Names, s.Doc
		if doc == nil {
			doc = s.Comment
		}
	}
	if doc != nil || d.Doc != nil {
		return nil
	}
	var found []Finding
	for _, name := range names {
		if name.IsExported() {
			found = append(found, p.find(name.Pos(), "%s has no doc comment", name.Name))
		}
	}
	return found
}

// receiver returns the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func noInit(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Files {
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				found = append(found, p.find(d.Pos(), "init function"))
			}
		}
	}
	return found
}

// noMutableVariables permits package variables that are set where they are declared and never after: sentinels, tables,
// patterns, pools, embedded files. What it cannot see is a method that changes its receiver.
func noMutableVariables(p *Package) []Finding {
	var found []Finding
	code := p.Code()
	globals := make(map[types.Object]bool)
	info := p.resolve(code)
	for _, f := range code {
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				s := spec.(*ast.ValueSpec)
				for _, name := range s.Names {
					if name.Name == "_" {
						continue
					}
					globals[info.Defs[name]] = true
					if len(s.Values) == 0 && !isPool(s.Type) && !embeds(d.Doc) && !embeds(s.Doc) {
						found = append(found, p.find(name.Pos(), "package variable %s has no value, so something sets it later", name.Name))
					}
				}
			}
		}
	}
	for _, f := range code {
		ast.Inspect(f.File, func(n ast.Node) bool {
			for _, target := range targets(n) {
				if id := root(target); id != nil && globals[info.Uses[id]] {
					found = append(found, p.find(target.Pos(), "package variable %s is changed here", id.Name))
				}
			}
			return true
		})
	}
	return found
}

// isPool reports whether a type is sync.Pool, or an array of it, whose zero value is ready and whose contents nobody can rely on.
func isPool(e ast.Expr) bool {
	if array, ok := e.(*ast.ArrayType); ok && array.Len != nil {
		e = array.Elt
	}
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "sync" && sel.Sel.Name == "Pool"
}

// targets returns what a node may change: the left side of an assignment, what is counted up, what has its address
// taken, what is deleted from.
func targets(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// root returns the variable that an expression is a part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func noSideDoors(p *Package) []Finding {
	if !p.Library() {
		return nil
	}
	var found []Finding
	for _, f := range p.Code() {
		found = append(found, p.uses(f, "os", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Exit", "Stdout", "Stderr", "Stdin")...)
		found = append(found, p.uses(f, "fmt", "Print", "Printf", "Println")...)
		found = append(found, p.uses(f, "log/slog", "Default", "SetDefault", "Debug", "Info", "Warn", "Error")...)
		found = append(found, p.uses(f, "net/http", "DefaultClient", "Get", "Post", "PostForm", "Head")...)
		if !strings.HasSuffix(p.Path, "test") { // a fault wrapper may stand on it
			found = append(found, p.uses(f, "net/http", "DefaultTransport")...)
		}
		for _, spec := range f.Imports {
			if spec.Path.Value == `"log"` || spec.Path.Value == `"flag"` {
				found = append(found, p.find(spec.Pos(), "imports %s", spec.Path.Value))
			}
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
				found = append(found, p.find(call.Pos(), "%s", id.Name))
			}
			return true
		})
	}
	return found
}

// noSleep permits it where the clock is synctest's.
func noSleep(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Files {
		if _, fake := f.imports()["testing/synctest"]; fake && f.Test {
			continue
		}
		found = append(found, p.uses(f, "time", "Sleep")...)
	}
	return found
}

func skipsSayWhy(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) > 0 {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && (sel.Sel.Name == "SkipNow" || sel.Sel.Name == "Skip") {
				if id, ok := sel.X.(*ast.Ident); ok && (id.Name == "t" || id.Name == "b" || id.Name == "tb" || id.Name == "f") {
					found = append(found, p.find(call.Pos(), "%s without a reason", sel.Sel.Name))
				}
			}
			return true
		})
	}
	return found
}

var (
	undone = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HACK)\b`)
	// silenced matches a finding of a linter that was put aside with the linter's name and a reason.
	silenced = regexp.MustCompile(`^//no` + `lint:[a-z]+(,[a-z]+)* // .+`)
)

func nothingUndone(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if word := undone.FindString(c.Text); word != "" {
					found = append(found, p.find(c.Pos(), "%s", word))
				}
				if strings.HasPrefix(c.Text, "//no"+"lint") && !silenced.MatchString(c.Text) {
					found = append(found, p.find(c.Pos(), "%s: want the linter's name, and after another // the reason", c.Text))
				}
			}
		}
	}
	return found
}

var badText = regexp.MustCompile("(?i)^.fail" + "ed to ")

func errorTexts(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Code() {
		ast.Inspect(f.File, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if ok && lit.Kind == token.STRING && badText.MatchString(lit.Value) {
				found = append(found, p.find(lit.Pos(), "%s", lit.Value))
			}
			return true
		})
	}
	return found
}

func fileLength(p *Package) []Finding {
	var found []Finding
	for _, f := range p.Code() {
		if f.Lines > maxLines {
			found = append(found, p.find(f.Package, "%d lines", f.Lines))
		}
	}
	return found
}

// noTesting keeps package testing, and what is for tests only, out of programs that archive mail.
func noTesting(p *Package) []Finding {
	if !p.Library() || strings.HasSuffix(p.Path, "test") {
		return nil
	}
	var found []Finding
	for _, f := range p.Code() {
		for _, spec := range f.Imports {
			target := strings.Trim(spec.Path.Value, `"`)
			own, isOwn := strings.CutPrefix(target, modulePath+"/")
			if target == "testing" || strings.HasPrefix(target, "testing/") || isOwn && strings.HasSuffix(own, "test") {
				found = append(found, p.find(spec.Pos(), "imports %s", target))
			}
		}
	}
	return found
}

// embeds reports whether a comment has the compiler set the variable from a file.
func embeds(c *ast.CommentGroup) bool {
	return c != nil && slices.ContainsFunc(c.List, func(line *ast.Comment) bool { return strings.HasPrefix(line.Text, "//go:embed ") })
}
