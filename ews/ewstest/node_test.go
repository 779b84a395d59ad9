package ewstest

import (
	"strings"
	"testing"
)

func TestLongTexts(t *testing.T) {
	long := strings.Repeat("aGVsbG8h", 1000)
	for name, test := range map[string]struct{ doc, text, next string }{
		"one":                  {"<a><b>" + long + "</b><c>x</c></a>", long, "x"},
		"two":                  {"<a><b>" + long + "</b><c>" + long + "=</c></a>", long, long + "="},
		"behind a comment":     {"<a><!-- >" + long + "< --><b>" + long + "+</b><c>x</c></a>", long + "+", "x"},
		"in CDATA":             {"<a><b><![CDATA[<x>" + long + "</x>]]></b><c>x</c></a>", "<x>" + long + "</x>", "x"},
		"with an entity":       {"<a><b>" + long + "&lt;</b><c>x</c></a>", long + "<", "x"},
		"with the mark":        {"<a><b>" + long + "</b><c>\ue0000\ue000</c></a>", long, "\ue0000\ue000"},
		"with the mark spelt":  {"<a><b>" + long + "</b><c>&#xE000;0&#57344;</c></a>", long, "\ue0000\ue000"},
		"with line ends in it": {"<a><b>" + long + "\r\n" + long + "</b><c>x</c></a>", long + "\n" + long, "x"},
	} {
		n, bad := parse([]byte(test.doc))
		if bad != nil {
			t.Errorf("%s: %v", name, bad)
			continue
		}
		if got := n.child("b").text; got != test.text {
			t.Errorf("%s: got %d octets, want %d", name, len(got), len(test.text))
		}
		if got := n.child("c").text; got != test.next {
			t.Errorf("%s: behind it: got %.20q, want %.20q", name, got, test.next)
		}
		line, column := 1, strings.Index(test.doc, "<c>")+2
		if i := strings.LastIndex(test.doc[:column], "\n"); i >= 0 {
			line, column = 2, column-i-1
		}
		if c := n.child("c"); strings.Contains(name, "comment") {
			continue // what is lifted out of a comment is not seen again
		} else if c.line != line || c.column != column {
			t.Errorf("%s: got line %d, column %d, want %d and %d", name, c.line, c.column, line, column)
		}
	}
}
