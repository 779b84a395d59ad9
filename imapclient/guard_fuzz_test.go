package imapclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// allVerbs are the commands under way in the fuzz tests, so that every kind of response is answered to something.
var allVerbs = []string{"UID SEARCH 1:*", "LIST \"\" *", "STATUS x", "NAMESPACE", "UID FETCH 1:*", "SELECT a"}

// guarded returns what a guard makes of what a server sent, read in pieces of step octets at most.
func guarded(t *testing.T, in []byte, below func(io.Reader) io.Reader, step int) ([]byte, error) {
	g := feed(t, below(bytes.NewReader(in)), allVerbs...)
	var out bytes.Buffer
	buf := make([]byte, step)
	for {
		n, err := g.Read(buf)
		out.Write(buf[:n])
		if len(g.line) > maxLine+linkBuffer || len(g.found) > maxFound {
			t.Fatalf("%d octets of text and %d numbers are kept", len(g.line), len(g.found))
		}
		if err != nil {
			if errors.Is(err, io.EOF) && (g.started || g.lit > 0 || len(g.out) > 0) {
				t.Fatalf("io.EOF inside a response")
			}
			if !errors.Is(err, io.EOF) && !errors.Is(err, connection.ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) && connection.KindOf(err) != connection.ErrUnavailable && connection.KindOf(err) == connection.ErrUnknown {
				t.Fatalf("an error without a class: %v", err)
			}
			return out.Bytes(), err
		}
	}
}

func addSeeds(f *testing.F) {
	f.Add([]byte(wellFormed))
	for _, tt := range oddities {
		f.Add([]byte(tt.text))
	}
}

// FuzzGuard feeds arbitrary octets: no panic, no unbounded memory, and the same result however they are cut to pieces.
// What went through once goes through unchanged, so nothing that needs repair is left.
func FuzzGuard(f *testing.F) {
	addSeeds(f)
	whole := func(r io.Reader) io.Reader { return r }
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := guarded(t, in, whole, 4096)
		slow, slowErr := guarded(t, in, iotest.OneByteReader, 3)
		if !bytes.Equal(out, slow) || connection.KindOf(err) != connection.KindOf(slowErr) {
			t.Fatalf("at once %q and %v, octet by octet %q and %v", out, err, slow, slowErr)
		}
		if !errors.Is(err, io.EOF) {
			return
		}
		again, err := guarded(t, out, whole, 4096)
		if !bytes.Equal(again, out) || !errors.Is(err, io.EOF) {
			t.Fatalf("%q became %q, which becomes %q and %v", in, out, again, err)
		}
	})
}

// FuzzClient lets go-imap read arbitrary octets through the guard: it neither panics nor spins, and every command ends.
func FuzzClient(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		near, far := net.Pipe()
		g := newGuard(pipeLink(t, near), nil)
		c := goclient.New(g, nil)
		go func() {
			br := bufio.NewReader(far)
			_, _ = br.ReadString('\n') // the first command; without one there is nothing to answer
			_, _ = far.Write(in)       // the client sees what fails
			_ = far.Close()
		}()
		done := make(chan struct{})
		go func() {
			defer close(done)
			cmd := c.Fetch(goimap.UIDSetNum(1, 2, 10), &goimap.FetchOptions{UID: true, Flags: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}})
			for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
				for item := msg.Next(); item != nil; item = msg.Next() {
					if b, ok := item.(goclient.FetchItemDataBodySection); ok && b.Literal != nil {
						if _, err := io.Copy(io.Discard, b.Literal); err != nil {
							_ = c.Close()
							return // a literal that broke must not be read again
						}
					}
				}
			}
			_ = cmd.Close() // only that it ends matters
			_ = c.Close()
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("hangs")
		}
		_ = g.Close()
		_ = far.Close()
	})
}

// FuzzPrelude feeds arbitrary octets to the prelude in place of a server: no panic, no endless loop, typed errors.
func FuzzPrelude(f *testing.F) {
	for _, in := range []string{
		"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\nP1 OK [CAPABILITY IMAP4rev1] in\r\n", "* OK hi\r\n* CAPABILITY IMAP4rev1\r\nP1 OK\r\nP2 OK\r\n* CAPABILITY X\r\nP3 OK\r\n",
		"* PREAUTH [CAPABILITY X] hi\r\n", "* BYE no\r\n", "+OK\r\n", "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN]\r\n+ \r\n+ \r\nP1 BAD\r\n", "* OK [\r\n", "\r\n\r\n", "* OK hi\r\n* CAPABILITY {5}\r\n", "* ok [capability a]\nP1 ok\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		near, far := net.Pipe()
		l := pipeLink(t, near)
		l.caps = nil
		l.br = bufio.NewReader(bytes.NewReader(in))
		go func() {
			_, _ = io.Copy(io.Discard, far) // ends with the connection
		}()
		cfg := &Config{Username: "juser", Password: connection.NewSecret("c4nary-pw"), AllowPlaintextAuth: true, NetworkSettings: connection.NetworkSettings{Mode: connection.ModeInsecure}}
		err := l.establish(t.Context(), t.Context(), cfg, new(tlsMemory))
		if err != nil && connection.KindOf(err) == connection.ErrUnknown {
			t.Fatalf("an error without a class: %v", err)
		}
		for _, name := range l.caps {
			if !isAtom(name) {
				t.Fatalf("the capability %q is no atom", name)
			}
		}
		_ = near.Close()
		_ = far.Close()
	})
}
