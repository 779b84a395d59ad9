package imaptest

import (
	"crypto/tls"
	"strings"
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

// A ScriptServer plays one Script on each connection, in the order of acceptance. A connection for which there is no
// script, and a script without a connection, fail the test. All its methods may be called from several goroutines.
type ScriptServer struct {
	wire
	opts    ScriptOptions
	stage   *doubles.Stage
	journal *journal
}

// NewScript starts a server that plays scripts. It is closed when the test ends. opts may be nil.
func NewScript(t testing.TB, opts *ScriptOptions, scripts ...Script) *ScriptServer {
	t.Helper()
	s := &ScriptServer{}
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
	s.journal = newJournal(o.Username, o.Password)
	s.stage = doubles.NewStage(t, &s.connections, doubles.StageOptions{
		Name: "imaptest", Mode: o.Mode, TLS: o.TLS, MaxWrite: o.MaxWrite, Patience: o.Patience, Repeat: o.Repeat, Lenient: o.Lenient,
	}, len(scripts), func(stage *doubles.Stage, m *doubles.Meter, script int) {
		p := &player{journal: s.journal}
		p.Player = doubles.NewPlayer(stage, m, 16<<10, p)
		p.Play(p.acts(scripts[script]))
	})
	return s
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *ScriptServer) Addr() string { return s.connections.Addr() }

// Config returns driver settings that fit the server, as [Server.Config] does.
func (s *ScriptServer) Config() imapclient.Config {
	return config(s.Addr(), s.opts.Mode, s.stage.CAPEM(), s.opts.Username, s.opts.Password)
}

// Env returns an environment that trusts the server's certificate.
func (s *ScriptServer) Env() *connection.Env { return doubles.Env(s.stage.CAPEM()) }

// Settings returns Config as JSON with the password in it, as a host stores it.
func (s *ScriptServer) Settings() connection.Settings { return settings(s.Config()) }

// Transcript returns every command received so far, the unexpected included, as [Server.Transcript] does.
func (s *ScriptServer) Transcript(patterns ...string) []Command { return s.journal.all(patterns) }

// Close ends all connections and the server, at once. A second Close does nothing.
func (s *ScriptServer) Close() { s.stage.Close() }

// player plays one script on one connection.
type player struct {
	*doubles.Player[Command]
	journal *journal
	tag     string // of the last command
}

func (p *player) acts(steps []Step) []doubles.Act {
	acts := make([]doubles.Act, len(steps))
	for i, step := range steps {
		acts[i] = doubles.Act{Label: step.label, Play: func() error { return step.play(p) }}
	}
	return acts
}

// Farewell implements [doubles.Language].
func (*player) Farewell(c Command) []string {
	if c.Name == "LOGOUT" {
		return []string{"* BYE see you", "$TAG OK bye"}
	}
	return nil
}

// Matches implements [doubles.Language].
func (*player) Matches(c Command, pattern string) bool { return c.matches(pattern) }

// Fill implements [doubles.Language]: it puts the tag of the last command where $TAG is.
func (p *player) Fill(text string) string { return strings.ReplaceAll(text, "$TAG", p.tag) }

// Read implements [doubles.Language]: it reads one command with its literals, for which it asks, and notes its tag.
func (p *player) Read() (Command, error) {
	text, err := readLine(p.R, maxLine)
	if err != nil {
		return Command{}, err
	}
	c := &command{}
	text, size, sync, found := cutLiteral(text)
	c.line = text
	if c.head() != nil {
		record := Command{Conn: p.Meter.ID, Tag: c.tag, Args: string(text)}
		p.journal.record(record)
		return record, nil
	}
	p.tag = c.tag
	for found {
		if sync {
			if err := p.Send("+ go ahead"); err != nil {
				return Command{}, err
			}
		}
		if size > defaultMaxMessage {
			return Command{}, violation("literal too large")
		}
		octets, err := readFull(p.R, int64(size))
		if err != nil {
			return Command{}, err
		}
		c.literals = append(c.literals, octets)
		c.line = append(c.line, 0)
		if text, err = readLine(p.R, maxLine-len(c.line)); err != nil {
			return Command{}, err
		}
		text, size, sync, found = cutLiteral(text)
		c.line = append(c.line, text...)
	}
	record := describe(p.Meter.ID, c)
	p.journal.record(record)
	return record, nil
}
