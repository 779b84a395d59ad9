package imapclient_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

const chunk = 4096

// chunked returns a Config that reads in small chunks.
func chunked(cfg imapclient.Config) imapclient.Config {
	cfg.PartialFetch, cfg.ChunkSize = true, chunk
	return cfg
}

// text returns n octets that do not repeat soon.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i*i)
	}
	return b.String()[:n]
}

// Whatever a server makes of partial fetches, each message arrives bit by bit.
func TestPartialFetch(t *testing.T) {
	var raw [][]byte
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3*chunk + 7, 300_000} {
		raw = append(raw, []byte(text(n)))
	}
	raw = append(raw, []byte(strings.Repeat(text(chunk), 3))) // chunks that are all the same
	for _, test := range []struct {
		name   string
		quirks imaptest.Quirks
		most   int // sessions
	}{
		{"a good server", imaptest.Quirks{}, 0},
		{"one session", imaptest.Quirks{}, 1},
		{"UID last", imaptest.Quirks{UIDLast: true}, 0},
		{"flags first", imaptest.Quirks{FlagsFirst: true}, 0},
		{"no partial fetch", imaptest.Quirks{IgnorePartial: true}, 0},
		{"no partial fetch, UID last", imaptest.Quirks{IgnorePartial: true, UIDLast: true}, 0},
		{"size three times", imaptest.Quirks{Size: func(n int64) int64 { return 3*n + 1 }}, 0},
		{"size a third", imaptest.Quirks{Size: func(n int64) int64 { return n / 3 }}, 0},
		{"size 0", imaptest.Quirks{Size: func(int64) int64 { return 0 }}, 0},
		{"size -1", imaptest.Quirks{Size: func(int64) int64 { return -1 }}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Quirks: test.quirks, MaxSessions: test.most})
			srv.Deliver(raw...)
			cfg := emptying(chunked(srv.Config()))
			cfg.MaxSessions = test.most
			c := open(t, cfg, srv.Env())
			var got []string
			for m, err := range c.Fetch(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				octets, err := io.ReadAll(m.Body)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(octets))
				if err := c.Delete(t.Context(), m.Ref); err != nil {
					t.Fatal(err)
				}
			}
			wantBodies(t, got, texts(raw)...)
			if n := len(srv.Messages()); n != 0 {
				t.Errorf("%d are left", n)
			}
		})
	}
}

// A message goes on where it was when the connection broke, however often that happens.
func TestPartialResume(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	whole := text(300_000)
	srv.Deliver([]byte(whole))
	for range 4 {
		srv.CutAfter(60_000)
	}
	all := collect(t, open(t, chunked(srv.Config()), srv.Env()), nil)
	wantBodies(t, bodies(t, all), whole)
	asked := map[string]int{}
	for _, c := range srv.Transcript("UID FETCH") {
		_, part, _ := strings.Cut(c.Args, "BODY.PEEK[]")
		asked[part]++
	}
	for part, n := range asked {
		if n > 2 && !strings.HasPrefix(part, "<0.1024>") {
			t.Errorf("%s was asked for %d times", part, n)
		}
	}
	if asked["<0.1024>)"] != 4 {
		t.Errorf("the message was recognized %d times, want 4: %v", asked["<0.1024>)"], asked)
	}
}

func part(origin, text string) string {
	return "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 9000 BODY[]" + origin + " " + literal(text) + ")"
}

// 10, 11, 12 and what else 10.2 says of the replies to partial fetches.
func TestPartialReplies(t *testing.T) {
	whole := text(2*chunk + 100)
	first, second, third := whole[:chunk], whole[chunk:2*chunk], whole[2*chunk:]
	ok := imaptest.Send("$TAG OK done")
	ask := func(offset int, replies ...string) imaptest.Step {
		return imaptest.Do(imaptest.ExpectRegexp(fmt.Sprintf(`FETCH 1 .*BODY\.PEEK\[\]<%d\.`, offset)), imaptest.Send(replies...), ok)
	}
	search := func(found string) imaptest.Step {
		return imaptest.Do(imaptest.Expect("UID SEARCH UID 1"), imaptest.Send(strings.TrimSpace("* SEARCH "+found), "$TAG OK done"))
	}
	full := imaptest.Do(imaptest.ExpectRegexp(`FETCH 1 .*BODY\.PEEK\[\]\)`), imaptest.Send(reply(1, whole)), ok)
	for _, test := range []struct {
		name    string
		scripts []imaptest.Script
		err     connection.Kind // of the body; 0 = none
	}{
		{"in order", []imaptest.Script{served("1", ask(0, part("<0>", first)), ask(chunk, part("<4096>", second)), ask(2*chunk, part("<8192>", third)), ask(len(whole), part("<8292>", "")), search("1"))}, 0},
		{"the offset is not repeated", []imaptest.Script{
			served("1", ask(0, part("", first)), ask(0, part("", first[:chunk/2])), ask(chunk, part("", second)), ask(2*chunk, part("", third)), ask(len(whole), part("", "")), search("1")),
		}, 0},
		{"10 the reply is the whole message", []imaptest.Script{served("1", ask(0, reply(1, whole)))}, 0},
		{"10 the reply to a later chunk is the whole message", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), ask(chunk, reply(1, whole))),
		}, 0},
		{"10 and another one", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), ask(chunk, reply(1, strings.ToUpper("x"+whole)))),
		}, connection.ErrChanged},
		{"11 longer than asked, and the next confirms", []imaptest.Script{
			served("1", ask(0, part("<0>", whole[:chunk+10])), ask(chunk, part("<4096>", whole[chunk:2*chunk+10])), ask(2*chunk, part("<8192>", third)), ask(len(whole), part("<8292>", "")), search("1")),
		}, 0},
		{"11 longer than asked, and the next does not confirm", []imaptest.Script{
			served("1", ask(0, part("<0>", first+"not what follows")), ask(chunk, part("<4096>", second)), full),
		}, 0},
		{"11 the same behind the first chunk", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), ask(chunk, part("<4096>", second+"not what follows")), ask(2*chunk, part("<8192>", third)), full),
		}, 0},
		{"12 NIL at the end", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), ask(chunk, part("<4096>", second)), ask(2*chunk, part("<8192>", third)), ask(len(whole), "* 1 FETCH (UID 1 BODY[]<8292> NIL)"), search("1")),
		}, 0},
		{"12 NIL since it was removed", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), ask(chunk, "* 1 FETCH (UID 1 BODY[]<4096> NIL)"), search("")),
		}, connection.ErrNotFound},
		{"no reply since it was removed", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), ask(chunk)),
		}, connection.ErrProtocol},
		{"smaller chunks than asked for", []imaptest.Script{
			served("1", ask(0, part("<0>", whole[:3000])), ask(3000, part("<3000>", whole[3000:6000])), ask(6000, part("<6000>", whole[6000:])), ask(len(whole), part("<8292>", "")), search("1")),
		}, 0},
		{"another offset than asked for", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), imaptest.Expect("UID FETCH"), imaptest.Send(part("<1>", second))),
			again(ask(0, part("<0>", whole[:1024])), ask(chunk, part("<4096>", second)), ask(2*chunk, part("<8192>", third)), ask(len(whole), part("<8292>", "")), search("1")),
		}, 0},
		{"cut, and the same message behind it", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), imaptest.Expect("UID FETCH"), imaptest.SendRaw("* 1 FETCH (UID 1 BODY[]<4096> {4096}\r\nhalf"), imaptest.Cut()),
			again(ask(0, part("<0>", whole[:1024])), ask(chunk, part("<4096>", second)), ask(2*chunk, part("<8192>", third)), ask(len(whole), part("<8292>", "")), search("1")),
		}, 0},
		{"cut, and another message behind it", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), imaptest.Expect("UID FETCH"), imaptest.Cut()),
			again(ask(0, part("<0>", strings.ToUpper("x" + whole)[:1024]))),
		}, connection.ErrChanged},
		{"cut, and another UIDVALIDITY behind it", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), imaptest.Expect("UID FETCH"), imaptest.Cut()),
			{imaptest.Welcome(caps), imaptest.Answer("UID SEARCH", "* SEARCH", "$TAG OK done"), imaptest.Answer("EXAMINE", "* 0 EXISTS", "* OK [UIDVALIDITY 8] valid", "$TAG OK [READ-ONLY] done")},
		}, connection.ErrStale},
		{"refused in the middle", []imaptest.Script{
			served("1", ask(0, part("<0>", first)), imaptest.Expect("UID FETCH"), imaptest.Send("$TAG NO [CORRUPTION] cannot read it")),
		}, connection.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure}, test.scripts...)
			all := collect(t, open(t, chunked(srv.Config()), srv.Env()), nil)
			if len(all) != 1 || all[0].Err != nil {
				t.Fatalf("got %d items, %v", len(all), all)
			}
			if test.err == 0 {
				wantBodies(t, bodies(t, all), whole)
				return
			}
			if e := theError(t, all[0].BodyErr, test.err); e.Ref.ID != "7:1" {
				t.Errorf("got an error for %v, want one for 7:1", e.Ref)
			}
			if !strings.HasPrefix(whole, all[0].Raw) {
				t.Error("what came before the error is not the message's")
			}
		})
	}
}

// A first chunk that does not come, or says nothing, is never an empty message.
func TestPartialFirstChunk(t *testing.T) {
	ok := imaptest.Send("$TAG OK done")
	fetch := imaptest.Expect("UID FETCH")
	found := imaptest.Do(imaptest.Expect("UID SEARCH"), imaptest.Send("* SEARCH 1", "$TAG OK done"))
	for _, test := range []struct {
		name  string
		steps []imaptest.Step
	}{
		{"NIL", []imaptest.Step{fetch, imaptest.Send("* 1 FETCH (UID 1 BODY[]<0> NIL)"), ok, found}},
		{"no reply", []imaptest.Step{fetch, ok, found}},
		{"empty, but with a size", []imaptest.Step{fetch, imaptest.Send(`* 1 FETCH (UID 1 RFC822.SIZE 3 BODY[]<0> "")`), ok}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewScript(t, nil, served("1", append(test.steps, fetch, imaptest.Send(reply(1, "one")), ok)...))
			wantBodies(t, bodies(t, collect(t, open(t, chunked(srv.Config()), srv.Env()), nil)), "one")
		})
	}
}

// max_message holds for what comes, whatever the server says of the size.
func TestPartialTooLarge(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Quirks: imaptest.Quirks{Size: func(int64) int64 { return 100 }}})
	srv.Deliver([]byte(text(3*chunk)), []byte("small"))
	cfg := chunked(srv.Config())
	cfg.MaxMessage = 2 * chunk
	all := collect(t, open(t, cfg, srv.Env()), &connection.FetchOptions{Skip: func(connection.Ref) bool { return false }})
	if len(all) != 2 || all[1].Raw != "small" {
		t.Fatalf("got %d items", len(all))
	}
	err := all[0].Err
	if err == nil {
		err = all[0].BodyErr
	}
	wantKind(t, err, connection.ErrTooLarge)
}

// Leaving the loop, or the next step, in the middle of a message ends nothing but that message.
func TestPartialUnread(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte(text(9*chunk)), []byte(text(9*chunk)), []byte(text(9*chunk)))
	c := open(t, chunked(srv.Config()), srv.Env())
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for m, err := range c.Fetch(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(m.Body, make([]byte, n*chunk)); err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("got %d messages, want 3", n)
	}
	m, err := c.Open(ctx, refs(t, c)[0])
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(m.Body); err != nil || string(raw) != text(9*chunk) {
		t.Errorf("got %d octets, %v", len(raw), err)
	}
	if closer, ok := m.Body.(io.Closer); !ok || closer.Close() != nil {
		t.Error("the body cannot be closed")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	noGoroutines(t)
}
