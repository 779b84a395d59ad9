package ews

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/mailheader"
)

func split(raw string) (*header, string) {
	end, _ := mailheader.End([]byte(raw), true)
	return parseHeader([]byte(raw[:end])), raw[end:]
}

// The Message-ID is replaced and nothing else. NEW stands for the new one.
func TestNewMessageIDInHeader(t *testing.T) {
	for name, tt := range map[string]struct{ raw, want string }{
		"plain":              {"A: b\r\nMessage-ID: <1@a>\r\nC: d\r\n\r\nx\r\n", "A: b\r\nMessage-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\nC: d\r\n\r\nx\r\n"},
		"lower case":         {"message-id:<1@a>\r\n\r\nx", "Message-ID: NEW\r\nX-Original-Message-ID:<1@a>\r\n\r\nx"},
		"folded":             {"Message-ID:\r\n <1@a>\r\nC: d\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID:\r\n <1@a>\r\nC: d\r\n\r\n"},
		"space before colon": {"Message-ID : <1@a>\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\n\r\n"},
		"twice":              {"Message-ID: <1@a>\r\nC: d\r\nMESSAGE-ID: <2@a>\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\nC: d\r\nX-Original-Message-ID: <2@a>\r\n\r\n"},
		"missing":            {"A: b\r\n\r\nx", "Message-ID: NEW\r\nA: b\r\n\r\nx"},
		"in the body only":   {"A: b\r\n\r\nMessage-ID: <1@a>\r\n", "Message-ID: NEW\r\nA: b\r\n\r\nMessage-ID: <1@a>\r\n"},
		"no header section":  {"\r\nMessage-ID: <1@a>\r\n", "Message-ID: NEW\r\n\r\nMessage-ID: <1@a>\r\n"},
		"LF only":            {"A: b\nMessage-ID: <1@a>\n\nx\n", "A: b\nMessage-ID: NEW\nX-Original-Message-ID: <1@a>\n\nx\n"},
		"behind no field":    {"From ann Fri\r\nA: b\r\nMessage-ID: <1@a>\r\n\r\nx", "From ann Fri\r\nA: b\r\nMessage-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\n\r\nx"},
		"at the very end":    {"A: b\r\nMessage-ID: <1@a>", "A: b\r\nMessage-ID: NEW\r\nX-Original-Message-ID: <1@a>"},
		"another field":      {"X-Message-ID: <1@a>\r\nMessage-IDs: 5\r\n\r\n", "Message-ID: NEW\r\nX-Message-ID: <1@a>\r\nMessage-IDs: 5\r\n\r\n"},
		"nothing":            {"", "Message-ID: NEW\r\n"},
	} {
		head, rest := split(tt.raw)
		edited, err := head.edit("NEW", nil)
		if got := string(edited) + rest; err != nil || got != tt.want {
			t.Errorf("%s: got %q, error %v, want %q", name, got, err, tt.want)
		}
	}
}

// Recipients that the header lacks are added to the Bcc, or in front as a Bcc of their own.
func TestBccInHeader(t *testing.T) {
	for name, tt := range map[string]struct{ raw, want string }{
		"none":        {"To: a@b\r\n\r\nx", "Bcc: e@f,\r\n g@h\r\nTo: a@b\r\n\r\nx"},
		"one":         {"To: a@b\r\nBcc: c@d\r\nX: y\r\n\r\nx", "To: a@b\r\nBcc: c@d,\r\n e@f,\r\n g@h\r\nX: y\r\n\r\nx"},
		"comma":       {"Bcc: c@d, \r\n\r\nx", "Bcc: c@d,\r\n e@f,\r\n g@h\r\n\r\nx"},
		"folded":      {"BCC:\r\n Carol <c@d>,\r\n\tDan <d@e>\r\n\r\n", "BCC:\r\n Carol <c@d>,\r\n\tDan <d@e>,\r\n e@f,\r\n g@h\r\n\r\n"},
		"empty":       {"Bcc:\r\nX: y\r\n\r\n", "Bcc: e@f,\r\n g@h\r\nX: y\r\n\r\n"},
		"empty group": {"Bcc: nobody:;\r\n\r\n", "Bcc: e@f,\r\n g@h\r\n\r\n"},
		"LF":          {"To: a@b\nBcc: c@d\n\nx", "To: a@b\nBcc: c@d,\n e@f,\n g@h\n\nx"},
		"no header":   {"\r\nx", "Bcc: e@f,\r\n g@h\r\n\r\nx"},
		"no field":    {"Hello there,\r\n\r\nx", "Bcc: e@f,\r\n g@h\r\n\r\nHello there,\r\n\r\nx"},
		"folded text": {" Hello", "Bcc: e@f,\r\n g@h\r\n\r\n Hello"},
		"no end":      {"Bcc: c@d", "Bcc: c@d,\r\n e@f,\r\n g@h"},
	} {
		head, rest := split(tt.raw)
		edited, err := head.edit("", []string{"e@f", "g@h"})
		got := string(edited) + rest
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q, error %v, want %q", name, got, err, tt.want)
		}
		if head, _ := split(got); !slices.Contains(head.named(), "e@f") || !slices.Contains(head.named(), "g@h") {
			t.Errorf("%s: %q names %q", name, got, head.named())
		}
	}
}

// Who is missing in the header, and who must not be there.
func TestRecipientsOfHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		head string
		to   string
		want string
		kind connection.Kind
	}{
		"all there":                {"To: a@x.test\r\nCc: B <b@x.test>\r\nBcc: c@x.test\r\n", "a@x.test b@x.test c@x.test", "", 0},
		"another case":             {"To: A@X.test\r\n", "a@x.TEST", "", 0},
		"one missing":              {"To: a@x.test\r\n", "a@x.test b@x.test", "b@x.test", 0},
		"one twice":                {"To: a@x.test\r\n", "b@x.test B@x.test", "", connection.ErrUnsupported},
		"missing twice":            {"", "b@x.test B@x.test", "b@x.test", 0},
		"one too many":             {"To: a@x.test, eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"none":                     {"Subject: x\r\n", "a@x.test", "a@x.test", 0},
		"group":                    {"To: friends: a@x.test, b@x.test;\r\n", "a@x.test b@x.test", "", 0},
		"empty group":              {"To: undisclosed-recipients:;\r\n", "a@x.test", "a@x.test", 0},
		"not a list at all":        {"To: undisclosed recipients\r\n", "a@x.test", "a@x.test", 0},
		"breaks the rules":         {"To: 'a@x.test' <a@x.test>\r\n", "a@x.test", "a@x.test", 0},
		"breaks them, others":      {"To: 'eve@x.test' <a@x.test>\r\n", "a@x.test", "", connection.ErrUnsupported},
		"semicolons":               {"To: a@x.test; b@x.test\r\n", "a@x.test b@x.test", "a@x.test b@x.test", 0},
		"quoted comma":             {"To: \"Doe, John\" <a@x.test>\r\n", "a@x.test", "", 0},
		"address as a name":        {"To: \"eve@x.test\" <a@x.test>\r\n", "a@x.test", "", 0},
		"encoded name":             {"To: =?x-none?Q?J=F6rg?= <a@x.test>\r\n", "a@x.test", "", 0},
		"8-bit name":               {"To: J\xf6rg <a@x.test>\r\n", "a@x.test", "", 0},
		"folded":                   {"To: a@x.test,\r\n\tb@x.test\r\n", "a@x.test b@x.test", "", 0},
		"folded others":            {"To: a@x.test,\r\n eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"two To":                   {"To: a@x.test\r\nTo: b@x.test\r\n", "a@x.test b@x.test", "a@x.test b@x.test", 0},
		"second To, others":        {"To: a@x.test\r\nTo: eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"two Bcc":                  {"Bcc: a@x.test\r\nBcc: b@x.test\r\n", "a@x.test b@x.test", "", connection.ErrUnsupported},
		"Bcc not understood":       {"Bcc: a@x.test; b@x.test\r\n", "a@x.test b@x.test", "", connection.ErrUnsupported},
		"behind no field":          {"From ann Fri Feb 13\r\nTo: a@x.test\r\n", "a@x.test", "a@x.test", 0},
		"others behind no field":   {"From ann Fri Feb 13\r\nTo: eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"others behind a bare CR":  {"X: y\rTo: eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"others behind a mark":     {"\ufeffTo: eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"others, space and colon":  {"To : eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"others in Cc":             {"To: a@x.test\r\nCC:eve@x.test\r\n", "a@x.test", "", connection.ErrUnsupported},
		"not recipients":           {"From: eve@x.test\r\nReply-To: eve@x.test\r\nX-To: eve@x.test\r\n", "a@x.test", "a@x.test", 0},
		"quoted local part":        {"To: \"a b\"@x.test\r\n", "c@x.test", "", connection.ErrUnsupported},
		"nobody":                   {"To: a@x.test\r\n", "", "", connection.ErrInvalid},
		"not ASCII, there":         {"To: j\u00f6rg@x.test\r\n", "j\u00f6rg@x.test", "", 0},
		"not ASCII, not there":     {"", "j\u00f6rg@x.test", "", connection.ErrUnsupported},
		"domain literal":           {"To: a@[192.0.2.1]\r\n", "a@[192.0.2.1]", "", 0},
		"no at":                    {"", "postmaster", "", connection.ErrInvalid},
		"encapsulated X.400":       {"To: IMCEAEX-_O=X_OU=Y+20Z@corp.test\r\n", "IMCEAEX-_O=X_OU=Y+20Z@corp.test", "", 0},
		"trailing comma and blank": {"To: a@x.test, ,\r\n", "a@x.test", "", 0},
	} {
		got, err := parseHeader([]byte(tt.head)).missing(strings.Fields(tt.to))
		if tt.kind != 0 {
			if connection.KindOf(err) != tt.kind {
				t.Errorf("%s: got error %v, want kind %q", name, err, tt.kind)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: missing %q, error %v; want %q", name, got, err, tt.want)
		}
	}
}

// No address carries anything but an address.
func TestRecipientInjection(t *testing.T) {
	for _, bad := range []string{
		"", "a", "a@", "@b", "a@b\r\nBcc: eve@x", "a@b\n", "a@b\r", "a@b,eve@x", "a@b>, <eve@x", "<a@b>", "Ann <a@b>", "a@b\x00", "a@b eve@x", "a@b (x)", "x:a@b;", "a@b;",
	} {
		if got, err := parseHeader(nil).missing([]string{bad}); err == nil {
			t.Errorf("%q was taken: %q", bad, got)
		}
	}
}

// Whatever the message, its edited form names the new recipients, and all that is not Message-ID or Bcc is as it was.
func FuzzHeaderEdit(f *testing.F) {
	for _, raw := range []string{"To: a@b\r\n\r\nx", "Bcc: c@d\nMessage-ID: <1@a>\n\nx", "From ann\r\n x\r\nBcc:\r\n", "\r\n", "", " Bcc: x\r\n", "Bcc: a@b;\r\nBcc: x:;\r\n", "To: \"a\r\n b\" <c@d>"} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		end, _ := mailheader.End(raw, true)
		h := parseHeader(raw[:end])
		if got, err := h.edit("", nil); err != nil || !bytes.Equal(got, raw[:end]) {
			t.Fatalf("nothing to edit: got %q, error %v, want %q", got, err, raw[:end])
		}
		to := []string{"new@x.test"}
		missing, err := h.missing(append(h.named(), to...))
		if err != nil {
			return // addresses that are none
		}
		out, err := h.edit("<new@id>", missing)
		if err != nil {
			if raw[0] != ' ' && raw[0] != '\t' {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		out = append(out, raw[end:]...)
		end, _ = mailheader.End(out, true)
		again := parseHeader(out[:end])
		if got := again.messageID(); got != "<new@id>" {
			t.Errorf("%q became %q, whose Message-ID is %q", raw, out, got)
		}
		sure, err := again.sure()
		if err != nil {
			t.Fatalf("%q became %q, whose Bcc is not understood", raw, out)
		}
		for _, address := range missing {
			if norm, err := mailboxAddress(address); err != nil || !slices.Contains(sure, norm) {
				t.Errorf("%q became %q, which does not name %q: %q", raw, out, address, sure)
			}
		}
		if !slices.ContainsFunc(h.Lines, func(l mailheader.Line) bool { return l.Name != "" }) {
			if !bytes.HasSuffix(out, raw) {
				t.Errorf("%q became %q, which does not end in it", raw, out)
			}
			return
		}
		others := func(h *header) (octets []byte) {
			for _, l := range h.Lines {
				if l.Name != "bcc" && l.Name != "message-id" && l.Name != "x-original-message-id" {
					octets = append(octets, h.Raw[l.Start:l.End]...)
				}
			}
			return octets
		}
		if !bytes.Equal(others(h), others(again)) {
			t.Errorf("%q became %q: other fields are not what they were", raw, out)
		}
	})
}
