package smtptest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
	"github.com/mailconn/mailconn/smtpclient"
)

// A Script is what a [ScriptServer] does on one connection, step by step. After the last step the connection stays open
// until the client closes it; QUIT and RSET are then answered, any other command is unexpected.
//
// A command that is not the expected one fails the test and ends the connection. So does a client that leaves, or is
// silent for ScriptOptions.Patience, while a command is expected.
type Script []Step

// A Step is one act of a [Script].
type Step struct {
	label string
	play  func(*player) error
}

// Send sends lines, each with CRLF.
func Send(lines ...string) Step { return SendRaw(strings.Join(lines, "\r\n") + "\r\n") }

// SendRaw sends octets as they are, in one write.
func SendRaw(octets string) Step {
	return Step{"send", func(p *player) error {
		if _, err := io.WriteString(p.meter, octets); errors.Is(err, doubles.ErrCut) {
			return err
		}
		return nil // that the client is gone is no error here
	}}
}

// Expect waits for a command: a name, perhaps with the beginning of its arguments, without regard to case.
func Expect(pattern string) Step {
	return Step{"expect " + pattern, func(p *player) error {
		c, err := p.read()
		if err == nil && !c.matches(pattern) {
			err = fmt.Errorf("unexpected command: %s", c)
		}
		return err
	}}
}

// Take waits for the content of DATA, to the line with the dot, and appends it to *raw if raw is not nil.
func Take(raw *[]byte) Step {
	return Step{"take", func(p *player) error {
		got, err := (&ending{}).read(p.r, defaultMaxSize)
		if raw != nil {
			*raw = append(*raw, got...)
		}
		return err
	}}
}

// TakeOctets waits for so many octets of BDAT.
func TakeOctets(n int64) Step {
	return Step{fmt.Sprintf("take %d octets", n), func(p *player) error {
		_, err := io.CopyN(io.Discard, p.r, n)
		return err
	}}
}

// StartTLS makes the handshake that follows the consent to STARTTLS.
func StartTLS() Step { return Step{"handshake", (*player).secure} }

// Cut closes the connection without a word.
func Cut() Step {
	return Step{"cut", func(p *player) error {
		p.meter.Cut()
		return doubles.ErrCut
	}}
}

// Stall takes what comes and says nothing until the client closes the connection.
func Stall() Step {
	return Step{"stall", func(p *player) error {
		p.meter.Silence()
		return doubles.ErrCut
	}}
}

// ScriptOptions say how a [ScriptServer] listens. The zero value speaks TLS from the first octet.
type ScriptOptions struct {
	Mode     connection.Mode // as Options.Mode; with ModeSTARTTLS the script has the step [StartTLS]
	TLS      *tls.Config     // as Options.TLS
	MaxWrite int             // as Options.MaxWrite
	Patience time.Duration   // how long an expected command may take; 0 = 10 s
	Repeat   bool            // the last script also serves every further connection
}

// A ScriptServer plays one Script on each connection, in the order of acceptance. A connection for which there is no
// script, and a script without a connection, fail the test. All its methods may be called from several goroutines.
type ScriptServer struct {
	wire
	t       testing.TB
	opts    ScriptOptions
	scripts []Script
	tls     *tls.Config
	caPEM   string
	journal journal
}

// NewScript starts a server that plays scripts. It is closed when the test ends. opts may be nil.
func NewScript(t testing.TB, opts *ScriptOptions, scripts ...Script) *ScriptServer {
	t.Helper()
	s := &ScriptServer{t: t, scripts: scripts}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.Mode = s.opts.Mode.Or()
	if s.opts.Patience == 0 {
		s.opts.Patience = 10 * time.Second
	}
	if s.opts.Mode != connection.ModeInsecure {
		var err error
		if s.tls, s.caPEM, err = doubles.ServerTLS("smtptest", s.opts.TLS); err != nil {
			t.Fatalf("smtptest: %v", err)
		}
	}
	if err := s.line.Listen("127.0.0.1:0", s.opts.MaxWrite, s.serve); err != nil {
		t.Fatalf("smtptest: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		if n := len(s.Sent()); n < len(scripts) {
			t.Errorf("smtptest: %d of %d scripts were played: the client made no more connections", n, len(scripts))
		}
	})
	return s
}

// Config returns driver settings that fit the server, as [Server.Config] does, without a login.
func (s *ScriptServer) Config() smtpclient.Config {
	return config(s.line.Addr(), s.opts.Mode, s.caPEM)
}

// Commands returns every command received so far, as [Server.Commands] does.
func (s *ScriptServer) Commands(patterns ...string) []Command { return s.journal.all(patterns) }

// Close ends all connections and the server, at once. A second Close does nothing.
func (s *ScriptServer) Close() { s.line.Close() }

func (s *ScriptServer) serve(m *doubles.Meter) {
	if m.ID > len(s.scripts) && !s.opts.Repeat || len(s.scripts) == 0 {
		s.t.Errorf("smtptest: connection %d: there is no script for it", m.ID)
		m.Cut()
		return
	}
	p := &player{server: s, meter: m, r: bufio.NewReaderSize(m, maxLine)}
	p.play(s.scripts[min(m.ID, len(s.scripts))-1])
}

// player plays one script on one connection.
type player struct {
	server *ScriptServer
	meter  *doubles.Meter
	r      *bufio.Reader
}

func (p *player) play(script Script) {
	if p.server.opts.Mode == connection.ModeTLS && p.secure() != nil {
		return // a client that refuses our certificate
	}
	for i, step := range script {
		switch err := step.play(p); {
		case err == nil:
		case errors.Is(err, doubles.ErrCut):
			return
		default:
			p.server.t.Errorf("smtptest: script of connection %d: step %d, %s: %v", p.meter.ID, i+1, step.label, err)
			return
		}
	}
	p.finish()
}

// finish waits for the client to go.
func (p *player) finish() {
	for {
		c, err := p.read()
		if err != nil {
			return
		}
		reply := "250 2.0.0 forgotten\r\n"
		switch c.Name {
		case "RSET":
		case "QUIT":
			reply = "221 2.0.0 bye\r\n"
		default:
			p.server.t.Errorf("smtptest: script of connection %d: unexpected command after the last step: %s", p.meter.ID, c)
			return
		}
		if _, err := io.WriteString(p.meter, reply); err != nil || c.Name == "QUIT" {
			return
		}
	}
}

func (p *player) secure() error {
	if p.meter.Secure(p.server.tls) != nil {
		return doubles.ErrCut
	}
	p.r = bufio.NewReaderSize(p.meter, maxLine)
	return nil
}

func (p *player) read() (Command, error) {
	// An error means that the connection is closed, which the read says as well.
	_ = p.meter.Raw.SetReadDeadline(time.Now().Add(p.server.opts.Patience))
	defer func() { _ = p.meter.Raw.SetReadDeadline(time.Time{}) }()
	line, err := p.r.ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Command{}, fmt.Errorf("nothing came within %v", p.server.opts.Patience)
	case err != nil:
		return Command{}, fmt.Errorf("the connection ended instead: %w", err)
	}
	c := parse(p.meter.ID, strings.TrimRight(line, "\r\n"))
	p.server.journal.record(c)
	return c, nil
}
