package imapclient_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// crowd serves a folder of so many messages, UIDs 1 to n, over a pipe, and keeps none of them. It counts what is asked.
type crowd struct {
	n        int
	searches [][2]int // the UIDs asked for
	fetched  int
}

var uidRange = regexp.MustCompile(`UID (?:SEARCH UID|FETCH) (\d+):?(\d*|\*)[ ,]?`)

func (c *crowd) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client is gone then
	w := bufio.NewWriterSize(conn, 64<<10)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\r\n", args...) } // Flush tells
	say("* PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] hi")
	for lines := bufio.NewScanner(conn); w.Flush() == nil && lines.Scan(); {
		tag, command, _ := strings.Cut(lines.Text(), " ")
		lo, hi := 0, 0
		if m := uidRange.FindStringSubmatch(command); m != nil {
			lo, _ = strconv.Atoi(m[1])
			if hi, _ = strconv.Atoi(m[2]); m[2] == "*" {
				hi = c.n
			}
			hi = min(max(lo, hi), c.n)
		}
		switch {
		case strings.HasPrefix(command, "EXAMINE"), strings.HasPrefix(command, "SELECT"):
			say("* %d EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT %d] x", c.n, c.n+1)
		case strings.HasPrefix(command, "UID SEARCH"):
			c.searches = append(c.searches, [2]int{lo, hi})
			_, _ = w.WriteString("* SEARCH")
			for uid := lo; uid <= hi; uid++ {
				_, _ = fmt.Fprintf(w, " %d", uid)
			}
			say("")
		case strings.HasPrefix(command, "UID FETCH"):
			for uid := lo; uid <= hi; uid++ {
				c.fetched++
				say(`* %d FETCH (UID %[1]d FLAGS () INTERNALDATE "17-Jul-2024 02:44:25 +0000" BODY[] {%d}`+"\r\n%[1]d)", uid, len(strconv.Itoa(uid)))
			}
		}
		say("%s OK done", tag)
	}
}

// 13: a folder of a million messages is looked at in windows: the first message comes at once, and little is kept of
// the others.
func TestMillionMessages(t *testing.T) {
	const n, want = 1_000_000, 25_000
	c := &crowd{n: n}
	env := &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go c.serve(far)
		return near, nil
	}}
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure, Lenient: true})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, began, got := heap(), time.Now(), 0
	for m, err := range open(t, srv.Config(), env).Fetch(t.Context(), &connection.FetchOptions{Limit: want}) {
		if err != nil {
			t.Fatal(err)
		}
		if got++; got == 1 {
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("the first message came after %v", took)
			}
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil || string(raw) != strconv.Itoa(got) {
			t.Fatalf("message %d: got %q, %v", got, raw, err)
		}
		if got == want {
			if more := int64(heap()) - int64(before); more > 16<<20 {
				t.Errorf("%d octets more of memory in use", more)
			}
		}
	}
	if got != want {
		t.Errorf("got %d messages, want %d", got, want)
	}
	for _, asked := range c.searches {
		if asked[1]-asked[0] >= 5_000 {
			t.Errorf("one SEARCH asked for the UIDs %d to %d", asked[0], asked[1])
		}
	}
	if most := want + 5_000; c.fetched > most || len(c.searches) > most/5_000 {
		t.Errorf("%d messages were asked for in %d searches, to read %d", c.fetched, len(c.searches), want)
	}
}

// A long first Sync costs few round trips, and one that is broken off goes on behind its last Checkpoint: each message is
// told, and at most 500 of them twice.
func TestSyncLargeFolder(t *testing.T) {
	const n = 1800
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(n)...)
	c := open(t, srv.Config(), nil)
	seen := map[connection.Ref]int{}
	var last connection.Checkpoint
	checkpoints, told := 0, 0
	run := func(most int) {
		for change, err := range c.Sync(t.Context(), last, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if change.Op == connection.Added {
				if _, err := io.Copy(io.Discard, change.Message.Body); err != nil {
					t.Fatal(err)
				}
				seen[change.Ref]++
				told++
			}
			if change.Checkpoint != "" {
				last = change.Checkpoint
				checkpoints++
			}
			if told == most {
				return
			}
		}
	}
	run(1300)
	if checkpoints < 2 {
		t.Errorf("%d Checkpoints in %d messages", checkpoints, told)
	}
	run(n + 501)
	if len(seen) != n || told > n+500 {
		t.Errorf("%d messages were told of %d, %d times", len(seen), n, told)
	}
	if fetches := len(srv.Transcript("UID FETCH")); fetches > 8 {
		t.Errorf("%d FETCHes for %d messages", fetches, told)
	}
}

// A server that never stops talking does not keep a command alive.
func TestEndlessWords(t *testing.T) {
	for _, words := range []string{"* OK [ALERT] still here\r\n", "\r\n", "* 1 EXISTS\r\n"} {
		srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Lenient: true, Repeat: true}, imaptest.Script{
			imaptest.Welcome(caps), imaptest.Expect("EXAMINE"), imaptest.SendRaw(strings.Repeat(words, 11_000)), imaptest.Stall(),
		})
		_, err := open(t, srv.Config(), srv.Env()).Test(t.Context(), nil)
		if e := theError(t, err, connection.ErrProtocol); !strings.Contains(e.Error(), "answer nothing") {
			t.Errorf("%q: got %v", words, err)
		}
	}
}

// 17: what was marked in an earlier life of the folder is not expunged in the next one, where its UIDs are others'.
func TestRenumberedBeforeExpunge(t *testing.T) {
	for _, reconnect := range []bool{false, true} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver(letters(3)...)
		cfg := srv.Config()
		cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 500
		c := open(t, cfg, nil)
		if err := c.Delete(t.Context(), refs(t, c)[0]); err != nil {
			t.Fatal(err)
		}
		srv.BumpUIDValidity()
		if reconnect {
			srv.CloseConnections()
		}
		if got := bodies(t, collect(t, c, nil)); len(got) != 3 {
			t.Errorf("got %d messages, want all, under their new UIDs", len(got))
		}
		if err := c.Close(); err != nil {
			t.Errorf("reconnect %t: %v", reconnect, err)
		}
		if left, sent := len(srv.Messages()), srv.Transcript("EXPUNGE", "UID EXPUNGE"); left != 3 || len(sent) > 0 {
			t.Errorf("reconnect %t: %d messages are left, and %v was sent", reconnect, left, sent)
		}
	}
}

// 26: INBOX is there also where LIST leaves it out or has it in other letters, and any spelling means it.
func TestInbox(t *testing.T) {
	for name, quirks := range map[string]imaptest.Quirks{"listed": {}, "not listed": {InboxUnlisted: true}} {
		srv := imaptest.NewServer(t, &imaptest.Options{Quirks: quirks, Folders: []imaptest.Folder{{Name: "Archive"}}})
		srv.Deliver(letters(1)...)
		for _, folder := range []string{"INBOX", "inbox", "*"} {
			cfg := srv.Config()
			cfg.Folders = []string{folder}
			c := open(t, cfg, nil)
			wantBodies(t, bodies(t, collect(t, c, nil)), texts(letters(1))...)
			n := 0
			for f, err := range c.Folders(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				if f.Name == "INBOX" {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: INBOX is listed %d times", name, n)
			}
		}
	}
	srv := imaptest.NewScript(t, nil, imaptest.Script{
		imaptest.Welcome(caps), imaptest.Expect("LIST"), imaptest.Send(`* LIST (\HasNoChildren) "/" Inbox`, `* LIST () "/" a`, "$TAG OK done"),
	})
	var got []string
	for f, err := range open(t, srv.Config(), nil).Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Name)
	}
	if strings.Join(got, " ") != "INBOX a" {
		t.Errorf("got %q", got)
	}
}
