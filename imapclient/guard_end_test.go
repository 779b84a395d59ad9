package imapclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

func TestCutIsNeverAnEndInsideAResponse(t *testing.T) {
	const text = "* 1 EXISTS\r\n* 1 FETCH (UID 10 BODY[] {5}\r\nabcde FLAGS ())\r\n"
	starts := map[int]bool{0: true, strings.Index(text, "* 1 FETCH"): true, len(text): true}
	for n := range len(text) + 1 {
		got, err := io.ReadAll(feed(t, strings.NewReader(text[:n]), "UID FETCH 1:*"))
		if starts[n] {
			if err != nil {
				t.Errorf("cut at %d, between responses: got %v, want io.EOF alone", n, err)
			}
			continue
		}
		if !errors.Is(err, connection.ErrNetwork) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Errorf("cut at %d, after %q: got %v, want ErrNetwork, with io.ErrUnexpectedEOF and without io.EOF", n, got, err)
		}
	}
}

func TestCutInALiteralReachesTheReaderOfTheBody(t *testing.T) {
	read := func(guarded bool) (string, error) {
		texts := map[string]string{"FETCH": "* 1 FETCH (UID 10 BODY[] {1000}\r\n" + strings.Repeat("x", 24)}
		near, far := net.Pipe()
		defer func() { _ = near.Close() }()
		var conn net.Conn = near
		start := func() { answers(&closing{Conn: far}, texts) }
		if guarded {
			conn = newGuard(pipeLink(t, near), nil)
			go start()
		} else {
			go func() {
				_, _ = io.WriteString(far, "* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n") // the client sees what fails
				start()
			}()
		}
		c := goclient.New(conn, nil)
		cmd := c.Fetch(goimap.UIDSetNum(10), &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}})
		msg := cmd.Next()
		if msg == nil {
			return "", errors.New("no message")
		}
		for {
			switch item := msg.Next().(type) {
			case goclient.FetchItemDataBodySection:
				body, err := io.ReadAll(item.Literal)
				return string(body), err
			case nil:
				return "", errors.New("no body")
			}
		}
	}
	if body, err := read(true); !errors.Is(err, connection.ErrNetwork) || len(body) != 24 {
		t.Errorf("guarded: got %d octets and %v, want 24 and ErrNetwork", len(body), err)
	}
	if body, err := read(false); err != nil || len(body) != 24 {
		t.Errorf("go-imap alone: got %d octets and %v; it used to call this a whole message", len(body), err)
	}
}

// closing closes itself after the answer that holds a literal.
type closing struct{ net.Conn }

func (c *closing) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil && strings.Contains(string(p), "{1000}") {
		err = c.Close()
	}
	return n, err
}

func TestByeIsTheReasonForTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		kind       connection.Kind
		after      time.Duration
	}{
		{"throttled", "* BYE [UNAVAILABLE] Server Unavailable. 15\r\n", connection.ErrThrottled, 15 * time.Second},
		{"shutting down", "* BYE shutting down\r\n", connection.ErrUnavailable, 0},
		{"in a response", "* BYE Too many connections\r\n* 1 FETCH (UID", connection.ErrThrottled, 0},
		{"none", "* OK fine\r\n", connection.ErrNetwork, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := feed(t, strings.NewReader(tt.text), "UID FETCH 1:*")
			_, _ = io.ReadAll(g) // the end is asked for below
			if err := g.Err(); connection.KindOf(err) != tt.kind || connection.RetryAfter(err) != tt.after {
				t.Errorf("got %v, want %v after %v", err, tt.kind, tt.after)
			}
		})
	}
	g := feed(t, strings.NewReader("* BYE see you\r\nT1 OK bye\r\n"), "LOGOUT")
	if got, err := io.ReadAll(g); err != nil || g.Err() != nil || !strings.Contains(string(got), "BYE") {
		t.Errorf("logout: got %q, %v and %v, want the texts and no error", got, err, g.Err())
	}
	for name, end := range map[string]error{"without a reply": io.EOF, "without TLS's farewell": io.ErrUnexpectedEOF, "with a reset": errors.New("reset")} {
		g = feed(t, io.MultiReader(strings.NewReader("* BYE see you\r\n"), iotest.ErrReader(end)), "LOGOUT")
		if _, err := io.ReadAll(g); err != nil || g.Err() != nil {
			t.Errorf("logout %s: got %v and %v, want no error", name, err, g.Err())
		}
	}
}

func TestFailIsStickyAndFirst(t *testing.T) {
	g := feed(t, iotest.ErrReader(errors.New("broken below")), "NOOP")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g.fail(ctx.Err())
	g.fail(errors.New("second"))
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("read: got %v, want ctx.Err()", err)
	}
	if _, err := g.Write([]byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("write: got %v, want ctx.Err()", err)
	}
	if !errors.Is(g.Err(), context.Canceled) {
		t.Errorf("got %v, want ctx.Err()", g.Err())
	}

	g = feed(t, iotest.ErrReader(errors.New("broken below")), "NOOP")
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, connection.ErrNetwork) || !errors.Is(g.Err(), err) {
		t.Errorf("read: got %v and %v, want ErrNetwork", err, g.Err())
	}

	g = feed(t, strings.NewReader("* 1 EXISTS\r\n"), "NOOP")
	for range 2 {
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) || g.Err() != nil {
		t.Errorf("after Close: got %v and %v, want net.ErrClosed and none", err, g.Err())
	}
}

func TestNotesKeepWhatGoIMAPDrops(t *testing.T) {
	g := feed(t, strings.NewReader("* OK [UIDVALIDITY 99999999999] x\r\n* OK still here\r\n* NO [ALERT] "+strings.Repeat("y", 5000)+"\r\nT1 OK [READ-ONLY] done\r\n* OK [COPYUID 1 "+strings.Repeat("1,", 10000)+"1 2] x\r\n"), "SELECT a")
	mark := g.Mark()
	if _, err := io.ReadAll(g); err != nil {
		t.Fatal(err)
	}
	notes := g.Since(mark)
	if len(notes) != 4 {
		t.Fatalf("got %d notes, want 4: %+v", len(notes), notes)
	}
	if n := notes[0]; n.Tag != "*" || n.Type != "OK" || n.Code != "UIDVALIDITY" || n.Arg != "99999999999" || n.Text != "x" || n.Time.IsZero() {
		t.Errorf("got %+v", n)
	}
	if n := notes[1]; n.Type != "NO" || n.Code != "ALERT" || len(n.Text) != maxNoteText {
		t.Errorf("got %+v with %d octets of text", n, len(n.Text))
	}
	if n := notes[2]; n.Tag != "T1" || n.Code != "READ-ONLY" {
		t.Errorf("got %+v", n)
	}
	if n := notes[3]; n.Code != "COPYUID" || n.Arg != "" {
		t.Errorf("got %d octets of a set, want none rather than a part", len(n.Arg))
	}

	var r noteRing
	for range 3 * maxNotes {
		r.add(note{Text: "x"})
	}
	if got := len(r.since(0)); got != maxNotes {
		t.Errorf("got %d notes, want the last %d", got, maxNotes)
	}
	if got := len(r.since(r.mark())); got != 0 {
		t.Errorf("got %d notes after the last", got)
	}
}

// slow is a session over a pipe in a synctest bubble, with a no-data timeout of 10 s.
func slow(t *testing.T, serve func(far net.Conn)) (*goclient.Client, *guard) {
	t.Helper()
	near, far := net.Pipe()
	l := pipeLink(t, near)
	l.noData = 10 * time.Second
	g := newGuard(l, nil)
	go serve(far)
	c := goclient.New(g, nil)
	t.Cleanup(func() {
		_ = g.Close()
		_ = far.Close()
		_ = c.Close()
	})
	return c, g
}

func TestSilenceCountsOnlyWhileACommandWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := slow(t, func(far net.Conn) { answers(&mute{Conn: far, verb: " STATUS"}, map[string]string{}) })
		if err := c.Noop().Wait(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour) // a sink at work
		if err := c.Noop().Wait(); err != nil {
			t.Fatalf("after an hour without a command: %v", err)
		}
		start := time.Now()
		if _, err := c.Status("a", &goimap.StatusOptions{NumMessages: true}).Wait(); err == nil {
			t.Error("a mute server: got no error")
		}
		if err := g.Err(); !errors.Is(err, connection.ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("a mute server: got %v after %v, want ErrTimeout after 10s", err, time.Since(start))
		}
	})
}

// mute swallows the answer to one verb.
type mute struct {
	net.Conn
	verb string
	on   bool
}

func (m *mute) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.on = m.on || strings.Contains(string(p[:n]), m.verb)
	return n, err
}

func (m *mute) Write(p []byte) (int, error) {
	if m.on {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

func TestIdleHasItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := slow(t, func(far net.Conn) { answers(far, map[string]string{"IDLE": "+ idling\r\n"}) })
		idle, err := c.Idle()
		if err != nil {
			t.Fatal(err)
		}
		g.setIdle(10 * time.Minute)
		<-time.After(9 * time.Minute)
		if err := g.Err(); err != nil {
			t.Fatalf("within the idle limit: %v", err)
		}
		<-time.After(2 * time.Minute)
		if err := g.Err(); !errors.Is(err, connection.ErrTimeout) {
			t.Errorf("beyond the idle limit: got %v, want ErrTimeout", err)
		}
		_ = idle.Close() // the connection is dead, which is the point
	})
}

func TestStalledSinkIsNotKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("x", 1<<20)
		c, _ := slow(t, func(far net.Conn) {
			answers(far, map[string]string{"FETCH": "* 1 FETCH (UID 10 BODY[] {1048576}\r\n" + body + ")\r\n$ OK\r\n"})
		})
		cmd := c.Fetch(goimap.UIDSetNum(10), &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}})
		msg := cmd.Next()
		for {
			item := msg.Next()
			if item == nil {
				break
			}
			if b, ok := item.(goclient.FetchItemDataBodySection); ok {
				<-time.After(10 * time.Minute)
				got, err := io.ReadAll(b.Literal)
				if len(got) != len(body) || err != nil {
					t.Errorf("got %d octets and %v, want %d", len(got), err, len(body))
				}
			}
		}
		if err := cmd.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOddNamesAreSentBackAsTheyCame(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	g := newGuard(pipeLink(t, near), nil)
	sent := make(chan string, 10)
	texts := map[string]string{"LIST": "* LIST () \"/\" \"R&D\"\r\n* LIST () \"/\" \"caf\xe9 \\\"x\\\"\"\r\n* LIST () \"/\" \"B&A\"\r\n* LIST () \"/\" \"B&-A\"\r\n$ OK\r\n"}
	go answers(&tapped{Conn: far, sent: sent}, texts)
	c := goclient.New(g, nil)
	defer func() { _ = c.Close() }()
	if _, err := c.List("", "*", nil).Collect(); err != nil {
		t.Fatal(err)
	}
	<-sent
	for name, want := range map[string]string{
		"R&D": `SELECT "R&D"`, `café "x"`: "SELECT \"caf\xe9 \\\"x\\\"\"",
		"B&A":   `SELECT "B&-A"`, // the server's own folder of that name wins
		"other": `SELECT "other"`, "Entwürfe": `SELECT "Entw&APw-rfe"`,
	} {
		if _, err := c.Select(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if got := <-sent; !strings.HasSuffix(got, " "+want+"\r\n") {
			t.Errorf("%q: sent %q, want %q", name, got, want)
		}
	}
}

type tapped struct {
	net.Conn
	sent chan string
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.sent <- string(p[:n])
	}
	return n, err
}

func TestCommandsAreFollowedThroughLiterals(t *testing.T) {
	g := feed(t, strings.NewReader(""))
	for _, piece := range []string{"T1 APPEND \"a\" {26}\r\n", "T9 UID SEARCH ALL\r\n{", "99}\r\n\r\n", "T2 UID FET", "CH 1 (UID)\r\n", "DONE\r\n", "T3 LIST \"\" {1+}\r\n*\r\nT4 NOOP\r\n"} {
		g.sent([]byte(piece))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	want := map[string]string{"T1": "APPEND", "T2": "FETCH", "T3": "LIST", "T4": "NOOP"}
	for tag, verb := range want {
		if g.pending[tag] != verb {
			t.Errorf("%s: got %q, want %q", tag, g.pending[tag], verb)
		}
	}
	if len(g.pending) != len(want) {
		t.Errorf("got %v, want %v", g.pending, want)
	}
}
