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

	// Soon is how long a verb may take to return after its context is done or its connection closed. 0 = 5s, which
	// a machine keeps that is busy with other things.
	Soon time.Duration

	// Secret is the password or key that the connection uses, at least 8 letters and digits. It must appear nowhere.
	Secret string

	// Skip leaves out rules, by name (see Rules), each with the reason. A name that is no rule's fails the run.
	Skip map[string]string

	limit time.Duration // longest time for one rule; 0 = 5 minutes
	big   int           // octets of the big messages; 0 = 5 MiB
	wait  time.Duration // longest time for one verb that has work to do; 0 = 10 s
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
// from the capabilities that the connection has; a rule that the harness leaves out, or for which it lacks something, is
// skipped and says why. A failure prints the promise that is broken.
//
// Run uses goroutine labels to tell the driver's goroutines from others, so it may run beside other tests.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if err := h.check(); err != nil {
		t.Fatal(err)
	}
	applying, lacking := h.applying(t)
	if lacking != "" {
		t.Logf("rules of capabilities that the connection does not have are left out: %s", lacking)
	}
	for _, r := range applying {
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

// applying returns the rules of the capabilities that a connection has, and names the others.
func (h *Harness) applying(t testing.TB) (applying []rule, lacking string) {
	h.Reset(t)
	c := h.Open(t, &connection.Env{})
	if c == nil {
		t.Fatal("connectiontest: the harness's Open returned nil")
	}
	var names []string
	for _, r := range rules {
		if errors.Is(r.needs(h, c), connection.ErrUnsupported) {
			names = append(names, r.name)
		} else {
			applying = append(applying, r)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatalf("connectiontest: closing a connection that was not used: %v", err)
	}
	return applying, strings.Join(names, ", ")
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
		return 5 * time.Second
	}
	return h.Soon
}

func (h *Harness) bigSize() int {
	if h.big == 0 {
		return bigMessage
	}
	return h.big
}

// patience is how long a verb may take that has work to do.
func (h *Harness) patience() time.Duration {
	if h.wait == 0 {
		return 30*time.Second + h.Eventual
	}
	return h.wait + h.Eventual
}

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

// A need says why a rule does not apply to a connection, nil if it does. ErrUnsupported is the lack of a capability.
type need func(h *Harness, c connection.Connection) error

// can is the need of the capability T.
func can[T any](_ *Harness, c connection.Connection) error {
	_, err := connection.As[T](c)
	return err
}

func needFill(h *Harness, _ connection.Connection) error {
	return lacks(h.Fill == nil || h.Left == nil, "the harness has no Fill and Left")
}

func needLeft(h *Harness, _ connection.Connection) error {
	return lacks(h.Left == nil, "the harness has no Left")
}

func needOutbox(h *Harness, _ connection.Connection) error {
	return lacks(h.Outbox == nil, "the harness has no Outbox")
}

func needBroken(h *Harness, _ connection.Connection) error {
	return lacks(len(h.Broken) == 0, "the harness has nothing Broken")
}

func needSpoil(h *Harness, _ connection.Connection) error {
	return lacks(h.Spoil == nil, "the harness has no Spoil")
}

func needRefused(h *Harness, _ connection.Connection) error {
	return lacks(h.Refused == "", "the harness has no recipient that is Refused")
}

func needSecret(h *Harness, _ connection.Connection) error {
	return lacks(h.Secret == "", "the harness has no Secret")
}

func lacks(it bool, what string) error {
	if it {
		return errors.New(what)
	}
	return nil
}

// anything is the need of a rule that applies to every connection.
func anything(*Harness, connection.Connection) error { return nil }

// all is the need of everything given.
func all(needs ...need) need {
	return func(h *Harness, c connection.Connection) error {
		for _, n := range needs {
			if err := n(h, c); err != nil {
				return err
			}
		}
		return nil
	}
}

// either is the need of one of two.
func either(a, b need) need {
	return func(h *Harness, c connection.Connection) error {
		err := a(h, c)
		if err == nil || b(h, c) == nil {
			return nil
		}
		return err
	}
}
