package gmail_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// A changeRig is a domain with the users ann and bob, and a connection to it that may change mailboxes, in a bubble of
// testing/synctest: waiting takes no time.
type changeRig struct {
	*gmailtest.Server
	cfg      gmail.Config
	env      *connection.Env
	opts     gmail.Options
	conn     *gmail.Conn
	ann, bob string // ids

	mu     sync.Mutex
	events []connection.Event
}

// changing runs test. set, if not nil, changes the settings and options.
func changing(t *testing.T, opts *gmailtest.Options, set func(*gmail.Config, *gmail.Options), test func(t *testing.T, r *changeRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := gmailtest.Options{}
		if opts != nil {
			o = *opts
		}
		o.Memory = true
		// A server that has answered early lingers for its client, also behind Close.
		t.Cleanup(func() { <-time.After(time.Minute) })
		r := &changeRig{Server: gmailtest.NewServer(t, &o)}
		r.ann = r.AddUser(gmailtest.User{Email: "ann@corp.example"})
		r.bob = r.AddUser(gmailtest.User{Email: "bob@corp.example"})
		r.cfg, r.env = r.Config(), r.Env()
		r.cfg.Verbs = []string{gmail.VerbDelete, gmail.VerbAppend, gmail.VerbSend}
		r.env.Observe = func(ev connection.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, ev)
		}
		if set != nil {
			set(&r.cfg, &r.opts)
		}
		r.conn = r.open(t)
		test(t, r)
	})
}

// open opens one more connection, until the test ends.
func (r *changeRig) open(t testing.TB) *gmail.Conn {
	t.Helper()
	c, err := gmail.New(r.cfg, r.env, &r.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// told returns the events of a kind.
func (r *changeRig) told(kind connection.EventKind) []connection.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events), func(ev connection.Event) bool { return ev.Kind != kind })
}

// until lets time pass, by the bubble's clock, until ok.
func (r *changeRig) until(t testing.TB, ok func() bool) {
	t.Helper()
	for range 72 {
		if ok() {
			return
		}
		<-time.After(time.Hour)
	}
	t.Fatal("that has not happened within three days")
}

// ids returns the ids of a mailbox's messages with all of labels, sorted.
func (r *changeRig) ids(mailbox string, labels ...string) []string {
	var all []string
	for _, m := range r.Messages(mailbox) {
		if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(m.Labels, l) }) {
			all = append(all, m.ID)
		}
	}
	slices.Sort(all)
	return all
}

// labelNamed returns the id of one of ann's labels, "" if she has none of that name.
func (r *changeRig) labelNamed(name string) string {
	for id, n := range r.Labels(r.ann) {
		if n == name {
			return id
		}
	}
	return ""
}

// holds returns the message of a mailbox with these octets, nil if there is none; two fail the test.
func (r *changeRig) holds(t testing.TB, mailbox string, raw []byte) *gmailtest.Message {
	t.Helper()
	var found *gmailtest.Message
	for _, m := range r.Messages(mailbox) {
		if bytes.Equal(m.Raw, raw) {
			if found != nil {
				t.Errorf("%s holds a message twice: %s and %s", mailbox, found.ID, m.ID)
			}
			found = &m
		}
	}
	return found
}

func refsOf(mailbox string, ids ...string) []connection.Ref {
	all := make([]connection.Ref, len(ids))
	for i, id := range ids {
		all[i] = connection.Ref{Mailbox: mailbox, ID: id}
	}
	return all
}

// failedRefs returns the Refs of joined errors, each of which must be a whole *Error of the kind.
func failedRefs(t testing.TB, err error, kind connection.Kind) []connection.Ref {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want %v", kind)
	}
	var all []connection.Ref
	for e := range connection.Errors(err) {
		if e.Kind != kind || e.Driver != gmail.DriverName || e.Op == "" || e.Endpoint == "" {
			t.Errorf("got %v (%q %q %q), want one of this driver: %v", e, e.Driver, e.Op, e.Endpoint, kind)
		}
		all = append(all, e.Ref)
	}
	return all
}

// A memoryState is a State that outlives connections, and not the test.
type memoryState struct {
	mu     sync.Mutex
	values map[string][]byte
	fails  error // of Save
}

func (s *memoryState) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key], nil
}

func (s *memoryState) Save(_ context.Context, key string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	if s.values == nil {
		s.values = make(map[string][]byte)
	}
	s.values[key] = slices.Clone(data)
	return nil
}

func (s *memoryState) copied() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

var errHost = errors.New("the host's own trouble")
