package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

// A printer writes lines where the bar stands, if there is one. It may be used by several goroutines.
type printer struct {
	out, errs io.Writer
	terminal  bool // standard error is one
	bar       *bar // may be nil
}

func newPrinter(out, errs io.Writer) printer {
	p := printer{terminal: isTerminal(errs)}
	var mu sync.Mutex
	p.out, p.errs = &locked{&mu, out}, &locked{&mu, errs}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// A locked writer takes one Write at a time.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// line writes text and a line break.
func (p *printer) line(w io.Writer, text string) error {
	write := func() error {
		_, err := io.WriteString(w, printable(text)+"\n")
		return err
	}
	if p.bar == nil {
		return write()
	}
	return p.bar.above(write)
}

// complain prints a line on standard error.
func (p *printer) complain(format string, args ...any) {
	_ = p.line(p.errs, fmt.Sprintf(format, args...)) // nobody left to tell
}

// tell prints v as a line of JSON, or as the text of a person.
func (s *session) tell(v any, text string) error {
	if s.json {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		text = string(line)
	}
	return s.line(s.out, text)
}

// printable keeps a key from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
}

// row describes an object on a line, as ls shows it.
func row(info connection.ObjectInfo) string {
	if info.Prefix {
		return fmt.Sprintf("%12s  %-16s  %s", "", "", info.Key)
	}
	modified := ""
	if !info.Modified.IsZero() {
		modified = info.Modified.Local().Format("2006-01-02 15:04")
	}
	return fmt.Sprintf("%12d  %-16s  %s", info.Size, modified, info.Key)
}

// page describes an object in full, as stat shows it.
func page(info connection.ObjectInfo) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-14s%s\n", name, value)
		}
	}
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Local().Format(time.RFC3339)
	}
	fmt.Fprintln(&b, info.Key)
	line("size", fmt.Sprintf("%d (%s)", info.Size, octets(info.Size)))
	line("modified", date(info.Modified))
	line("sha256", info.SHA256)
	line("etag", info.ETag)
	line("type", info.ContentType)
	line("class", info.Class)
	line("version", info.Version)
	line("restore", string(info.Restore))
	line("readable to", date(info.ReadableTo))
	line("retained to", date(info.Lock.RetainUntil))
	if info.Lock.LegalHold {
		line("legal hold", "yes")
	}
	for _, name := range sortedNames(info.Meta) {
		line("meta "+name, info.Meta[name])
	}
	return strings.TrimSuffix(b.String(), "\n")
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

// counted writes n with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
