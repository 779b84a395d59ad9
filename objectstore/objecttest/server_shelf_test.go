package objecttest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func always(time.Time) bool { return true }

func TestShelfLists(t *testing.T) {
	var s shelf[int]
	for i, key := range []string{"b", "a", "a/x", "a/y", "a-", "c/1/2", "c/1/3", "c/2", "gone", "d"} {
		s.put(key, i)
	}
	s.put("b", 100)
	s.remove("gone")
	s.remove("never")
	if got, ok := s.get("b"); !ok || got != 100 {
		t.Errorf("get: %d, %t", got, ok)
	}
	if _, ok := s.get("gone"); ok {
		t.Error("get finds what was removed")
	}
	if got := strings.Join(s.sorted(), " "); got != "a a- a/x a/y b c/1/2 c/1/3 c/2 d" {
		t.Errorf("sorted: %s", got)
	}
	for _, tt := range []struct {
		l    listing
		want string
		more bool
	}{
		{listing{}, "a a- a/x a/y b c/1/2 c/1/3 c/2 d", false},
		{listing{limit: 9}, "a a- a/x a/y b c/1/2 c/1/3 c/2 d", false},
		{listing{limit: 8}, "a a- a/x a/y b c/1/2 c/1/3 c/2", true},
		{listing{delimiter: "/"}, "a a- a/* b c/* d", false},
		{listing{delimiter: "/", limit: 3}, "a a- a/*", true},
		{listing{delimiter: "/", limit: 3, resume: "a/"}, "b c/* d", false},
		{listing{delimiter: "/", after: "a/x"}, "a/* b c/* d", false},
		{listing{delimiter: "/", after: "a/y"}, "b c/* d", false},
		{listing{delimiter: "/", prefix: "c/"}, "c/1/* c/2", false},
		{listing{prefix: "a"}, "a a- a/x a/y", false},
		{listing{prefix: "a/"}, "a/x a/y", false},
		{listing{prefix: "c/1", after: "a"}, "c/1/2 c/1/3", false},
		{listing{prefix: "c/1", after: "c/1/2"}, "c/1/3", false},
		{listing{prefix: "a", after: "b"}, "", false},
		{listing{after: "a", limit: 1}, "a-", true},
		{listing{prefix: "none"}, "", false},
	} {
		page, more := s.list(tt.l, always)
		var got []string
		for _, e := range page {
			if e.prefix {
				e.key += "*"
			}
			got = append(got, e.key)
		}
		if strings.Join(got, " ") != tt.want || more != tt.more {
			t.Errorf("%+v: got %q and %t, want %q and %t", tt.l, got, more, tt.want, tt.more)
		}
	}
	if page, _ := s.list(listing{prefix: "b"}, always); page[0].item != 100 {
		t.Errorf("the entry of b has the item %d", page[0].item)
	}
}

func TestShelfLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shelf[int]
		settled := func(at time.Time) bool { return time.Since(at) >= time.Minute }
		check := func(want ...int) {
			t.Helper()
			page, _ := s.list(listing{}, settled)
			var got []int
			for _, e := range page {
				got = append(got, e.item)
			}
			if !slices.Equal(got, want) {
				t.Errorf("listed %v, want %v", got, want)
			}
		}
		wait := func(d time.Duration) { <-time.After(d) }
		s.put("a", 1)
		check()
		wait(time.Minute)
		check(1)
		s.put("a", 2)
		wait(30 * time.Second)
		check(1)
		s.remove("a")
		wait(30 * time.Second)
		check(2)
		s.put("a", 3)
		wait(30 * time.Second)
		check()
		wait(30 * time.Second)
		check(3)
		if n := len(s.keys["a"]); n != 1 {
			t.Errorf("%d changes are kept, want 1", n)
		}
	})
}

func TestBlob(t *testing.T) {
	raw := bytes.Join([][]byte{[]byte("head"), make([]byte, 3*runSize), bytes.Repeat([]byte("x"), runSize+5), make([]byte, 10*runSize), []byte("tail")}, nil)
	sum := sha256.New()
	b, err := readBlob(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(raw))), sum)
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(raw); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("tee did not get the octets")
	}
	if b.size != int64(len(raw)) || !bytes.Equal(b.bytes(), raw) {
		t.Errorf("%d octets are not the %d read", b.size, len(raw))
	}
	kept := 0
	for _, r := range b.runs {
		kept += len(r.data)
	}
	if kept > 6*runSize {
		t.Errorf("%d octets are kept for %d with %d zeros", kept, len(raw), 13*runSize)
	}
	for _, at := range []int64{0, 3, runSize - 1, runSize, 4*runSize + 9, b.size - 1, b.size} {
		for _, n := range []int64{0, 1, 5, runSize, b.size} {
			want := raw[at:min(at+n, b.size)]
			got, err := io.ReadAll(iotest.OneByteReader(b.reader(at, min(n, 9))))
			if err != nil || !bytes.Equal(got, want[:min(9, len(want))]) {
				t.Errorf("%d octets at %d, one by one: %d octets, error %v", n, at, len(got), err)
			}
			if got := b.part(at, n).bytes(); !bytes.Equal(got, want) {
				t.Errorf("part of %d octets at %d: %d octets", n, at, len(got))
			}
		}
	}
	if got := join(b, blob{}, b).bytes(); !bytes.Equal(got, append(bytes.Clone(raw), raw...)) {
		t.Error("join does not give the octets of its parts")
	}
	bad := b.damaged().bytes()
	if raw[len(raw)/2] ^= 1; !bytes.Equal(bad, raw) {
		t.Error("damaged has other than the middle's lowest bit inverted")
	}
	if (blob{}).damaged().size != 0 {
		t.Error("an empty blob has octets when damaged")
	}
	broken := errors.New("broken")
	if _, err := readBlob(io.MultiReader(bytes.NewReader(raw), iotest.ErrReader(broken)), nil); !errors.Is(err, broken) {
		t.Errorf("got error %v, want the reader's", err)
	}
	if _, err := readBlob(iotest.ErrReader(io.ErrUnexpectedEOF), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got error %v, want the reader's", err)
	}
}
