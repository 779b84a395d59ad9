package connectiontest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Harness tells [Run] how to reach a driver and the fixture behind it: a server double, a real server, a directory.
// Reset and Open are required. What a Harness leaves out is not tested, and the run says so.
//
// All functions get the t of the rule that calls them, so that t.TempDir and t.Cleanup serve one rule. They may be
// called from another goroutine than the test's own, but never by two at once.
type Harness struct {
	// Reset makes a fixture that is new and empty. It runs before each rule.
	Reset func(t testing.TB)

	// Open opens one more connection to the fixture; several may be open at once. env is to be handed to the driver.
	// Open may set more of its fields (TLS, Token, the Transport of HTTPClient), but should keep Dial and Logger:
	// through Dial the rules of the network cut and stall the line, and what Logger receives is searched for Secret.
	// An http.Transport put into HTTPClient should have env.Dial as its DialContext.
	// A connection with a Deleter must be set up to delete; one that follows or polls, to do so often.
	Open func(t testing.TB, env *connection.Env) connection.Connection

	// Fill puts messages into the folder that Fetch and Sync read, and returns once they can be fetched.
	Fill func(t testing.TB, raw ...[]byte)

	// Left returns the octets of all messages that the source holds, in any order, read past the driver.
	Left func(t testing.TB) [][]byte

	// Outbox returns what arrived by Send, oldest first, read past the driver.
	Outbox func(t testing.TB) []Sent

	// Spoil makes the message with the octets given impossible to read, and leaves it in place.
	Spoil func(t testing.TB, raw []byte)

	// Refused is a recipient that the fixture refuses. "" = it refuses none.
	Refused string

	// Broken opens connections that cannot work, by what is wrong with them: "wrong password", "closed port", "no
	// such folder". Their Test must say which setting is at fault.
	Broken map[string]func(t testing.TB, env *connection.Env) connection.Connection

	// Folder is the folder that Append writes to; it exists, and Left holds what is in it. "" = "INBOX".
	Folder string

	// Normalize says what the fixture makes of a message that its protocol cannot carry as it is. Without a reason
	// the message must come back as it is; with one want is expected instead, or, if want is nil, the message is left
	// out. It is asked about the Corpus and about the plain messages of other rules. nil = nothing is changed.
	Normalize func(s Sample) (want []byte, reason string)

	// Eventual is how long the fixture may take until it shows what was done. 0 = no time.
	Eventual time.Duration

	// Soon is how long a verb may take to return after its context is done or its connection closed. 0 = 1s, which
	// is what the promise says; more is for slow machines.
	Soon time.Duration

	// Secret is the password or key that the connection uses, at least 8 letters and digits. It must appear nowhere.
	Secret string

	// Skip leaves out rules, by name (see Rules), each with the reason. A name that is no rule's fails the run.
	Skip map[string]string

	limit time.Duration // longest time for one rule; 0 = 5 minutes
}

// A Sent is one message as it arrived from a Sender.
type Sent struct {
	From string
	To   []string
	Raw  []byte
}

// A Rule is one promise that [Run] checks.
type Rule struct {
	Name    string // what Harness.Skip takes, and the name of the subtest
	Promise string
}

// Rules returns the rules in the order in which Run checks them.
func Rules() []Rule {
	all := make([]Rule, len(rules))
	for i, r := range rules {
		all[i] = Rule{Name: r.name, Promise: r.promise}
	}
	return all
}

// Run checks the promises of package connection against the driver of h, one subtest a rule. Which rules apply follows
// from the capabilities that the connection has and from what h can do; a rule that does not apply is skipped and says
// why. A failure prints the promise that is broken.
//
// Run uses goroutine labels to tell the driver's goroutines from others, so it may run beside other tests.
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
			if without != "" {
				t.Skipf("does not apply: %s", without)
			}
			for _, f := range failures {
				t.Error(f)
			}
		})
	}
}

// check reports what the harness lacks or misspells.
func (h *Harness) check() error {
	if h.Reset == nil || h.Open == nil {
		return errors.New("connectiontest: the harness needs Reset and Open")
	}
	if h.Secret != "" && len(h.Secret) < 8 {
		return errors.New("connectiontest: the harness's Secret has fewer than 8 characters and could appear by chance")
	}
	for name, reason := range h.Skip {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			return fmt.Errorf("connectiontest: Skip: there is no rule %q; see Rules", name)
		}
		if strings.TrimSpace(reason) == "" {
			return fmt.Errorf("connectiontest: Skip: rule %q is left out without a reason", name)
		}
	}
	return nil
}

func (h *Harness) folder() string {
	if h.Folder == "" {
		return "INBOX"
	}
	return h.Folder
}

func (h *Harness) soon() time.Duration {
	if h.Soon == 0 {
		return time.Second
	}
	return h.Soon
}

func (h *Harness) patience() time.Duration { return 10*time.Second + h.Eventual }

// A failure is one broken promise.
type failure struct {
	rule string
	text string
}

// String names the promise first, since that is what the reader must know.
func (f failure) String() string {
	promise := ""
	for _, r := range rules {
		if r.name == f.rule {
			promise = r.promise
		}
	}
	return fmt.Sprintf("broken promise %q: %s\n\t%s", f.rule, promise, strings.ReplaceAll(f.text, "\n", "\n\t"))
}

// A rule is a Rule with its check.
type rule struct {
	name    string
	promise string
	needs   need
	check   func(x *exam)
}

// A need says why a rule does not apply to a connection, "" if it does.
type need func(h *Harness, c connection.Connection) string

// can is the need of the capability T.
func can[T any](_ *Harness, c connection.Connection) string {
	if _, err := connection.As[T](c); err != nil {
		return err.Error()
	}
	return ""
}

func needFill(h *Harness, _ connection.Connection) string {
	if h.Fill == nil || h.Left == nil {
		return "the harness has no Fill and Left"
	}
	return ""
}

func needLeft(h *Harness, _ connection.Connection) string {
	if h.Left == nil {
		return "the harness has no Left"
	}
	return ""
}

func needOutbox(h *Harness, _ connection.Connection) string {
	if h.Outbox == nil {
		return "the harness has no Outbox"
	}
	return ""
}

func all(needs ...need) need {
	return func(h *Harness, c connection.Connection) string {
		for _, n := range needs {
			if why := n(h, c); why != "" {
				return why
			}
		}
		return ""
	}
}

func either(needs ...need) need {
	return func(h *Harness, c connection.Connection) string {
		var whys []string
		for _, n := range needs {
			why := n(h, c)
			if why == "" {
				return ""
			}
			whys = append(whys, why)
		}
		return strings.Join(whys, "; ")
	}
}
