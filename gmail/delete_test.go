package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

func hard(c *gmail.Config, _ *gmail.Options) { c.DeleteMode = gmail.DeleteHard }

func numbered(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, "Subject: %d\r\n\r\nnumber %d\r\n", i, i)
	}
	return all
}

func TestDeleteToTrash(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		ids := r.Deliver("ann@corp.example", numbered(30)...)
		gone := refsOf(r.ann, append(slices.Clone(ids[:20]), ids[0], "0123456789abcdef")...)
		for range 2 { // it may be repeated
			if err := r.conn.Delete(t.Context(), gone...); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(ids[:20])
		if got := r.ids("ann@corp.example", "TRASH"); !slices.Equal(got, ids[:20]) {
			t.Errorf("got %d in the trash, want the 20 deleted ones: %q", len(got), got)
		}
		if n := r.Calls("messages.trash"); n != 42 {
			t.Errorf("asked %d times, want 21 times twice: each Ref once", n)
		}
		told := r.told(connection.EventDeleted)
		if len(told) != 2 || told[0].Count != 21 || told[0].Mailbox != r.ann {
			t.Errorf("told %+v, want 21 in ann's mailbox, twice", told)
		}
	})
}

func TestDeleteForGood(t *testing.T) {
	changing(t, nil, hard, func(t *testing.T, r *changeRig) {
		ids := r.Deliver("ann@corp.example", numbered(2003)...)
		other := r.Deliver("bob@corp.example", numbered(2)...)
		refs := append(refsOf("ann@corp.example", ids[3:]...), refsOf(r.bob, other[1])...)
		if err := r.conn.Delete(t.Context(), refs...); err != nil {
			t.Fatal(err)
		}
		if got := r.ids("ann@corp.example"); len(got) != 3 {
			t.Errorf("%d are left in ann's mailbox, want 3", len(got))
		}
		if got := r.ids("bob@corp.example"); !slices.Equal(got, other[:1]) {
			t.Errorf("%q is left in bob's mailbox, want %q", got, other[:1])
		}
		if n, units := r.Calls("messages.batchDelete", r.ann), r.Units(r.ann); n != 2 || units != 100 {
			t.Errorf("asked %d times for %d units, want twice for 100", n, units)
		}
		if err := r.conn.Delete(t.Context(), refs...); err != nil {
			t.Errorf("deleting what is gone: %v", err)
		}
	})
}

func TestG67BatchDeleteWithOneBadID(t *testing.T) {
	changing(t, nil, hard, func(t *testing.T, r *changeRig) {
		ids := r.Deliver("ann@corp.example", numbered(1000)...)
		r.Trouble("ann@corp.example", ids[617], gmailtest.Trouble{Stuck: true})
		err := r.conn.Delete(t.Context(), refsOf(r.ann, ids...)...)
		if got, want := r.ids("ann@corp.example"), ids[617:618]; !slices.Equal(got, want) {
			t.Errorf("left: %q, want %q", got, want)
		}
		var refs []connection.Ref
		for e := range connection.Errors(err) {
			refs = append(refs, e.Ref)
		}
		if want := refsOf(r.ann, ids[617]); !slices.Equal(refs, want) {
			t.Errorf("failed: %v, want %v (%v)", refs, want, err)
		}
		if n := r.Calls("messages.batchDelete"); n > 60 {
			t.Errorf("asked %d times", n)
		}
	})
}

// A server that refuses everything is not asked for each message.
func TestDeleteGivesUp(t *testing.T) {
	changing(t, nil, hard, func(t *testing.T, r *changeRig) {
		ids := r.Deliver("ann@corp.example", numbered(1000)...)
		r.Fail(gmailtest.On("messages.batchDelete"), gmailtest.Refuse(400, "invalidArgument", "Invalid ids value"))
		err := r.conn.Delete(t.Context(), refsOf(r.ann, ids...)...)
		n := 0
		for e := range connection.Errors(err) {
			if e.Ref.ID == "" {
				t.Fatalf("got %v", e)
			}
			n++
		}
		if n != 1000 {
			t.Errorf("%d errors, want one for each Ref", n)
		}
		if n := r.Calls("messages.batchDelete"); n > 100 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestDeleteRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		set  func(*gmail.Config, *gmail.Options)
		ref  func(*changeRig) connection.Ref
		kind connection.Kind
	}{
		"no verb": {
			func(c *gmail.Config, _ *gmail.Options) { c.Verbs = []string{gmail.VerbSend} },
			func(r *changeRig) connection.Ref { return connection.Ref{Mailbox: r.ann, ID: "1"} }, connection.ErrConfig,
		},
		"no id":            {nil, func(r *changeRig) connection.Ref { return connection.Ref{Mailbox: r.ann} }, connection.ErrInvalid},
		"no mailbox":       {nil, func(*changeRig) connection.Ref { return connection.Ref{ID: "1"} }, connection.ErrConfig},
		"unknown mailbox":  {nil, func(*changeRig) connection.Ref { return connection.Ref{Mailbox: "eve@corp.example", ID: "1"} }, connection.ErrNotFound},
		"a monitored user": {monitored, func(r *changeRig) connection.Ref { return connection.Ref{Mailbox: r.ann, ID: "1"} }, connection.ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, test.set, func(t *testing.T, r *changeRig) {
				r.AddUser(gmailtest.User{Email: "journal@corp.example"})
				ref := test.ref(r)
				err := r.conn.Delete(t.Context(), ref)
				if got := failedRefs(t, err, test.kind); !slices.Equal(got, []connection.Ref{ref}) {
					t.Errorf("got errors for %v, want one for %v", got, ref)
				}
				if n := r.Calls("messages.trash") + r.Calls("messages.batchDelete"); n != 0 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

// monitored are settings for retrieval by monitors.
func monitored(c *gmail.Config, _ *gmail.Options) {
	c.Retrieval, c.Verbs, c.Monitors.Destination = gmail.RetrieveMonitors, nil, "journal"
}

func TestDeleteFromDestination(t *testing.T) {
	changing(t, nil, monitored, func(t *testing.T, r *changeRig) {
		journal := r.AddUser(gmailtest.User{Email: "journal@corp.example"})
		ids := r.Deliver(journal, numbered(2)...)
		if err := r.conn.Delete(t.Context(), refsOf(journal, ids[0])...); err != nil {
			t.Fatal(err)
		}
		if got := r.ids(journal); !slices.Equal(got, ids[1:]) {
			t.Errorf("left: %q, want %q: in this mode messages are deleted for good", got, ids[1:])
		}
	})
}

// What cannot be reached is not gone.
func TestDeleteClaimsNothing(t *testing.T) {
	for name, spoil := range map[string]func(*changeRig){
		"no such page": func(r *changeRig) {
			r.Fail(gmailtest.On("messages.*"), gmailtest.Status(404, "<html>Not Found</html>"))
		},
		"suspended":        func(r *changeRig) { r.Suspend("ann@corp.example", true) },
		"user gone":        func(r *changeRig) { r.RemoveUser("ann@corp.example") },
		"mail service off": func(r *changeRig) { r.Disable("ann@corp.example") },
		"missing scopes":   func(r *changeRig) { r.Delegate("https://www.googleapis.com/auth/gmail.readonly") },
		"server at fault": func(r *changeRig) {
			r.Fail(gmailtest.On("messages.*"), gmailtest.Refuse(500, "backendError", "Backend Error"))
		},
		"permission denied": func(r *changeRig) { r.Fail(gmailtest.On("messages.*"), gmailtest.Policy()) },
	} {
		for _, mode := range []string{gmail.DeleteTrash, gmail.DeleteHard} {
			t.Run(name+", "+mode, func(t *testing.T) {
				changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.DeleteMode, c.Retries = mode, 2 }, func(t *testing.T, r *changeRig) {
					refs := refsOf(r.ann, r.Deliver("ann@corp.example", numbered(3)...)...)
					spoil(r)
					err := r.conn.Delete(t.Context(), refs...)
					n := 0
					for e := range connection.Errors(err) {
						if !slices.Contains(refs, e.Ref) {
							t.Errorf("got an error for %v", e.Ref)
						}
						n++
					}
					if n != len(refs) {
						t.Errorf("got %d errors, want %d: %v", n, len(refs), err)
					}
					if len(r.told(connection.EventDeleted)) > 0 {
						t.Error("told that messages were deleted")
					}
				})
			})
		}
	}
}

// A lost answer and what passes is asked for again.
func TestDeleteAsksAgain(t *testing.T) {
	for _, mode := range []string{gmail.DeleteTrash, gmail.DeleteHard} {
		for name, fault := range map[string]gmailtest.Fault{
			"lost": gmailtest.Lose(), "busy": gmailtest.Refuse(503, "backendError", "Backend Error"), "concurrent": gmailtest.TooManyConcurrent(),
		} {
			t.Run(mode+", "+name, func(t *testing.T) {
				changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.DeleteMode = mode }, func(t *testing.T, r *changeRig) {
					ids := r.Deliver("ann@corp.example", numbered(2)...)
					r.Fail(gmailtest.On("messages.*").Times(2), fault)
					if err := r.conn.Delete(t.Context(), refsOf(r.ann, ids...)...); err != nil {
						t.Fatal(err)
					}
					if left := len(r.ids("ann@corp.example")) - len(r.ids("ann@corp.example", "TRASH")); left != 0 {
						t.Errorf("%d are left", left)
					}
				})
			})
		}
	}
}

func TestDeleteUntilCanceled(t *testing.T) {
	for _, mode := range []string{gmail.DeleteTrash, gmail.DeleteHard} {
		t.Run(mode, func(t *testing.T) {
			changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.DeleteMode = mode }, func(t *testing.T, r *changeRig) {
				ids := r.Deliver("ann@corp.example", numbered(30)...)
				ctx, cancel := context.WithCancel(t.Context())
				r.Fail(gmailtest.On("messages.*"), gmailtest.Do(func(gmailtest.Request) { cancel() }), gmailtest.Stall())
				err := r.conn.Delete(ctx, refsOf(r.ann, ids...)...)
				n := 0
				for e := range connection.Errors(err) {
					if !errors.Is(e, context.Canceled) {
						t.Fatalf("got %v, want it to be canceled", e)
					}
					n++
				}
				if n != 30 {
					t.Errorf("got %d errors, want one for each Ref", n)
				}
				if err := r.conn.Delete(ctx, refsOf(r.ann, ids...)...); !errors.Is(err, context.Canceled) {
					t.Errorf("a verb that begins canceled: %v", err)
				}
			})
		})
	}
}
