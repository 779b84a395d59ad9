package mailheader_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/mailheader"
)

func TestHeader(t *testing.T) {
	const head = "To: ann@example.org,\r\n bob@example.org\r\nno field\r\nX-Odd : 1\nto: second\r\n"
	end, whole := mailheader.End([]byte(head+"\r\nbody: no field\r\n"), false)
	if end != len(head) || !whole {
		t.Fatalf("the header ends at %d, %t; want %d", end, whole, len(head))
	}
	h := mailheader.Parse([]byte(head))
	var names []string
	var octets strings.Builder
	for _, l := range h.Lines {
		names = append(names, l.Name)
		octets.Write(h.Raw[l.Start:l.End])
	}
	if want := []string{"to", "", "x-odd", "to"}; !slices.Equal(names, want) || octets.String() != head {
		t.Errorf("fields %q, want %q; together %q", names, want, octets.String())
	}
	if to := h.First("to"); to != "ann@example.org,   bob@example.org" || h.First("cc") != "" || h.First("x-odd") != "1" {
		t.Errorf("to %q, cc %q, x-odd %q", to, h.First("cc"), h.First("x-odd"))
	}
}

func TestEnd(t *testing.T) {
	for raw, want := range map[string]int{"": 0, "\r\nbody": 0, "\nbody": 0, "A: b": 4, "A: b\r\n": 6, "A: b\n\nbody": 5, " folded\r\n\r\n": 9} {
		if end, ok := mailheader.End([]byte(raw), true); end != want || !ok {
			t.Errorf("%q: %d, %t; want %d", raw, end, ok, want)
		}
	}
	if _, ok := mailheader.End([]byte("A: b\r\nC: "), false); ok {
		t.Error("a header that goes on is called whole")
	}
}
