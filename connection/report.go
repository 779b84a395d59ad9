package connection

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Status is the outcome of a [Step].
type Status string

// The outcomes.
const (
	StatusOK      Status = "ok"
	StatusWarned  Status = "warned"  // it works, but somebody should know
	StatusFailed  Status = "failed"  // Step.Err says why, Step.Hint what to do
	StatusSkipped Status = "skipped" // not tried, since an earlier step failed or it was not asked for
)

// A Report is what [Connection.Test] found. As JSON it suits a page, by String a terminal.
type Report struct {
	Info    Info      `json:"info"`
	Started time.Time `json:"started"`
	Steps   []Step    `json:"steps"`
}

// A Step is one thing that Test tried.
type Step struct {
	Name    string        // "resolve", "connect", "tls", "greeting", "capabilities", "auth", "open", "read", "write", "remove"
	Status  Status        //
	Detail  string        // what was found: addresses, certificate, counts. May have several lines
	Hint    string        // of a failed or warned step: the setting at fault and the remedy
	Elapsed time.Duration //
	Err     error         // of a failed step
}

// OK reports whether no step failed.
func (r *Report) OK() bool { return r.Err() == nil }

// Err returns the first failed step's error, nil if none failed.
func (r *Report) Err() error {
	if r == nil {
		return nil
	}
	for _, s := range r.Steps {
		if s.Status != StatusFailed {
			continue
		}
		if s.Err != nil {
			return s.Err
		}
		return &Error{Op: "test", Driver: r.Info.Driver, Endpoint: r.Info.Endpoint, Err: fmt.Errorf("%s: %s", s.Name, s.Detail)}
	}
	return nil
}

// String returns a table for people, a line a step, with the hints below the steps that need one.
func (r *Report) String() string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	title := r.Info.Driver
	if r.Info.Name != "" {
		title = r.Info.Name + " (" + r.Info.Driver + ")"
	}
	fmt.Fprintf(&b, "%s %s\n", oneLine(title), oneLine(r.Info.Endpoint))
	width := 0
	for _, s := range r.Steps {
		width = max(width, len(s.Name))
	}
	indent := strings.Repeat(" ", width+13)
	for _, s := range r.Steps {
		line := s.Detail
		if s.Err != nil {
			line = strings.TrimSuffix(s.Err.Error(), " ("+oneLine(s.Hint)+")") // the hint has a line of its own
			if s.Detail != "" {
				line = s.Detail + "\n" + line
			}
		}
		first := true
		for text := range strings.SplitSeq(line, "\n") {
			lead := indent
			if first {
				lead = fmt.Sprintf("  %-7s  %-*s  ", s.Status, width, s.Name)
				first = false
			}
			b.WriteString(strings.TrimRight(lead+oneLine(text), " "))
			if lead != indent && s.Elapsed >= time.Millisecond {
				fmt.Fprintf(&b, " (%s)", s.Elapsed.Round(time.Millisecond))
			}
			b.WriteByte('\n')
		}
		if s.Hint != "" {
			fmt.Fprintf(&b, "%sHint: %s\n", indent, oneLine(s.Hint))
		}
	}
	return b.String()
}

type stepJSON struct {
	Name    string   `json:"name"`
	Status  Status   `json:"status"`
	Detail  string   `json:"detail,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Elapsed Duration `json:"elapsed"`
	Error   string   `json:"error,omitempty"`
	Kind    string   `json:"kind,omitempty"`
}

// MarshalJSON writes the error as its text and kind, and the time as a Go duration.
func (s Step) MarshalJSON() ([]byte, error) {
	j := stepJSON{Name: s.Name, Status: s.Status, Detail: s.Detail, Hint: s.Hint, Elapsed: Duration(s.Elapsed)}
	if s.Err != nil {
		j.Error, j.Kind = s.Err.Error(), KindOf(s.Err).Error()
	}
	return json.Marshal(j)
}
