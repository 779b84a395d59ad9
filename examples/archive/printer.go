package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

// A printer tells people (text) or programs (JSON lines) what goes on. Progress is a line that is updated in place on a
// terminal, a line now and then elsewhere.
type printer struct {
	out, errs io.Writer
	asJSON    bool
	terminal  bool

	mu       sync.Mutex
	drawn    int       // characters of the progress line that stands on the terminal
	next     time.Time // when progress is shown again
	problems int
}

// maxProblems bounds how many problems are printed for people. All are counted, and programs are told all.
const maxProblems = 20

func newPrinter(out, errs io.Writer, asJSON bool) *printer {
	p := &printer{out: out, errs: errs, asJSON: asJSON}
	if f, ok := out.(*os.File); ok && !asJSON {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	p.next = time.Now().Add(shortest)
	return p
}

// shortest is the time between two updates on a terminal, and to the first one elsewhere.
const shortest = 100 * time.Millisecond

func (p *printer) interval() time.Duration {
	if p.terminal {
		return shortest
	}
	return 2 * time.Second
}

// env is what the connections are lent.
func (p *printer) env(verbose bool) *connection.Env {
	env := &connection.Env{Observe: p.observe}
	if verbose {
		env.Logger = slog.New(slog.NewTextHandler(p.errs, &slog.HandlerOptions{Level: connection.LevelTrace}))
	}
	return env
}

// say prints text for people.
func (p *printer) say(format string, args ...any) {
	if p.asJSON {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(p.out, fmt.Sprintf(format, args...))
}

// note prints to standard error, for people, something that is no failure.
func (p *printer) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.event("note", text)
	if p.asJSON {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(p.errs, "note: "+text)
}

// problem prints a failure that does not end the program.
func (p *printer) problem(err error) {
	p.event("problem", failure(err))
	if p.asJSON {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems++
	switch {
	case p.problems < maxProblems:
		p.line(p.errs, "problem: "+err.Error())
	case p.problems == maxProblems:
		p.line(p.errs, "problem: "+err.Error()+"\n(further problems are counted and not shown)")
	}
}

// fail prints the error that ends the program, for programs also on standard output.
func (p *printer) fail(err error) {
	p.event("failed", failure(err))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(p.errs, "archive: "+err.Error())
}

func failure(err error) map[string]string {
	return map[string]string{"error": err.Error(), "kind": connection.KindOf(err).Error()}
}

// event prints a JSON line for programs: {"event":"progress","time":"…","progress":{…}}.
func (p *printer) event(name string, v any) {
	if !p.asJSON {
		return
	}
	line, err := json.Marshal(map[string]any{"event": name, "time": time.Now().UTC(), name: v})
	if err != nil {
		line = fmt.Appendf(nil, `{"event":"failed","failed":{"error":%q}}`, err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(p.out, string(line))
}

// progress shows how far the work has come, if it is time for that.
func (p *printer) progress(name string, v any, text func() string) {
	p.mu.Lock()
	now := time.Now()
	if now.Before(p.next) {
		p.mu.Unlock()
		return
	}
	p.next = now.Add(p.interval())
	if !p.asJSON {
		p.draw(text())
	}
	p.mu.Unlock()
	p.event(name, v)
}

// draw shows the progress line.
func (p *printer) draw(text string) {
	if !p.terminal {
		p.line(p.out, text)
		return
	}
	text = printable(text)
	width := utf8.RuneCountInString(text)
	_, _ = fmt.Fprintf(p.out, "\r%s%s", text, strings.Repeat(" ", max(0, p.drawn-width))) // a lost terminal must not stop the archive
	p.drawn = width
}

// line prints text on a line of its own, where the progress line was.
func (p *printer) line(w io.Writer, text string) {
	if p.drawn > 0 {
		_, _ = fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", p.drawn)) // as in draw
		p.drawn = 0
	}
	_, _ = fmt.Fprintln(w, printable(text)) // as in draw
}

// printable keeps what a server or a mail says from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// observe shows what a person who waits wants to know.
func (p *printer) observe(ev connection.Event) {
	of := ""
	if ev.Connection != "" {
		of = ev.Connection + ": "
	}
	switch ev.Kind {
	case connection.EventRetry, connection.EventThrottled:
		wait := ""
		if d := time.Until(ev.Until).Round(100 * time.Millisecond); !ev.Until.IsZero() && d > 0 {
			wait = fmt.Sprintf(", next try in %s", d)
		}
		p.note("%s%s%s: %s", of, ev.Kind, wait, ev.Detail)
	case connection.EventReconnected, connection.EventInsecure, connection.EventNotice, connection.EventPoisoned, connection.EventRestarted:
		p.note("%s%s: %s", of, ev.Kind, ev.Detail)
	default: // progress tells the rest
	}
}

// report prints what a Test found.
func (p *printer) report(name string, r *connection.Report) {
	p.event("report", map[string]any{"end": name, "report": r})
	p.say("%s: %s", name, r)
}

// number writes n with commas between the thousands.
func number(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// counted writes n with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// octets writes a size for people.
func octets(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// rate writes how many a second.
func rate(n int64, since time.Time) string {
	return number(int64(float64(n)/max(time.Since(since).Seconds(), 0.001))) + "/s"
}
