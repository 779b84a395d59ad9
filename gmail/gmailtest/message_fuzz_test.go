package gmailtest

import (
	"strings"
	"testing"
)

// Whatever a message is, it has parts that are found by their ids, and none is larger than the message in its encoding.
func FuzzMIME(f *testing.F) {
	f.Add("")
	f.Add("Subject: x\r\n\r\nbody")
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--")
	f.Add("Content-Type: multipart/x; boundary=\"\"\r\n\r\n----")
	f.Add(" folded: first\n\n")
	f.Fuzz(func(t *testing.T, raw string) {
		root := mimeWalk{}.read(strings.NewReader(raw), "", 0)
		var walk func(p *part)
		walk = func(p *part) {
			if p.size > int64(len(raw)) {
				t.Errorf("part %q has %d octets of %d", p.id, p.size, len(raw))
			}
			if root.find(p.id) != p {
				t.Errorf("part %q is not found", p.id)
			}
			for _, c := range p.parts {
				walk(c)
			}
		}
		walk(root)
		if len([]rune(root.snippet())) > 180*6 {
			t.Errorf("a snippet of %d octets", len(root.snippet()))
		}
	})
}
