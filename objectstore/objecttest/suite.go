package objecttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A Harness tells [Run] how to reach a store and the fixture behind it: a fake, a real server, a directory. Reset and Open
// are required. What a Harness leaves out is not tested, and the run says so.
//
// All functions get the t of the rule that calls them, so that t.TempDir and t.Cleanup serve one rule. Open and the
// others that open connections are called by several goroutines at once.
type Harness struct {
	// Reset makes a bucket that is new and empty. It runs before each rule.
	Reset func(t testing.TB)

	// Open opens one more connection to the bucket, with the driver's settings of those names set as tuning says. env is to
	// be handed to the driver: the rules of the network are applied to what goes through Env.HTTPClient.
	Open Opener

	// Tuned says that Open obeys tuning.
	Tuned bool

	// Features say what the store can do, if it has no method Capabilities.
	Features objectstore.Features

	// Parts is the part size by which large objects are tested, best the smallest that the engine takes; 0 = the store
	// sends every object by one request. It needs Tuned.
	Parts int64

	// Page is how many entries one page of a listing has; 0 = the store lists without pages.
	Page int

	// Huge is the size of an object of zeros, over all that the engine takes by one request: 5 GB and one octet, say.
	// The fixture must be able to keep zeros without room for them. 0 = not tested.
	Huge int64

	// Eventual is how long listings may take until they show what was done. 0 = no time.
	Eventual time.Duration

	// Soon is how long a verb may take to return after its context is done, its connection closed or its budget spent. 0 =
	// 5s, which a machine keeps that is busy with other things.
	Soon time.Duration

	// Lag makes listings show changes only so much later, from now on.
	Lag func(t testing.TB, d time.Duration)

	// Damage inverts a bit of the object under key, past the driver, as a failing disk would.
	Damage func(t testing.TB, key string)

	// Plant stores an object past the driver, under a key that the driver may refuse. It reports whether the fixture can
	// hold such a key.
	Plant func(t testing.TB, key string, raw []byte) bool

	// At opens a connection to a server of the suite's at a URL such as "http://127.0.0.1:1234", instead of the fixture's.
	// None of them speaks the protocol.
	At func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore

	// Server is the fake behind the bucket, if there is one: its frame is what all fakes share.
	Server func() *Server

	// NoBucket opens a connection to a bucket that is not there.
	NoBucket Opener

	// Denied opens a connection that may not do anything with the bucket.
	Denied Opener

	// Strangers open connections that the server does not know, by what is wrong with them: "identity" and "credential",
	// which must be the name of the JSON field at fault.
	Strangers map[string]Opener

	// Secrets are what the connection uses and nobody may see, of at least 8 characters each. They must appear in no
	// error, log or event.
	Secrets []string

	// Skip leaves out rules, by name (see Rules), each with the reason. A name that is no rule's fails the run.
	Skip map[string]string

	limit time.Duration // longest time for one rule; 0 = 5 minutes
	few   bool          // fewer repetitions, for the suite's own tests
}

// An Opener opens a connection with an environment and settings of the suite's.
type Opener func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore

// A Rule is one edge case that [Run] checks.
type Rule struct {
	Name     string // what Harness.Skip takes, and the name of the subtest
	Expected string
}

// Rules returns the rules in the order in which Run checks them.
func Rules() []Rule {
	all := make([]Rule, len(rules))
	for i, r := range rules {
		all[i] = Rule{Name: r.name, Expected: r.expected}
	}
	return all
}

// Run holds the store of h against the edge cases of object stores, one subtest a rule. A rule that the harness leaves
// out, or that does not apply to the store, is skipped and says why. A failure prints what was expected.
//
// The promises of package connection are connectiontest.Run's to check: a driver's tests call both.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if err := h.check(); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if reason, ok := h.Skip[r.name]; ok {
				t.Skipf("left out by the harness: %s", reason)
			}
			failures, without := r.run(t, &h)
			for _, f := range failures {
				t.Error(f)
			}
			if without != "" {
				t.Skipf("does not apply: %s", without)
			}
		})
	}
}

// check reports what the harness lacks or misspells.
func (h *Harness) check() error {
	if h.Reset == nil || h.Open == nil {
		return errors.New("objecttest: the harness needs Reset and Open")
	}
	if h.Parts > 0 && !h.Tuned {
		return errors.New("objecttest: the harness's Parts need Tuned")
	}
	for _, s := range h.Secrets {
		if len(s) < 8 {
			return errors.New("objecttest: one of the harness's Secrets has fewer than 8 characters and could appear by chance")
		}
	}
	for name, reason := range h.Skip {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			return fmt.Errorf("objecttest: Skip: there is no rule %q; see Rules", name)
		}
		if strings.TrimSpace(reason) == "" {
			return fmt.Errorf("objecttest: Skip: rule %q is left out without a reason", name)
		}
	}
	return nil
}

func (h *Harness) soon() time.Duration {
	if h.Soon == 0 {
		return 5 * time.Second
	}
	return h.Soon
}

// times returns how often a rule with chance in it tries.
func (h *Harness) times(n int) int {
	if h.few {
		return max(1, n/5)
	}
	return n
}

// A failure is one expectation that was not met.
type failure struct {
	rule string
	text string
}

// String names what was expected first, since that is what the reader must know.
func (f failure) String() string {
	expected := ""
	for _, r := range rules {
		if r.name == f.rule {
			expected = r.expected
		}
	}
	return fmt.Sprintf("%s: %s\n\t%s", f.rule, expected, strings.ReplaceAll(f.text, "\n", "\n\t"))
}

// A rule is a Rule with its check.
type rule struct {
	name     string
	expected string
	check    func(x *exam)
}
