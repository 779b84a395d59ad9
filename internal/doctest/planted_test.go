package doctest

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mailconn/mailconn/connection/alldrivers"
)

// fence makes a fenced block.
func fence(language, text string) string { return "```" + language + "\n" + text + "\n```\n" }

// Each check finds the mistake that it is for, on its line, and nothing on a page that is right.
func TestPlantedMistakes(t *testing.T) {
	fsys := fstest.MapFS{
		"docs/other.md": {Data: []byte("# Other\n\n## What `x` is\n\n## Twice\n\n## Twice\n")},
		"code.go":       {Data: []byte("package code\n")},
	}
	links := func(p *page) []string { return checkLinks(p, fsys) }
	settings := func(p *page) []string { return checkSettings(p, alldrivers.New(), serviceAccountKey(t)) }
	provider := func(p *page) []string {
		return checkProvider(p, alldrivers.New(), []string{"greeting", "server: nothing listens on port %d, or a firewall refuses it"})
	}
	names := func(p *page) []string {
		return checkNames(p, map[string][]string{"TestIt": {"pop3client", "connection/journal"}}, []string{"put-get", "E1-empty"})
	}
	index := func(p *page) []string { return checkIndex(p, []string{"other.md", "providers/a.md"}) }
	named := func(p *page) []string {
		return checkNamed("rule", []string{"put-get", "list"}, p, parse("docs/second.md", "`list`"))
	}
	commands := func(p *page) []string {
		_, findings := runnable(p)
		return findings
	}
	file := fence("json", `{"driver": "file", "config": {"location": "/archive"}}`)
	for _, test := range []struct {
		name  string
		check func(*page) []string
		text  string
		want  string // in the one finding; "" = none
	}{
		{"good links", links, "[a](other.md) [b](other.md#what-x-is) [c](../code.go) [d](https://example.org/x#y) [e](#here)\n\n# Here\n\n[f](other.md#twice-1)", ""},
		{"no such file", links, "text\n[a](missing.md)", "docs/page.md:2: the link to missing.md leads nowhere"},
		{"out of the tree", links, "[a](../../code.go)", "leads nowhere"},
		{"no such heading", links, "[a](other.md#thrice)", "names no heading"},
		{"no such heading here", links, "# Here\n[a](#there)", "page.md:2: "},
		{"heading of code", links, "[a](../code.go#L1)", "what is no page"},
		{"link with code", links, "[`a`](missing.md)", "leads nowhere"},
		{"no link in code", links, "`[a](missing.md)`\n" + fence("", "[a](missing.md)"), ""},

		{"good settings", settings, file + fence("json", `{"Version": "a policy"}`), ""},
		{"a key", settings, fence("json", `{"driver": "gmail", "config": {"admin": "a@example.org", "credentials": "`+keyHere+`"}}`), ""},
		{"unknown setting", settings, "\n" + fence("json", `{"driver": "file", "config": {"locaton": "/archive"}}`), "page.md:3: these settings do not open"},
		{"unknown driver", settings, fence("json", `{"driver": "floppy", "config": {}}`), "do not open"},
		{"invalid value", settings, fence("json", `{"driver": "imap", "config": {"server": "a.example", "username": "u", "password": "p", "mode": "ssl"}}`), "do not open"},
		{"no JSON", settings, fence("json", `{"driver": "file",}`), "no JSON"},

		{"good names", provider, file + "`location`, `sync`, `none`, `imap`, `Other-Words`, `a b`", ""},
		{"no such setting", provider, file + "set `place` to", "page.md:4: `place` is no setting of file"},
		{"setting of another driver", provider, file + "`polling_interval`", "no setting of file"},
		{"nested setting", provider, file + "`sync.full`", "no setting"},
		{"no settings file", provider, "text", "no settings file"},
		{"good steps", provider, file + "| step | says |\n|---|---|\n| `greeting` | \"nothing listens on port … a firewall\" (`location`) |\n", ""},
		{"no such step", provider, file + "| step | says |\n|---|---|\n| `farewell` | nothing |\n", "page.md:6: `farewell` is no step"},
		{"invented words", provider, file + "| step | says |\n|---|---|\n| `greeting` | \"somebody listens on port …\" |\n", `no driver says "somebody listens on port"`},
		{"invented end of words", provider, file + "| step | says |\n|---|---|\n| `greeting` | \"nothing listens … at all\" |\n", `"at all"`},

		{"good tests", names, "`TestIt`, `pop3client.TestIt`, `journal.TestIt`, `connection/journal.TestIt`, `put-get`, `E1-empty`, `ctx.Err()`", ""},
		{"no such test", names, "\n\n`TestThat`", "page.md:3: there is no test `TestThat`"},
		{"test elsewhere", names, "`imapclient.TestIt`", "no test `imapclient.TestIt`"},
		{"no such rule", names, "`put-got`", "no rule `put-got`"},

		{"good index", index, "[a](other.md) [b](providers/a.md)", ""},
		{"page that is not in the index", index, "[a](other.md)", "no link to providers/a.md"},
		{"all are named", named, "`put-get`", ""},
		{"one is named nowhere", named, "put-get", "the rule `put-get` is named nowhere"},

		{"good commands", commands, fence("sh", "go run ./examples/archive   # it works\nmake test\ncd elsewhere && go test .") + fence("text", "go test | less"), ""},
		{"command of two lines", commands, fence("sh", "go run ./examples/archive \\"), "no special characters"},
		{"command in a pipe", commands, "\n" + fence("sh", "make test\ngo test . | less"), "page.md:4: "},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			got := test.check(parse("docs/page.md", test.text))
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("got %q, want nothing", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)):
				t.Errorf("got %q, want one finding with %q", got, test.want)
			}
		})
	}
}

// plantedCommands shows that a command that fails is found, whether it is a program of the examples or the go command.
func plantedCommands(t *testing.T, bin string) {
	t.Helper()
	for _, test := range []struct {
		name, text string
		fails      bool
	}{
		{"go doc", "go doc ./connection Secret", false},
		{"go doc of nothing", "go doc ./connection NoSuchThing", true},
		{"program", "go run ./examples/volume -help", false},
		{"flag that is none", "go run ./examples/volume -nosuchflag", true},
		{"program that is none", "go run ./examples/nosuchprogram", true},
	} {
		blocks, findings := runnable(parse("page.md", fence("sh", test.text)))
		if len(blocks) != 1 || len(blocks[0]) != 1 || len(findings) > 0 {
			t.Fatalf("%s: got blocks %v, findings %q", test.name, blocks, findings)
		}
		if err := newWorkplace(t, bin).run(t.Context(), blocks[0][0].args); (err != nil) != test.fails {
			t.Errorf("%s: got error %v, want one: %t", test.name, err, test.fails)
		}
	}
}
