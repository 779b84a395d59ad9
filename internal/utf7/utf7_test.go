package utf7_test

import (
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/internal/utf7"
)

func TestKnownNames(t *testing.T) {
	for name, wire := range map[string]string{
		"INBOX": "INBOX", "R&D": "R&-D", "Entwürfe": "Entw&APw-rfe", "台北": "&U,BTFw-", "😀": "&2D3eAA-", "a\x00b": "a&AAA-b",
	} {
		if got := utf7.Encode(name); got != wire {
			t.Errorf("Encode(%q) = %q, want %q", name, got, wire)
		}
		if got, ok := utf7.Decode(wire); !ok || got != name {
			t.Errorf("Decode(%q) = %q, %v, want %q", wire, got, ok, name)
		}
	}
	for _, bad := range []string{"R&D", "&AGE-", "&", "&AP", "&APw", "&2D0-", "&!-", "caf\xe9"} {
		if got, ok := utf7.Decode(bad); ok {
			t.Errorf("Decode(%q) = %q, want it refused", bad, got)
		}
	}
}

func FuzzModifiedUTF7(f *testing.F) {
	for _, s := range []string{"Entw&APw-rfe", "R&-D", "a&b", "&AC8-", "&2D3eAA-", "&2D0-", "Gelöscht"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if decoded, ok := utf7.Decode(s); ok && utf7.Encode(decoded) != s {
			t.Fatalf("%q is %q, which is encoded as %q", s, decoded, utf7.Encode(decoded))
		}
		if !utf8.ValidString(s) {
			return
		}
		if decoded, ok := utf7.Decode(utf7.Encode(s)); !ok || decoded != s {
			t.Fatalf("%q is encoded as %q, which is decoded as %q", s, utf7.Encode(s), decoded)
		}
	})
}
