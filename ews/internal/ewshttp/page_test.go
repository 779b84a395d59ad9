package ewshttp

import (
	"strings"
	"testing"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

func TestFirstElement(t *testing.T) {
	for start, want := range map[string]string{
		`<Envelope xmlns="x"><Header>`:                        "envelope",
		"\xef\xbb\xbf \r\n<?xml version='1.0'?>\n<s:Envelope": "envelope",
		"<Autodiscover\nxmlns='x'>":                           "autodiscover",
		"<a/>":                                                "a",
		"<!-- <html> --><x:y>":                                "y",
		"<!-- <html>":                                         "",
		"<!DOCTYPE HTML PUBLIC":                               "!doctype html",
		"<HTML\tlang=en>":                                     "html",
		"text <html>":                                         "",
		"":                                                    "",
		"<":                                                   "",
	} {
		if got, _ := firstElement([]byte(start)); got != want {
			t.Errorf("%q begins with %q, want %q", start, got, want)
		}
	}
}

// FuzzPage: whatever a server sends in place of XML, what an error shows of it is short, printable, and not the password.
func FuzzPage(f *testing.F) {
	const password = "hush-hush"
	c, err := New(Options{Username: "joe", Password: connection.NewSecret(password)}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() }) // it has made no connection
	f.Add([]byte("<html><!-- x --><style>y</style><SCRIPT>z</script>\xff\u0130<p>" + password))
	f.Add([]byte("hush<b>-hush</b>"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		isXML(octets)
		p := c.page(octets)
		if len(p.shown) > maxShown+len("…") || strings.ContainsFunc(p.shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("shown: %q", p.shown)
		}
		if strings.Contains(strings.ToLower(p.shown), password) {
			t.Errorf("the password is in %q", p.shown)
		}
	})
}
