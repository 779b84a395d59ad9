package pop3client_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// UIDLs that are message numbers, and several messages with one UIDL: when one goes, the others have its id. The mirror
// holds what the server holds.
func TestSyncIdentity(t *testing.T) {
	raws := [][]byte{[]byte("Subject: 1\r\n\r\nx\r\n"), []byte("Subject: 2\r\n\r\nx\r\n"), []byte("Subject: 3\r\n\r\nx\r\n"), []byte("Subject: 4\r\n\r\nx\r\n")}
	for name, opts := range map[string]*pop3test.Options{"numbers": {Quirks: pop3test.Quirks{NumberUIDL: true}}, "one UIDL": {}} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, opts)
			var uidls []string
			for _, raw := range raws[:3] {
				if name == "numbers" {
					uidls = append(uidls, srv.Deliver(raw)...)
				} else {
					srv.DeliverAs("same", raw)
				}
			}
			k := &keeper{}
			mustMirror(t, srv.Config(), k)
			if stats := mustMirror(t, srv.Config(), k); stats.Added+stats.Removed != 0 {
				t.Errorf("got %+v, want nothing new", stats)
			}
			if name == "numbers" {
				srv.Remove(uidls[0])
				srv.Deliver(raws[3])
			} else {
				srv.Remove("same") // all of them
				srv.DeliverAs("same", raws[3])
			}
			mustMirror(t, srv.Config(), k)
			wantBodies(t, slices.Sorted(maps.Values(k.all)), left(srv)...)
		})
	}
}

// Messages of one size come and go at random. Whatever the UIDLs are, the mirror holds what the server holds.
func TestSyncAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name, opts := range map[string]*pop3test.Options{
		"good": {}, "numbers": {Quirks: pop3test.Quirks{NumberUIDL: true}}, "none": {Without: []string{"UIDL"}}, "all the same": {},
	} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, opts)
			k := &keeper{}
			var uidls []string
			for round, n := 0, 0; round < 40; round++ {
				for range random.IntN(6) {
					raw := fmt.Appendf(nil, "Subject: %04d\r\n\r\nx\r\n", n)
					if n++; name == "all the same" {
						srv.DeliverAs("same", raw)
						continue
					}
					uidls = append(uidls, srv.Deliver(raw)...)
				}
				for range random.IntN(5) {
					if len(uidls) > 0 {
						i := random.IntN(len(uidls))
						srv.Remove(uidls[i])
						uidls = slices.Delete(uidls, i, i+1)
					}
				}
				mustMirror(t, srv.Config(), k)
				want := slices.Sorted(slices.Values(left(srv)))
				if got := slices.Sorted(maps.Values(k.all)); !slices.Equal(got, want) {
					t.Fatalf("round %d: got %q, want %q", round, got, want)
				}
			}
		})
	}
}

// Where UIDLs are numbers, going on takes the header of one message, not of all.
func TestSyncOfNumbersAsksLittle(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{NumberUIDL: true}})
	uidls := srv.Deliver(letters(64)...)
	k := &keeper{}
	mustMirror(t, srv.Config(), k)
	before := len(srv.Transcript("TOP"))
	mustMirror(t, srv.Config(), k)
	if n := len(srv.Transcript("TOP")) - before; n != 1 {
		t.Errorf("%d TOPs for 64 messages, want 1", n)
	}
	srv.Remove(uidls[40])
	before = len(srv.Transcript("TOP"))
	if stats := mustMirror(t, srv.Config(), k); stats.Added != 23 {
		t.Errorf("got %+v, want the 23 behind the one that went", stats)
	}
	if n := len(srv.Transcript("TOP")) - before; n > 8 {
		t.Errorf("%d TOPs to find where 64 messages begin to differ, want at most 8", n)
	}
}

// A server that lists a message only until it was read has not removed it.
func TestSyncOfPartialListing(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{ListLimit: 3})
	raws := letters(12)
	srv.Deliver(raws[:10]...)
	k := &keeper{}
	for _, n := range []int{10, 10, 11, 12, 12} {
		if n > 10 && len(k.all) < n {
			srv.Deliver(raws[n-1])
		}
		mustMirror(t, srv.Config(), k)
		k.holds(t, raws[:n])
	}
	if k.removed > 0 {
		t.Errorf("%d messages are said to be removed", k.removed)
	}
}

// Where STAT and UIDL disagree, nothing is said to be removed.
func TestSyncTrustsNoOddListing(t *testing.T) {
	session := func(stat string, ids ...string) pop3test.Script {
		uidl, list := []string{"+OK"}, []string{"+OK"}
		for i, id := range ids {
			uidl, list = append(uidl, fmt.Sprint(i+1, " ", id)), append(list, fmt.Sprint(i+1, " 16"))
		}
		return pop3test.Script{
			pop3test.Welcome("TOP"), pop3test.Expect("STAT"), pop3test.Send(stat),
			pop3test.Expect("UIDL"), pop3test.Send(append(uidl, ".")...), pop3test.Expect("LIST"), pop3test.Send(append(list, ".")...),
		}
	}
	for stat, removed := range map[string]int{"+OK 1 16": 1, "+OK 2 32": 0, "+OK": 0} {
		first := session("+OK 2 32", "a", "b")
		first = append(first, pop3test.Expect("RETR 1"), pop3test.SendRaw("+OK\r\nSubject: a\r\n\r\na\r\n.\r\n"), pop3test.Expect("RETR 2"), pop3test.SendRaw("+OK\r\nSubject: b\r\n\r\nb\r\n.\r\n"))
		srv := pop3test.NewScript(t, nil, first, pop3test.Script{pop3test.Welcome("TOP"), pop3test.Expect("STAT"), pop3test.Send("+OK 2 32")}, session(stat, "b"))
		k := &keeper{}
		mustMirror(t, srv.Config(), k)
		mustMirror(t, srv.Config(), k)
		if len(k.all) != 2-removed || k.removed != removed {
			t.Errorf("%s: %d kept, %d removed, want %d removed", stat, len(k.all), k.removed, removed)
		}
	}
}

// A server that gives all messages other UIDLs: each comes again under its new one, and an event says why.
func TestSyncOfChangedUIDLs(t *testing.T) {
	env, events := observed(connection.EventQuirk)
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{FreshUIDL: true}})
	srv.Deliver(letters(5)...)
	k := &keeper{}
	for life := range 3 {
		stats, err := mirror(t, srv.Config(), env, k)
		if err != nil || stats.Added != 5 || len(k.all) != 5 {
			t.Errorf("got %+v, %d kept: %v", stats, len(k.all), err)
		}
		if got := events(); len(got) != min(life, 1) || life > 0 && !strings.HasPrefix(got[0].Detail, "uidl_changed") {
			t.Errorf("got events %v", got)
		}
	}
}
