package smtpclient_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
)

var newID = regexp.MustCompile(`<[A-Z2-7]{26}@example\.org>`)

// Edge case 19: the Message-ID is replaced, and nothing else.
func TestNewMessageID(t *testing.T) {
	for name, tt := range map[string]struct{ raw, want string }{ // the new id stands as NEW
		"plain":              {"A: b\r\nMessage-ID: <1@a>\r\nC: d\r\n\r\nx\r\n", "A: b\r\nMessage-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\nC: d\r\n\r\nx\r\n"},
		"lower case":         {"message-id:<1@a>\r\n\r\nx", "Message-ID: NEW\r\nX-Original-Message-ID:<1@a>\r\n\r\nx"},
		"folded":             {"Message-ID:\r\n <1@a>\r\nC: d\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID:\r\n <1@a>\r\nC: d\r\n\r\n"},
		"folded twice":       {"Message-ID: <1\r\n\t@a>\r\n  (c)\r\nC: d\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID: <1\r\n\t@a>\r\n  (c)\r\nC: d\r\n\r\n"},
		"space before colon": {"Message-ID : <1@a>\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\n\r\n"},
		"twice":              {"Message-ID: <1@a>\r\nC: d\r\nMESSAGE-ID: <2@a>\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID: <1@a>\r\nC: d\r\nX-Original-Message-ID: <2@a>\r\n\r\n"},
		"no brackets":        {"Message-ID: 1 at a\r\n\r\n", "Message-ID: NEW\r\nX-Original-Message-ID: 1 at a\r\n\r\n"},
		"missing":            {"A: b\r\n\r\nx", "Message-ID: NEW\r\nA: b\r\n\r\nx"},
		"in the body only":   {"A: b\r\n\r\nMessage-ID: <1@a>\r\n", "Message-ID: NEW\r\nA: b\r\n\r\nMessage-ID: <1@a>\r\n"},
		"no header section":  {"\r\nMessage-ID: <1@a>\r\n", "Message-ID: NEW\r\n\r\nMessage-ID: <1@a>\r\n"},
		"LF only":            {"A: b\nMessage-ID: <1@a>\n\nx\n", "A: b\nMessage-ID: NEW\nX-Original-Message-ID: <1@a>\n\nx\n"},
		"LF only, missing":   {"A: b\n\nx\n", "Message-ID: NEW\nA: b\n\nx\n"},
		"mbox line":          {"From ann Fri\r\nA: b\r\n\r\nx", "From ann Fri\r\nMessage-ID: NEW\r\nA: b\r\n\r\nx"},
		"at the very end":    {"A: b\r\nMessage-ID: <1@a>", "A: b\r\nMessage-ID: NEW\r\nX-Original-Message-ID: <1@a>"},
		"no header at all":   {"hello there\r\nMessage-ID: <1@a>\r\n", "Message-ID: NEW\r\nhello there\r\nMessage-ID: <1@a>\r\n"},
		"another field":      {"X-Message-ID: <1@a>\r\nMessage-IDs: 5\r\n\r\n", "Message-ID: NEW\r\nX-Message-ID: <1@a>\r\nMessage-IDs: 5\r\n\r\n"},
		"nothing":            {"", "Message-ID: NEW\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			srv, cfg := plainServer(t, nil)
			cfg.SendStrategy = ""
			r := mustSend(t, open(t, cfg, nil), toBob, tt.raw)
			if !newID.MatchString(r.MessageID) {
				t.Errorf("got Message-ID %q", r.MessageID)
			}
			wantArrived(t, srv, strings.ReplaceAll(tt.want, "NEW", r.MessageID))
		})
	}
}

func TestMessageIDIsNewEachTime(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	c := open(t, cfg, nil)
	seen := map[string]bool{}
	for range 5 {
		r, err := c.Send(t.Context(), connection.Envelope{To: []string{bob}}, strings.NewReader(letter), &connection.SendOptions{NewMessageID: true})
		if err != nil {
			t.Fatal(err)
		}
		seen[r.MessageID] = true
	}
	if len(seen) != 5 || len(srv.Messages()) != 5 {
		t.Errorf("got ids %v", seen)
	}
	if r := mustSend(t, c, toBob, letter); r.MessageID != "<one@example.org>" {
		t.Errorf("original: got Message-ID %q in the receipt", r.MessageID)
	}
}

func TestResent(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	cfg.SendStrategy, cfg.Resent = smtpclient.NewMessageID, true
	r := mustSend(t, open(t, cfg, nil), toBob, letter)
	got := string(srv.Messages()[0].Raw)
	date, rest, _ := strings.Cut(got, "\r\n")
	if !strings.HasPrefix(date, "Resent-Date: ") || !strings.HasPrefix(rest, "Resent-From: <archive@example.org>\r\nResent-Message-ID: "+r.MessageID+"\r\nFrom: Ann") {
		t.Errorf("got %q", got)
	}
}

// A header section that is no text, or without an end, is left alone, and the receipt says so.
func TestMessageIDThatCannotBeReplaced(t *testing.T) {
	for want, raw := range map[string]string{
		"NUL":     "Message-ID: <1@a>\r\nX: a\x00b\r\n\r\nx",
		"1048576": "Message-ID: <1@a>\r\n" + strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 2000) + "\r\nx",
	} {
		srv, cfg := plainServer(t, nil)
		cfg.SendStrategy = smtpclient.NewMessageID
		r := mustSend(t, open(t, cfg, nil), toBob, raw)
		if notes := strings.Join(r.Rewritten, "; "); !strings.Contains(notes, want) || r.MessageID != "<1@a>" {
			t.Errorf("got notes %q and Message-ID %q, want %q", notes, r.MessageID, want)
		}
		wantArrived(t, srv, raw)
	}
}

// A large message keeps every octet behind its header section.
func TestNewMessageIDOfALargeMessage(t *testing.T) {
	body := bytes.Repeat([]byte("The quick brown fox.\r\n"), 100_000)
	srv, cfg := plainServer(t, nil)
	cfg.SendStrategy = smtpclient.NewMessageID
	c := open(t, cfg, nil)
	mustSend(t, c, toBob, header+string(body))
	if _, err := c.Send(t.Context(), toBob, stream(header+string(body)), nil); err != nil {
		t.Fatal(err)
	}
	for _, m := range srv.Messages() {
		_, got, ok := bytes.Cut(m.Raw, []byte("\r\n\r\n"))
		if !ok || !bytes.Equal(got, body) {
			t.Errorf("%d octets of body arrived, want %d as they were", len(got), len(body))
		}
	}
}
