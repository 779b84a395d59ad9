package raw

import (
	"math"
	"testing"
)

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		give        Options
		memory, max int64
	}{
		{Options{}, 1 << 20, 1 << 30},
		{Options{Memory: -1, Max: 5}, -1, 5},
		{Options{Memory: 7, Max: math.MaxInt64, Dir: "d"}, 7, math.MaxInt64},
	} {
		if got := test.give.spool(); got.Memory != test.memory || got.Max != test.max || got.Dir != test.give.Dir {
			t.Errorf("%+v: got %+v", test.give, got)
		}
	}
}
