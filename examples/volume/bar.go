package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A bar shows how far a transfer is: on a terminal a line that is drawn again and again, elsewhere a plain line now and
// then. It may be used by several goroutines.
type bar struct {
	out      io.Writer
	terminal bool
	verb     string
	objects  int64 // in all; 0 = not known
	total    int64 // octets in all; 0 = not known
	began    time.Time
	now      func() time.Time

	mu      sync.Mutex
	moved   int64
	done    int64
	drawn   int // characters that stand on the terminal
	nextOut time.Time
}

// How often a bar is drawn, and how often a plain line is printed.
const (
	redraw  = 100 * time.Millisecond
	restate = 5 * time.Second
)

// newBar begins a bar on standard error, so that standard output stays for what was asked for. No goroutine prints yet.
func (p *printer) newBar(verb string, objects, total int64) *bar {
	b := &bar{out: p.errs, terminal: p.terminal, verb: verb, objects: objects, total: total, began: time.Now(), now: time.Now}
	b.nextOut = b.began.Add(b.interval())
	p.bar = b
	return b
}

func (b *bar) interval() time.Duration {
	if b.terminal {
		return redraw
	}
	return restate
}

// move says that so many octets more were moved, or fewer if something is sent again.
func (b *bar) move(octets int64) { b.change(octets, 0) }

// finish says that one more object is done.
func (b *bar) finish() { b.change(0, 1) }

func (b *bar) change(octets, objects int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved += octets
	b.done += objects
	if now := b.now(); !now.Before(b.nextOut) {
		b.nextOut = now.Add(b.interval())
		b.draw(b.text(now))
	}
}

const barWidth = 24

// text is what the bar says now.
func (b *bar) text(now time.Time) string {
	var parts []string
	if b.total > 0 {
		full := int(min(b.moved, b.total) * barWidth / b.total)
		parts = append(parts, fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), min(b.moved, b.total)*100/b.total),
			fmt.Sprintf("%s of %s", octets(b.moved), octets(b.total)))
	} else {
		parts = append(parts, octets(b.moved))
	}
	if seconds := now.Sub(b.began).Seconds(); seconds > 0 {
		parts = append(parts, octets(int64(float64(b.moved)/seconds))+"/s")
	}
	switch {
	case b.objects > 1:
		parts = append(parts, fmt.Sprintf("%d of %d objects", b.done, b.objects))
	case b.objects == 0:
		parts = append(parts, counted(b.done, "object"))
	}
	return b.verb + "  " + strings.Join(parts, "  ")
}

func (b *bar) draw(text string) {
	if !b.terminal {
		_, _ = fmt.Fprintln(b.out, text) // nobody left to tell
		return
	}
	width := utf8.RuneCountInString(text)
	_, _ = fmt.Fprintf(b.out, "\r%s%s", text, strings.Repeat(" ", max(0, b.drawn-width))) // as above
	b.drawn = width
}

// above runs f, which prints a line, where the bar stands.
func (b *bar) above(f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	return f()
}

// end takes the bar away.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
}

func (b *bar) erase() {
	if b.drawn > 0 {
		_, _ = fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", b.drawn)) // as in draw
		b.drawn = 0
	}
}
