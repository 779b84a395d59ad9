package selftest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// Requirement is one line of go.mod.
type Requirement struct{ Path, Version string }

// ParseRequirements reads what `go mod edit -json` prints.
func ParseRequirements(modJSON []byte) ([]Requirement, error) {
	var mod struct{ Require []Requirement }
	if err := json.Unmarshal(modJSON, &mod); err != nil {
		return nil, err
	}
	return mod.Require, nil
}

// CheckDependencies holds go.mod's requirements against the list of dependencies, of which each line is
// "module licence why". Each module has one line, and each line a module.
func CheckDependencies(required []Requirement, list []byte) []Finding {
	const name = ".ci/deps.txt"
	var found []Finding
	listed := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(list))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		where := name + ":" + strconv.Itoa(n)
		fields := strings.Fields(line)
		if len(fields) < 5 {
			found = append(found, Finding{where, "want module, licence and the reason in some words"})
		}
		module := fields[0]
		if listed[module] {
			found = append(found, Finding{where, module + " has a line already"})
		}
		listed[module] = true
		if !slices.ContainsFunc(required, func(r Requirement) bool { return r.Path == module }) {
			found = append(found, Finding{where, module + " is not in go.mod"})
		}
	}
	for _, r := range required {
		if !listed[r.Path] {
			found = append(found, Finding{name, "no line for " + r.Path})
		}
	}
	return found
}

// Floors are the least versions of modules that have had holes or that do not work below.
func Floors() []Requirement {
	return []Requirement{
		{"github.com/Azure/go-ntlmssp", "v0.1.1"}, // panics on a bad challenge
		{"github.com/aws/aws-sdk-go-v2/service/s3", "v1.97.3"},
		{"golang.org/x/net", "v0.56.0"},
		{"golang.org/x/oauth2", "v0.27.0"},
		{"golang.org/x/text", "v0.39.0"},
		{"google.golang.org/grpc", "v1.82.1"},
	}
}

// CheckFloors holds go.mod's requirements against floors.
func CheckFloors(required, floors []Requirement) []Finding {
	var found []Finding
	for _, r := range required {
		for _, floor := range floors {
			if r.Path == floor.Path && slices.Compare(numbers(r.Version), numbers(floor.Version)) < 0 {
				found = append(found, Finding{"go.mod", fmt.Sprintf("%s %s is below %s", r.Path, r.Version, floor.Version)})
			}
		}
	}
	return found
}

// numbers returns the three numbers of "v1.2.3-suffix".
func numbers(version string) []int {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	var all []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil // below every floor, so it is seen
		}
		all = append(all, n)
	}
	return all
}

// exported returns what f declares at its top: "type Config", "func Open".
func exported(f *File) map[string]bool {
	names := make(map[string]bool)
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				names["func "+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.Name.IsExported() {
					names["type "+t.Name.Name] = true
				}
			}
		}
	}
	return names
}
