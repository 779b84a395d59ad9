package selftest_test

import (
	"slices"
	"testing"

	"github.com/mailconn/mailconn/internal/selftest"
)

func TestAPI(t *testing.T) {
	p := plant(t, "x", "x.go", `// Package x is planted.
package x

import "io"

// A and B are numbers.
const (
	A int = 1
	B     = 2
	c     = 3
)

// V is a variable.
var V error

// T is a struct.
type T[K comparable] struct {
	io.Reader
	Name   string `+"`json:\"name\"`"+` // with a comment
	F      func(int) string
	hidden int
}

// I is an interface.
type I interface {
	io.Writer
	Do(n int) error
}

// N is a name, L an alias.
type N uint8
type L = N

// M has a body.
func (t *T[K]) M(x int, y ...string) (n int, err error) { return 1, nil }

func (t *T[K]) m() {}

type low struct{}

func (low) Up() {}

// F is
// generic.
func F[X any](
	x X, // the argument
) X {
	return x
}
`)
	want := []string{
		"const A int", "const B", "func F[X any](x X) X", "method (*T[K]) M(x int, y ...string) (n int, err error)",
		"type I interface", "type I interface, Do(n int) error", "type I interface, embeds io.Writer",
		"type L = N", "type N uint8",
		"type T[K comparable] struct", "type T[K comparable] struct, F func(int) string",
		"type T[K comparable] struct, Name string `json:\"name\"`", "type T[K comparable] struct, embeds io.Reader",
		"var V error",
	}
	if got := selftest.API(p); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestPublic(t *testing.T) {
	for path, want := range map[string]bool{"connection": true, "internal/netx": false, "ews/internal/soap": false, "examples/archive": false, "bench": false, "imapclient/imaptest": true} {
		if got := plant(t, path, "x.go", "package x\n").Public(); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	if plant(t, "connection", "x_test.go", "package x\n").Public() {
		t.Error("a package of tests alone is public")
	}
}
