package probe

import (
	"context"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// A Tree collects the steps of one Test in which a step that fails keeps only those from being tried that need it. It is used
// by one goroutine.
type Tree struct {
	*Probe

	// Explain makes the error that the report shows of a step's, which may be the end of the context.
	Explain func(err error) *connection.Error
	// Hint is the hint for an error that names no setting.
	Hint func(kind connection.Kind) string

	without map[string]string // steps that have no result others can build on, and why
}

// NewTree begins a report. opts may be nil.
func NewTree(info connection.Info, opts *connection.TestOptions) *Tree {
	return &Tree{Probe: New(info, opts), without: make(map[string]string)}
}

// Step runs one step, unless one of those that it needs has no result. An error fails it, as does the end of ctx: what a
// step found while it was being ended is not to be relied on. A hint without an error is a warning.
func (t *Tree) Step(ctx context.Context, name string, needs []string, run func() (detail, hint string, err error)) {
	if i := slices.IndexFunc(needs, func(need string) bool { return t.without[need] != "" }); i >= 0 {
		t.Lack(name, t.without[needs[i]])
		return
	}
	t.Add(try(name, func() (detail, hint string, err error) {
		if detail, hint, err = run(); err == nil {
			err = ctx.Err()
		}
		if err != nil {
			err = t.Explain(err)
		}
		return detail, hint, err
	}, t.Hint))
}

// Lack adds a step that is not tried, nor are those that need it. [Probe.Skip] adds one that nobody lacks.
func (t *Tree) Lack(name, why string) {
	t.without[name] = why
	t.Skip(name, why)
}

// Without returns why there is no result of a step that others can build on; "" = there is one, or it was not needed.
func (t *Tree) Without(name string) string { return t.without[name] }

// Add adds a step that was run elsewhere. If it has failed, it has no result.
func (t *Tree) Add(s connection.Step) {
	if s.Status == connection.StatusFailed {
		t.without[s.Name] = "step " + s.Name + " failed"
	}
	t.add(s)
}
