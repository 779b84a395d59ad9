package imapclient_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// All that waits is asked for at once, whatever messages_per_cycle is: that is how many are acknowledged together.
func TestFewRoundTrips(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2000)...)
	cfg := srv.Config()
	cfg.MessagesPerCycle = 10
	wantBodies(t, bodies(t, collect(t, open(t, cfg, srv.Env()), nil)), texts(letters(2000))...)
	if n := len(srv.Transcript("UID FETCH")); n != 1 {
		t.Errorf("%d FETCHes, want 1", n)
	}
}

// While it is not known whether Delete can have a session of its own, the window grows slowly, and no further than what
// may have to be kept.
func TestWindowGrows(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(700)...)
	cfg := emptying(srv.Config())
	cfg.MessagesPerCycle = 50
	wantBodies(t, bodies(t, collect(t, open(t, cfg, srv.Env()), nil)), texts(letters(700))...)
	if n := len(srv.Transcript("UID FETCH")); n != 5 { // 50, 100, 200, 250, 100
		t.Errorf("%d FETCHes, want 5", n)
	}
}

// A command line is no longer than servers must take, also where no two UIDs are neighbours.
func TestLongSets(t *testing.T) {
	for name, set := range map[string]func(*imapclient.Config){
		"whole":       func(*imapclient.Config) {},
		"max_message": func(c *imapclient.Config) { c.MaxMessage = 1 << 20 },
		"in chunks":   func(c *imapclient.Config) { c.PartialFetch = true },
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, nil)
			srv.Deliver(letters(3000)...)
			cfg := emptying(srv.Config())
			set(&cfg)
			c := open(t, cfg, srv.Env())
			var odd []connection.Ref
			for i, f := range collect(t, c, nil) {
				if i%2 == 0 {
					odd = append(odd, f.Ref)
				}
			}
			if err := c.Delete(t.Context(), odd...); err != nil {
				t.Fatal(err)
			}
			before := len(srv.Transcript("UID FETCH"))
			if got := len(bodies(t, collect(t, c, nil))); got != 1500 {
				t.Errorf("got %d messages, want 1500", got)
			}
			lines := srv.Transcript("UID FETCH")[before:]
			if len(lines) < 3 {
				t.Errorf("%d FETCHes, want several", len(lines))
			}
			for _, line := range lines {
				if n := len(fmt.Sprint(line)); n > 8192 {
					t.Errorf("a command of %d octets", n)
				}
			}
		})
	}
}

// Whatever form bodies come in, and whatever size, the messages come in order and whole.
func TestBodiesOfAllKindsInOrder(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 40<<10) // read by the caller
	date := `INTERNALDATE "17-Jul-2024 02:44:25 +0000"`
	fetch, ok := imaptest.Expect("UID FETCH"), imaptest.Send("$TAG OK done")
	last := []string{
		`* 6 FETCH (UID 6 BODY[] ""` + `)`,
		`* 7 FETCH (UID 7 BODY[] ` + literal("") + `)`,
		`* 8 FETCH (uid 8 body[] ` + literal(big) + `)`,
	}
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure}, served("1 2 3 4 5 6 7 8", fetch, imaptest.Send(
		`* 1 FETCH (UID 1 FLAGS (\seen $Junk \Recent) `+date+` BODY[] `+literal("one")+`)`,
		`* 2 FETCH (UID 2 FLAGS () `+date+` BODY[] "two \"2\" \\")`,
		`* 2 FETCH (FLAGS (\Seen))`,
		`* 3 FETCH (UID 3 `+date+` BODY[] `+literal(big)+` FLAGS ())`,
		`* 4 FETCH (UID 4 `+date+` BODY[] `+literal("four")+`)`,
		`* 5 FETCH (BODY[] `+literal("five")+` FLAGS (\Answered) UID 5)`,
		`* 5 EXISTS`,
		`* 4 FETCH (UID 4 BODY[] `+literal("four again")+`)`,
		`* 9 FETCH (UID 9 BODY[] `+literal("not asked for")+`)`,
	), imaptest.Send(last...), ok, imaptest.Expect("UID SEARCH UID 6:8 SMALLER 1"), imaptest.Send("* SEARCH 6 7"), ok, fetch, imaptest.Send(last...), ok))
	all := collect(t, open(t, srv.Config(), srv.Env()), nil)
	wantBodies(t, bodies(t, all), "one", `two "2" \`, big, "four", "five", "", "", big)
	if len(all) == 8 {
		if got := all[0].Message.Flags; !slices.Equal(got, []connection.Flag{connection.FlagSeen, "$Junk"}) {
			t.Errorf("got flags %v", got)
		}
		if got := all[4].Message.Flags; !slices.Equal(got, []connection.Flag{connection.FlagAnswered}) {
			t.Errorf("got flags %v behind the body", got)
		}
		if all[0].Message.Received.Unix() != 1721184265 {
			t.Errorf("got date %v", all[0].Message.Received)
		}
	}
}

// A small body is not handed over before the server's next response has begun well: had it been announced too short, the
// rest of the message would stand there.
func TestShortLiteralIsNoMessage(t *testing.T) {
	fetch, ok := imaptest.Expect("UID FETCH"), imaptest.Send("$TAG OK done")
	whole := "half of it)\r\nand the other half"
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure},
		served("1", fetch, imaptest.Send(`* 1 FETCH (UID 1 BODY[] {10}`+"\r\n"+whole+")"), ok),
		again(imaptest.Expect("UID SEARCH"), imaptest.Send("* SEARCH 1"), ok, fetch, imaptest.Send(reply(1, whole)), ok),
	)
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), srv.Env()), nil)), whole)
}

// When the second session is refused only in the middle of a long FETCH, that FETCH is given up instead of keeping all
// that is on its way: every message still comes once, and Delete has its turn.
func TestLongFetchYieldsItsSession(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	want := make([][]byte, 1600)
	for i := range want {
		want[i] = fmt.Appendf(nil, "Subject: %d\r\n\r\n%s", i, strings.Repeat("0123456789abcdef", 2<<10))
	}
	srv.Deliver(want...)
	c := open(t, emptying(srv.Config()), srv.Env())
	var got []string
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(raw))
		switch len(got) {
		case 1: // there are two sessions
			if err := c.Delete(t.Context(), m.Ref); err != nil {
				t.Fatal(err)
			}
		case 800: // there is only one from now on
			srv.Drop("UID STORE", 1)
			srv.Fail("AUTHENTICATE", "NO [LIMIT] too many connections", 1)
			wantKind(t, c.Delete(t.Context(), m.Ref), connection.ErrUncertain)
			if err := c.Delete(t.Context(), m.Ref); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantBodies(t, got, texts(want)...)
	if n := len(srv.Messages()); n != 1598 {
		t.Errorf("%d messages left, want 1598", n)
	}
	sizes := make(map[int]int)
	for _, cmd := range srv.Transcript("UID FETCH") {
		sizes[cmd.Conn]++
	}
	if len(sizes) != 2 {
		t.Errorf("FETCH on %d connections, want 2: %v", len(sizes), sizes)
	}
}
