package peertest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// A Postfix answers, offers AUTH and STARTTLS, and is gone after Close.
func TestPostfixServes(t *testing.T) {
	s := Postfix(t, nil)
	conn, err := net.Dial("tcp", s.Addr("submission"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "EHLO client.example.org\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"220 postfix.example.org", "STARTTLS", "AUTH PLAIN", "AUTH=PLAIN", "CHUNKING", "221 "} {
		if !strings.Contains(string(said), want) {
			t.Errorf("it said %q, want %q in it", said, want)
		}
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
