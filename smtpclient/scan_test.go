package smtpclient

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// plainScan finds out the same as a scan, octet by octet.
func plainScan(octets []byte) scan {
	want := scan{size: int64(len(octets))}
	lines := bytes.SplitAfter(octets, []byte("\n"))
	for _, line := range lines {
		if bytes.HasPrefix(line, []byte(".")) {
			want.dots++
		}
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		if ended {
			want.lf++
		}
		want.line, want.inLine = 0, !ended && len(text) > 0
		if want.inLine {
			want.line, want.lastCR = int64(len(text)), bytes.HasSuffix(text, []byte("\r"))
		}
		if whole, crlf := bytes.CutSuffix(text, []byte("\r")); crlf && ended {
			want.crlf++
			text = whole
		}
		want.longest = max(want.longest, int64(len(text)))
	}
	for i, c := range octets {
		switch {
		case c == '\r':
			want.cr++
			if lone := i+1 == len(octets) || octets[i+1] != '\n'; lone && !want.foundCR {
				want.foundCR, want.firstCR = true, int64(i)
			}
		case c == 0 && !want.nul:
			want.nul, want.firstNUL = true, int64(i)
		case c >= 0x80:
			want.eightBit = true
		}
	}
	return want
}

func TestScanAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const alphabet = "\r\n.a\x00 \x80\x1f\r\nbcdefghijklmnop\xff\x7f"
	for range 50_000 {
		octets := make([]byte, r.IntN(60))
		few := 2 + r.IntN(len(alphabet)-2)
		for i := range octets {
			octets[i] = alphabet[r.IntN(few)]
		}
		var got scan
		for rest := octets; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			got.write(rest[:n])
			rest = rest[n:]
		}
		if got.end(); got != plainScan(octets) {
			t.Fatalf("%q: got %+v, want %+v", octets, got, plainScan(octets))
		}
	}
}
