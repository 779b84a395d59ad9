package pop3test

import (
	"fmt"
	"strings"
)

// A Step is one act of a [Script].
type Step struct {
	label string
	play  func(*player) error
}

// Send sends lines, each with CRLF.
func Send(lines ...string) Step {
	return Step{"send", func(p *player) error { return p.Send(lines...) }}
}

// SendRaw sends octets as they are, in one write.
func SendRaw(octets string) Step {
	return Step{"send raw", func(p *player) error { return p.SendRaw(octets) }}
}

// Expect waits for a command. Its pattern is a name, perhaps with first arguments, without regard to case: "RETR 2".
func Expect(pattern string) Step {
	return Step{"expect " + pattern, func(p *player) error { return p.expect(pattern) }}
}

// ExpectLine waits for one line that is this, whatever it means: a line of a SASL exchange, say. It is in no transcript.
func ExpectLine(want string) Step {
	return Step{"expect line", func(p *player) error {
		defer p.Hurry()()
		line, err := p.R.ReadSlice('\n')
		if err != nil {
			return p.Absent(err)
		}
		if got := strings.TrimRight(string(line), "\r\n"); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	}}
}

// Answer gives, from here to the end of the script, the same answer to every command that matches pattern (as for
// [Expect]) and is not the one expected. It waits for nothing.
func Answer(pattern string, lines ...string) Step {
	return Step{"answer " + pattern, func(p *player) error { return p.Answer(pattern, lines) }}
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

// StartTLS expects STLS, says +OK and shakes hands. Lines that are given go out in the clear, in the same segment behind
// the +OK: what somebody on the path may inject. A client that refuses to go on ends the script.
func StartTLS(injected ...string) Step {
	return Step{"stls", func(p *player) error {
		if err := p.expect("STLS"); err != nil {
			return err
		}
		if err := p.Send(append([]string{"+OK begin TLS now"}, injected...)...); err != nil {
			return err
		}
		return p.Handshake()
	}}
}

// Do is several steps as one.
func Do(steps ...Step) Step {
	return Step{"steps", func(p *player) error { return p.Do(p.acts(steps)) }}
}

// Welcome greets, answers CAPA with these capabilities and NOOP from then on, and accepts a login by USER and PASS,
// which is therefore offered too.
func Welcome(capabilities ...string) Step {
	list := append([]string{"+OK capabilities", "USER"}, capabilities...)
	return Do(
		Answer("CAPA", append(list, ".")...),
		Answer("NOOP", "+OK"),
		Send("+OK script ready"),
		Expect("USER"),
		Send("+OK"),
		Expect("PASS"),
		Send("+OK welcome"),
	)
}

// Maildrop expects STAT, UIDL and LIST in this order, and lists messages of 100 octets each with these UIDLs.
func Maildrop(uidls ...string) Step {
	ids, sizes := []string{"+OK"}, []string{"+OK"}
	for i, uidl := range uidls {
		ids = append(ids, fmt.Sprintf("%d %s", i+1, uidl))
		sizes = append(sizes, fmt.Sprintf("%d 100", i+1))
	}
	return Do(
		Expect("STAT"), Send(fmt.Sprintf("+OK %d %d", len(uidls), 100*len(uidls))),
		Expect("UIDL"), Send(append(ids, ".")...),
		Expect("LIST"), Send(append(sizes, ".")...),
	)
}
