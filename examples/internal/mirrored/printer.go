package mirrored

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

// A Printer tells people (text) or programs (JSON lines) what goes on. Its methods may be called from several goroutines at
// once; its fields are set before.
type Printer struct {
	Program   string // its name, before the error that ends it
	Source    string // where removed messages were removed: "at Google"
	Out, Errs io.Writer
	JSON      bool

	// Forecast says how far all is, at most every few seconds while changes are stored: an object for programs, text for
	// people. Without it the mailboxes that are at work are told.
	Forecast func() (object any, text string)

	mu       sync.Mutex
	names    map[string]string // addresses of mailboxes
	tallies  map[string]*tally
	told     time.Time // when the forecast was last told
	retried  time.Time // when a retry was last told
	skipped  map[string]bool
	problems int
}

// A tally is what became of one mailbox since it was last told.
type tally struct {
	Mailbox string `json:"mailbox"`           // its name
	Address string `json:"address,omitempty"` // if that is another
	Added   int64  `json:"added"`
	Updated int64  `json:"updated"`
	Removed int64  `json:"removed"`
	Folders int64  `json:"folders"`
	Octets  int64  `json:"octets"`
	Whole   bool   `json:"whole"` // up to date; false while it goes on, and if it failed

	told time.Time
}

// pause is the time between two lines about what takes long.
const pause = 5 * time.Second

// maxProblems bounds how many problems are printed for people. All are counted, and programs are told all.
const maxProblems = 50

// Env returns what the connections are lent. If verbose, they log what they do to Errs.
func (p *Printer) Env(verbose bool) *connection.Env {
	env := &connection.Env{Observe: p.Observe}
	if verbose {
		env.Logger = slog.New(slog.NewTextHandler(p.Errs, &slog.HandlerOptions{Level: connection.LevelTrace}))
	}
	return env
}

// Name learns what people call a mailbox.
func (p *Printer) Name(mb *connection.Mailbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil {
		p.names = make(map[string]string)
	}
	p.names[mb.Name] = Address(mb)
}

// called returns what people call a mailbox. The caller holds mu.
func (p *Printer) called(mailbox string) string {
	if name := p.names[mailbox]; name != "" {
		return name
	}
	return mailbox
}

// Advanced counts a change that was stored. It is for [Archive.Progress].
func (p *Printer) Advanced(mailbox string, c *connection.Change, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tallies[mailbox]
	if t == nil {
		t = &tally{Mailbox: mailbox, told: time.Now()}
		if name := p.called(mailbox); name != mailbox {
			t.Address = name
		}
		if p.tallies == nil {
			p.tallies = make(map[string]*tally)
			p.told = time.Now()
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
	switch now := time.Now(); {
	case p.Forecast != nil && now.Sub(p.told) >= pause:
		p.told = now
		p.forecast()
	case p.Forecast == nil && now.Sub(t.told) >= pause:
		t.told = now
		p.tell(t)
	}
}

// forecast prints what Forecast says. The caller holds mu.
func (p *Printer) forecast() {
	object, text := p.Forecast()
	switch {
	case p.JSON:
		p.object("forecast", object)
	case text != "":
		p.line(p.Out, text)
	}
}

// Ended tells what became of a mailbox, unless there was nothing new.
func (p *Printer) Ended(mailbox string, whole bool) {
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
func (p *Printer) tell(t *tally) {
	if p.JSON {
		p.object("mailbox", t)
		return
	}
	text := fmt.Sprintf("%s: %s (%s)", p.called(t.Mailbox), Counted(t.Added, "new message", "new messages"), octets(t.Octets))
	if t.Updated > 0 {
		text += fmt.Sprintf(", %s changed", Number(t.Updated))
	}
	if t.Removed > 0 {
		text += fmt.Sprintf(", %s removed %s", Number(t.Removed), p.Source)
	}
	if t.Folders > 0 {
		text += ", " + Counted(t.Folders, "folder change", "folder changes")
	}
	if t.Whole {
		text += "; up to date"
	}
	p.line(p.Out, text)
}

// Say prints text for people.
func (p *Printer) Say(format string, args ...any) {
	if !p.JSON {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.line(p.Out, fmt.Sprintf(format, args...))
	}
}

// Note prints something that is no failure.
func (p *Printer) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if p.JSON {
		p.object("note", text)
		return
	}
	p.line(p.Errs, "note: "+text)
}

// Problem prints a failure that does not end the program. It is for MirrorOptions.OnError.
func (p *Printer) Problem(mailbox string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.called(mailbox)
	if p.JSON {
		object := map[string]string{"mailbox": mailbox, "error": err.Error(), "kind": connection.KindOf(err).Error()}
		if name != mailbox {
			object["address"] = name
		}
		p.object("problem", object)
		return
	}
	text := "problem: " + err.Error()
	if name != "" {
		text = "problem with " + name + ": " + err.Error()
	}
	p.problems++
	switch {
	case p.problems < maxProblems:
		p.line(p.Errs, text)
	case p.problems == maxProblems:
		p.line(p.Errs, text+"\n(further problems are not shown)")
	}
}

// Fail prints the error that ends the program, for programs also on standard output.
func (p *Printer) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.JSON {
		p.object("failed", map[string]string{"error": err.Error(), "kind": connection.KindOf(err).Error()})
	}
	p.line(p.Errs, p.Program+": "+err.Error())
}

// Observe shows what a person who waits wants to know. It is for Env.Observe.
func (p *Printer) Observe(ev connection.Event) {
	if p.news(ev) {
		p.Tell(ev)
	}
}

// Tell prints an event, whatever it is.
func (p *Printer) Tell(ev connection.Event) {
	text := string(ev.Kind)
	if ev.Mailbox != "" {
		p.mu.Lock()
		text = p.called(ev.Mailbox) + ": " + text
		p.mu.Unlock()
	}
	if d := time.Until(ev.Until).Round(100 * time.Millisecond); !ev.Until.IsZero() && d > 0 {
		text += fmt.Sprintf(", next try in %s", d)
	}
	p.Note("%s: %s", text, ev.Detail)
}

// news reports whether an event is worth a line. In each round the same users are skipped, and while the network is down every
// request is repeated.
func (p *Printer) news(ev connection.Event) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev.Kind {
	case connection.EventSkipped:
		if p.skipped == nil {
			p.skipped = make(map[string]bool)
		}
		told := p.skipped[ev.Mailbox+ev.Detail]
		p.skipped[ev.Mailbox+ev.Detail] = true
		return !told
	case connection.EventRetry:
		if time.Until(ev.Until) > time.Minute { // somebody may wonder why nothing happens
			return true
		}
		if time.Since(p.retried) < pause {
			return false
		}
		p.retried = time.Now()
		return true
	case connection.EventThrottled, connection.EventInsecure, connection.EventNotice, connection.EventPoisoned, connection.EventRestarted, connection.EventQuirk:
		return true
	default: // what is stored tells the rest
		return false
	}
}

// Report prints what a Test found.
func (p *Printer) Report(r *connection.Report) {
	p.Event("report", r)
	p.Say("%s", r)
}

// Event prints a JSON line for programs: {"event":"done","time":"…","done":{…}}.
func (p *Printer) Event(name string, v any) {
	if p.JSON {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.object(name, v)
	}
}

func (p *Printer) object(name string, v any) {
	line, err := json.Marshal(map[string]any{"event": name, "time": time.Now().UTC(), name: v})
	if err != nil {
		line = fmt.Appendf(nil, `{"event":"failed","failed":{"error":%q}}`, err.Error())
	}
	p.line(p.Out, string(line))
}

// line prints a line. What a server says must not steer the terminal.
func (p *Printer) line(w io.Writer, text string) {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	_, _ = fmt.Fprintln(w, text) // a lost terminal must not stop the archive
}

// Number writes n with commas between the thousands.
func Number(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// Counted writes n with its noun.
func Counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Number(n) + " " + many
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
