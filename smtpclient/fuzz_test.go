package smtpclient

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// What a server says is taken apart without harm, and a code that is found is within its bounds.
func FuzzReplyLine(f *testing.F) {
	for _, line := range []string{"250 2.1.0 ok", "250-AUTH=LOGIN PLAIN", "421", "550 5.1.1", "354-", "250 SIZE 99999999999999999999", "451 4.7.1 try again in 5 minutes", "\xff\x00"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		code, _, text, ok := parseLine([]byte(line))
		if !ok {
			return
		}
		if code < 200 || code > 599 {
			t.Errorf("%q: code %d", line, code)
		}
		enhanced, rest := cutEnhanced(code, text)
		if enhanced != "" && (strings.Count(enhanced, ".") != 2 || !strings.HasPrefix(text, enhanced) || len(rest) >= len(text)) {
			t.Errorf("%q: enhanced code %q, rest %q", line, enhanced, rest)
		}
		r := &reply{code: code, enhanced: enhanced, lines: []string{rest}}
		for at := stageHello; at <= stageFinal; at++ {
			if kind, _ := classify(at, r, false); kind == connection.ErrUncertain {
				t.Errorf("%q: a reply is no doubt", line)
			}
		}
		if after := retryAfter(text); after < 0 || after > longestWait {
			t.Errorf("%q: retry after %v", line, after)
		}
		if x := parseExtensions(strings.Split(text, "\n")); x.size < 0 {
			t.Errorf("%q: size %d", text, x.size)
		}
	})
}

// A new Message-ID changes nothing but what it is documented to change: all other octets can be found again.
func FuzzReplaceMessageID(f *testing.F) {
	for _, head := range []string{"", "Message-ID: <1@a>\r\n\r\n", "A: b\nmessage-id:\n <1>\nMESSAGE-ID: x\n\n", "From x\r\nA: b", " \r\n", "Message-ID:", "\r\n\r\n", ":\r\n"} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		if bytes.Contains(head, []byte("NEW")) || bytes.Contains(bytes.ToLower(head), []byte("x-original-")) {
			return
		}
		got := replaceMessageID(head, "<NEW>", nil)
		begin, all := fields(head)
		for _, eol := range []string{"\r\n", "\n"} { // back again: the new field away, the old names instead
			got = bytes.Replace(got, []byte("Message-ID: <NEW>"+eol), nil, 1)
		}
		want := append([]byte(nil), head[:begin]...)
		at := begin
		for _, f := range all {
			want = append(want, head[at:f.start]...)
			if f.named(head, messageIDName) {
				want = append(append(want, originalName...), head[f.colon:f.end]...)
			} else {
				want = append(want, head[f.start:f.end]...)
			}
			at = f.end
		}
		if want = append(want, head[at:]...); !bytes.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", head, got, want)
		}
	})
}

// The scan does not depend on where the pieces end.
func FuzzScanInPieces(f *testing.F) {
	f.Add([]byte("a\r\n.b\rc\n\x00\xff\r"), uint8(3))
	f.Fuzz(func(t *testing.T, raw []byte, size uint8) {
		var whole, pieces scan
		whole.write(raw)
		whole.end()
		for rest := raw; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			pieces.write(rest[:n])
			rest = rest[n:]
		}
		if pieces.end(); whole != pieces {
			t.Errorf("%q in pieces of %d: got %+v, want %+v", raw, int(size)+1, pieces, whole)
		}
		lone := 0
		for i, c := range raw {
			if c == '\r' && (i+1 == len(raw) || raw[i+1] != '\n') {
				lone++
			}
		}
		if whole.bareCR() != int64(lone) || whole.foundCR != (lone > 0) {
			t.Errorf("%q: %d bare CR, found %t, want %d", raw, whole.bareCR(), whole.foundCR, lone)
		}
	})
}
