package imaptest_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestReplay(t *testing.T) {
	const text = "# a comment\n\n" +
		"S: * OK hello\r\n" +
		"A: NOOP\na: * 1 EXISTS\na: $TAG OK\n" +
		"C: CAPABILITY\nS:  \nS: $TAG OK that is all\n" +
		"!login\nS: $TAG OK welcome\n" +
		"!compress\n" +
		"C: FETCH 1\nS: * 1 FETCH (BODY[] {*}\n|one\n||two\n|\nS:  X {*}\nS: )\nS: $TAG OK done\n" +
		"---\n" +
		"S: * BYE no\n!cut\n"
	srv := imaptest.Replay(t, &plain, fstest.MapFS{"x.txt": {Data: []byte(text)}}, "x.txt")
	p := dial(t, srv.Config())
	if got := p.line(); got != "* OK hello" {
		t.Errorf("got greeting %q", got)
	}
	p.want("NOOP", "* 1 EXISTS\r\n", "OK")
	p.want("CAPABILITY", " \r\n", "OK that is all")
	p.want("LOGIN a b", "", "OK welcome")
	p.ok("COMPRESS DEFLATE")
	p.squeeze()
	p.want("UID FETCH 1 BODY[]", "* 1 FETCH (BODY[] {13}\r\none\r\n|two\r\n\r\n X {0}\r\n)\r\n", "OK done")

	p = dial(t, srv.Config())
	if got := p.line(); got != "* BYE no" {
		t.Errorf("got %q from the second connection", got)
	}
	p.gone()
}

func TestParseTranscriptErrors(t *testing.T) {
	for text, want := range map[string]string{
		"S: * OK\nX: y\n":                  `line 2: "X: y"`,
		"\n|octets\n":                      "line 2: octets of a literal",
		"a: $TAG OK\n":                     "line 1: a: without",
		"A: NOOP\nC: NOOP\n":               "line 2: an A: without",
		"A: NOOP\n":                        "at the end: an A: without",
		"S: {*}\n|x\nC: NOOP\n":            "line 3: a literal must",
		"S: {*}\n|x\n":                     "at the end: a literal must",
		"!explode\n":                       `line 1: "!explode"`,
		"C: \n":                            `line 1: "C: "`,
		"S: " + strings.Repeat("x", 2<<20): "line 1: ",
	} {
		if _, err := imaptest.ParseTranscript(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: got %v, want an error that begins with %q", text, err, want)
		}
	}
}

func TestBrandsParse(t *testing.T) {
	names, err := fs.Glob(os.DirFS("testdata/brands"), "*.txt")
	if err != nil || len(names) < 10 {
		t.Fatalf("got %q, %v", names, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(os.DirFS("testdata/brands"), name)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := imaptest.ParseTranscript(strings.NewReader(string(text)))
		if err != nil || len(scripts) != 1 {
			t.Errorf("%s: got %d scripts, %v", name, len(scripts), err)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not begin with what it shows", name)
		}
	}
}
