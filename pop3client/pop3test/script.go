package pop3test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
	"github.com/mailconn/mailconn/pop3client"
)

// A Script is what a [ScriptServer] does on one connection, step by step. After the last step the connection stays open
// until the client closes it; a QUIT is then answered, any other command is unexpected.
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
	s.stage = doubles.NewStage(t, &s.line, doubles.StageOptions{
		Name: "pop3test", Mode: o.Mode, TLS: o.TLS, MaxWrite: o.MaxWrite, Patience: o.Patience, Repeat: o.Repeat, Lenient: o.Lenient,
	}, len(scripts), func(stage *doubles.Stage, m *doubles.Meter, script int) {
		p := &player{journal: s.journal}
		p.Player = doubles.NewPlayer(stage, m, maxLine, p)
		p.Play(p.acts(scripts[script]))
	})
	return s
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *ScriptServer) Addr() string { return s.line.Addr() }

// Config returns driver settings that fit the server, as [Server.Config] does.
func (s *ScriptServer) Config() pop3client.Config {
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
	if c.Name == "QUIT" {
		return []string{"+OK bye"}
	}
	return nil
}

// Matches implements [doubles.Language].
func (*player) Matches(c Command, pattern string) bool { return c.matches(pattern) }

// Fill implements [doubles.Language].
func (*player) Fill(text string) string { return text }

// expect reads commands, answering those that have a standing answer, until one matches.
func (p *player) expect(pattern string) error {
	return p.Expect(func(c Command) bool { return c.matches(pattern) })
}

// Read implements [doubles.Language].
func (p *player) Read() (Command, error) {
	line, err := p.R.ReadSlice('\n')
	if err != nil {
		return Command{}, err
	}
	return p.journal.note(p.Meter.ID, strings.TrimRight(string(line), "\r\n")), nil
}
