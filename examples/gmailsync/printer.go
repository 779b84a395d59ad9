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
	names    map[string]string // addresses of mailboxes
	tallies  map[string]*tally
	plan     *forecast // nil until it is made
	told     time.Time // when the progress was last told
	retried  time.Time // when a retry was last told
	skipped  map[string]bool
	problems int
}

// A tally is what became of one mailbox since it was last told.
type tally struct {
	Mailbox string `json:"mailbox"` // its name
	Address string `json:"address"`
	Added   int64  `json:"added"`
	Updated int64  `json:"updated"`
	Removed int64  `json:"removed"`
	Folders int64  `json:"folders"`
	Octets  int64  `json:"octets"`
	Whole   bool   `json:"whole"` // up to date; false if it failed
}

// pause is the time between two lines about the progress.
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

// name learns what people call a mailbox.
func (p *printer) name(mb *connection.Mailbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil {
		p.names = make(map[string]string)
	}
	p.names[mb.Name] = address(mb)
}

// called returns what people call a mailbox. The caller holds mu.
func (p *printer) called(mailbox string) string {
	if name := p.names[mailbox]; name != "" {
		return name
	}
	return mailbox
}

// planned tells what there is to do.
func (p *printer) planned(plan *forecast) {
	now := plan.now()
	p.event("forecast", now)
	if now.Total > 0 {
		p.say("About %s to read in %s; Google's quota makes that take at least %s.",
			counted(now.Total, "message", "messages"), counted(int64(now.Mailboxes), "new mailbox", "new mailboxes"), lasting(now.left()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.told = plan, time.Now()
}

// advanced counts a change that was stored.
func (p *printer) advanced(mailbox string, c *connection.Change, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tallies[mailbox]
	if t == nil {
		t = &tally{Mailbox: mailbox, Address: p.called(mailbox)}
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
	if p.plan != nil && time.Since(p.told) >= pause {
		p.told = time.Now()
		p.progress()
	}
}

// progress tells how far all is. The caller holds mu.
func (p *printer) progress() {
	now := p.plan.now()
	switch {
	case p.asJSON:
		p.object("forecast", now)
	case now.Total > now.Done:
		p.line(p.out, fmt.Sprintf("%s of about %s (%d%%); about %s left", number(now.Done), counted(now.Total, "message", "messages"), 100*now.Done/now.Total, lasting(now.left())))
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
	text := fmt.Sprintf("%s: %s (%s)", t.Address, counted(t.Added, "new message", "new messages"), octets(t.Octets))
	if t.Updated > 0 {
		text += fmt.Sprintf(", %s changed", number(t.Updated))
	}
	if t.Removed > 0 {
		text += fmt.Sprintf(", %s removed at Google", number(t.Removed))
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
		p.object("problem", map[string]string{"mailbox": mailbox, "address": p.called(mailbox), "error": err.Error(), "kind": connection.KindOf(err).Error()})
		return
	}
	text := "problem: " + err.Error()
	if mailbox != "" {
		text = "problem with " + p.called(mailbox) + ": " + err.Error()
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
	p.line(p.errs, "gmailsync: "+err.Error())
}

// observe shows what a person who waits wants to know.
func (p *printer) observe(ev connection.Event) {
	name, worth := p.worth(ev)
	if !worth {
		return
	}
	switch ev.Kind {
	case connection.EventThrottled, connection.EventRetry:
		wait := ""
		if d := time.Until(ev.Until).Round(100 * time.Millisecond); !ev.Until.IsZero() && d > 0 {
			wait = fmt.Sprintf(", next try in %s", d)
		}
		p.note("%s%s%s: %s", name, ev.Kind, wait, ev.Detail)
	case connection.EventInsecure, connection.EventNotice, connection.EventPoisoned, connection.EventRestarted, connection.EventSkipped, connection.EventQuirk:
		p.note("%s%s: %s", name, ev.Kind, ev.Detail)
	default: // progress tells the rest
	}
}

// worth returns the mailbox of an event as people call it, and whether the event is news. In each round the same users are
// skipped, and while the network is down every request is repeated.
func (p *printer) worth(ev connection.Event) (name string, worth bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ev.Mailbox != "" {
		name = p.called(ev.Mailbox) + ": "
	}
	switch ev.Kind {
	case connection.EventSkipped:
		if p.skipped == nil {
			p.skipped = make(map[string]bool)
		}
		worth = !p.skipped[ev.Mailbox+ev.Detail]
		p.skipped[ev.Mailbox+ev.Detail] = true
	case connection.EventRetry:
		if worth = time.Since(p.retried) >= pause; worth {
			p.retried = time.Now()
		}
	default:
		worth = true
	}
	return name, worth
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

// lasting writes a duration for people: "2 days 3h", "2h46m", "9s".
func lasting(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%s %dh", counted(int64(d/day), "day", "days"), d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", (d+time.Minute/2)/time.Minute)
	}
	return fmt.Sprintf("%ds", (d+time.Second-1)/time.Second)
}
