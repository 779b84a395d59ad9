package connectiontest

import (
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func TestHarnessIsChecked(t *testing.T) {
	good := mailboxHarness(asIs[*Mailbox])
	if err := good.check(); err != nil {
		t.Errorf("a good harness: %v", err)
	}
	for want, spoil := range map[string]func(h *Harness){
		"needs Reset and Open":     func(h *Harness) { h.Reset = nil },
		"needs Reset":              func(h *Harness) { h.Open = nil },
		"fewer than 8 characters":  func(h *Harness) { h.Secret = "secret" },
		`there is no rule "fetch"`: func(h *Harness) { h.Skip = map[string]string{"fetch": "it is slow"} },
		"without a reason":         func(h *Harness) { h.Skip = map[string]string{FetchBytes: " "} },
	} {
		h := good
		spoil(&h)
		if err := h.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that holds %q", err, want)
		}
	}
}

func TestRulesHaveNamesAndPromises(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.Name] || strings.ContainsAny(r.Name, " /_") || r.Name == "" {
			t.Errorf("rule %q: the name is taken, empty or no good name of a subtest", r.Name)
		}
		seen[r.Name] = true
		if !strings.HasSuffix(r.Promise, ".") {
			t.Errorf("rule %q: %q is no sentence", r.Name, r.Promise)
		}
		if f := (failure{r.Name, "what happened"}).String(); !strings.Contains(f, r.Promise) || !strings.Contains(f, "what happened") {
			t.Errorf("rule %q: a failure prints %q", r.Name, f)
		}
	}
}

func TestPanicOfADriverIsAFailure(t *testing.T) {
	h := mailboxHarness(func(m *Mailbox) connection.Connection { return m })
	h.Fill = func(testing.TB, ...[]byte) { panic("the driver panics") }
	for _, r := range rules {
		if r.name != FetchOnce {
			continue
		}
		failures, _ := r.run(t, &h)
		if len(failures) != 1 || !strings.Contains(failures[0].text, "the driver panics") {
			t.Errorf("got failures %v, want the panic", failures)
		}
	}
}

func TestRuleThatHangsIsAFailure(t *testing.T) {
	h := mailboxHarness(func(m *Mailbox) connection.Connection { return m })
	release := make(chan struct{})
	defer close(release)
	h.Fill = func(testing.TB, ...[]byte) { <-release }
	h.limit = 50_000_000 // 50 ms
	for _, r := range rules {
		if r.name != FetchOnce {
			continue
		}
		failures, _ := r.run(t, &h)
		if len(failures) != 1 || !strings.Contains(failures[0].text, "did not end within") {
			t.Errorf("got failures %v, want the hang", failures)
		}
	}
}
