package gmail

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Who follows a mailbox is woken by news of it, under its id and its address, and by nothing else.
func TestNews(t *testing.T) {
	const pause = time.Hour
	for _, test := range []struct {
		name                 string
		mailbox, told, seen  string
		listened, woken, own bool
	}{
		{name: "by id", mailbox: "1001", told: "8", seen: "7", listened: true, woken: true},
		{name: "by address", mailbox: "Ann@Corp.Example", told: "8", seen: "7", listened: true, woken: true},
		{name: "another mailbox", mailbox: "bob@corp.example", told: "8", seen: "7"},
		{name: "seen already", mailbox: "1001", told: "7", seen: "7", listened: true},
		{name: "shorter and older", mailbox: "1001", told: "99", seen: "100", listened: true},
		{name: "beyond 64 bits", mailbox: "1001", told: "100000000000000000000000", seen: "99999999999999999999999", listened: true, woken: true},
		{name: "nothing seen yet", mailbox: "1001", told: "1", listened: true, woken: true},
		{name: "unknown", mailbox: "1001", seen: "7", listened: true, woken: true},
		{name: "no number", mailbox: "1001", told: "x8", seen: "7", listened: true, woken: true},
		{name: "the only mailbox", told: "8", seen: "7", own: true, listened: true, woken: true},
	} {
		for _, early := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var n news
				b := newBox("1001", "ann@corp.example")
				if test.own {
					b = newBox("", "ann@example.com")
				}
				l := n.listen(b)
				tell := func() {
					if got := n.tell(test.mailbox, test.told); got != test.listened {
						t.Errorf("%s: listened to: got %v, want %v", test.name, got, test.listened)
					}
				}
				began := time.Now()
				if early { // what comes while nobody waits is not lost
					tell()
				} else {
					time.AfterFunc(time.Minute, tell)
				}
				woken, err := l.wait(t.Context(), pause, test.seen)
				if err != nil || woken != test.woken {
					t.Errorf("%s: got %v, %v, want %v", test.name, woken, err, test.woken)
				}
				want := pause
				switch {
				case woken && early:
					want = 0
				case woken:
					want = time.Minute
				}
				if got := time.Since(began); got != want {
					t.Errorf("%s: it waited %s, want %s", test.name, got, want)
				}
				l.close()
				if len(n.by) > 0 || n.tell(test.mailbox, "") {
					t.Errorf("%s: after close there is somebody: %v", test.name, n.by)
				}
			})
		}
	}
}

// All who follow a mailbox are woken; news is told once; ctx ends the wait.
func TestNewsOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n news
		b := newBox("1001", "ann@corp.example")
		one, two := n.listen(b), n.listen(b)
		n.tell("1001", "8")
		n.tell("1001", "9")
		n.tell("1001", "5")
		for _, l := range []*listener{one, two} {
			if woken, err := l.wait(t.Context(), time.Hour, "8"); !woken || err != nil {
				t.Errorf("got %v, %v", woken, err)
			}
			if woken, err := l.wait(t.Context(), time.Hour, "9"); woken || err != nil {
				t.Errorf("the same news again: got %v, %v", woken, err)
			}
		}
		one.close()
		if !n.tell("1001", "10") {
			t.Error("nobody is left")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if woken, err := two.wait(ctx, time.Hour, "10"); woken || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v", woken, err)
		}
		two.close()
	})
}
