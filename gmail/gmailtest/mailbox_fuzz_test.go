package gmailtest

import (
	"strings"
	"testing"
	"time"
)

// What is understood finds a message, or its opposite does.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"", "is:unread -in:drafts", "(a OR b) {c d}", `subject:"two words" after:2026/3/4`, "((((", "-", "- -x", "a OR", "larger:9m", "newer_than:3d", ":", "in:", `"`,
		"rfc822msgid:<a@b>", "OR OR",
	} {
		f.Add(q)
	}
	mb := newMailbox(&Server{}, &account{})
	m := &message{labels: []string{labelInbox, labelUnread}, content: asContent([]byte("Subject: two words\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n")), internal: time.Unix(1e9, 0)}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := mb.parseQuery(text, time.Unix(2e9, 0))
		if err != nil {
			return
		}
		if strings.Trim(text, " \t\n\"") == "" || strings.Count(text, `"`)%2 != 0 || strings.ContainsAny(text, "-({") {
			return // nothing, or a sign in front of it changes how it is read
		}
		opposite, err := mb.parseQuery("-("+text+")", time.Unix(2e9, 0))
		if err != nil {
			t.Fatalf("%q is understood, but not its opposite: %v", text, err)
		}
		if q.find(m) == opposite.find(m) {
			t.Errorf("%q: found %v, and so is the opposite", text, q.find(m))
		}
	})
}

// A page token that is taken is one that was given.
func FuzzPageToken(f *testing.F) {
	f.Add(place{epoch: 1, of: 2, nonce: 3, time: -4, behind: 5}.token())
	f.Add("+/=")
	f.Fuzz(func(t *testing.T, token string) {
		if p, ok := parsePlace(token); ok && p.token() != token {
			t.Errorf("%q is taken for %q", token, p.token())
		}
	})
}
