package mirrored

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func TestPrinterKeepsTheTerminalSafe(t *testing.T) {
	var out, errOut bytes.Buffer
	p := &Printer{Out: &out, Errs: &errOut}
	p.Problem("", errors.New("the server says \x1b[2J\x07\u009b31m hello"))
	p.Say("two\nlines")
	if got, want := errOut.String(), "problem: the server says  [2J  31m hello\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := out.String(); got != "two\nlines\n" {
		t.Errorf("got %q", got)
	}
	for range 10 * maxProblems {
		p.Problem(box, errors.New("again"))
	}
	if got := strings.Count(errOut.String(), "again"); got != maxProblems-1 {
		t.Errorf("got %d problems printed, want %d", got, maxProblems-1)
	}
}

// What happens in every round, or to every request, is told now and then.
func TestNotesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		p := &Printer{Out: &out, Errs: &errOut}
		p.Name(&connection.Mailbox{Name: "1001", Aliases: []string{box}})
		<-time.After(time.Hour)
		for range 3 {
			p.Observe(connection.Event{Kind: connection.EventSkipped, Mailbox: "1001", Detail: "suspended"})
			p.Observe(connection.Event{Kind: connection.EventRetry, Mailbox: "1001", Detail: "the line was cut"})
			p.Observe(connection.Event{Kind: connection.EventFetched, Mailbox: "1001"})
		}
		<-time.After(time.Minute)
		p.Observe(connection.Event{Kind: connection.EventRetry, Detail: "the line was cut", Until: time.Now().Add(3 * time.Second)})
		p.Observe(connection.Event{Kind: connection.EventRetry, Detail: "not so soon", Until: time.Now().Add(15 * time.Minute)})
		want := "note: ann@example.org: skipped: suspended\nnote: ann@example.org: retry: the line was cut\nnote: retry, next try in 3s: the line was cut\n" +
			"note: retry, next try in 15m0s: not so soon\n"
		if got := errOut.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// What takes long is told every few seconds: the mailboxes at work, or the forecast.
func TestProgress(t *testing.T) {
	for _, forecast := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var out, errOut bytes.Buffer
			p := &Printer{Out: &out, Errs: &errOut, Source: "elsewhere"}
			told := "1001: 501 new messages (501.0 kB)\n1001: 1,001 new messages (1.0 MB)\n"
			if forecast {
				p.Forecast = func() (any, string) { return nil, "half" }
				told = "half\nhalf\n"
			}
			for range 1500 {
				p.Advanced("1001", &connection.Change{Op: connection.Added}, 1000)
				<-time.After(10 * time.Millisecond)
			}
			for _, op := range []connection.ChangeOp{connection.Removed, connection.Updated, connection.FolderAdded} {
				p.Advanced("1002", &connection.Change{Op: op}, 0)
			}
			p.Ended("1001", false)
			p.Ended("1002", true)
			p.Ended("1002", true)
			want := told + "1001: 1,500 new messages (1.5 MB)\n1002: 0 new messages (0 B), 1 changed, 1 removed elsewhere, 1 folder change; up to date\n"
			if forecast {
				want = strings.Replace(want, "half\nhalf\n", "half\nhalf\nhalf\n", 1)
			}
			if got := out.String(); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Number(0): "0", Number(999): "999", Number(1000): "1,000", Number(1234567): "1,234,567", Number(-1000): "-1,000",
		Counted(1, "mailbox", "mailboxes"): "1 mailbox", Counted(20000, "mailbox", "mailboxes"): "20,000 mailboxes",
		octets(999): "999 B", octets(1500): "1.5 kB", octets(2_500_000): "2.5 MB", octets(3_000_000_000): "3.0 GB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSelection(t *testing.T) {
	boxes := []*connection.Mailbox{{Name: "1001", Aliases: []string{"Ann@A.test", "sales@a.test"}}, {Name: "bob@b.test"}}
	for list, want := range map[string]struct{ names, matches string }{
		"":                           {"", "1001 bob@b.test"},
		" ann@A.test , bob@b.test,":  {"ann@a.test bob@b.test", "1001 bob@b.test"},
		"*@B.test":                   {"", "bob@b.test"},
		"sales@*":                    {"", "1001"},
		"1001":                       {"1001", "1001"},
		"nobody@a.test":              {"nobody@a.test", ""},
		"ann@a.test#archive, b@b.de": {"ann@a.test#archive b@b.de", ""},
	} {
		s, err := NewSelection("filter", list)
		if err != nil {
			t.Fatal(err)
		}
		var matches []string
		for _, mb := range boxes {
			if s.Match(mb) {
				matches = append(matches, mb.Name)
			}
		}
		if got := strings.Join(s.Names(), " "); got != want.names {
			t.Errorf("%q: names: got %q, want %q", list, got, want.names)
		}
		if got := strings.Join(matches, " "); got != want.matches {
			t.Errorf("%q: matches: got %q, want %q", list, got, want.matches)
		}
	}
	if _, err := NewSelection("filter", "a,[x"); err == nil || !strings.Contains(err.Error(), `-filter: "[x"`) {
		t.Errorf("got %v", err)
	}
}
