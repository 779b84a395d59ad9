package pop3client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Test implements [connection.Connection]. It makes a session of its own, in the steps resolve, connect, tls, greeting,
// capabilities and auth, then asks how many messages there are (open) and reads the header of the first (read). It
// deletes nothing. Since a server lets one session in at a time, the one that other verbs use is ended before, which
// commits what Delete has marked, and they go on in another one. The order of steps is that of the protocol: mode
// starttls has its greeting before tls, and capabilities are asked before and after the login. With TestOptions.Write
// the steps write and remove are reported as skipped, since POP3 cannot add a message.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	const op = "test"
	r := &connection.Report{Info: c.info, Started: time.Now()}
	var o connection.TestOptions
	if opts != nil {
		o = *opts
	}
	step := func(s connection.Step) {
		if s.Err != nil {
			e := c.fault(op, connection.Ref{}, s.Err)
			s.Err, s.Hint = e, hintFor(e, s.Hint)
		}
		r.Steps = append(r.Steps, s)
		if o.Progress != nil {
			o.Progress(s)
		}
	}
	failed := func(name string, err error) {
		step(connection.Step{Name: name, Status: connection.StatusFailed, Err: err})
	}
	ctx, cancel, leave, err := c.enter(ctx, op)
	if err != nil {
		failed("connect", err)
		return r, r.Err()
	}
	defer leave()
	defer cancel()
	if !c.turn.take(ctx) {
		failed("connect", c.ended(ctx, op, connection.Ref{}))
		return r, r.Err()
	}
	defer c.turn.give()
	t := &tester{conn: c, step: step}
	if err := t.run(ctx); err != nil && r.OK() {
		failed("open", err) // every failure belongs to a step: one between two of them is the next one's
	}
	t.skipRest(r, o.Write)
	return r, r.Err()
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
	return "server: is this a POP3 server, and is it well? Its own log may say more"
}

type tester struct {
	conn *Conn
	step func(connection.Step)
}

// skipRest reports the steps that were not reached.
func (t *tester) skipRest(r *connection.Report, write bool) {
	names := []string{"resolve", "connect", "tls", "greeting", "capabilities", "auth", "open", "read"}
	if write {
		names = append(names, "write", "remove")
	}
	for _, name := range names {
		if slices.ContainsFunc(r.Steps, func(s connection.Step) bool { return s.Name == name }) {
			continue
		}
		detail := "an earlier step failed"
		switch {
		case name == "write" || name == "remove":
			detail = "POP3 cannot add a message to try this with"
		case name == "read" && r.OK():
			detail = "the mailbox is empty"
		case r.OK():
			detail = "not needed"
		}
		t.step(connection.Step{Name: name, Status: connection.StatusSkipped, Detail: detail})
	}
}

// run returns the first failed step's error.
func (t *tester) run(ctx context.Context) error {
	c := t.conn
	if c.sess != nil {
		if err := c.quit(ctx, "test"); ctx.Err() != nil {
			return err
		} // else what is pending is the next session's affair
	}
	l, err := c.login(ctx, t.step)
	if err != nil {
		if ctx.Err() != nil {
			return c.ended(ctx, "test", connection.Ref{})
		}
		return err
	}
	s := &session{conn: c, l: l}
	defer func() { _ = l.conn.Close() }() // what matters was said by QUIT
	if err := t.open(ctx, s); err != nil || s.count == 0 {
		return errors.Join(err, t.farewell(ctx, s))
	}
	quit, err := t.read(ctx, s)
	if err != nil || !quit {
		return err
	}
	return t.farewell(ctx, s)
}

// farewell ends the session. That is no step, unless ctx ends meanwhile.
func (t *tester) farewell(ctx context.Context, s *session) error {
	if s.dead {
		return nil
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, quitLimit)
	defer cancel()
	_ = s.run(limited, "test", func() error { _, err := s.l.command("QUIT"); return err }) // a courtesy
	if ctx.Err() == nil {
		return nil
	}
	err := t.conn.ended(ctx, "test", connection.Ref{})
	t.step(connection.Step{Name: "quit", Status: connection.StatusFailed, Elapsed: time.Since(began), Err: err})
	return err
}

// open reports what is there, and what a person should know before mail is deleted.
func (t *tester) open(ctx context.Context, s *session) error {
	began := time.Now()
	report := connection.Step{Name: "open", Status: connection.StatusOK}
	uidl := false
	err := s.run(ctx, "test", func() error {
		r, err := s.l.command("STAT")
		if err != nil {
			return err
		}
		if !r.ok {
			return s.l.refusal(r, connection.ErrRejected, "")
		}
		s.count = -1
		if words := strings.Fields(r.text); len(words) > 0 {
			s.count = number(words[0])
		}
		if s.count == 0 {
			uidl = s.l.caps.has("UIDL")
			return nil
		}
		r, err = s.l.command("UIDL 1")
		uidl = r.ok
		return err
	})
	if err != nil {
		report.Status, report.Err = connection.StatusFailed, err
	} else if report.Detail, report.Hint = t.describe(s, uidl); report.Hint != "" {
		report.Status = connection.StatusWarned
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return err
}

// describe says what the mailbox is, and what is to be known of it.
func (t *tester) describe(s *session, uidl bool) (detail, warning string) {
	caps := &s.l.caps
	facts := []string{fmt.Sprintf("%d messages", s.count)}
	if s.count < 0 {
		facts[0] = "the server does not count its messages"
	}
	var warnings []string
	yesNo := map[bool]string{true: "yes", false: "no"}
	facts = append(facts, "UIDL: "+yesNo[uidl], "PIPELINING: "+yesNo[caps.has("PIPELINING")])
	if !uidl && (s.count != 0 || caps.known) {
		warnings = append(warnings, "use_top: the server has no UIDL; messages are told apart by their headers, which must be read anew in each session")
	}
	if delay := caps.loginDelay(); delay > 0 {
		facts = append(facts, "LOGIN-DELAY: "+delay.String())
		if delay > t.conn.cfg.pollingIdleMax() {
			warnings = append(warnings, fmt.Sprintf("polling_interval: the server permits one login in %s", delay))
		}
	}
	if expire, ok := caps.find("EXPIRE"); ok {
		facts = append(facts, "EXPIRE: "+strings.Join(expire, " "))
		if len(expire) > 0 && expire[0] == "0" && !t.conn.cfg.deletes() {
			warnings = append(warnings, "delete_mode: it is none, but the server removes messages at QUIT after download (EXPIRE 0)")
		}
	}
	if t.conn.cfg.deletes() {
		facts = append(facts, "messages are deleted once they are stored (DELE, committed by QUIT)")
	} else {
		facts = append(facts, "nothing is deleted, since delete_mode is none")
	}
	return strings.Join(facts, ", "), strings.Join(warnings, "; ")
}

// testRead is how much of a message Test reads where there is no TOP.
const testRead = 1 << 10

// read reads the header of the first message, or where that cannot be asked for the beginning of it; quit is false if
// the session must then be broken off: the rest is still coming, and some servers delete what was read whole.
func (t *tester) read(ctx context.Context, s *session) (quit bool, err error) {
	began := time.Now()
	report := connection.Step{Name: "read", Status: connection.StatusOK}
	err = s.run(ctx, "test", func() error {
		if !s.l.caps.known || s.l.caps.has("TOP") {
			r, err := s.l.command("TOP 1 0")
			if err != nil {
				return err
			}
			if r.ok {
				n, err := io.Copy(io.Discard, s.l.body())
				if err != nil {
					return s.l.lost(err)
				}
				quit = true
				report.Detail = fmt.Sprintf("the header of the first message, %d octets", n)
				return nil
			}
		}
		r, err := s.l.command("RETR 1")
		switch {
		case err != nil:
			return err
		case !r.ok:
			quit = true
			report.Status = connection.StatusWarned
			report.Detail = "the server does not show the first message: " + s.l.said(r)
			report.Hint = "server: if this happens each time, look at that message with another program"
			return nil
		}
		n, err := io.Copy(io.Discard, io.LimitReader(s.l.body(), testRead))
		if err != nil {
			return s.l.lost(err)
		}
		report.Detail = fmt.Sprintf("the first %d octets of the first message", n)
		return nil
	})
	if err != nil {
		report.Status, report.Err, report.Detail, report.Hint = connection.StatusFailed, err, "", ""
	}
	report.Elapsed = time.Since(began)
	t.step(report)
	return quit, err
}
