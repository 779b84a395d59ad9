// Package wirelog writes what a protocol says to a log, without its secrets, and removes secrets from texts.
package wirelog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// maxLine is how much of one line is logged.
const maxLine = 1 << 10

// A Trace logs the lines of one IMAP, POP3 or SMTP session at [connection.LevelTrace]. It follows the protocol as far as
// is needed to know which lines carry a credential, and logs of those only the verb and how many octets there were.
// Literals and message bodies are logged as their length. A nil *Trace is valid and does nothing. A Trace is safe for
// concurrent use.
type Trace struct {
	log   *slog.Logger
	scrub *Scrubber

	mu     sync.Mutex
	secret bool   // a credential is under way until the server's final reply
	tag    string // the IMAP tag of the command that carries it, "" without tags
	ntlm   bool   // the next reply may be the consent of [MS-POP3], 2.2.1, which reads as if all was done
}

// New returns a Trace that logs to log with the endpoint as an attribute, or nil if log is nil or does not take
// [connection.LevelTrace]. scrub, which may be nil, removes what a server echoes.
func New(log *slog.Logger, endpoint string, scrub *Scrubber) *Trace {
	if log == nil || !log.Enabled(context.Background(), connection.LevelTrace) {
		return nil
	}
	return &Trace{log: log.With("endpoint", endpoint), scrub: scrub}
}

// Sent logs one line that the client sends, with or without its line end.
func (t *Trace) Sent(line []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	text := t.sent(bytes.TrimRight(line, "\r\n"))
	t.mu.Unlock()
	t.write("client", text)
}

// Received logs one line that the server sends, with or without its line end.
func (t *Trace) Received(line []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	text := t.received(bytes.TrimRight(line, "\r\n"))
	t.mu.Unlock()
	t.write("server", text)
}

// Octets logs that n octets of a literal or a message went by, from the client if sent is true.
func (t *Trace) Octets(sent bool, n int64) {
	if t == nil {
		return
	}
	from := "server"
	if sent {
		from = "client"
	}
	t.write(from, fmt.Sprintf("<%d octets>", n))
}

func (t *Trace) write(from, text string) {
	t.log.LogAttrs(context.Background(), connection.LevelTrace, "wire", slog.String("from", from), slog.String("line", text))
}

func (t *Trace) sent(line []byte) string {
	if t.secret {
		return hidden(len(line))
	}
	words := strings.Fields(string(line[:min(len(line), maxLine)]))
	for i, word := range words[:min(len(words), 2)] {
		shown, ok := credentialVerbs[strings.ToUpper(word)]
		if !ok || i == len(words)-1 && !opensExchange[strings.ToUpper(word)] {
			continue
		}
		t.secret = true
		t.ntlm = i == 0 && len(words) == 2 && strings.EqualFold(words[1], "NTLM")
		if i == 1 {
			t.tag = words[0]
		}
		keep := min(i+1+shown, len(words))
		text := strings.Join(words[:keep], " ")
		if rest := len(line) - len(text); rest > 0 {
			text += " " + hidden(rest-1)
		}
		return t.scrub.Text(text)
	}
	if name, value, ok := bytes.Cut(line, []byte(":")); ok && credentialHeaders[strings.ToLower(string(name))] {
		return string(name) + ": " + hidden(len(value))
	}
	return t.clean(line)
}

func (t *Trace) received(line []byte) string {
	first, _, _ := strings.Cut(string(line[:min(len(line), maxLine)]), " ")
	if t.secret {
		consent := t.ntlm && strings.EqualFold(first, "+OK")
		if t.ntlm = false; consent {
			return t.clean(line)
		}
		switch mark := t.challenges(first); {
		case mark != "":
			// A challenge may be derived from the credential; RFC 5802's last one is.
			return mark + " " + hidden(max(0, len(line)-len(mark)-1))
		case t.tag == "" && first != "*", t.tag != "" && first == t.tag:
			t.secret, t.tag = false, ""
		}
	}
	return t.clean(line)
}

// challenges returns what marks a line of the server's that begins with a word as a challenge, "" if it is none. Some
// servers write no space behind the mark, and SMTP has replies of several lines.
func (t *Trace) challenges(word string) string {
	switch {
	case strings.HasPrefix(word, "334"):
		return "334"
	case strings.HasPrefix(word, "+") && (t.tag != "" || len(word) < 3 || !strings.EqualFold(word[:3], "+OK")):
		return "+"
	}
	return ""
}

// clean returns what is logged of a line.
func (t *Trace) clean(line []byte) string {
	if len(line) > maxLine {
		return t.scrub.Cut(string(line[:maxLine]))
	}
	return t.scrub.Text(string(line))
}

func hidden(n int) string { return fmt.Sprintf("<%d octets redacted>", n) }

// credentialVerbs are the commands whose arguments are or precede a credential, with the number of arguments that may
// be shown: the mechanism's name, the user's name where it is no secret.
var credentialVerbs = map[string]int{
	"LOGIN":        0, // RFC 9051, 6.2.3
	"AUTHENTICATE": 1, // RFC 9051, 6.2.2
	"AUTH":         1, // RFC 5034, RFC 4954
	"PASS":         0, // RFC 1939, 7
	"APOP":         0, // RFC 1939, 7
}

// opensExchange are the verbs that ask for a credential even when they stand alone on their line.
var opensExchange = map[string]bool{"AUTHENTICATE": true, "AUTH": true}

var credentialHeaders = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "x-auth-token": true,
}
