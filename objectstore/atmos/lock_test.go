package atmos_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/atmos"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E67, and the servers that have no retention (E66).
func TestLock(t *testing.T) {
	until := time.Now().Add(time.Hour)
	for name, lock := range map[string]func(c *atmos.Conn) error{
		"put": func(c *atmos.Conn) error {
			_, err := c.Put(t.Context(), "k", strings.NewReader("kept"), &connection.PutOptions{Lock: connection.Lock{RetainUntil: until}})
			return err
		},
		"lock": func(c *atmos.Conn) error {
			put(t, c, "k", "kept", nil)
			return c.Lock(t.Context(), "k", connection.Lock{RetainUntil: until})
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewAtmos(t, nil)
			c := open(t, srv, nil, nil)
			if err := lock(c); err != nil {
				t.Fatal(err)
			}
			info, err := c.Stat(t.Context(), "k")
			if err != nil || info.Lock.RetainUntil.Before(until) || info.Lock.RetainUntil.After(until.Add(3*time.Second)) {
				t.Errorf("retained until %v, %v; want %v", info.Lock.RetainUntil, err, until)
			}
			wantKind(t, "delete", c.Delete(t.Context(), "k"), connection.ErrLocked)
			_, err = c.Put(t.Context(), "k", strings.NewReader("new"), nil)
			wantKind(t, "put", err, connection.ErrLocked)
			_, err = c.Put(t.Context(), "k", strings.NewReader("new"), &connection.PutOptions{Lock: connection.Lock{RetainUntil: until}})
			wantKind(t, "put with a lock", err, connection.ErrLocked)
			wantKind(t, "shorten", c.Lock(t.Context(), "k", connection.Lock{RetainUntil: until.Add(-time.Minute)}), connection.ErrLocked)
			if err := c.Lock(t.Context(), "k", connection.Lock{RetainUntil: until.Add(time.Hour)}); err != nil {
				t.Errorf("prolong: %v", err)
			}
			if got, err := get(t, c, "k", nil); got != "kept" {
				t.Errorf("got %q, %v", got, err)
			}

			srv = objecttest.NewAtmos(t, &objecttest.AtmosOptions{NoRetention: true})
			c = open(t, srv, nil, nil)
			wantKind(t, "a server without retention", lock(c), connection.ErrUnsupported)
			if name == "put" && len(srv.Objects()) > 0 {
				t.Error("the object stays behind without its lock")
			}
		})
	}
	// A server that would replace it is not asked to.
	srv := objecttest.NewAtmos(t, &objecttest.AtmosOptions{CarelessRename: true})
	c := open(t, srv, nil, nil)
	put(t, c, "kept", "x", &connection.PutOptions{Lock: connection.Lock{RetainUntil: until}})
	_, err := c.Put(t.Context(), "kept", strings.NewReader("y"), nil)
	wantKind(t, "put at a careless server", err, connection.ErrLocked)

	_, err = c.Put(t.Context(), "k", strings.NewReader("x"), &connection.PutOptions{Lock: connection.Lock{LegalHold: true}})
	wantKind(t, "legal hold", err, connection.ErrUnsupported)
	put(t, c, "k", "x", nil)
	_, err = c.Put(t.Context(), "k", strings.NewReader("y"), &connection.PutOptions{Lock: connection.Lock{RetainUntil: until}})
	wantKind(t, "a lock over an object", err, connection.ErrUnsupported)
	_, err = c.Put(t.Context(), "l", strings.NewReader("y"), &connection.PutOptions{Lock: connection.Lock{RetainUntil: time.Unix(0, 0)}})
	wantKind(t, "a lock that has ended", err, connection.ErrInvalid)
	if got, err := get(t, c, "k", nil); got != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}
