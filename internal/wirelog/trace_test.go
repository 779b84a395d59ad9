package wirelog

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

const canary = "c4nary Pa$$w0rd"

// record returns a Trace and the text that it has logged.
func record(t *testing.T) (*Trace, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: connection.LevelTrace}))
	tr := New(log, "mail.example.org:143", NewScrubber("juser", connection.NewSecret(canary)))
	if tr == nil {
		t.Fatal("no trace although the logger takes its level")
	}
	return tr, &out
}

func TestTraceHidesCredentials(t *testing.T) {
	blob := base64.StdEncoding.EncodeToString([]byte("\x00juser\x00" + canary))
	for _, tt := range []struct {
		name   string
		dialog string // lines with "C: " or "S: " before them
		shown  []string
	}{
		{"imap login quoted", "C: P1 LOGIN \"juser\" \"" + canary + "\"\r\nS: P1 OK done\r\nC: P2 NOOP", []string{"P1 LOGIN <", "P1 OK done", "P2 NOOP"}},
		{"imap login literals", "C: P1 LOGIN {5}\nS: + go\nC: juser {15}\nS: + go\nC: " + canary + "\nS: P1 NO wrong\nC: P2 LOGOUT", []string{"P1 LOGIN <", "P1 NO wrong", "P2 LOGOUT"}},
		{"imap login in lower case", "C: p1 login juser " + canary + "\nS: p1 OK\nC: p2 noop", []string{"p2 noop"}},
		{"imap authenticate", "C: P1 AUTHENTICATE PLAIN\nS: +\nC: " + blob + "\nS: * CAPABILITY X\nS: P1 OK in\nC: P2 SELECT a", []string{"AUTHENTICATE PLAIN", "* CAPABILITY X", "P2 SELECT a"}},
		{"imap initial response", "C: P1 AUTHENTICATE PLAIN " + blob + "\nS: P1 OK in\nC: P2 NOOP", []string{"AUTHENTICATE PLAIN <", "P2 NOOP"}},
		{"the server echoes", "C: P1 NOOP\nS: P1 BAD what is C4NARY PA$$W0RD or " + blob, []string{"P1 BAD what is [redacted]"}},
		{"pop3", "C: USER juser\nS: +OK\nC: PASS " + canary + "\nS: -ERR no\nC: QUIT", []string{"USER juser", "PASS <", "-ERR no", "QUIT"}},
		{"pop3 auth", "C: AUTH PLAIN\nS: + \nC: " + blob + "\nS: +OK\nC: STAT", []string{"AUTH PLAIN", "STAT"}},
		{"smtp auth login", "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: anVzZXI=\nS: 334 UGFzc3dvcmQ6\nC: " + base64.StdEncoding.EncodeToString([]byte(canary)) + "\nS: 235 ok\nC: MAIL FROM:<a@b>", []string{"AUTH LOGIN", "235 ok", "MAIL FROM"}},
		{"http header", "C: Authorization: Basic anything\nC: Cookie: session=1", []string{"Authorization: <", "Cookie: <"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, out := record(t)
			for line := range strings.SplitSeq(tt.dialog, "\n") {
				from, text, _ := strings.Cut(line, ": ")
				if from == "C" {
					tr.Sent([]byte(text + "\r\n"))
				} else {
					tr.Received([]byte(text + "\r\n"))
				}
			}
			got := out.String()
			for _, leak := range []string{canary, blob, "C4NARY", "Basic anything", "session=1", base64.StdEncoding.EncodeToString([]byte(canary))} {
				if strings.Contains(got, leak) {
					t.Errorf("the log shows %q:\n%s", leak, got)
				}
			}
			for _, want := range tt.shown {
				if !strings.Contains(got, want) {
					t.Errorf("the log lacks %q:\n%s", want, got)
				}
			}
			if n := strings.Count(got, "\n"); n != strings.Count(tt.dialog, "\n")+1 {
				t.Errorf("got %d records, want one a line:\n%s", n, got)
			}
		})
	}
}

func TestTraceCountsOctetsAndCutsLines(t *testing.T) {
	tr, out := record(t)
	tr.Octets(false, 12345)
	tr.Octets(true, 7)
	tr.Received(bytes.Repeat([]byte("x"), 1<<20))
	if got := out.String(); !strings.Contains(got, "<12345 octets>") || !strings.Contains(got, "<7 octets>") || len(got) > 2*maxLine {
		t.Errorf("got %d octets of log: %.300s", len(got), got)
	}
}

func TestNoTraceUnlessAskedFor(t *testing.T) {
	if New(nil, "", nil) != nil || New(slog.New(slog.NewTextHandler(new(bytes.Buffer), nil)), "", nil) != nil {
		t.Fatal("a trace without a logger that takes its level")
	}
	var tr *Trace
	tr.Sent([]byte("a"))
	tr.Received([]byte("b"))
	tr.Octets(true, 1)
}

func TestScrubberRemovesEveryForm(t *testing.T) {
	secret := `p"a\ss/w+rd%é`
	s := NewScrubber("juser", connection.NewSecret(secret))
	for _, form := range []string{
		secret, `P"A\SS/W+RD%é`, `p\"a\\ss/w+rd%é`, "p%22a%5Css%2Fw%2Brd%25%C3%A9",
		base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("\x00juser\x00" + secret)),
		base64.StdEncoding.EncodeToString([]byte("juser:" + secret)),
		base64.URLEncoding.EncodeToString([]byte("juser\x00juser\x00" + secret)),
	} {
		got := s.Text("before " + form + " after " + form)
		if want := "before [redacted] after [redacted]"; got != want {
			t.Errorf("%q: got %q, want %q", form, got, want)
		}
	}
	// A blob with another authorisation identity: the part that holds the secret must go, wherever it begins.
	for _, before := range []string{"a", "ab", "abc", "abcd"} {
		blob := base64.StdEncoding.EncodeToString([]byte(before + "\x00juser\x00" + secret))
		if got := s.Text(blob); !strings.Contains(got, connection.Redacted) {
			t.Errorf("blob after %q: got %q", before, got)
		}
	}
}

// TestTraceOddChallenges: a challenge that is written in an odd way, and that the drivers understand, does not end the
// exchange for the trace: what answers it is as good as a password, or lets one guess it.
func TestTraceOddChallenges(t *testing.T) {
	const answer = "anVzZXIgYjkxM2E2MDJjN2VkYTdhNDk1YjRlNmU3MzM0ZDM4OTA="
	for name, tt := range map[string]struct {
		command, final string
		challenges     []string
	}{
		"pop3 without a space":     {"AUTH CRAM-MD5", "+OK", []string{"+PDE4OTZAeD4="}},
		"pop3 with a tab":          {"AUTH CRAM-MD5", "-ERR no", []string{"+\tPDE4OTZAeD4="}},
		"pop3 of [MS-POP3]":        {"AUTH NTLM", "+OK", []string{"+OK", "+ PDE4OTZAeD4="}},
		"pop3 NTLM of others":      {"AUTH NTLM", "+OK", []string{"+", "+ PDE4OTZAeD4="}},
		"imap without a space":     {"a1 AUTHENTICATE CRAM-MD5", "a1 OK", []string{"+OKE4OTZAeD4="}},
		"smtp of several lines":    {"AUTH CRAM-MD5", "235 ok", []string{"334-PDE4OTZAeD4=", "334 PDE4OTZAeD4="}},
		"smtp without a challenge": {"AUTH CRAM-MD5", "535 no", []string{"334"}},
	} {
		var out bytes.Buffer
		trace := New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: connection.LevelTrace})), "x", nil)
		trace.Sent([]byte(tt.command))
		for _, challenge := range tt.challenges {
			trace.Received([]byte(challenge))
		}
		trace.Sent([]byte(answer))
		trace.Received([]byte(tt.final))
		trace.Sent([]byte("STAT"))
		if text := out.String(); strings.Contains(text, answer) || strings.Contains(text, "OTZAeD4=") || !strings.Contains(text, "STAT") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestScrubberSparesOtherTexts(t *testing.T) {
	if got := (*Scrubber)(nil).Text("x"); got != "x" {
		t.Errorf("nil Scrubber: got %q", got)
	}
	s := NewScrubber("juser", connection.Secret{}, connection.NewSecret("pw"))
	for text, want := range map[string]string{
		"the password pw is wrong": "the password [redacted] is wrong",
		"upward, spwx, pw2":        "upward, spwx, pw2",
		"juser was here":           "juser was here",
		"pw":                       "[redacted]",
		"":                         "",
	} {
		if got := s.Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzScrubber(f *testing.F) {
	f.Add("secret", "a secret b")
	f.Add("\xff\x00é", "x\xff\x00éy")
	f.Add("aaaa", "aaaaaaaaa")
	f.Add("[redacted]", "[redacted]")
	f.Fuzz(func(t *testing.T, secret, text string) {
		got := NewScrubber("u", connection.NewSecret(secret)).Text(text + secret + text)
		if len(secret) < shortSecret || strings.Contains(connection.Redacted, strings.ToLower(secret)) {
			return
		}
		// What stands around a removed secret may join to a new one only if it is part of the replacement.
		if rest := strings.ReplaceAll(got, connection.Redacted, "\x01"); strings.Contains(rest, secret) && !strings.Contains(secret, "\x01") {
			t.Errorf("secret %q is in %q", secret, got)
		}
	})
}

func TestScrubberCut(t *testing.T) {
	s := NewScrubber("juser", connection.NewSecret("c4nary-Pa55w0rd"))
	for _, tt := range []struct{ text, want string }{
		{"no secret", "no secret"},
		{"is c4nary-Pa55w0rd", "is [redacted]"},
		{"is c4nary-Pa55w0r", "is [redacted]"},
		{"is C4NA", "is [redacted]"},
		{"is c4n", "is c4n"},
		{"c4nary-Pa55w0rd and c4nary", "[redacted] and [redacted]"},
		{"c4nary in the middle", "c4nary in the middle"},
		{"blob AGp1c2VyAGM0bmFyeS1QYT", "blob [redacted]"},
	} {
		if got := s.Cut(tt.text); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := (*Scrubber)(nil).Cut("c4nary"); got != "c4nary" {
		t.Errorf("without secrets: got %q", got)
	}
}

// TestTraceCutsNoSecret: a secret that lies across the end of what is logged of a line does not show its beginning.
func TestTraceCutsNoSecret(t *testing.T) {
	const secret = "c4nary-Pa55w0rd"
	for at := 1000; at < 1030; at++ {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: connection.LevelTrace}))
		trace := New(log, "x", NewScrubber("juser", connection.NewSecret(secret)))
		trace.Received([]byte(strings.Repeat("x", at) + secret + strings.Repeat("y", 100)))
		if strings.Contains(out.String(), secret[:4]) {
			t.Errorf("at %d: %s", at, out.String())
		}
	}
}
