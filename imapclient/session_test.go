package imapclient

import (
	"strings"
	"testing"
)

// TestValidityOf: what stands in every Ref is a number, whatever the server says.
func TestValidityOf(t *testing.T) {
	for arg, want := range map[string]string{
		"7":                      "7",
		"007":                    "7",
		"99999999999":            "99999999999", // more than 32 bits: some servers do
		"0":                      "",
		"":                       "",
		"x":                      "",
		"7 8":                    "",
		"-1":                     "",
		"\x1b[2J":                "",
		strings.Repeat("1", 20):  strings.Repeat("1", 20),
		strings.Repeat("1", 21):  "",
		strings.Repeat("1", 1e4): "",
	} {
		if got := validityOf(note{Code: "UIDVALIDITY", Arg: arg}); got != want {
			t.Errorf("%.30q: got %.30q, want %q", arg, got, want)
		}
	}
}
