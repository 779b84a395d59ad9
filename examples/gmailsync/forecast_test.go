package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

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

// What people are told is in words.
func TestForecastInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forecast{workers: 1, usage: func() gmail.Usage { return gmail.Usage{} }, began: time.Now(), total: 3000, boxes: map[string]*outlook{
			"1001": {messages: 3000, units: 60_000, least: 3 * time.Hour},
		}}
		if got, want := f.now().String(), "About 3,000 messages to read in 1 new mailbox; Google's quota makes that take at least 3h00m."; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		for range 1000 {
			f.advanced("1001", connection.Added)
		}
		if _, got := f.progress(); got != "1,000 of about 3,000 messages (33%); about 2h00m left" {
			t.Errorf("got %q", got)
		}
		f.ended("1001")
		if _, got := f.progress(); got != "" {
			t.Errorf("got %q when nothing is left", got)
		}
		if got := (outcome{}).String(); got != "" {
			t.Errorf("got %q when there is nothing to do", got)
		}
	})
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1500 * time.Millisecond: "2s", 100 * time.Second: "2m", 166 * time.Minute: "2h46m", 27 * time.Hour: "1 day 3h", 51 * time.Hour: "2 days 3h",
	} {
		if got := lasting(d); got != want {
			t.Errorf("%s: got %q, want %q", time.Duration(d), got, want)
		}
	}
}
