package connectiontest

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func TestCorpusIsTheSameEachTimeAndNoTwoAreAlike(t *testing.T) {
	first, second := Corpus(), Corpus()
	if len(first) != len(second) {
		t.Fatalf("got %d and %d samples", len(first), len(second))
	}
	names := map[string]bool{}
	seen := map[[sha256.Size]byte]string{}
	for i, s := range first {
		if names[s.Name] {
			t.Errorf("two samples named %q", s.Name)
		}
		names[s.Name] = true
		if !bytes.Equal(s.Raw, second[i].Raw) {
			t.Errorf("%s: differs between two calls", s.Name)
		}
		sum := sha256.Sum256(s.Raw)
		if other, ok := seen[sum]; ok {
			t.Errorf("%s holds the same octets as %s", s.Name, other)
		}
		seen[sum] = s.Name
	}
	for _, want := range []string{"empty", "nul", "bare-cr", "bare-lf", "dots", "from-line", "no-header", "no-final-newline", "8-bit", "long-line", "big"} {
		if !names[want] {
			t.Errorf("no sample named %q", want)
		}
	}
	first[0].Raw[0] ^= 0xff
	if third := Corpus(); !bytes.Equal(third[0].Raw, second[0].Raw) {
		t.Error("changing a sample changed the corpus")
	}
}

func TestCorpusSizes(t *testing.T) {
	for _, s := range Corpus() {
		switch s.Name {
		case "big":
			if len(s.Raw) != bigMessage {
				t.Errorf("big: got %d octets, want %d", len(s.Raw), bigMessage)
			}
		case "long-line":
			if i := bytes.Index(s.Raw, []byte("\r\n\r\n")); bytes.IndexByte(s.Raw[i+4:], '\n') < longLine {
				t.Error("long-line: the line is short")
			}
		case "size-4097":
			if len(s.Raw) != 4097 {
				t.Errorf("size-4097: got %d octets", len(s.Raw))
			}
		}
	}
}
