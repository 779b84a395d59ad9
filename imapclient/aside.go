package imapclient

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// refusals is how many refusals in succession Follow bears without a known reason, of a folder that it could open before.
// It waits longer each time, for some two minutes together.
const refusals = 10

// patient makes a refusal temporary that Follow has no reason to believe: the folder was there before.
func (f *fetch) patient(folder string, err error) error {
	var e *connection.Error
	if !f.refused || !f.opts.Follow || f.places[folder] == nil || f.failures >= refusals || !errors.As(err, new(*unexplained)) || !errors.As(err, &e) {
		return err
	}
	later := *e
	later.Kind = connection.ErrUnavailable
	later.Hint = "server: it opened the folder before, and gives no reason for refusing it now; its own log may"
	return &later
}

// setAside reports a folder that cannot be read, and has it left alone for a while. It reports false if err ends the
// fetch instead.
func (f *fetch) setAside(folder string, err error) bool {
	switch {
	case !f.refused || f.ctx.Err() != nil || !alone(err):
		return false
	case !f.named(folder): // the pattern may mean others
	case len(f.folders) < 2, f.places[folder] == nil && !connection.Temporary(err):
		return false // what the settings name ought to be there
	}
	f.failures = 0
	f.aside[folder] = time.Now().Add(listAgain)
	if !f.reported[folder] {
		f.reported[folder] = true
		e := f.conn.fault(f.op, connection.Ref{Mailbox: f.conn.cfg.mailbox, Folder: folder}, err)
		f.push(item{err: e})
	}
	return true
}

// alone reports whether a refusal may be one folder's, and not the server's or the account's.
func alone(err error) bool {
	var e *connection.Error
	return errors.As(err, &e) && e.RetryAfter == 0 && (ofFolder(e.Kind) || e.Code == "INUSE")
}

// named reports whether the options or the settings name the folder itself.
func (f *fetch) named(folder string) bool {
	if len(f.opts.Folders) > 0 {
		return true // they know no patterns
	}
	return slices.ContainsFunc(f.conn.cfg.folders(), func(name string) bool {
		return name == folder || folder == defaultFolder && strings.EqualFold(name, defaultFolder)
	})
}
