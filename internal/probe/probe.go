// Package probe builds the reports of Test, whose steps all drivers share in name and order.
package probe

import (
	"errors"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Probe collects the steps of one Test. It is used by one goroutine.
type Probe struct {
	report   *connection.Report
	progress func(connection.Step)
}

// New begins a report. opts may be nil.
func New(info connection.Info, opts *connection.TestOptions) *Probe {
	p := &Probe{report: &connection.Report{Info: info, Started: time.Now()}}
	if opts != nil {
		p.progress = opts.Progress
	}
	return p
}

// Step runs one step, unless an earlier one failed: then it is skipped. An error fails the step; its Hint is that of the
// error unless run returns one. A hint without an error is a warning.
func (p *Probe) Step(name string, run func() (detail, hint string, err error)) {
	if !p.OK() {
		p.Skip(name, "an earlier step failed")
		return
	}
	p.add(try(name, run, general))
}

// try runs a step. hint is for an error that has none.
func try(name string, run func() (detail, hint string, err error), hint func(connection.Kind) string) connection.Step {
	began := time.Now()
	s := connection.Step{Name: name, Status: connection.StatusOK}
	s.Detail, s.Hint, s.Err = run()
	s.Elapsed = time.Since(began)
	var e *connection.Error
	switch {
	case s.Err != nil:
		s.Status = connection.StatusFailed
		if errors.As(s.Err, &e) && s.Hint == "" {
			s.Hint = e.Hint
		}
		if s.Hint == "" {
			s.Hint = hint(connection.KindOf(s.Err))
		}
	case s.Hint != "":
		s.Status = connection.StatusWarned
	}
	return s
}

// general is the hint for an error that names no setting.
func general(kind connection.Kind) string {
	switch kind {
	case connection.ErrCanceled, connection.ErrClosed:
		return "the test was ended before it knew; run it again"
	case connection.ErrTimeout, connection.ErrNetwork, connection.ErrUnavailable, connection.ErrThrottled:
		return "this may pass; run the test again, and ask the server's administrator if it does not"
	}
	return "look at what the server says above, and ask its administrator"
}

// Skip adds a step that was not tried.
func (p *Probe) Skip(name, why string) {
	p.add(connection.Step{Name: name, Status: connection.StatusSkipped, Detail: why})
}

// OK reports whether no step has failed yet.
func (p *Probe) OK() bool { return p.report.OK() }

// Report returns what Test returns: the report, and the error of the step that failed.
func (p *Probe) Report() (*connection.Report, error) { return p.report, p.report.Err() }

func (p *Probe) add(s connection.Step) {
	p.report.Steps = append(p.report.Steps, s)
	if p.progress != nil {
		p.progress(s)
	}
}
