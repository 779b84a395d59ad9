package smtpclient

import (
	"context"
	"errors"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// maxAuthLine is the longest AUTH command with an initial response, CRLF included (RFC 4954, 4).
const maxAuthLine = 12288

// offer is what can be used on this connection.
func (s *session) offer() saslx.Offer {
	o := saslx.Offer{Mechanisms: s.ext.auth, Host: s.peer.Host, Port: s.peer.Port}
	if s.tls != nil {
		o.TLS, o.CertificateAsked = &s.tls.State, s.tls.ClientCertRequested
	}
	return o
}

// authenticate logs in by one mechanism, and never by a second one: a wrong password tried twice locks accounts.
func (s *session) authenticate(ctx context.Context, login *saslx.Attempt) (*saslx.Exchange, error) {
	began := time.Now()
	choice, err := login.Choose(s.offer())
	if err != nil {
		err = s.complete(err)
		s.way.Report("auth", began, "", "", err)
		return nil, err
	}
	if s.tls == nil && len(choice.Warnings) > 0 {
		s.peer.Insecure(ctx, "logging in without TLS: "+choice.Warning(), "mode: use tls or starttls")
	}
	x, err := login.Start(ctx, choice)
	if err == nil {
		err = s.exchange(x)
	}
	if err != nil {
		err = s.complete(err)
	}
	s.way.Report("auth", began, choice.Detail(), choice.Warning(), err)
	return x, err
}

// complete adds what the shared mechanisms do not know.
func (s *session) complete(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Driver != "" {
		return err
	}
	whole := *e
	whole.Op, whole.Driver, whole.Endpoint = "connect", DriverName, s.peer.Endpoint()
	return &whole
}

// exchange runs a SASL exchange (RFC 4954, 4).
func (s *session) exchange(x *saslx.Exchange) error {
	// What the server says may hold what the exchange sends; the trace must know before anything is sent.
	s.scrub = wirelog.NewScrubber(s.cfg.Username, s.cfg.Password, x.Secret())
	s.trace = wirelog.New(s.env.Log(), s.peer.Endpoint(), s.scrub)
	command := "AUTH " + x.Command(true)
	if len(command)+len("\r\n") > maxAuthLine {
		command = "AUTH " + x.Command(false)
	}
	var final *reply
	err := x.Run(command, func(line string) (challenge string, more bool, err error) {
		if err := s.send(line); err != nil {
			return "", false, err
		}
		r, err := s.replyWithin(maxChallenge)
		if err != nil {
			return "", false, err
		}
		if r.code == 334 {
			return r.lines[0], true, nil
		}
		final = r
		return "", false, nil
	})
	if err != nil {
		return err
	}
	if final.positive() {
		return x.End(nil)
	}
	return x.End(s.refusal(stageAuth, final, ""))
}
