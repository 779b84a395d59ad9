package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

func TestPrinterKeepsTheTerminalSafe(t *testing.T) {
	var out, errOut bytes.Buffer
	p := &printer{out: &out, errs: &errOut}
	p.problem("", errors.New("the server says \x1b[2J\x07\u009b31m hello"))
	p.say("two\nlines")
	if got, want := errOut.String(), "problem: the server says  [2J  31m hello\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := out.String(); got != "two\nlines\n" {
		t.Errorf("got %q", got)
	}
	for range 10 * maxProblems {
		p.problem(box, errors.New("again"))
	}
	if got := strings.Count(errOut.String(), "again"); got != maxProblems-1 {
		t.Errorf("got %d problems printed, want %d", got, maxProblems-1)
	}
}

// What happens in every round, or to every request, is told now and then.
func TestNotesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		p := &printer{out: &out, errs: &errOut}
		p.name(&connection.Mailbox{Name: "1001", Aliases: []string{ann}})
		<-time.After(time.Hour)
		for range 3 {
			p.observe(connection.Event{Kind: connection.EventSkipped, Mailbox: "1001", Detail: "suspended"})
			p.observe(connection.Event{Kind: connection.EventRetry, Mailbox: "1001", Detail: "the line was cut"})
			p.observe(connection.Event{Kind: connection.EventFetched, Mailbox: "1001"})
		}
		<-time.After(time.Minute)
		p.observe(connection.Event{Kind: connection.EventRetry, Detail: "the line was cut", Until: time.Now().Add(3 * time.Second)})
		want := "note: ann@corp.example: skipped: suspended\nnote: ann@corp.example: retry: the line was cut\nnote: retry, next try in 3s: the line was cut\n"
		if got := errOut.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestForecast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		usage := gmail.Usage{Budget: 1_000_000, Day: 100_000, Resets: time.Now().Add(5 * time.Hour)}
		f := &forecast{workers: 2, usage: func() gmail.Usage { return usage }, began: time.Now(), boxes: map[string]*outlook{
			"a": {messages: 1000, units: 20_000, least: 10 * time.Minute},
			"b": {messages: 500, units: 10_000, least: 6 * time.Minute},
			"c": {messages: 500, units: 10_000, least: 6 * time.Minute},
		}, total: 2000}
		want := func(what string, done, total int64, left time.Duration) {
			t.Helper()
			if got := f.now(); got.Done != done || got.Total != total || got.left().Round(time.Second) != left {
				t.Errorf("%s: got %+v, want %d of %d, %s left", what, got, done, total, left)
			}
		}
		want("two workers", 0, 2000, 11*time.Minute)
		f.workers = 16
		want("the longest", 0, 2000, 10*time.Minute)
		for range 500 {
			f.advanced("a", connection.Added)
			f.advanced("a", connection.Updated)
			f.advanced("of nobody", connection.Added)
		}
		want("half of the longest", 500, 2000, 6*time.Minute)
		<-time.After(5 * time.Minute)
		want("the pace so far", 500, 2000, 15*time.Minute)
		if !f.ended("b") || f.ended("b") || f.ended("of nobody") {
			t.Error("a mailbox ends once")
		}
		want("one less", 500, 1500, 10*time.Minute)
		usage.Day = 995_000 // half of the units are left for tomorrow
		want("the day's budget", 500, 1500, 5*time.Hour-5*time.Minute)
		usage.Budget, usage.Day = 8_000, 8_000
		want("three days", 500, 1500, 5*time.Hour-5*time.Minute+48*time.Hour)
		f.ended("a")
		f.ended("c")
		want("nothing", 500, 500, 0)
	})
}

// The progress is told every few seconds, with what is left.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		p := &printer{out: &out, errs: &errOut}
		plan := &forecast{workers: 1, usage: func() gmail.Usage { return gmail.Usage{} }, began: time.Now(), total: 3000, boxes: map[string]*outlook{
			"1001": {messages: 3000, units: 60_000, least: 3 * time.Hour},
		}}
		p.planned(plan)
		for range 1500 {
			c := &connection.Change{Op: connection.Added}
			plan.advanced("1001", c.Op)
			p.advanced("1001", c, 1000)
			<-time.After(10 * time.Millisecond)
		}
		p.ended("1001", false)
		want := "About 3,000 messages to read in 1 new mailbox; Google's quota makes that take at least 3h00m.\n" +
			"501 of about 3,000 messages (16%); about 2h29m left\n1,001 of about 3,000 messages (33%); about 1h59m left\n" +
			"1001: 1,500 new messages (1.5 MB)\n"
		if got := out.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		number(0): "0", number(999): "999", number(1000): "1,000", number(1234567): "1,234,567", number(-1000): "-1,000",
		counted(1, "mailbox", "mailboxes"): "1 mailbox", counted(20000, "mailbox", "mailboxes"): "20,000 mailboxes",
		octets(999): "999 B", octets(1500): "1.5 kB", octets(2_500_000): "2.5 MB", octets(3_000_000_000): "3.0 GB",
		lasting(0): "0s", lasting(1500 * time.Millisecond): "2s", lasting(100 * time.Second): "2m", lasting(166 * time.Minute): "2h46m", lasting(27 * time.Hour): "1 day 3h",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
