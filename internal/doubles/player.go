package doubles

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Language is what a protocol's player knows and a [Player] does not. C is a command as the protocol's double records it.
type Language[C fmt.Stringer] interface {
	Read() (C, error)                 // reads one command from Player.R and records it
	Matches(c C, pattern string) bool // as the double's Expect has it
	Fill(text string) string          // what is sent in the place of text that a script has
	Farewell(c C) []string            // the lines that answer a command that takes leave; none for any other command
}

// A Player plays one script on one connection. Its methods are called by the goroutine of the connection.
type Player[C fmt.Stringer] struct {
	Meter *Meter
	R     *bufio.Reader // reads what Meter does

	stage    *Stage
	language Language[C]
	answers  []reflex
}

// An Act is one step of a script.
type Act struct {
	Label string
	Play  func() error
}

type reflex struct {
	pattern string
	lines   []string
}

// NewPlayer returns a player for one connection of s, whose R holds so many octets.
func NewPlayer[C fmt.Stringer](s *Stage, m *Meter, buffer int, language Language[C]) *Player[C] {
	return &Player[C]{Meter: m, R: bufio.NewReaderSize(m, buffer), stage: s, language: language}
}

// errEnd ends a script before its last step, as the script or the test wants it.
var errEnd = errors.New("end of script")

// ended reports whether err ends a script without being a failure.
func ended(err error) bool { return errors.Is(err, errEnd) || errors.Is(err, ErrCut) }

// Play plays a script: it shakes hands if the stage's mode is TLS, and waits for the client to go after the last step. A
// step that fails, and a command after the last step that has no standing answer, fail the test.
func (p *Player[C]) Play(script []Act) {
	if p.stage.opts.Mode == connection.ModeTLS && p.secure() != nil {
		return // a client that refuses our certificate
	}
	for i, act := range script {
		if err := act.Play(); err != nil {
			if !ended(err) {
				p.fail("step %d, %s: %v", i+1, act.Label, err)
			}
			return
		}
	}
	p.finish()
}

func (p *Player[C]) fail(format string, args ...any) {
	p.stage.t.Errorf("%s: script of connection %d: "+format, append([]any{p.stage.opts.Name, p.Meter.ID}, args...)...)
}

// finish waits for the client to go.
func (p *Player[C]) finish() {
	for {
		c, err := p.language.Read()
		if err != nil {
			return
		}
		if reply := p.language.Farewell(c); reply != nil {
			_ = p.Send(reply...) // the client may not want to know
			return
		}
		reply, ok := p.reflex(c)
		if !ok {
			p.fail("unexpected command after the last step: %s", c)
			return
		}
		if p.Send(reply...) != nil {
			return
		}
	}
}

func (p *Player[C]) secure() error {
	if err := p.Meter.Secure(p.stage.tls); err != nil {
		return err
	}
	p.Renew()
	return nil
}

// Renew makes R read anew from the Meter, without what was read ahead.
func (p *Player[C]) Renew() { p.R = bufio.NewReaderSize(p.Meter, p.R.Size()) }

// Send sends lines, each with CRLF. That the client is gone is no error here.
func (p *Player[C]) Send(lines ...string) error {
	var octets []byte
	for _, line := range lines {
		octets = append(octets, p.language.Fill(line)...)
		octets = append(octets, "\r\n"...)
	}
	return p.write(octets)
}

// SendRaw sends octets in one write.
func (p *Player[C]) SendRaw(octets string) error { return p.write([]byte(p.language.Fill(octets))) }

func (p *Player[C]) write(octets []byte) error {
	if _, err := p.Meter.Write(octets); errors.Is(err, ErrCut) {
		return err
	}
	return nil
}

// Answer gives, from now on, the same answer to every command that matches pattern and is not the one expected. The last
// answer that fits is the one that is given.
func (p *Player[C]) Answer(pattern string, lines []string) error {
	p.answers = append(p.answers, reflex{pattern, lines})
	return nil
}

// reflex returns the standing answer to c.
func (p *Player[C]) reflex(c C) ([]string, bool) {
	for i := len(p.answers) - 1; i >= 0; i-- {
		if p.language.Matches(c, p.answers[i].pattern) {
			return p.answers[i].lines, true
		}
	}
	return nil, false
}

// Hurry gives what is read from now on as long as the stage's patience, until the function returned is called.
func (p *Player[C]) Hurry() (relax func()) {
	d := p.stage.opts.Patience
	if d < 0 {
		return func() {}
	}
	// An error means that the connection is closed, which the next read says as well.
	_ = p.Meter.Raw.SetReadDeadline(time.Now().Add(d))
	return func() { _ = p.Meter.Raw.SetReadDeadline(time.Time{}) }
}

// Expect reads commands, answering those that have a standing answer, until match likes one.
func (p *Player[C]) Expect(match func(C) bool) error {
	defer p.Hurry()()
	for {
		c, err := p.language.Read()
		if err != nil {
			return p.Absent(err)
		}
		if match(c) {
			return nil
		}
		reply, ok := p.reflex(c)
		if !ok {
			return fmt.Errorf("unexpected command: %s", c)
		}
		if err := p.Send(reply...); err != nil {
			return err
		}
	}
}

// Absent returns why nothing came, of which a read said err.
func (p *Player[C]) Absent(err error) error {
	if p.stage.opts.Lenient {
		return errEnd
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing came within %v", p.stage.opts.Patience)
	}
	return fmt.Errorf("the connection ended instead: %w", err)
}

// Cut closes the connection without a word. What was sent before still arrives.
func (p *Player[C]) Cut() error {
	p.Meter.Cut()
	return errEnd
}

// Reset resets the connection; what was sent before may be lost.
func (p *Player[C]) Reset() error {
	if tcp, ok := p.Meter.Raw.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
	}
	_ = p.Meter.Raw.Close() // reset, however it goes
	return errEnd
}

// Stall stays silent, and takes what the client sends, until the connection ends.
func (p *Player[C]) Stall() error {
	p.Meter.Silence()
	return errEnd
}

// Wait waits until gate is closed, or the stage.
func (p *Player[C]) Wait(gate <-chan struct{}) error {
	select {
	case <-gate:
		return nil
	case <-p.stage.done:
		return errEnd
	}
}

// Handshake shakes hands. A client that refuses to go on ends the script.
func (p *Player[C]) Handshake() error {
	if p.secure() != nil {
		return errEnd
	}
	return nil
}

// Do plays several steps as one.
func (p *Player[C]) Do(acts []Act) error {
	for i, act := range acts {
		if err := act.Play(); err != nil {
			if ended(err) {
				return err
			}
			return fmt.Errorf("%d, %s: %w", i+1, act.Label, err)
		}
	}
	return nil
}
