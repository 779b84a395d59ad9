package connectiontest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// The harnesses of the doubles. Each Reset makes a new one; wrap is put around each connection.

func mailboxHarness(wrap func(*Mailbox) connection.Connection) Harness {
	var m *Mailbox
	var spoilt []connection.Ref
	return Harness{
		Reset: func(testing.TB) { m, spoilt = NewMailbox(), nil },
		Open:  func(testing.TB, *connection.Env) connection.Connection { return wrap(m.Reopen()) },
		Fill:  func(_ testing.TB, raw ...[]byte) { m.Deliver(raw...) },
		Left:  func(testing.TB) [][]byte { return m.Messages() },
		Spoil: func(_ testing.TB, raw []byte) {
			for _, s := range m.state.messages {
				if bytes.Equal(s.raw, raw) {
					spoilt = append(spoilt, s.ref)
				}
			}
			bad := slices.Clone(spoilt)
			m.Inject(func(op string, ref connection.Ref) error {
				if op == "fetch" && slices.Contains(bad, ref) {
					return connection.ErrCorrupt
				}
				return nil
			})
		},
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"server that is down": func(testing.TB, *connection.Env) connection.Connection {
				down := NewMailbox()
				down.Inject(func(string, connection.Ref) error { return connection.ErrUnavailable })
				return wrap(down)
			},
		},
		Secret: canary,
	}
}

const canary = "correcthorsebatterystaple"

func objectHarness(wrap func(*ObjectStore) connection.Connection) Harness {
	var o *ObjectStore
	return Harness{
		Reset: func(testing.TB) { o = NewObjectStore() },
		Open:  func(testing.TB, *connection.Env) connection.Connection { return wrap(o.Reopen()) },
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"bucket that is missing": func(testing.TB, *connection.Env) connection.Connection {
				down := NewObjectStore()
				down.Inject(func(string, string) error { return connection.ErrConfig })
				return wrap(down)
			},
		},
		Secret: canary,
	}
}

func outboxHarness(wrap func(*Outbox) connection.Connection) Harness {
	const refused = "nobody@example.org"
	var o *Outbox
	return Harness{
		Reset:   func(testing.TB) { o = NewOutbox(refused) },
		Open:    func(testing.TB, *connection.Env) connection.Connection { return wrap(o.Reopen()) },
		Outbox:  func(testing.TB) []Sent { return o.Sent() },
		Refused: refused,
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"password that is wrong": func(testing.TB, *connection.Env) connection.Connection {
				down := NewOutbox()
				down.Inject(func(string, string) error { return connection.ErrAuth })
				return wrap(down)
			},
		},
		Secret: canary,
	}
}

func asIs[T connection.Connection](c T) connection.Connection { return c }

func TestMailboxKeepsThePromises(t *testing.T) { Run(t, mailboxHarness(asIs[*Mailbox])) }

func TestObjectStoreKeepsThePromises(t *testing.T) { Run(t, objectHarness(asIs[*ObjectStore])) }

func TestOutboxKeepsThePromises(t *testing.T) { Run(t, outboxHarness(asIs[*Outbox])) }

func TestInjectedErrorsConcernTheirMessage(t *testing.T) {
	m := NewMailbox(letter(0), letter(1), letter(2))
	var bad connection.Ref
	for got, err := range m.Fetch(t.Context(), &connection.FetchOptions{Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		bad = got.Ref
	}
	cause := errors.New("a disk on fire")
	m.Inject(func(op string, ref connection.Ref) error {
		if op == "fetch" && ref == bad {
			return cause
		}
		return nil
	})
	good, failed := 0, 0
	for _, err := range m.Fetch(t.Context(), nil) {
		var e *connection.Error
		switch {
		case err == nil:
			good++
		case errors.As(err, &e) && e.Ref == bad && errors.Is(err, cause):
			failed++
		default:
			t.Error(err)
		}
	}
	if good != 2 || failed != 1 {
		t.Errorf("got %d messages and %d errors, want 2 and 1", good, failed)
	}
	m.Inject(nil)
	if err := m.Delete(t.Context(), bad); err != nil {
		t.Error(err)
	}
}

func TestForgottenHistoryIsStale(t *testing.T) {
	m := NewMailbox(letter(0))
	var cp connection.Checkpoint
	for c, err := range m.Sync(t.Context(), "", nil) {
		if err != nil {
			t.Fatal(err)
		}
		cp = c.Checkpoint
	}
	m.ForgetHistory()
	for _, err := range m.Sync(t.Context(), cp, nil) {
		if !errors.Is(err, connection.ErrStale) {
			t.Errorf("got error %v, want ErrStale", err)
		}
	}
}

func TestDamagedObjectIsNoticed(t *testing.T) {
	o := NewObjectStore()
	if _, err := o.Put(t.Context(), "k", bytes.NewReader(letter(0)), nil); err != nil {
		t.Fatal(err)
	}
	if !o.Damage("k") || o.Damage("missing") {
		t.Fatal("Damage does not say what was there")
	}
	got, err := o.Get(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bytes.NewBuffer(nil).ReadFrom(got.Body); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("got error %v, want ErrCorrupt", err)
	}
}
