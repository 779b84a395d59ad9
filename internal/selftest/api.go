package selftest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"slices"
	"strings"
)

// Public reports whether other modules can import p.
func (p *Package) Public() bool {
	return p.Library() && !strings.Contains("/"+p.Path+"/", "/internal/") && len(p.Code()) > 0
}

// API returns p's exported declarations, one a line, sorted, without comments and bodies: what a change of the API
// changes, and nothing else does.
func API(p *Package) []string {
	var lines []string
	for _, f := range p.Code() {
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				lines = append(lines, p.apiFunc(d)...)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					lines = append(lines, p.apiSpec(d.Tok, spec)...)
				}
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines) // files for different systems declare the same
}

func (p *Package) apiFunc(d *ast.FuncDecl) []string {
	if !d.Name.IsExported() {
		return nil
	}
	signature := strings.TrimPrefix(p.text(d.Type), "func")
	if d.Recv == nil {
		return []string{"func " + d.Name.Name + signature}
	}
	if !ast.IsExported(receiver(d)) {
		return nil
	}
	return []string{"method (" + p.text(d.Recv.List[0].Type) + ") " + d.Name.Name + signature}
}

func (p *Package) apiSpec(tok token.Token, spec ast.Spec) []string {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		var lines []string
		for _, name := range s.Names {
			if name.IsExported() {
				line := tok.String() + " " + name.Name
				if s.Type != nil {
					line += " " + p.text(s.Type)
				}
				lines = append(lines, line)
			}
		}
		return lines
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			return p.apiType(s)
		}
	}
	return nil
}

// apiType gives a struct's fields and an interface's methods a line each.
func (p *Package) apiType(s *ast.TypeSpec) []string {
	name := s.Name.Name
	if s.TypeParams != nil {
		var params []string
		for _, field := range s.TypeParams.List {
			for _, param := range field.Names {
				params = append(params, param.Name+" "+p.text(field.Type))
			}
		}
		name += "[" + strings.Join(params, ", ") + "]"
	}
	if s.Assign.IsValid() {
		name += " ="
	}
	head := "type " + name + " "
	var members *ast.FieldList
	isInterface := false
	switch t := s.Type.(type) {
	case *ast.StructType:
		head, members = head+"struct", t.Fields
	case *ast.InterfaceType:
		head, members, isInterface = head+"interface", t.Methods, true
	default:
		return []string{head + p.text(s.Type)}
	}
	lines := []string{head}
	for _, m := range members.List {
		tag := ""
		if m.Tag != nil {
			tag = " " + m.Tag.Value // settings are read by it
		}
		if len(m.Names) == 0 {
			lines = append(lines, head+", embeds "+p.text(m.Type)+tag)
		}
		for _, id := range m.Names {
			switch {
			case !id.IsExported():
			case isInterface:
				lines = append(lines, head+", "+id.Name+strings.TrimPrefix(p.text(m.Type), "func"))
			default:
				lines = append(lines, head+", "+id.Name+" "+p.text(m.Type)+tag)
			}
		}
	}
	return lines
}

// text prints a piece of syntax on one line.
func (p *Package) text(n ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, p.Fset, n); err != nil {
		return fmt.Sprintf("%T: %v", n, err) // seen in the listing
	}
	line := strings.Join(strings.Fields(b.String()), " ")
	return strings.NewReplacer("( ", "(", ", )", ")").Replace(line) // a list that was broken into lines
}
