package imaptest_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// FuzzServer sends octets as a client. Whatever they are, the server must come to an end without a panic, keep UIDs
// ascending, and serve the next client.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"a NOOP\r\n",
		"a SELECT INBOX\r\nb UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (x)]<0.9> ENVELOPE)\r\nc UID SEARCH OR (NOT 1:2) SUBJECT {1+}\r\nx\r\n",
		"a SELECT INBOX\r\nb STORE 1:* -FLAGS.SILENT (\\Seen a)\r\nc COPY * INBOX\r\nd UID MOVE 1 INBOX\r\ne CLOSE\r\n",
		"a LIST (SPECIAL-USE) \"\" (% *) RETURN (STATUS (MESSAGES))\r\nb APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0000\" {3}\r\nabc\r\n",
		"a IDLE\r\nDONE\r\nb ID (\"a\" NIL)\r\nc ENABLE X\r\nd RENAME INBOX x\r\ne DELETE x\r\n",
		"a SEARCH ((((((1))))))\r\nb FETCH 4294967295:* UID\r\nc FETCH 0 UID\r\n\x00\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure, MaxMessage: 1 << 20})
		srv.Deliver([]byte(small))
		p := login(t, srv)
		if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = p.conn.Write(octets) // the server may end the session first
			if tcp, ok := p.conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // as above
			}
		}()
		if _, err := io.Copy(io.Discard, p.r); err != nil && !isReset(err) {
			t.Fatalf("no end: %v", err)
		}
		<-sent
		for _, folder := range srv.Folders() {
			last := uint32(0)
			for _, m := range srv.MessagesIn(folder) {
				if m.UID <= last {
					t.Fatalf("%q has UID %d after %d", folder, m.UID, last)
				}
				last = m.UID
			}
		}
		login(t, srv).ok("NOOP")
	})
}
