package gmail

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func samplePlace(labels int) *place {
	p := &place{
		User: "1001", Email: "ann@corp.example", Scope: "TRASH SPAM", Phase: phaseDelta, Cursor: strings.Repeat("9", 21), FullAt: 1_790_000_000,
		Labels: make(map[string]string), Expired: 1, ExpiredAt: 1_790_000_001, Pending: []pending{{ID: "18c0a1", Attempts: 2}, {ID: "msg_12/ab", Attempts: 1, Labels: true, Held: true}}, Folders: []string{"Label_1"},
	}
	for i := range labels {
		p.Labels[fmt.Sprintf("Label_%d", i)] = fmt.Sprintf("Customers/%d/%s", i, strings.Repeat("ü", 100))
	}
	return p
}

func TestCheckpointHoldsAPlace(t *testing.T) {
	for _, labels := range []int{0, 3, 10_000} {
		p := samplePlace(labels)
		cp, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := p.encode()
		if err != nil || again != cp {
			t.Errorf("%d labels: the same place gives another Checkpoint, error %v", labels, err)
		}
		back, err := decodePlace(cp)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(*back) != fmt.Sprint(*p) || !maps.Equal(back.Labels, p.Labels) || back.Labels == nil {
			t.Errorf("%d labels: got %.200v, want %.200v", labels, *back, *p)
		}
		if labels == 10_000 && len(cp) > 1<<20 {
			t.Errorf("a Checkpoint of 10,000 labels has %d octets", len(cp))
		}
	}
}

// A Checkpoint with any octet changed is none.
func TestCheckpointDamaged(t *testing.T) {
	for _, labels := range []int{0, 200} {
		cp, err := samplePlace(labels).encode()
		if err != nil {
			t.Fatal(err)
		}
		step := 1 + len(cp)/200
		for i := 0; i < len(cp); i += step {
			other := byte('A')
			if cp[i] == other {
				other = 'B'
			}
			damaged := cp[:i] + connection.Checkpoint(other) + cp[i+1:]
			if _, err := decodePlace(damaged); err == nil {
				t.Errorf("%d labels: nobody noticed that octet %d of %d was changed", labels, i, len(cp))
			}
			if _, err := decodePlace(cp[:i]); err == nil {
				t.Errorf("%d labels: nobody noticed that all behind octet %d of %d was lost", labels, i, len(cp))
			}
		}
	}
}

func FuzzDecodePlace(f *testing.F) {
	for _, labels := range []int{0, 200} {
		cp, err := samplePlace(labels).encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(cp))
	}
	f.Add(checkpointPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := decodePlace(connection.Checkpoint(text))
		if err != nil {
			return
		}
		cp, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodePlace(cp); err != nil {
			t.Errorf("%q was read, and cannot be read again: %v", text, err)
		}
	})
}

func TestCompareHistory(t *testing.T) {
	ids := []string{"0", "1", "9", "10", "00011", "18446744073709551616", "179500000000000000001"}
	for i, a := range ids {
		for j, b := range ids {
			got := compareHistory(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: got %d", a, b, got)
			}
		}
	}
}
