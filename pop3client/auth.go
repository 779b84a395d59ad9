package pop3client

import (
	"context"
	"crypto/md5" //nolint:gosec // APOP is MD5 by definition
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// maxCommand is the length of a command line with its CRLF (RFC 2449, 4).
const maxCommand = 255

// timestamp returns the challenge of a greeting for APOP (RFC 1939, 7), "" unless there is exactly one of printable
// ASCII: a challenge of an attacker's choice helps to find the password.
func timestamp(greeting string) string {
	from := strings.IndexByte(greeting, '<')
	if from < 0 || strings.Count(greeting, "<") != 1 || strings.Count(greeting, ">") != 1 {
		return ""
	}
	stamp, _, closed := strings.Cut(greeting[from:], ">")
	bad := func(r rune) bool { return r <= ' ' || r > '~' }
	if !closed || strings.Count(stamp, "@") != 1 || strings.HasPrefix(stamp, "<@") || strings.HasSuffix(stamp, "@") || strings.ContainsFunc(stamp, bad) {
		return ""
	}
	return stamp + ">"
}

// offer is what can be used on this connection.
func (l *link) offer() saslx.Offer {
	o := saslx.Offer{Host: l.peer.Host, Port: l.peer.Port}
	if l.tls != nil {
		o.TLS, o.CertificateAsked = &l.tls.State, l.tls.ClientCertRequested
	}
	if l.cfg.AllowAPOP && l.timestamp != "" {
		o.Commands = append(o.Commands, saslx.APOP)
	}
	o.Mechanisms, _ = l.caps.find("SASL")
	if !l.caps.known || l.caps.has("USER") || len(o.Mechanisms) == 0 {
		// A server that offers nothing at all is taken for one that has what was there before CAPA.
		o.Commands = append(o.Commands, saslx.UserPass)
	}
	if !l.caps.known {
		// What the settings name is tried by use.
		o.Mechanisms = l.cfg.AuthMechanisms
	}
	return o
}

// authenticate logs in by one mechanism, and never by a second one: a wrong password tried twice locks accounts.
func (l *link) authenticate(ctx context.Context, login *saslx.Attempt) (*saslx.Exchange, error) {
	began := time.Now()
	choice, err := login.Choose(l.offer())
	if err != nil {
		err = l.complete(err)
		l.way.Report("auth", began, "", "", err)
		return nil, err
	}
	var x *saslx.Exchange
	if choice.Plain() {
		err = l.logIn(choice.Name)
	} else if x, err = login.Start(ctx, choice); err == nil {
		err = l.exchange(x)
	}
	if err != nil {
		err = l.complete(err)
	}
	l.way.Report("auth", began, choice.Detail(), choice.Warning(), err)
	return x, err
}

// complete adds what the shared mechanisms do not know.
func (l *link) complete(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Driver != "" {
		return err
	}
	whole := *e
	whole.Op, whole.Driver, whole.Endpoint = "connect", DriverName, l.peer.Endpoint()
	return &whole
}

// exchange runs a SASL exchange (RFC 5034, 4). An initial response goes with the command if that is short enough, else
// behind the server's first, empty challenge.
func (l *link) exchange(x *saslx.Exchange) error {
	// What the server says may hold what the exchange sends; the trace must know before anything is sent.
	l.scrub = wirelog.NewScrubber(l.cfg.Username, l.cfg.Password, x.Secret())
	l.trace = wirelog.New(l.env.Log(), l.peer.Endpoint(), l.scrub)
	command := "AUTH " + x.Command(true)
	ntlm := x.Name() == saslx.NTLM // [MS-POP3], 2.2.1: its first message never goes with the command
	if len(command)+len("\r\n") > maxCommand || ntlm {
		command = "AUTH " + x.Command(false)
	}
	var final reply
	err := x.Run(command, func(line string) (challenge string, more bool, err error) {
		if err := l.send(line); err != nil {
			return "", false, err
		}
		text, err := l.readLine(maxChallenge)
		if err != nil {
			return "", false, err
		}
		if r, ok := parseReply(text); ok {
			if ntlm && r.ok && line == command {
				return "", true, nil // Exchange 2003 consents by +OK, as [MS-POP3] has it
			}
			final = r
			return "", false, nil
		}
		challenge, ok := strings.CutPrefix(text, "+")
		if !ok {
			return "", false, l.peer.Errorf(connection.ErrProtocol, "", "neither a status nor a challenge: %q", wirelog.Clip(l.clean(text)))
		}
		return challenge, true, nil
	})
	if err != nil {
		return err
	}
	return x.End(l.verdict(final))
}

// logIn uses a command of POP3's own (RFC 1939, 7).
func (l *link) logIn(command string) error {
	if command == saslx.APOP {
		sum := md5.Sum([]byte(l.timestamp + l.cfg.Password.Reveal())) //nolint:gosec // see the import
		r, err := l.command("APOP " + l.cfg.Username + " " + hex.EncodeToString(sum[:]))
		if err != nil {
			return err
		}
		return l.verdict(r)
	}
	r, err := l.command("USER " + l.cfg.Username)
	if err == nil && r.ok {
		r, err = l.command("PASS " + l.cfg.Password.Reveal())
	}
	if err != nil {
		return err
	}
	return l.verdict(r)
}

// verdict classifies the final reply of a login. One without a code is a refused credential.
func (l *link) verdict(r reply) error {
	if r.ok {
		return nil
	}
	hint := "username, password: the server refuses them"
	if k, _ := r.kind(connection.ErrAuth); k != connection.ErrAuth {
		hint = "" // the session is refused, not the credential
	}
	e := l.refusal(r, connection.ErrAuth, hint)
	if e.Kind == connection.ErrAuth && r.code == "" && unwellWords.MatchString(r.text) {
		e.Kind, e.Hint = connection.ErrUnavailable, "" // to take that for a wrong password would end an archive for good
		return e
	}
	if e.Kind == connection.ErrAuth && r.code == "" && !l.caps.has("RESP-CODES") && lockWords.MatchString(r.text) {
		// A server without codes that may mean: another session holds the maildrop. Conn.login tries once more.
		e.Code = codeLock
	}
	return e
}

// codeLock marks a refused login that may pass by itself.
const codeLock = "lock?"
