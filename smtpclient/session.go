package smtpclient

import (
	"bufio"
	"context"
	"net"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/netx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// A session is a connection to a server: first in the clear or not, in the end ready for mail. One goroutine uses it at
// a time.
type session struct {
	cfg    *Config
	env    *connection.Env
	peer   *netx.Peer
	conn   *netx.Conn    // the socket
	stream net.Conn      // conn, or TLS on it
	tls    *netx.Secured // nil in the clear
	br     *bufio.Reader // of stream
	ext    extensions    // as last told; nothing from before TLS
	trace  *wirelog.Trace
	scrub  *wirelog.Scrubber
	way    netx.Prelude

	greeting   string // the server's words
	authorized bool   // a login was done
	proven     bool   // the server counts the octets of BDAT
	messages   int    // transactions begun
	idleSince  time.Time
	out        []byte // what is collected for the next write
}

// use makes stream the one that is spoken on. Nothing that was heard on another one is kept.
func (s *session) use(stream net.Conn) {
	const replies = 8 << 10
	s.stream, s.br, s.ext = stream, bufio.NewReaderSize(stream, replies), extensions{}
}

// alive reports whether anything can be said in the session.
func (s *session) alive() bool { return s.conn.Err() == nil }

// command sends one command and reads its reply; a refusal is not an error here. No command carries octets that would
// end it early: Config.Validate and parsePath have seen to that.
func (s *session) command(text string) (*reply, error) {
	if err := s.send(text); err != nil {
		return nil, err
	}
	return s.reply()
}

// send sends commands, in one go.
func (s *session) send(lines ...string) error {
	s.out = s.appendCommands(s.out[:0], lines)
	return s.write(s.out)
}

func (s *session) appendCommands(out []byte, lines []string) []byte {
	for _, line := range lines {
		if s.trace != nil {
			s.trace.Sent([]byte(line))
		}
		out = append(append(out, line...), "\r\n"...)
	}
	return out
}

func (s *session) write(octets []byte) error {
	if _, err := s.stream.Write(octets); err != nil {
		return s.lost(err)
	}
	return nil
}

// lost makes a *connection.Error of what ended the stream.
func (s *session) lost(err error) error { return s.way.Lost(s.conn, s.tls, s.greeting != "", err) }

// quitLimit is how long the server may take to say good-bye.
const quitLimit = 2 * time.Second

// quit ends the session (RFC 5321, 4.1.1.10). What the server says to it changes nothing.
func (s *session) quit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, quitLimit)
	defer cancel()
	defer s.conn.Bind(ctx)()
	if s.alive() {
		_, _ = s.command("QUIT") // the mail is delivered or refused already
	}
	_ = s.conn.Close() // as above
}

// shown returns a server's octets as an error may hold them.
func (s *session) shown(line []byte) string { return wirelog.Clip(s.clean(string(line))) }

// clean removes secrets, and what would harm a terminal, from a server's text.
func (s *session) clean(text string) string { return wirelog.Harmless(s.scrub.Text(text)) }
