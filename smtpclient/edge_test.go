package smtpclient_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// Edge case 9: the server says good-bye at each command. It is heard, the connection is used no more, and the next
// message goes over a new one.
func TestGoodbyeAtEachCommand(t *testing.T) {
	for _, command := range []string{"GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "END", "RSET"} {
		t.Run(command, func(t *testing.T) {
			o := &smtptest.Options{Mode: connection.ModeSTARTTLS}
			if command != "BDAT" {
				o.Without = []string{"CHUNKING", "BINARYMIME"}
			}
			srv := smtptest.NewServer(t, o)
			srv.Fail(command, "421 4.3.2 the machine goes down", 1)
			c := open(t, srv.Config(), nil)
			kind := connection.ErrThrottled
			switch command {
			case "STARTTLS":
				kind = connection.ErrTLS // it was offered
			case "RSET":
				kind = connection.ErrRejected // and the good-bye comes while this is told
				srv.Refuse(bob, "550 5.1.1 no such user")
			}
			_, err := send(t, c, toBob, letter)
			_ = wantKind(t, err, kind)
			srv.ClearFaults()
			wantArrived(t, srv)
			mustSend(t, c, toBob, letter)
			wantArrived(t, srv, letter)
			if n := len(srv.Sent()); n != 2 || srv.Messages()[0].Conn != 2 {
				t.Errorf("%d connections, and the message came over %d; want it over a second one", n, srv.Messages()[0].Conn)
			}
		})
	}
}

// Edge case 13: the size that was announced is wrong, since the body changed between two readings. Nothing arrives, and
// the connection is closed without another word: a final dot or chunk would deliver what is torn.
func TestAnnouncedSizeIsWrong(t *testing.T) {
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		long := letter + strings.Repeat("0123456789\r\n", 100_000)
		for _, again := range []string{long + "x", long[:500_000], long[:len(long)-1], ""} {
			before := len(srv.Sent())
			c := open(t, cfg, nil)
			body := &fickle{Reader: bytes.NewReader([]byte(long)), again: []byte(again)}
			_, err := c.Send(t.Context(), toBob, body, nil)
			_ = wantKind(t, err, connection.ErrCorrupt, "not what it was")
			mustSend(t, c, toBob, letter)
			if n := len(srv.Sent()) - before; n != 2 {
				t.Errorf("%d connections, want a second one for the next message", n)
			}
		}
		wantArrived(t, srv, letter, letter, letter, letter)
		for _, m := range srv.Commands("MAIL")[:1] {
			if want := "SIZE=" + strconv.Itoa(len(long)); !strings.Contains(m.Args, want) {
				t.Errorf("got %s, want %s in it", m, want)
			}
		}
		if got := srv.Commands("RSET", "END"); names(got) != strings.TrimSpace(strings.Repeat("END ", 4)) {
			t.Errorf("got %s", names(got))
		}
	})
}

// Edge case 13: a server that takes less than it says, or says nothing of a limit, refuses at MAIL or in the end.
func TestSizeRefusedLater(t *testing.T) {
	for _, stage := range []string{"MAIL", "END"} {
		overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
			srv.Fail(stage, "552 5.3.4 message too big", 1)
			c := open(t, cfg, nil)
			_, err := send(t, c, toBob, letter)
			if e := wantKind(t, err, connection.ErrTooLarge); e.Code != "5.3.4" || connection.Temporary(err) {
				t.Errorf("%s: got %v", stage, err)
			}
			wantArrived(t, srv)
			mustSend(t, c, toBob, letter)
		})
	}
}
