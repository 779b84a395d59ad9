package imapclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/mailconn/mailconn/connection"
)

// Limits of a SASL exchange.
const (
	maxChallenges = 16
	maxChallenge  = 64 << 10 // octets of one, in base64
)

// checkCredentials refuses what no command can carry, before anything is dialled. NUL would shift the fields of PLAIN,
// CR and LF would end a command.
func checkCredentials(cfg *Config) error {
	switch {
	case cfg.Username == "":
		return errors.New("username: missing")
	case strings.ContainsAny(cfg.Username, "\r\n\x00"):
		return errors.New("username: it must not hold CR, LF or NUL")
	case strings.ContainsAny(cfg.Password.Reveal(), "\r\n\x00"):
		return errors.New("password: it must not hold CR, LF or NUL")
	}
	return nil
}

// authenticate logs in by the best way that the server offers and the settings permit.
func (l *link) authenticate(ctx context.Context, cfg *Config) error {
	began := time.Now()
	err := l.logIn(ctx, cfg)
	protection := "in the clear"
	if l.tls != nil {
		protection = "over TLS"
	}
	warning := ""
	if l.tls == nil {
		warning = "allow_plaintext_auth: the password went over the network in the clear"
	}
	l.report("auth", began, l.mechanism+" "+protection, warning, err)
	return err
}

// logIn chooses and does it. Both ways send a usable password, so neither goes over a connection without TLS unless
// the settings say so.
func (l *link) logIn(ctx context.Context, cfg *Config) error {
	loginDisabled := slices.Contains(l.caps, "LOGINDISABLED")
	if l.tls == nil {
		switch {
		case !cfg.AllowPlaintextAuth:
			return l.peer.Errorf(connection.ErrTLS, "mode: set it to tls or starttls; or, if nobody can listen on the way, set allow_plaintext_auth",
				"the connection has no TLS: the password is not sent in the clear")
		case loginDisabled:
			return l.peer.Errorf(connection.ErrTLS, "mode: the server wants TLS before a login; set it to tls or starttls", "the server forbids a login without TLS (LOGINDISABLED)")
		}
		l.peer.Insecure(ctx, "the password is sent in the clear", "allow_plaintext_auth: use mode tls or starttls instead")
	}
	var (
		n   note
		err error
	)
	switch {
	case slices.Contains(l.caps, "AUTH=PLAIN"):
		l.mechanism = "PLAIN"
		n, err = l.exchange(sasl.NewPlainClient("", cfg.Username, cfg.Password.Reveal()), l.has("SASL-IR") && !loginDisabled)
	case !loginDisabled:
		l.mechanism = "LOGIN command"
		n, err = l.login(cfg.Username, cfg.Password.Reveal())
	default:
		return l.peer.Errorf(connection.ErrAuth, "the server must offer PLAIN or LOGIN to this driver", "no authentication mechanism in common: the server offers %s", clip(l.mechanisms()))
	}
	if err != nil {
		return err
	}
	return l.verdict(n)
}

// mechanisms lists what the server offers.
func (l *link) mechanisms() string {
	var names []string
	for _, name := range l.caps {
		if mech, ok := strings.CutPrefix(name, "AUTH="); ok {
			names = append(names, mech)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}

// verdict classifies the final reply of a login. A NO without a temporary code is a refused credential (RFC 5530, 3).
func (l *link) verdict(n note) error {
	if n.Type == "OK" {
		return nil
	}
	refused := l.refusal(n, "")
	switch refused.Kind {
	case connection.ErrThrottled, connection.ErrUnavailable, connection.ErrQuota, connection.ErrProtocol:
		return refused
	}
	refused.Kind = connection.ErrAuth
	refused.Hint = "username, password: the server refuses them"
	if n.Code == "PRIVACYREQUIRED" {
		refused.Hint = "mode: the server wants TLS before a login"
	}
	return refused
}

// exchange runs a SASL mechanism (RFC 9051, 6.2.2). Unless initial is set, the initial response waits for the server's
// first, empty challenge. If the mechanism fails, the exchange is cancelled and the server's final reply is read, so
// that the connection stays usable.
func (l *link) exchange(mech sasl.Client, initial bool) (note, error) {
	name, response, err := mech.Start()
	if err != nil {
		return note{}, l.peer.Errorf(connection.ErrAuth, "", "%s: %w", name, err)
	}
	text := "AUTHENTICATE " + name
	pending := response != nil // an initial response that is not sent yet
	if pending && initial {
		text += " " + encodeInitial(response)
		pending = false
	}
	var broken error
	challenges := 0
	n, err := l.commandLogin(text, func(challenge string) (string, error) {
		challenges++
		switch {
		case broken != nil:
			return "", l.peer.Errorf(connection.ErrProtocol, "", "the server goes on with a cancelled %s", name)
		case challenges > maxChallenges:
			return "", l.peer.Errorf(connection.ErrProtocol, "", "over %d challenges of %s", maxChallenges, name)
		}
		octets, err := base64.StdEncoding.DecodeString(strings.TrimSpace(challenge))
		if err != nil {
			return "", l.peer.Errorf(connection.ErrProtocol, "", "a challenge of %s that is not base64", name)
		}
		answer := response
		if pending && len(octets) == 0 {
			pending = false
		} else if answer, err = mech.Next(octets); err != nil {
			broken = l.peer.Errorf(connection.ErrProtocol, "", "%s: %w", name, err)
			return "*", nil
		}
		return base64.StdEncoding.EncodeToString(answer), nil
	})
	if err == nil && broken != nil {
		err = broken
	}
	return n, err
}

// encodeInitial encodes an initial response; an empty one is "=" (RFC 4959, 3).
func encodeInitial(response []byte) string {
	if len(response) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(response)
}

// commandLogin sends a command that logs in, after which the capabilities known so far no longer hold.
func (l *link) commandLogin(text string, answer func(string) (string, error)) (note, error) {
	l.caps = nil
	return l.command(text, max(maxCapsLine, maxChallenge), answer)
}

// login sends the LOGIN command (RFC 9051, 6.2.3). What a quoted string cannot hold goes as a literal, without waiting
// where the server permits that (RFC 7888).
func (l *link) login(user, password string) (note, error) {
	plus, minus := l.has("LITERAL+"), l.has("LITERAL-")
	var parts []string // each but the last waits for a continuation
	text := "LOGIN"
	for _, s := range []string{user, password} {
		switch {
		case quotable(s):
			text += ` "` + s + `"`
		case plus, minus && len(s) <= 4096:
			text += fmt.Sprintf(" {%d+}\r\n%s", len(s), s)
		default:
			parts = append(parts, text+fmt.Sprintf(" {%d}", len(s)))
			text = s
		}
	}
	parts = append(parts, text)
	sent := 0
	return l.commandLogin(parts[0], func(string) (string, error) {
		sent++
		if sent == len(parts) {
			return "", l.peer.Errorf(connection.ErrProtocol, "", "a continuation request after the whole LOGIN command")
		}
		return parts[sent], nil
	})
}

// quotable reports whether s may stand between quotes without escapes.
func quotable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}
