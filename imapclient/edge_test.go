package imapclient_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

const caps = "IMAP4rev1 UIDPLUS"

// served plays a session that finds the messages of search and then does steps.
func served(search string, steps ...imaptest.Step) imaptest.Script {
	n := uint32(len(strings.Fields(search)))
	return append(imaptest.Script{
		imaptest.Welcome(caps), imaptest.Select(max(n, 1), 7, 100),
		imaptest.Expect("UID SEARCH"), imaptest.Send(strings.TrimSpace("* SEARCH "+search), "$TAG OK done"),
	}, steps...)
}

// again plays a second session, on which only fetches follow.
func again(steps ...imaptest.Step) imaptest.Script {
	return append(imaptest.Script{imaptest.Welcome(caps), imaptest.Select(1, 7, 100)}, steps...)
}

func reply(uid int, body string) string {
	return fmt.Sprintf("* %d FETCH (UID %d FLAGS () INTERNALDATE \"17-Jul-2024 02:44:25 +0000\" BODY[] %s)", uid, uid, literal(body))
}

// TestEdges are the cases of imap.md, section 15, in which the server's answer to FETCH is odd.
func TestEdges(t *testing.T) {
	ok := imaptest.Send("$TAG OK done")
	fetch := imaptest.Expect("UID FETCH")
	gone := func(left string) imaptest.Step {
		return imaptest.Do(imaptest.Expect("UID SEARCH"), imaptest.Send(strings.TrimSpace("* SEARCH "+left), "$TAG OK done"))
	}
	refused := imaptest.Do(imaptest.Expect("UID SEARCH"), imaptest.Send("$TAG BAD no such key"))
	empties := imaptest.Send(`* 1 FETCH (UID 1 BODY[] "")`, "* 2 FETCH (UID 2 BODY[] {0}\r\n)", `* 3 FETCH (UID 3 BODY[] "three")`)
	hollow := imaptest.Send("* 1 FETCH (UID 1 BODY[] {0}\r\n)", reply(2, "two"), reply(3, "three"))
	for _, test := range []struct {
		name    string
		scripts []imaptest.Script
		want    []string
		err     connection.Kind // of one item; 0 = none
	}{
		{"1 vanished before FETCH", []imaptest.Script{served("1 2", fetch, imaptest.Send(reply(2, "two")), ok, gone(""))}, []string{"two"}, 0},
		{"2 NIL body and EXPUNGEISSUED", []imaptest.Script{
			served("1 2", fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)", reply(2, "two"), "$TAG OK [EXPUNGEISSUED] done"), gone("")),
		}, []string{"two"}, 0},
		{"2 NIL body of a message that is there", []imaptest.Script{
			served("1", fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)"), ok, gone("1"), fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)"), ok),
			again(fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)"), ok),
			again(fetch, imaptest.Send(reply(1, "one")), ok),
		}, []string{"one"}, 0},
		{"2 NIL body for ever", []imaptest.Script{
			served("1 2", fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)", reply(2, "two")), ok, gone("1"), fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)"), ok),
			again(fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)"), ok),
			again(fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] NIL)"), ok, gone("1")),
		}, []string{"two"}, connection.ErrProtocol},
		{"3 literal longer than what is sent, then close", []imaptest.Script{
			served("1 2", fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Cut()),
			again(fetch, imaptest.Send(reply(1, "one"), reply(2, "two")), ok),
		}, []string{"one", "two"}, 0},
		{"3 literal longer than what is sent, each time", []imaptest.Script{
			served("1 2", fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Cut()),
			again(fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Cut()),
			again(gone("1 2"), fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Cut()),
			again(fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Cut()),
			again(fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {1000}\r\nshort"), imaptest.Cut()),
			again(gone("1"), fetch, imaptest.Send(reply(2, "two")), ok),
		}, []string{"two"}, connection.ErrNetwork},
		{"5 literal too short", []imaptest.Script{
			served("1 2", fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] {3}\r\none: and\r\nmore)", reply(2, "two")), ok),
			again(gone("1 2"), fetch, imaptest.Send(reply(1, "one: and\r\nmore")), ok, fetch, imaptest.Send(reply(2, "two")), ok),
		}, []string{"one: and\r\nmore", "two"}, 0},
		{"5 literal too short, the rest on its line", []imaptest.Script{
			served("1 2", fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {3}\r\none and more)\r\n"), imaptest.Send(reply(2, "two")), ok),
			again(gone("1 2"), fetch, imaptest.Send(reply(1, "one and more")), ok, fetch, imaptest.Send(reply(2, "two")), ok),
		}, []string{"one and more", "two"}, 0},
		{"5 literal too short, the rest like items", []imaptest.Script{
			served("1", fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {3}\r\none UID more)\r\n"), ok),
			again(gone("1"), fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {3}\r\none FLAGS (\\Seen) BODY[] {4}\r\nmore)\r\n"), ok),
			again(fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {3}\r\none) and more)\r\n"), ok),
			again(fetch, imaptest.SendRaw("* 1 FETCH (UID 1 BODY[] {3}\r\none)and more)\r\n"), ok),
			again(gone("1")),
		}, nil, connection.ErrProtocol},
		{"5 a quoted body with quotes in it", []imaptest.Script{
			served("1", fetch, imaptest.Send(`* 1 FETCH (UID 1 BODY[] "one "and" more")`), ok),
			again(gone("1"), fetch, imaptest.Send(reply(1, `one "and" more`)), ok),
		}, []string{`one "and" more`}, 0},
		{"items behind the body", []imaptest.Script{
			served("1", fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] "+literal("one")+` FLAGS (\Seen) MODSEQ (12) RFC822.SIZE -1 INTERNALDATE NIL X-GM-MSGID 1278455344230334865 X-GM-LABELS (\Inbox "a b"))`), ok),
		}, []string{"one"}, 0},
		{"6 UID after BODY", []imaptest.Script{
			served("1 2", fetch, imaptest.Send("* 1 FETCH (BODY[] "+literal("one")+" UID 1)", "* 2 FETCH (BODY[] "+literal("two")+" FLAGS () UID 2)"), ok),
		}, []string{"one", "two"}, 0},
		{"7 flags first, body second", []imaptest.Script{
			served("1", fetch, imaptest.Send(`* 1 FETCH (UID 1 FLAGS (\Seen))`, reply(1, "one")), ok),
		}, []string{"one"}, 0},
		{"8 the same UID twice", []imaptest.Script{
			served("1 2", fetch, imaptest.Send(reply(1, "one"), reply(1, "one"), reply(2, "two")), ok),
		}, []string{"one", "two"}, 0},
		{"quoted and empty bodies", []imaptest.Script{
			served("1 2 3", fetch, empties, ok, imaptest.Expect("UID SEARCH UID 1:3 SMALLER 1"), imaptest.Send("* SEARCH 1 2"), ok, fetch, empties, ok),
		}, []string{"", "", "three"}, 0},
		{"empty bodies of messages that are not", []imaptest.Script{
			served("1 2 3", fetch, hollow, ok, gone(""), fetch, hollow, ok, gone("1"), gone(""), fetch, imaptest.Send(`* 1 FETCH (UID 1 BODY[] "")`), ok),
			again(gone(""), fetch, imaptest.Send(`* 1 FETCH (UID 1 BODY[] "")`), ok),
			again(gone(""), fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[] {0}\r\n)"), ok, gone("1")),
		}, []string{"two", "three"}, connection.ErrProtocol},
		{"an empty body, where the server cannot be asked", []imaptest.Script{
			served("1 2", fetch, imaptest.Send(`* 1 FETCH (UID 1 BODY[] "")`, reply(2, "two")), ok, refused, fetch, imaptest.Send(`* 1 FETCH (UID 1 BODY[] "")`, reply(2, "two")), ok,
				gone("1"), refused, fetch, imaptest.Send(reply(1, "one")), ok),
		}, []string{"two", "one"}, 0},
		{"INTERNALDATE NIL", []imaptest.Script{
			served("1", fetch, imaptest.Send("* 1 FETCH (UID 1 INTERNALDATE NIL BODY[] {3}\r\none)"), ok),
		}, []string{"one"}, 0},
		{"14 UIDs in descending order", []imaptest.Script{
			served("3 2 1", fetch, imaptest.Send(reply(1, "one"), reply(2, "two"), reply(3, "three")), ok),
		}, []string{"one", "two", "three"}, 0},
		{"18 UIDs above 2^31", []imaptest.Script{
			served("4294967295", fetch, imaptest.Send("* 1 FETCH (UID 4294967295 BODY[] {3}\r\nbig)"), ok),
		}, []string{"big"}, 0},
		{"19 BYE in the middle of FETCH", []imaptest.Script{
			served("1 2", fetch, imaptest.Send(reply(1, "one"), "* BYE going down for a moment"), imaptest.Cut()),
			again(fetch, imaptest.Send(reply(1, "one"), reply(2, "two")), ok),
		}, []string{"one", "two"}, 0},
		{"20 throttled in words", []imaptest.Script{
			served("1", fetch, imaptest.Send("$TAG BAD Request is throttled. Suggested Backoff Time: 20 milliseconds"), fetch, imaptest.Send(reply(1, "one")), ok),
		}, []string{"one"}, 0},
		{"NO for one message", []imaptest.Script{
			served("1 2", fetch, imaptest.Send(reply(2, "two"), "$TAG NO some could not be fetched"), gone("1"), fetch, imaptest.Send("$TAG NO [CORRUPTION] cannot read it")),
			again(fetch, imaptest.Send("$TAG NO [CORRUPTION] cannot read it")),
			again(fetch, imaptest.Send("$TAG NO [CORRUPTION] cannot read it"), gone("1")),
		}, []string{"two"}, connection.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure}, test.scripts...)
			cfg := srv.Config()
			cfg.AllowPlaintextAuth = true
			c := open(t, cfg, srv.Env())
			var got []string
			failed := 0
			for _, f := range collect(t, c, nil) {
				switch {
				case f.Err == nil && f.BodyErr == nil:
					got = append(got, f.Raw)
				case f.BodyErr != nil:
					t.Errorf("a body that was handed over ended in %v", f.BodyErr)
				case test.err == 0 || !errors.Is(f.Err, test.err) || f.Ref.ID != "7:1":
					t.Errorf("got %v, want %v for 7:1", f.Err, test.err)
				default:
					failed++
				}
			}
			wantBodies(t, got, test.want...)
			if want := min(int(test.err), 1); failed != want {
				t.Errorf("got %d item errors, want %d", failed, want)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A large body is read from the connection: what breaks there must not look like its end.
func TestLargeBodyCut(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 64<<10)
	head := fmt.Sprintf("* 1 FETCH (UID 1 INTERNALDATE \"17-Jul-2024 02:44:25 +0000\" BODY[] {%d}\r\n", len(big))
	for _, test := range []struct {
		name string
		sent string
		kind connection.Kind
	}{
		{"in the middle", head + big[:len(big)/2], connection.ErrNetwork},
		{"after the last octet", head + big, connection.ErrNetwork},
		{"announced too short", head + big + ": and\r\nmore)\r\n", connection.ErrProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewScript(t, nil,
				served("1 2", imaptest.Expect("UID FETCH"), imaptest.SendRaw(test.sent), imaptest.Cut()),
				again(imaptest.Answer("UID SEARCH", "* SEARCH 2", "$TAG OK done"), imaptest.Expect("UID FETCH 2"), imaptest.Send(reply(2, "two"), "$TAG OK done")),
			)
			all := collect(t, open(t, srv.Config(), srv.Env()), nil)
			if len(all) != 2 || all[1].Raw != "two" {
				t.Fatalf("got %d items, want the large one and the other", len(all))
			}
			e := theError(t, all[0].BodyErr, test.kind)
			if e.Ref != all[0].Ref || e.Ref.ID != "7:1" {
				t.Errorf("got an error for %v, want one for 7:1", e.Ref)
			}
			if errors.Is(all[0].BodyErr, io.EOF) {
				t.Error("the error is io.EOF")
			}
		})
	}
}

// 20, 21: what the server says when it wants us to come back later is ErrThrottled, with its time, and no login loop.
func TestThrottledLogin(t *testing.T) {
	for _, words := range []string{
		"$TAG NO [LIMIT] too many connections",
		"$TAG NO [UNAVAILABLE] Server Unavailable. 90",
		"$TAG BAD User is authenticated but not connected.",
	} {
		srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Repeat: true, Lenient: true}, imaptest.Script{
			imaptest.Welcome(caps), imaptest.Answer("SELECT", words),
		})
		cfg := emptying(srv.Config())
		all := collect(t, open(t, cfg, srv.Env()), nil)
		if len(all) != 1 {
			t.Fatalf("%s: got %d items, want one error", words, len(all))
		}
		e := theError(t, all[0].Err, connection.ErrThrottled)
		if strings.Contains(words, "90") && e.RetryAfter.Seconds() != 90 {
			t.Errorf("%s: got %v, want 90s", words, e.RetryAfter)
		}
		if n := len(srv.Transcript("LOGIN", "AUTHENTICATE")); n > 6 {
			t.Errorf("%s: %d logins", words, n)
		}
	}
}

// A refused login is final: trying again locks accounts.
func TestWrongPasswordOnce(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	cfg := srv.Config()
	cfg.Password = connection.NewSecret("wrong")
	for _, follow := range []bool{false, true} {
		before := len(srv.Transcript("LOGIN", "AUTHENTICATE"))
		all := collect(t, open(t, cfg, srv.Env()), &connection.FetchOptions{Follow: follow})
		if len(all) != 1 {
			t.Fatalf("got %d items, want one error", len(all))
		}
		if e := theError(t, all[0].Err, connection.ErrAuth); !strings.Contains(e.Hint, "password") {
			t.Errorf("the hint does not name the setting: %q", e.Hint)
		}
		if n := len(srv.Transcript("LOGIN", "AUTHENTICATE")) - before; n != 1 {
			t.Errorf("follow %v: %d logins, want 1", follow, n)
		}
	}
}

// 19, 20: a login that is refused for now is ErrThrottled and is not tried at once again; what a BYE says is told.
func TestTurnedAway(t *testing.T) {
	for _, test := range []struct{ name, greeting, reply, words string }{
		{"LIMIT at the login", "* OK [CAPABILITY " + caps + "] hi", "$TAG NO [LIMIT] Maximum number of connections from user+IP exceeded", ""},
		{"UNAVAILABLE at the login", "* OK [CAPABILITY " + caps + "] hi", "$TAG NO [UNAVAILABLE] Maximum number of connections exceeded", ""},
		{"BYE at the login", "* OK [CAPABILITY " + caps + "] hi", "* BYE Too many connections", "BYE Too many connections"},
		{"BYE instead of a greeting", "* BYE Too many connections", "", "BYE Too many connections"},
	} {
		t.Run(test.name, func(t *testing.T) {
			script := imaptest.Script{imaptest.Send(test.greeting)}
			if test.reply != "" {
				script = append(script, imaptest.Expect("LOGIN"), imaptest.Send(test.reply))
			}
			srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Repeat: true, Lenient: true}, append(script, imaptest.Cut()))
			var said []string
			env := *srv.Env()
			env.Observe = func(ev connection.Event) {
				if ev.Kind == connection.EventNotice {
					said = append(said, ev.Detail)
				}
			}
			_, err := open(t, srv.Config(), &env).Test(t.Context(), nil)
			wantKind(t, err, connection.ErrThrottled)
			if test.words != "" && (len(said) == 0 || !strings.Contains(said[0], test.words)) {
				t.Errorf("the events tell %q, want %q", said, test.words)
			}
			if n := len(srv.Transcript("LOGIN")); n > 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
}
