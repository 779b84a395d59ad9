package imapclient

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A note is one status response of the server (RFC 9051, 7.1) that somebody may have to know of: what go-imap drops.
type note struct {
	Time time.Time
	Tag  string // of the command it answers, "*" if untagged
	Type string // "OK", "NO", "BAD", "BYE", "PREAUTH"
	Code string // of the resp-text-code, upper case: "UIDVALIDITY"; "" without one
	Arg  string // the code's argument, as the server wrote it
	Text string // for people, secrets removed
}

// Limits of what a note keeps.
const (
	maxNoteText = 1 << 10  // of Text, which is cut
	maxNoteArg  = 16 << 10 // of Arg, which is left out if longer: half a set of UIDs must not pass for the whole
)

// parseStatus reads "tag TYPE [CODE arg] text", without the line end.
func parseStatus(line string) note {
	var n note
	n.Tag, line = cutSpace(line)
	n.Type, line = cutSpace(line)
	n.Type = strings.ToUpper(n.Type)
	n.Text = line
	if inner, ok := strings.CutPrefix(line, "["); ok {
		if code, text, ok := strings.Cut(inner, "]"); ok {
			n.Code, n.Arg = cutSpace(code)
			n.Code, n.Text = strings.ToUpper(n.Code), strings.TrimPrefix(text, " ")
		}
	}
	return n
}

// clipped returns n with its texts at the length that is kept.
func (n note) clipped() note {
	if len(n.Arg) > maxNoteArg {
		n.Arg = ""
	}
	n.Arg = strings.Clone(n.Arg)
	n.Text = strings.Clone(n.Text[:min(len(n.Text), maxNoteText)])
	n.Code = strings.Clone(n.Code[:min(len(n.Code), maxNoteText)])
	return n
}

// cutSpace splits s at its first run of spaces.
func cutSpace(s string) (first, rest string) {
	s = strings.TrimLeft(s, " ")
	first, rest, _ = strings.Cut(s, " ")
	return first, strings.TrimLeft(rest, " ")
}

// String returns the server's words: "NO [OVERQUOTA] mailbox full".
func (n note) String() string {
	s := n.Type
	if n.Code != "" {
		s += " [" + strings.TrimSpace(n.Code+" "+n.Arg) + "]"
	}
	if n.Text != "" {
		s += " " + n.Text
	}
	return s
}

// codeKinds classifies by resp-text-code (RFC 9051, 7.1; RFC 5530, 3; RFC 9208, 4.3). It goes before the text.
var codeKinds = map[string]connection.Kind{
	"AUTHENTICATIONFAILED": connection.ErrAuth,
	"AUTHORIZATIONFAILED":  connection.ErrAuth,
	"EXPIRED":              connection.ErrAuth,
	"PRIVACYREQUIRED":      connection.ErrAuth,
	"UNAVAILABLE":          connection.ErrThrottled,
	"INUSE":                connection.ErrThrottled,
	"LIMIT":                connection.ErrThrottled,
	"THROTTLED":            connection.ErrThrottled,
	"CONTACTADMIN":         connection.ErrUnavailable,
	"SERVERBUG":            connection.ErrUnavailable,
	"NONEXISTENT":          connection.ErrNotFound,
	"TRYCREATE":            connection.ErrNotFound,
	"EXPUNGEISSUED":        connection.ErrNotFound,
	"NOPERM":               connection.ErrPermission,
	"READ-ONLY":            connection.ErrPermission,
	"OVERQUOTA":            connection.ErrQuota,
	"ALREADYEXISTS":        connection.ErrExists,
	"TOOBIG":               connection.ErrTooLarge,
	"CORRUPTION":           connection.ErrCorrupt,
	"CLIENTBUG":            connection.ErrProtocol,
	"PARSE":                connection.ErrProtocol,
	"CANNOT":               connection.ErrRejected,
	"UIDNOTSTICKY":         connection.ErrUnsupported,
}

// textKinds classifies by words, for servers without codes. The first that matches holds. The wordings are those of
// Microsoft 365 ("User is authenticated but not connected", "Request is throttled"), Gmail ("Account exceeded command or
// bandwidth limits"), Dovecot, Courier and Cyrus.
var textKinds = []struct {
	words *regexp.Regexp
	kind  connection.Kind
}{
	{regexp.MustCompile(`(?i)authenticated but not connected|back-?off time|throttl|bandwidth|too many ([a-z]+ ){0,3}(connection|session|login|request|command|operation|user|client|message|attempt)|try again later|rate limit|server (is )?(busy|unavailable)|temporar(y|ily)|maximum number of connections|connection limit|overload`), connection.ErrThrottled},
	{regexp.MustCompile(`(?i)over ?quota|quota (is )?exceeded|mailbox (is )?full|no space left`), connection.ErrQuota},
	{regexp.MustCompile(`(?i)auth(entication|orization)? fail|invalid credentials|login fail|invalid (user|password)|wrong password|incorrect password|application-specific password`), connection.ErrAuth},
	{regexp.MustCompile(`(?i)(doesn't|does not|don't|do not) exist|no such (mailbox|folder|message)|unknown (mailbox|folder)|not found|non-?existent`), connection.ErrNotFound},
	{regexp.MustCompile(`(?i)permission|access denied|not (allowed|permitted)|read-?only`), connection.ErrPermission},
}

// kind classifies the response, and returns how long the server asks to wait, 0 if it does not say. A NO that says
// nothing more is ErrRejected, a BAD ErrProtocol, a BYE ErrUnavailable; an OK is ErrUnknown.
func (n note) kind() (connection.Kind, time.Duration) {
	if n.Type == "OK" || n.Type == "PREAUTH" {
		return connection.ErrUnknown, 0
	}
	kind := connection.ErrUnknown
	if n.Type == "BYE" {
		kind = connection.ErrUnavailable
	}
	byText := connection.ErrUnknown
	if i := slices.IndexFunc(textKinds, func(k struct {
		words *regexp.Regexp
		kind  connection.Kind
	},
	) bool {
		return k.words.MatchString(n.Text)
	}); i >= 0 {
		byText = textKinds[i].kind
	}
	byCode, known := codeKinds[n.Code]
	switch {
	case byCode == connection.ErrQuota && byText == connection.ErrThrottled:
		kind = byText // Gmail's OVERQUOTA for bandwidth: it passes by itself
	case known:
		kind = byCode
	case byText != connection.ErrUnknown:
		kind = byText
	case n.Type == "NO":
		kind = connection.ErrRejected
	case n.Type == "BAD":
		kind = connection.ErrProtocol
	}
	var after time.Duration
	if kind == connection.ErrThrottled || kind == connection.ErrUnavailable {
		after = retryAfter(n.Text)
	}
	return kind, after
}

var (
	backoffTime = regexp.MustCompile(`(?i)back-?off time:?\s*(\d{1,12})\s*(milliseconds|ms|seconds|s)?\b`)
	retryWords  = regexp.MustCompile(`(?i)(?:retry|try again|wait)\s+(?:after|in|for)?\s*(\d{1,9})\s*(milliseconds|ms|seconds|sec|s|minutes|min|m|hours|h)\b`)
	unavailable = regexp.MustCompile(`(?i)server unavailable\.?\s*(\d{1,9})\b`)
)

// longestWait bounds what a server can ask for: a wrong number must not end archiving for a year.
const longestWait = 24 * time.Hour

// retryAfter finds the time that a throttling text names.
func retryAfter(text string) time.Duration {
	var number, unit string
	if m := backoffTime.FindStringSubmatch(text); m != nil {
		number, unit = m[1], m[2]
		if unit == "" {
			unit = "ms" // Exchange: "Suggested Backoff Time: 12345 milliseconds"
		}
	} else if m := retryWords.FindStringSubmatch(text); m != nil {
		number, unit = m[1], m[2]
	} else if m := unavailable.FindStringSubmatch(text); m != nil {
		number, unit = m[1], "s" // Exchange: "Server Unavailable. 15"
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0
	}
	scale := time.Second
	switch strings.ToLower(unit) {
	case "milliseconds", "ms":
		scale = time.Millisecond
	case "minutes", "min", "m":
		scale = time.Minute
	case "hours", "h":
		scale = time.Hour
	}
	if n > int64(longestWait/scale) {
		return longestWait
	}
	return time.Duration(n) * scale
}

// maxNotes is how many notes a ring keeps.
const maxNotes = 64

// noteRing keeps the last notes, numbered from 1. It is safe for concurrent use.
type noteRing struct {
	mu   sync.Mutex
	next uint64 // number of notes so far
	ring [maxNotes]note
}

func (r *noteRing) add(n note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next%maxNotes] = n.clipped()
	r.next++
}

func (r *noteRing) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// since returns the notes that came after mark, oldest first, as far as they are kept.
func (r *noteRing) since(mark uint64) []note {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := mark
	if r.next > maxNotes {
		from = max(from, r.next-maxNotes)
	}
	var notes []note
	for ; from < r.next; from++ {
		notes = append(notes, r.ring[from%maxNotes])
	}
	return notes
}
