package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/internal/probe"
)

func TestSteps(t *testing.T) {
	var told []string
	p := probe.New(connection.Info{Driver: "d"}, &connection.TestOptions{Progress: func(s connection.Step) { told = append(told, s.Name) }})
	p.Step("first", func() (string, string, error) { return "fine", "", nil })
	p.Step("second", func() (string, string, error) { return "well", "setting: better", nil })
	p.Step("third", func() (string, string, error) {
		return "", "", &connection.Error{Kind: connection.ErrAuth, Hint: "identity: wrong", Err: errors.New("no")}
	})
	p.Step("fourth", func() (string, string, error) { t.Error("ran after a failure"); return "", "", nil })
	report, err := p.Report()
	if !errors.Is(err, connection.ErrAuth) || strings.Join(told, " ") != "first second third fourth" {
		t.Errorf("got %v, told %v", err, told)
	}
	want := []connection.Status{connection.StatusOK, connection.StatusWarned, connection.StatusFailed, connection.StatusSkipped}
	for i, s := range report.Steps {
		if s.Status != want[i] {
			t.Errorf("step %s is %s, want %s", s.Name, s.Status, want[i])
		}
	}
	if report.Steps[2].Hint != "identity: wrong" {
		t.Errorf("hint %q", report.Steps[2].Hint)
	}
	for _, kind := range []connection.Kind{connection.ErrCanceled, connection.ErrTimeout, connection.ErrUnknown} {
		p := probe.New(connection.Info{}, nil)
		p.Step("only", func() (string, string, error) { return "", "", kind })
		if report, _ := p.Report(); report.Steps[0].Hint == "" {
			t.Errorf("%v without a hint", kind)
		}
	}
}

// A lenient store overwrites what it was asked to put only if absent.
type lenient struct{ connection.ObjectStore }

func (l lenient) Put(ctx context.Context, key string, r io.Reader, _ *connection.PutOptions) (connection.ObjectInfo, error) {
	return l.ObjectStore.Put(ctx, key, r, nil)
}

func TestBucket(t *testing.T) {
	for _, tc := range []struct {
		name     string
		store    connection.ObjectStore
		opts     probe.BucketOptions
		statuses string
		ignored  bool
	}{
		{"read only", connectiontest.NewObjectStore(), probe.BucketOptions{}, "ok skipped skipped", false},
		{"written and removed", connectiontest.NewObjectStore(), probe.BucketOptions{Write: true, IfAbsent: true}, "ok ok ok", false},
		{"no conditional put", connectiontest.NewObjectStore(), probe.BucketOptions{Write: true}, "ok ok ok", false},
		{"keeps all", connectiontest.NewObjectStore(), probe.BucketOptions{Write: true, KeepsAll: "locks by default"}, "ok skipped skipped", false},
		{"ignores the condition", lenient{connectiontest.NewObjectStore()}, probe.BucketOptions{Write: true, IfAbsent: true, IgnoredHint: "emulate_if_absent: set it"}, "ok warned ok", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ignored := false
			tc.opts.Ignored = func() { ignored = true }
			p := probe.New(tc.store.Info(), nil)
			p.Bucket(t.Context(), tc.store, tc.opts)
			report, err := p.Report()
			var got []string
			for _, s := range report.Steps {
				got = append(got, string(s.Status))
			}
			if err != nil || strings.Join(got, " ") != tc.statuses || ignored != tc.ignored {
				t.Errorf("got %v, %v, ignored %t\n%s", got, err, ignored, report)
			}
			for info, err := range tc.store.List(t.Context(), nil) {
				t.Errorf("left behind: %s, %v", info.Key, err)
			}
		})
	}
}

func TestTree(t *testing.T) {
	var told []string
	tree := probe.NewTree(connection.Info{Driver: "d"}, &connection.TestOptions{Progress: func(s connection.Step) {
		told = append(told, fmt.Sprintf("%s %s %s|%s", s.Name, s.Status, s.Detail, s.Hint))
	}})
	tree.Explain = func(err error) *connection.Error {
		return &connection.Error{Driver: "d", Kind: connection.KindOf(err), Err: err}
	}
	tree.Hint = func(kind connection.Kind) string { return "in general: " + kind.Error() }
	well := func() (string, string, error) { return "well", "", nil }
	ctx, cancel := context.WithCancel(t.Context())
	tree.Step(ctx, "a", nil, func() (string, string, error) { return "", "", connection.ErrNetwork })
	tree.Step(ctx, "b", []string{"a"}, well)
	tree.Step(ctx, "c", []string{"b"}, well)
	tree.Step(ctx, "d", nil, func() (string, string, error) { return "well", "look", nil })
	tree.Skip("e", "not needed")
	tree.Step(ctx, "f", []string{"d", "e"}, well)
	tree.Lack("g", "not asked for")
	tree.Step(ctx, "h", []string{"d", "g"}, well)
	tree.Add(connection.Step{Name: "i", Status: connection.StatusFailed})
	cancel()
	tree.Step(ctx, "j", nil, well)
	want := []string{
		"a failed |in general: network failure", "b skipped step a failed|", "c skipped step a failed|", "d warned well|look",
		"e skipped not needed|", "f ok well|", "g skipped not asked for|", "h skipped not asked for|", "i failed |",
		"j failed well|in general: canceled",
	}
	if !slices.Equal(told, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if got := tree.Without("i"); got != "step i failed" {
		t.Errorf("i: got %q", got)
	}
	if _, err := tree.Report(); !errors.Is(err, connection.ErrNetwork) {
		t.Errorf("got error %v", err)
	}
}
