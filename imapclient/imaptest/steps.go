package imaptest

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A Step is one act of a [Script].
type Step struct {
	label string
	play  func(*player) error
}

// Send sends lines, each with CRLF. $TAG stands for the tag of the last command.
func Send(lines ...string) Step {
	return Step{"send", func(p *player) error { return p.Send(lines...) }}
}

// SendRaw sends octets as they are, in one write; only $TAG is replaced.
func SendRaw(octets string) Step {
	return Step{"send raw", func(p *player) error { return p.SendRaw(octets) }}
}

// Drip sends lines as Send does, but one octet at a time.
func Drip(lines ...string) Step {
	return Step{"drip", func(p *player) error {
		before := p.Meter.MaxWrite
		defer func() { p.Meter.MaxWrite = before }()
		p.Meter.MaxWrite = 1
		return p.Send(lines...)
	}}
}

// Expect waits for a command. Its pattern is a name, perhaps with first arguments, without regard to case and quotes:
// "FETCH" (with or without UID), "UID STORE 4 +FLAGS.SILENT". Literals of the command are asked for and read.
func Expect(pattern string) Step {
	return Step{"expect " + pattern, func(p *player) error {
		return p.Expect(func(c Command) bool { return c.matches(pattern) })
	}}
}

// ExpectRegexp waits for a command whose name and arguments, as a [Command] has them, match a regular expression. It
// panics if the expression is none.
func ExpectRegexp(expr string) Step {
	re := regexp.MustCompile(expr)
	return Step{"expect " + expr, func(p *player) error {
		return p.Expect(func(c Command) bool { return re.MatchString(strings.TrimSpace(c.Name + " " + c.Args)) })
	}}
}

// ExpectLine waits for one line that matches a regular expression, whatever it is: a continuation, DONE, the first
// line of a command whose literal is not to be asked for. If the line looks like a command its tag is noted. It panics
// if the expression is none.
func ExpectLine(expr string) Step {
	re := regexp.MustCompile(expr)
	return Step{"expect line " + expr, func(p *player) error {
		defer p.Hurry()()
		line, err := readLine(p.R, maxLine)
		if err != nil {
			return p.Absent(err)
		}
		c := &command{line: line}
		if c.head() == nil {
			p.tag = c.tag
			p.journal.record(describe(p.Meter.ID, c))
		} else {
			p.journal.record(Command{Conn: p.Meter.ID, Args: string(line)})
		}
		if !re.Match(line) {
			return fmt.Errorf("unexpected line: %s", p.journal.secrets.Replace(string(line)))
		}
		return nil
	}}
}

// Answer gives, from here to the end of the script, the same answer to every command that matches pattern (as for
// [Expect]) and is not the one expected. It waits for nothing.
func Answer(pattern string, lines ...string) Step {
	return Step{"answer " + pattern, func(p *player) error { return p.Answer(pattern, lines) }}
}

// Read reads so many octets of whatever the client sends, and forgets them.
func Read(octets int64) Step {
	return Step{"read", func(p *player) error {
		defer p.Hurry()()
		if _, err := io.CopyN(io.Discard, p.R, octets); err != nil {
			return p.Absent(err)
		}
		return nil
	}}
}

// Cut closes the connection without a word. What was sent before still arrives.
func Cut() Step { return Step{"cut", (*player).Cut} }

// Reset resets the connection; what was sent before may be lost.
func Reset() Step { return Step{"reset", (*player).Reset} }

// Stall stays silent, and takes what the client sends, until the connection ends.
func Stall() Step { return Step{"stall", (*player).Stall} }

// Wait waits until gate is closed, or the server. It makes two scripts, or a script and a test, take turns.
func Wait(gate <-chan struct{}) Step {
	return Step{"wait", func(p *player) error { return p.Wait(gate) }}
}

// StartTLS expects STARTTLS, says OK and shakes hands. Lines that are given go out in the clear, in the same segment
// behind the OK: what somebody on the path may inject. A client that refuses to go on ends the script.
func StartTLS(injected ...string) Step {
	return Step{"starttls", func(p *player) error {
		if err := p.Expect(func(c Command) bool { return c.matches("STARTTLS") }); err != nil {
			return err
		}
		if err := p.Send(append([]string{"$TAG OK begin TLS now"}, injected...)...); err != nil {
			return err
		}
		return p.Handshake()
	}}
}

// Handshake shakes hands at once, behind a consent to STARTTLS that the script has sent by itself: in another form, late,
// with codes in it. A client that refuses to go on ends the script.
func Handshake() Step { return Step{"handshake", (*player).Handshake} }

// Compress expects COMPRESS DEFLATE, says OK and speaks raw DEFLATE from there on (RFC 4978).
func Compress() Step {
	return Step{"compress", func(p *player) error {
		if err := p.Expect(func(c Command) bool { return c.matches("COMPRESS DEFLATE") }); err != nil {
			return err
		}
		if err := p.Send("$TAG OK begin DEFLATE now"); err != nil {
			return err
		}
		deflate(p.Meter)
		p.Renew()
		return nil
	}}
}

// TakeLogin expects a login, LOGIN or AUTHENTICATE, and takes what belongs to it. The reply is for the next step to send.
func TakeLogin() Step {
	return Step{"login", (*player).takeLogin}
}

// Do is several steps as one.
func Do(steps ...Step) Step {
	return Step{"steps", func(p *player) error { return p.Do(p.acts(steps)) }}
}

// Welcome greets with capabilities, answers CAPABILITY, ID and NOOP from then on, and accepts whatever login the
// client tries, LOGIN or AUTHENTICATE.
func Welcome(capabilities string) Step {
	accept := Step{"accept", func(p *player) error {
		return p.acceptLogin(capabilities)
	}}
	return Do(
		Answer("CAPABILITY", "* CAPABILITY "+capabilities, "$TAG OK that is all"),
		Answer("ID", "* ID NIL", "$TAG OK so you know"),
		Answer("NOOP", "$TAG OK done"),
		Send("* OK [CAPABILITY "+capabilities+"] script ready"),
		accept,
	)
}

func (p *player) acceptLogin(capabilities string) error {
	if err := p.takeLogin(); err != nil {
		return err
	}
	return p.Send("$TAG OK [CAPABILITY " + capabilities + "] welcome")
}

func (p *player) takeLogin() error {
	var login Command
	err := p.Expect(func(c Command) bool {
		login = c
		return c.Name == "LOGIN" || c.Name == "AUTHENTICATE"
	})
	if err != nil {
		return err
	}
	if login.Name == "AUTHENTICATE" && !strings.Contains(login.Args, " ") { // no initial response
		if err := p.Send("+ "); err != nil {
			return err
		}
		if _, err := readLine(p.R, maxLine); err != nil {
			return p.Absent(err)
		}
	}
	return nil
}

// Select expects SELECT or EXAMINE and answers as a server does that has a folder with so many messages.
func Select(exists, uidValidity, uidNext uint32) Step {
	return Step{"select", func(p *player) error {
		code := "READ-WRITE"
		err := p.Expect(func(c Command) bool {
			if c.Name == "EXAMINE" {
				code = "READ-ONLY"
			}
			return c.Name == "SELECT" || c.Name == "EXAMINE"
		})
		if err != nil {
			return err
		}
		return p.Send(
			`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`,
			`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] kept`,
			fmt.Sprintf("* %d EXISTS", exists),
			"* 0 RECENT",
			fmt.Sprintf("* OK [UIDVALIDITY %d] valid", uidValidity),
			fmt.Sprintf("* OK [UIDNEXT %d] next", uidNext),
			"$TAG OK ["+code+"] selected",
		)
	}}
}
