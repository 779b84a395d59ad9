package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

// A printer tells people (text) or programs (JSON lines) what goes on.
type printer struct {
	out, errs io.Writer
	asJSON    bool

	mu       sync.Mutex
	tallies  map[string]*tally
	problems int
}

// A tally is what became of one mailbox since it was last told.
type tally struct {
	Mailbox string `json:"mailbox"`
	Added   int64  `json:"added"`
	Updated int64  `json:"updated"`
	Removed int64  `json:"removed"`
	Folders int64  `json:"folders"`
	Octets  int64  `json:"octets"`
	Whole   bool   `json:"whole"` // up to date; false while it goes on, and if it failed

	told time.Time
}

// pause is the time between two lines about a mailbox that takes long.
const pause = 5 * time.Second

// maxProblems bounds how many problems are printed for people. All are counted, and programs are told all.
const maxProblems = 50

// env is what the connections are lent.
func (p *printer) env(verbose bool) *connection.Env {
	env := &connection.Env{Observe: p.observe}
	if verbose {
		env.Logger = slog.New(slog.NewTextHandler(p.errs, &slog.HandlerOptions{Level: connection.LevelTrace}))
	}
	return env
}

// advanced counts a change that was stored.
func (p *printer) advanced(mailbox string, c *connection.Change, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tallies[mailbox]
	if t == nil {
		t = &tally{Mailbox: mailbox, told: time.Now()}
		if p.tallies == nil {
			p.tallies = make(map[string]*tally)
		}
		p.tallies[mailbox] = t
	}
	switch c.Op {
	case connection.Added:
		t.Added++
		t.Octets += size
	case connection.Updated:
		t.Updated++
	case connection.Removed:
		t.Removed++
	case connection.FolderAdded, connection.FolderRemoved, connection.FolderRenamed:
		t.Folders++
	case connection.Progressed:
	}
	if time.Since(t.told) >= pause {
		t.told = time.Now()
		p.tell(t)
	}
}

// ended tells what became of a mailbox, unless there was nothing new.
func (p *printer) ended(mailbox string, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tallies[mailbox]
	if t == nil {
		return
	}
	delete(p.tallies, mailbox)
	t.Whole = whole
	p.tell(t)
}

// tell prints a tally. The caller holds mu.
func (p *printer) tell(t *tally) {
	if p.asJSON {
		p.object("mailbox", t)
		return
	}
	text := fmt.Sprintf("%s: %s (%s)", t.Mailbox, counted(t.Added, "new message", "new messages"), octets(t.Octets))
	if t.Updated > 0 {
		text += fmt.Sprintf(", %s changed", number(t.Updated))
	}
	if t.Removed > 0 {
		text += fmt.Sprintf(", %s removed on the server", number(t.Removed))
	}
	if t.Folders > 0 {
		text += ", " + counted(t.Folders, "folder change", "folder changes")
	}
	if t.Whole {
		text += "; up to date"
	}
	p.line(p.out, text)
}

// say prints text for people.
func (p *printer) say(format string, args ...any) {
	if !p.asJSON {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.line(p.out, fmt.Sprintf(format, args...))
	}
}

// note prints something that is no failure.
func (p *printer) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if p.asJSON {
		p.object("note", text)
		return
	}
	p.line(p.errs, "note: "+text)
}

// problem prints a failure that does not end the program. It is Mirror's OnError.
func (p *printer) problem(mailbox string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asJSON {
		p.object("problem", map[string]string{"mailbox": mailbox, "error": err.Error(), "kind": connection.KindOf(err).Error()})
		return
	}
	text := "problem: " + err.Error()
	if mailbox != "" {
		text = "problem with " + mailbox + ": " + err.Error()
	}
	p.problems++
	switch {
	case p.problems < maxProblems:
		p.line(p.errs, text)
	case p.problems == maxProblems:
		p.line(p.errs, text+"\n(further problems are not shown)")
	}
}

// fail prints the error that ends the program, for programs also on standard output.
func (p *printer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asJSON {
		p.object("failed", map[string]string{"error": err.Error(), "kind": connection.KindOf(err).Error()})
	}
	p.line(p.errs, "ewssync: "+err.Error())
}

// observe shows what a person who waits wants to know.
func (p *printer) observe(ev connection.Event) {
	switch ev.Kind {
	case connection.EventRetry, connection.EventThrottled:
		wait := ""
		if d := time.Until(ev.Until).Round(100 * time.Millisecond); !ev.Until.IsZero() && d > 0 {
			wait = fmt.Sprintf(", next try in %s", d)
		}
		p.note("%s%s%s: %s", of(ev.Mailbox), ev.Kind, wait, ev.Detail)
	case connection.EventInsecure, connection.EventNotice, connection.EventPoisoned, connection.EventRestarted:
		p.note("%s%s: %s", of(ev.Mailbox), ev.Kind, ev.Detail)
	default: // progress tells the rest
	}
}

func of(mailbox string) string {
	if mailbox == "" {
		return ""
	}
	return mailbox + ": "
}

// report prints what a Test found.
func (p *printer) report(r *connection.Report) {
	p.event("report", r)
	p.say("%s", r)
}

// event prints a JSON line for programs: {"event":"done","time":"…","done":{…}}.
func (p *printer) event(name string, v any) {
	if p.asJSON {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.object(name, v)
	}
}

func (p *printer) object(name string, v any) {
	line, err := json.Marshal(map[string]any{"event": name, "time": time.Now().UTC(), name: v})
	if err != nil {
		line = fmt.Appendf(nil, `{"event":"failed","failed":{"error":%q}}`, err.Error())
	}
	p.line(p.out, string(line))
}

// line prints a line. What a server says must not steer the terminal.
func (p *printer) line(w io.Writer, text string) {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	_, _ = fmt.Fprintln(w, text) // a lost terminal must not stop the archive
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
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
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
