package imaptest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/internal/doubles"
)

// A Script is what a [ScriptServer] does on one connection, step by step. After the last step the connection stays
// open until the client closes it; a LOGOUT is then answered, any other command is unexpected.
//
// A command that is not the expected one fails the test and ends the connection. So does a client that leaves, or is
// silent for ScriptOptions.Patience, while a command is expected. A client may leave at any other time.
type Script []Step

// ScriptOptions say how a [ScriptServer] listens. The zero value speaks TLS from the first octet.
type ScriptOptions struct {
	Mode     connection.Mode // as Options.Mode; with ModeSTARTTLS the script has the step [StartTLS]
	TLS      *tls.Config     // as Options.TLS
	Username string          // what Config says; "" is DefaultUsername. The script decides what is accepted
	Password string          // as Username; never in a transcript
	MaxWrite int             // as Options.MaxWrite: 1 sends octet by octet
	Patience time.Duration   // how long an expected command may take; 0 = 10 s, negative = for ever
	Repeat   bool            // the last script also serves every further connection
	Lenient  bool            // scripts that are not played to their end do not fail the test
}

const defaultPatience = 10 * time.Second

// A ScriptServer plays one Script on each connection, in the order of acceptance. A connection for which there is no
// script, and a script without a connection, fail the test. All its methods may be called from several goroutines.
type ScriptServer struct {
	wire
	t       testing.TB
	opts    ScriptOptions
	scripts []Script
	tls     *tls.Config
	caPEM   string
	journal *journal
	done    chan struct{} // closed by Close
	end     func()        // closes it, once
}

// NewScript starts a server that plays scripts. It is closed when the test ends. opts may be nil.
func NewScript(t testing.TB, opts *ScriptOptions, scripts ...Script) *ScriptServer {
	t.Helper()
	s := &ScriptServer{t: t, scripts: scripts, done: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.done) })
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	o.Mode = o.Mode.Or()
	if o.Username == "" {
		o.Username = DefaultUsername
	}
	if o.Password == "" {
		o.Password = DefaultPassword
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	s.journal = newJournal(o.Username, o.Password)
	if o.Mode != connection.ModeInsecure {
		var err error
		if s.tls, s.caPEM, err = doubles.ServerTLS("imaptest", o.TLS); err != nil {
			t.Fatalf("imaptest: %v", err)
		}
	}
	if err := s.connections.Listen("127.0.0.1:0", o.MaxWrite, s.serve); err != nil {
		t.Fatalf("imaptest: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		if n := len(s.Sent()); n < len(scripts) && !o.Lenient {
			t.Errorf("imaptest: %d of %d scripts were played: the client made no more connections", n, len(scripts))
		}
	})
	return s
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *ScriptServer) Addr() string { return s.connections.Addr() }

// Config returns driver settings that fit the server, as [Server.Config] does.
func (s *ScriptServer) Config() imapclient.Config {
	return config(s.Addr(), s.opts.Mode, s.caPEM, s.opts.Username, s.opts.Password)
}

// Env returns an environment that trusts the server's certificate.
func (s *ScriptServer) Env() *connection.Env { return doubles.Env(s.caPEM) }

// Settings returns Config as JSON with the password in it, as a host stores it.
func (s *ScriptServer) Settings() connection.Settings { return settings(s.Config()) }

// Transcript returns every command received so far, the unexpected included, as [Server.Transcript] does.
func (s *ScriptServer) Transcript(patterns ...string) []Command { return s.journal.all(patterns) }

// Close ends all connections and the server, at once. A second Close does nothing.
func (s *ScriptServer) Close() {
	s.end()
	s.connections.Close()
}

func (s *ScriptServer) serve(m *doubles.Meter) {
	if m.ID > len(s.scripts) && !s.opts.Repeat || len(s.scripts) == 0 {
		s.t.Errorf("imaptest: connection %d: there is no script for it", m.ID)
		m.Cut()
		return
	}
	p := &player{server: s, meter: m, r: bufio.NewReaderSize(m, 16<<10)}
	p.play(s.scripts[min(m.ID, len(s.scripts))-1])
}

// player plays one script on one connection.
type player struct {
	server  *ScriptServer
	meter   *doubles.Meter
	r       *bufio.Reader
	tag     string   // of the last command
	answers []reflex // see Answer
}

type reflex struct {
	pattern string
	lines   []string
}

// errEnd ends a script before its last step, as the script or the test wants it.
var errEnd = errors.New("end of script")

func (p *player) play(script Script) {
	if p.server.opts.Mode == connection.ModeTLS && p.secure() != nil {
		return // a client that refuses our certificate
	}
	for i, step := range script {
		switch err := step.play(p); {
		case err == nil:
		case errors.Is(err, errEnd), errors.Is(err, doubles.ErrCut):
			return
		default:
			p.fail("step %d, %s: %v", i+1, step.label, err)
			return
		}
	}
	p.finish()
}

func (p *player) fail(format string, args ...any) {
	p.server.t.Errorf("imaptest: script of connection %d: "+format, append([]any{p.meter.ID}, args...)...)
}

// finish waits for the client to go.
func (p *player) finish() {
	for {
		c, err := p.read()
		switch {
		case err != nil:
			return
		case c.Name == "LOGOUT":
			_ = p.send([]string{"* BYE see you", "$TAG OK bye"}) // the client may not want to know
			return
		}
		if reply, ok := p.reflex(c); ok {
			if p.send(reply) != nil {
				return
			}
			continue
		}
		p.fail("unexpected command after the last step: %s", c)
		return
	}
}

func (p *player) secure() error {
	if err := p.meter.Secure(p.server.tls); err != nil {
		return err
	}
	p.r = bufio.NewReaderSize(p.meter, 16<<10)
	return nil
}

// send sends lines. That the client is gone is no error here.
func (p *player) send(lines []string) error {
	var octets []byte
	for _, line := range lines {
		octets = append(octets, p.fill(line)...)
		octets = append(octets, "\r\n"...)
	}
	return p.write(octets)
}

// fill puts the tag of the last command where $TAG is.
func (p *player) fill(text string) string { return strings.ReplaceAll(text, "$TAG", p.tag) }

func (p *player) write(octets []byte) error {
	if _, err := p.meter.Write(octets); errors.Is(err, doubles.ErrCut) {
		return err
	}
	return nil
}

// reflex returns the standing answer to c.
func (p *player) reflex(c Command) ([]string, bool) {
	for i := len(p.answers) - 1; i >= 0; i-- {
		if c.matches(p.answers[i].pattern) {
			return p.answers[i].lines, true
		}
	}
	return nil, false
}

// hurry gives what is read from now on as long as ScriptOptions.Patience, until the function returned is called.
func (p *player) hurry() (relax func()) {
	d := p.server.opts.Patience
	if d < 0 {
		return func() {}
	}
	// An error means that the connection is closed, which the next read says as well.
	_ = p.meter.Raw.SetReadDeadline(time.Now().Add(d))
	return func() { _ = p.meter.Raw.SetReadDeadline(time.Time{}) }
}

// expect reads commands, answering those that have a standing answer, until match likes one.
func (p *player) expect(match func(Command) bool) error {
	defer p.hurry()()
	for {
		c, err := p.read()
		if err != nil {
			return p.absent(err)
		}
		if match(c) {
			return nil
		}
		reply, ok := p.reflex(c)
		if !ok {
			return fmt.Errorf("unexpected command: %s", c)
		}
		if err := p.send(reply); err != nil {
			return err
		}
	}
}

// absent says why no command came.
func (p *player) absent(err error) error {
	if p.server.opts.Lenient {
		return errEnd
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing came within %v", p.server.opts.Patience)
	}
	return fmt.Errorf("the connection ended instead: %w", err)
}

// read reads one command with its literals, for which it asks, and notes its tag.
func (p *player) read() (Command, error) {
	text, err := readLine(p.r, maxLine)
	if err != nil {
		return Command{}, err
	}
	c := &command{}
	text, size, sync, found := cutLiteral(text)
	c.line = text
	if c.head() != nil {
		record := Command{Conn: p.meter.ID, Tag: c.tag, Args: string(text)}
		p.server.journal.record(record)
		return record, nil
	}
	p.tag = c.tag
	for found {
		if sync {
			if err := p.send([]string{"+ go ahead"}); err != nil {
				return Command{}, err
			}
		}
		if size > defaultMaxMessage {
			return Command{}, violation("literal too large")
		}
		octets, err := readFull(p.r, int64(size))
		if err != nil {
			return Command{}, err
		}
		c.literals = append(c.literals, octets)
		c.line = append(c.line, 0)
		if text, err = readLine(p.r, maxLine-len(c.line)); err != nil {
			return Command{}, err
		}
		text, size, sync, found = cutLiteral(text)
		c.line = append(c.line, text...)
	}
	record := describe(p.meter.ID, c)
	p.server.journal.record(record)
	return record, nil
}
