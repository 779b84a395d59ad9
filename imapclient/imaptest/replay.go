package imaptest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// Replay starts a server that plays a transcript: file name of fsys. The test fails at once if it cannot be read. opts
// may be nil.
//
// The folder testdata/brands of this package has transcripts of well-known servers: gmail.txt, microsoft365.txt… They are
// written by hand after what is publicly known of these servers, show habits that have broken clients, and serve for one
// login and one look at INBOX. Each says in its comments what it shows.
func Replay(t testing.TB, opts *ScriptOptions, fsys fs.FS, name string) *ScriptServer {
	t.Helper()
	file, err := fsys.Open(name)
	if err != nil {
		t.Fatalf("imaptest: %v", err)
	}
	scripts, err := ParseTranscript(file)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatalf("imaptest: %s: %v", name, err)
	}
	return NewScript(t, opts, scripts...)
}

// ParseTranscript reads a transcript: one Script for each connection. It is text, in which the first octets of a line
// say what the line is:
//
//	# text        a comment; empty lines are comments as well
//	S: text       the server sends text and CRLF; $TAG is the tag of the last command, {*} the announcement of the
//	              literal that follows in lines that begin with "|"
//	|text         text and CRLF, octets of that literal
//	C: pattern    the server waits for a command, as [Expect] does
//	A: pattern    from here on, commands that match and are not waited for are answered with the lines that follow
//	a: text       such a line, as with S:
//	!login        the server waits for a login of any kind, as [TakeLogin] does
//	!starttls     the steps [StartTLS], [Handshake], [Compress], [Cut], [Reset] and [Stall]
//	!handshake
//	!compress
//	!cut
//	!reset
//	!stall
//	---           the next connection begins
//
// Lines end in LF or CRLF, and what a line says begins behind one space. An error names the line.
func ParseTranscript(r io.Reader) ([]Script, error) {
	p := transcript{scripts: []Script{nil}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if err := p.line(strings.TrimSuffix(lines.Text(), "\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if err := p.settle(); err != nil {
		return nil, fmt.Errorf("at the end: %w", err)
	}
	return p.scripts, nil
}

// transcript is what ParseTranscript knows so far.
type transcript struct {
	scripts []Script
	sending string // text of an S: line that is not a step yet
	body    string // of the literal that sending announces
	literal bool   // sending announces one
	held    bool   // there is such a line

	pattern   string // of an A: line
	answer    []string
	answering bool
}

// acts are the lines that are a word.
var acts = map[string]func() Step{
	"!login":     TakeLogin,
	"!starttls":  func() Step { return StartTLS() },
	"!handshake": Handshake,
	"!compress":  func() Step { return Compress() },
	"!cut":       Cut,
	"!reset":     Reset,
	"!stall":     Stall,
}

func (p *transcript) line(line string) error {
	if body, ok := strings.CutPrefix(line, "|"); ok {
		if !p.literal {
			return errors.New("octets of a literal that no line announces")
		}
		p.body += body + "\r\n"
		return nil
	}
	if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
		return nil
	}
	kind, text, _ := strings.Cut(line, " ")
	if kind == "a:" {
		if !p.answering {
			return errors.New("a: without an A: before it")
		}
		p.answer = append(p.answer, text)
		return nil
	}
	if kind == "S:" && p.literal { // what follows the literal
		p.sending = strings.TrimSuffix(p.sending, "{*}") + fmt.Sprintf("{%d}\r\n", len(p.body)) + p.body + text
		p.body, p.literal = "", strings.HasSuffix(text, "{*}")
		return nil
	}
	if err := p.settle(); err != nil {
		return err
	}
	act, isAct := acts[line]
	switch {
	case kind == "S:":
		p.sending, p.held, p.literal = text, true, strings.HasSuffix(text, "{*}")
	case kind == "C:" && text != "":
		p.add(Expect(text))
	case kind == "A:" && text != "":
		p.pattern, p.answering = text, true
	case line == "---":
		p.scripts = append(p.scripts, nil)
	case isAct:
		p.add(act())
	default:
		return fmt.Errorf("%q is no line of a transcript", line)
	}
	return nil
}

// settle makes steps of what is known of the lines before.
func (p *transcript) settle() error {
	switch {
	case p.literal:
		return errors.New("a literal must be followed by an S: line, be it empty")
	case p.answering && p.answer == nil:
		return errors.New("an A: without an a: behind it")
	case p.held:
		p.add(SendRaw(p.sending + "\r\n"))
	case p.answering:
		p.add(Answer(p.pattern, p.answer...))
	}
	p.held, p.answering, p.answer = false, false, nil
	return nil
}

func (p *transcript) add(step Step) {
	last := len(p.scripts) - 1
	p.scripts[last] = append(p.scripts[last], step)
}
