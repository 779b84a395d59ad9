package wirelog_test

import (
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/wirelog"
)

func TestHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                "plain",
		"a\r\nb\tc\x00d\x7fe":  "a  b c d e",
		"\x1b[31mred\u0085":    " [31mred ",
		"half a rune \xe2\x82": "half a rune \ufffd\ufffd",
	} {
		if got := wirelog.Harmless(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	if got := wirelog.Clip("short"); got != "short" {
		t.Errorf("got %q", got)
	}
	long := wirelog.Clip(strings.Repeat("€", 1000))
	if len(long) > 410 || !strings.HasSuffix(long, "€…") {
		t.Errorf("got %d octets, %q at the end; want a rune and an ellipsis", len(long), long[len(long)-9:])
	}
}
