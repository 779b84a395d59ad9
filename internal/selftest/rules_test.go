package selftest_test

import (
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/selftest"
)

// plant makes a package of one file.
func plant(t *testing.T, path, name, text string) *selftest.Package {
	t.Helper()
	p := selftest.NewPackage(path)
	if err := p.Add(strings.TrimPrefix(path+"/"+name, "/"), text); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRulesFindPlantedViolations(t *testing.T) {
	const head = "// Package x is planted.\npackage x\n"
	for _, test := range []struct{ rule, text string }{
		{"package comment", "package x\n"},
		{"exported identifiers have doc comments", head + "func F() {}\n"},
		{"exported identifiers have doc comments", head + "type T struct{}\n"},
		{"exported identifiers have doc comments", head + "const C = 1\n"},
		{"exported identifiers have doc comments", head + "// T is.\ntype T[A any] struct{}\nfunc (t *T[A]) M() {}\n"},
		{"no init function", head + "func init() {}\n"},
		{"no mutable package variable", head + "var v int\n"},
		{"no mutable package variable", head + "var v = 1\nfunc f() { v = 2 }\n"},
		{"no mutable package variable", head + "var v = 1\nfunc f() { v++ }\n"},
		{"no mutable package variable", head + "var v = 1\nfunc f() *int { return &v }\n"},
		{"no mutable package variable", head + "var v = map[int]int{}\nfunc f() { v[1] = 2 }\n"},
		{"no mutable package variable", head + "var v = map[int]int{}\nfunc f() { delete(v, 1) }\n"},
		{"no mutable package variable", head + "var v = struct{ a []int }{}\nfunc f() { (v.a)[0] = 2 }\n"},
		{"library code reads no environment, prints nothing and never exits", head + "import \"os\"\nvar _ = os.Getenv(\"A\")\n"},
		{"library code reads no environment, prints nothing and never exits", head + "import sys \"os\"\nfunc f() { sys.Exit(1) }\n"},
		{"library code reads no environment, prints nothing and never exits", head + "import \"fmt\"\nfunc f() { fmt.Println() }\n"},
		{"library code reads no environment, prints nothing and never exits", head + "import _ \"log\"\n"},
		{"library code reads no environment, prints nothing and never exits", head + "import \"net/http\"\nvar _ = http.DefaultClient\n"},
		{"library code reads no environment, prints nothing and never exits", head + "import \"net/http\"\nvar _ = http.DefaultTransport\n"},
		{"library code reads no environment, prints nothing and never exits", head + "func f() { println() }\n"},
		{"no time.Sleep", head + "import \"time\"\nfunc f() { time.Sleep(1) }\n"},
		{"a skipped test says why", head + "func f() { t.SkipNow() }\n"},
		{"a skipped test says why", head + "func f() { t.Skip() }\n"},
		{"nothing is left undone", head + "// TO" + "DO: later\n"},
		{"nothing is left undone", head + "var _ = 1 //no" + "lint:errcheck\n"},
		{"nothing is left undone", head + "var _ = 1 //no" + "lint // it is fine\n"},
		{"error texts do not begin with failed to", head + "var err = errors.New(\"Failed to work\")\n"},
		{"no file is longer than 500 lines", head + strings.Repeat("\n", 500)},
		{"testing stays out of library code", head + "import _ \"testing\"\n"},
		{"testing stays out of library code", head + "import _ \"github.com/mailconn/mailconn/imapclient/imaptest\"\n"},
	} {
		p := plant(t, "x", "x.go", test.text)
		known := false
		for _, rule := range selftest.Rules() {
			found := rule.Check(p)
			switch {
			case rule.Name == test.rule:
				known = true
				if len(found) != 1 {
					t.Errorf("%s: got %v, want 1 finding in\n%.200s", rule.Name, found, test.text)
				}
			case len(found) > 0:
				t.Errorf("%s: got %v, want none in\n%.200s", rule.Name, found, test.text)
			}
		}
		if !known {
			t.Errorf("no rule %q", test.rule)
		}
	}
}

func TestRulesPassGoodCode(t *testing.T) {
	const text = `// Package x is good.
package x

import (
	"errors"
	"sync"
	"time"
)

// ErrX is a sentinel, F a function.
var (
	ErrX  = errors.New("x")
	names = map[int]string{1: "one"}
	pool  = sync.Pool{New: func() any { return 1 }}
	bare  sync.Pool
	bares [4]sync.Pool
	//go:embed table.txt
	table string
)

// The limits.
const (
	Low  = 1
	High = 2
)

type hidden struct{} //nolint:unused // planted

func (hidden) M() {}

// F shadows a package variable, and sleeps by a timer.
func F() string {
	names := []string{names[1]}
	names[0] = "two"
	<-time.After(1)
	return names[0]
}
`
	p := plant(t, "x", "x.go", text)
	for _, rule := range selftest.Rules() {
		report(t, rule.Check(p))
	}
}

func TestRulesKnowProgramsFromLibraries(t *testing.T) {
	text := "// Package x prints.\npackage x\n\nimport (\n\t\"os\"\n\t_ \"log\"\n\t_ \"testing\"\n)\n\nvar _ = os.Getenv(\"A\")\n"
	for path, want := range map[string]int{"imapclient": 3, "imapclient/imaptest": 2, "examples/archive": 0, "bench": 0, "internal/peertest": 0} {
		p := plant(t, path, "x.go", text)
		got := 0
		for _, rule := range selftest.Rules() {
			got += len(rule.Check(p))
		}
		if got != want {
			t.Errorf("%s: got %d findings, want %d", path, got, want)
		}
	}
}

func TestLayers(t *testing.T) {
	for _, test := range []struct {
		path, file, imports string
		want                int
	}{
		{"connection", "x.go", "context", 0},
		{"connection", "x.go", "github.com/mailconn/mailconn/internal/netx", 1},
		{"connection", "x.go", "golang.org/x/sys/unix", 1},
		{"connection", "x_test.go", "github.com/mailconn/mailconn/connection/connectiontest", 0},
		{"imapclient", "x.go", "github.com/emersion/go-imap/v2/imapclient", 0},
		{"imapclient", "x.go", "github.com/emersion/go-imap/v22", 1},
		{"imapclient", "x.go", "github.com/mailconn/mailconn/maildir", 1},
		{"imapclient", "x.go", "google.golang.org/api/gmail/v1", 1},
		{"unheard/of", "x.go", "context", 1},
		{"examples/archive", "x.go", "github.com/mailconn/mailconn/maildir", 0},
	} {
		p := plant(t, test.path, test.file, "package x\n\nimport _ \""+test.imports+"\"\n")
		if got := selftest.CheckLayers(p); len(got) != test.want {
			t.Errorf("%s imports %s: got %v, want %d findings", test.path, test.imports, got, test.want)
		}
	}
	for _, a := range selftest.Drivers() {
		for _, b := range selftest.Drivers() {
			p := plant(t, a, "x.go", "package x\n\nimport _ \"github.com/mailconn/mailconn/"+b+"\"\n")
			if len(selftest.CheckLayers(p)) == 0 {
				t.Errorf("%s may import %s", a, b)
			}
		}
	}
}

func TestDriverShape(t *testing.T) {
	const whole = "package x\ntype Config struct{}\ntype Conn struct{}\nfunc Open() {}\nfunc Driver() {}\n"
	if got := selftest.CheckDriver(plant(t, "x", "conn.go", whole)); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	for _, part := range []string{"type Config struct{}", "type Conn struct{}", "func Open() {}", "func Driver() {}"} {
		if got := selftest.CheckDriver(plant(t, "x", "conn.go", strings.Replace(whole, part, "", 1))); len(got) != 1 {
			t.Errorf("without %s: got %v, want 1 finding", part, got)
		}
	}
	if got := selftest.CheckDriver(plant(t, "x", "conn.go", whole+"\nfunc (c *Conn) Fetch() {}\nfunc (c *Conn) Close() {}\n")); len(got) != 1 {
		t.Errorf("Fetch stands in conn.go: got %v, want 1 finding", got)
	}
}

func TestDependencyList(t *testing.T) {
	required, err := selftest.ParseRequirements([]byte(`{"Require": [{"Path": "a.org/b", "Version": "v1.2.3"}, {"Path": "a.org/c", "Version": "v0.0.0-2024"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const good = "# comment\n\na.org/b MIT it does b well\na.org/c BSD-3-Clause it does c well\n"
	for text, want := range map[string]int{
		good:                                           0,
		"a.org/b MIT it does b well\n":                 1, // c is missing
		good + "a.org/d MIT not used\n":                2, // and says too little
		good + "a.org/b MIT it does b well\n":          1, // twice
		strings.Replace(good, "it does b well", "", 1): 1, // no reason
	} {
		if got := selftest.CheckDependencies(required, []byte(text)); len(got) != want {
			t.Errorf("got %v, want %d findings in\n%s", got, want, text)
		}
	}
	for floor, want := range map[string]int{"v1.2.3": 0, "v1.2.2": 0, "v1.2.4": 1, "v1.10.0": 1, "v0.9.9": 0} {
		if got := selftest.CheckFloors(required, []selftest.Requirement{{Path: "a.org/b", Version: floor}}); len(got) != want {
			t.Errorf("floor %s: got %v, want %d findings", floor, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]int{
		"see /work" + "/main/x":          1,
		"cd /home" + "/somebody":         1,
		"https://goproxy" + ".example/":  1,
		"GOPROXY=" + "https://x":         1,
		"https://example.org/home/x":     0,
		"/var/archive and examples/work": 0,
		"\x00/work" + "/main":            0,
	} {
		if got := selftest.CheckText("x", []byte(text)); len(got) != want {
			t.Errorf("%q: got %v, want %d findings", text, got, want)
		}
	}
}
