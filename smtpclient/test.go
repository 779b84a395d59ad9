package smtpclient

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Test implements [connection.Connection]. It makes a connection of its own, in the steps resolve, connect, tls,
// greeting, capabilities and auth, then names from_address as a sender and takes it back (open). It sends no mail, even
// with TestOptions.Write, since a mail cannot be removed: the steps write and remove are reported as skipped. The order
// of steps is that of the protocol, so mode starttls has its greeting before tls.
//
// Many servers judge the sender only when they know the recipient or the message, so an open that is ok does not prove
// that the account may send as from_address.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	r := &connection.Report{Info: c.info, Started: time.Now()}
	var o connection.TestOptions
	if opts != nil {
		o = *opts
	}
	step := func(s connection.Step) {
		if s.Err != nil {
			e := c.fault("test", s.Err)
			s.Err, s.Hint = e, hintFor(e, s.Hint)
		}
		r.Steps = append(r.Steps, s)
		if o.Progress != nil {
			o.Progress(s)
		}
	}
	ctx, leave, err := c.enter(ctx, "test")
	if err != nil {
		step(connection.Step{Name: "connect", Status: connection.StatusFailed, Err: err})
		return r, r.Err()
	}
	defer leave()
	if err := c.probe(ctx, step); err != nil && r.OK() {
		// Every failure belongs to a step: one between two of them is the next one's.
		if ctx.Err() != nil {
			err = c.ended(ctx, "test")
		}
		step(connection.Step{Name: "open", Status: connection.StatusFailed, Err: err})
	}
	names := []string{"resolve", "connect", "tls", "greeting", "capabilities", "auth", "open"}
	if o.Write {
		names = append(names, "write", "remove")
	}
	for _, name := range names {
		if slices.ContainsFunc(r.Steps, func(s connection.Step) bool { return s.Name == name }) {
			continue
		}
		detail := "an earlier step failed"
		if name == "write" || name == "remove" {
			detail = "a mail that is sent cannot be taken back"
		}
		step(connection.Step{Name: name, Status: connection.StatusSkipped, Detail: detail})
	}
	return r, r.Err()
}

// probe returns the first failed step's error.
func (c *Conn) probe(ctx context.Context, step func(connection.Step)) error {
	s, err := c.login(ctx, step)
	if err != nil {
		return err
	}
	release := s.conn.Bind(ctx)
	began := time.Now()
	err = s.name(c.From())
	if !release() && err == nil {
		err = c.ended(ctx, "test")
	}
	report := connection.Step{Name: "open", Status: connection.StatusOK, Elapsed: time.Since(began), Err: err}
	switch warning := c.domainWarning(); {
	case err != nil:
		report.Status = connection.StatusFailed
	case warning != "":
		report.Status, report.Hint = connection.StatusWarned, warning
		fallthrough
	default:
		report.Detail = fmt.Sprintf("the server takes <%s> as a sender, as far as it looks before it knows the recipient", c.From())
	}
	step(report)
	c.farewellStep(ctx, s, step)
	return err
}

// farewellStep says good-bye. That is no step, unless ctx ends meanwhile.
func (c *Conn) farewellStep(ctx context.Context, s *session, step func(connection.Step)) {
	began, alive := time.Now(), ctx.Err() == nil
	s.quit(ctx)
	if alive && ctx.Err() != nil {
		step(connection.Step{Name: "quit", Status: connection.StatusFailed, Elapsed: time.Since(began), Err: c.ended(ctx, "test")})
	}
}

// name names a sender and takes it back.
func (s *session) name(from string) error {
	address, err := parsePath(from, true, s.cfg.LMTP)
	if err != nil {
		return err // cannot be: Validate has seen it
	}
	command := "MAIL FROM:<" + address.address + ">"
	if address.utf8 {
		if !s.ext.utf8 {
			return s.peer.Errorf(connection.ErrUnsupported, "from_address: use one of ASCII for this server", "from_address needs SMTPUTF8, and the server does not offer it")
		}
		command += " SMTPUTF8"
	}
	r, err := s.command(command)
	if err != nil {
		return err
	}
	if !r.positive() {
		return s.refusal(stageMail, r, "from_address: the server refuses this sender")
	}
	if r, err = s.command("RSET"); err != nil {
		return err
	}
	if !r.positive() {
		return s.refusal(stageHello, r, "server: it refuses RSET; is this a mail server?")
	}
	return nil
}

// domainWarning warns of a sender from elsewhere: many servers permit only their account's own domain.
func (c *Conn) domainWarning() string {
	user, from := domainOf(c.cfg.Username), domainOf(c.From())
	if user == "" || from == "" || strings.EqualFold(user, from) {
		return ""
	}
	return fmt.Sprintf("from_address: its domain %s is not that of username, %s; the server may refuse to send for it", from, user)
}

// hintFor returns hint, or what else there is to say to a person.
func hintFor(e *connection.Error, hint string) string {
	switch {
	case hint != "":
		return hint
	case e.Hint != "":
		return e.Hint
	}
	switch e.Kind {
	case connection.ErrCanceled:
		return "the test was stopped before it was done; nothing is known to be wrong"
	case connection.ErrClosed:
		return "the connection was closed; open it again to test it"
	case connection.ErrTimeout:
		return "no_data_timeout, connect_timeout: the server does not answer in time; raise them if it is only slow"
	case connection.ErrThrottled, connection.ErrUnavailable:
		return "server: it asks to come back later; its words are in the error"
	}
	return "server: is this an SMTP server, and is it well? Its own log may say more"
}
