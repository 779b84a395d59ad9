package imapclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

const appended = "Message-ID: <one@example.org>\r\nSubject: x\r\n\r\nbody\r\n"

// hidden is a reader that can do nothing else.
func hidden(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

func TestAppendRefFlagsDate(t *testing.T) {
	when := time.Date(2024, 2, 29, 23, 59, 58, 0, time.FixedZone("", 3600))
	for _, without := range [][]string{nil, {"UIDPLUS"}, {"LITERAL+"}, {"UIDPLUS", "LITERAL+"}} {
		srv := imaptest.NewServer(t, &imaptest.Options{Without: without, Folders: []imaptest.Folder{{Name: "Grüße/2024"}}})
		srv.DeliverTo("Grüße/2024", imaptest.Message{Raw: []byte("Message-ID: <other@example.org>\r\n\r\n")})
		c := open(t, srv.Config(), nil)
		flags := []connection.Flag{connection.FlagSeen, "$Archived"}
		ref, err := c.Append(t.Context(), "Grüße/2024", hidden(appended), &connection.AppendOptions{Flags: flags, Received: when})
		if err != nil {
			t.Fatalf("without %v: %v", without, err)
		}
		want := connection.Ref{Folder: "Grüße/2024", ID: fmt.Sprintf("%d:2", srv.UIDValidity("Grüße/2024"))}
		if ref != want {
			t.Errorf("without %v: got %v, want %v", without, ref, want)
		}
		got := srv.MessagesIn("Grüße/2024")[1]
		slices.Sort(got.Flags)
		if string(got.Raw) != appended || !got.Received.Equal(when) || !slices.Equal(got.Flags, []connection.Flag{"$Archived", connection.FlagSeen}) {
			t.Errorf("without %v: got %q, %v, %q", without, got.Raw, got.Received, got.Flags)
		}
		if m, err := c.Open(t.Context(), ref); err != nil {
			t.Errorf("without %v: open: %v", without, err)
		} else if err := m.Body.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
}

// Without UIDPLUS the Ref is only what is sure: of two messages with one Message-ID, or of one without, there is none.
func TestAppendRefUnknown(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Without: []string{"UIDPLUS"}})
	c := open(t, srv.Config(), nil)
	srv.Inject("APPEND", "* OK meanwhile", 1)
	ref, err := c.Append(t.Context(), "INBOX", strings.NewReader("Subject: no id\r\n\r\n"), nil)
	if err != nil || ref != (connection.Ref{Folder: "INBOX"}) {
		t.Errorf("got %v, %v", ref, err)
	}
}

func TestAppendCreatesFolder(t *testing.T) {
	for _, reply := range []string{"", "NO what folder?"} {
		srv := imaptest.NewServer(t, nil)
		c := open(t, srv.Config(), nil)
		_, err := c.Append(t.Context(), "New/deeper", hidden(appended), nil)
		if e := theError(t, err, connection.ErrNotFound); !strings.Contains(e.Hint, "CreateFolder") {
			t.Errorf("got %v", err)
		}
		if n := len(srv.Transcript("CREATE")); n != 0 {
			t.Errorf("%d folders were made unasked", n)
		}
		body := strings.Repeat(appended, 5000)
		if reply != "" {
			srv.Fail("APPEND", reply, 1)
			body = appended
		}
		if _, err := c.Append(t.Context(), "New/deeper", hidden(body), &connection.AppendOptions{CreateFolder: true, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if got := srv.MessagesIn("New/deeper"); len(got) != 1 || string(got[0].Raw) != body {
			t.Errorf("got %d messages", len(got))
		}
		if n := len(srv.Transcript("CREATE")); n != 1 {
			t.Errorf("CREATE was sent %d times", n)
		}
	}
}

func TestAppendRefused(t *testing.T) {
	for reply, want := range map[string]connection.Kind{
		"NO [OVERQUOTA] full":        connection.ErrQuota,
		"NO [TOOBIG] too big":        connection.ErrTooLarge,
		"NO [LIMIT] too big":         connection.ErrTooLarge,
		"NO [NOPERM] no":             connection.ErrPermission,
		"NO no":                      connection.ErrRejected,
		"NO [UNAVAILABLE] later":     connection.ErrThrottled,
		"BAD Command not understood": connection.ErrProtocol,
	} {
		for _, body := range []string{appended, strings.Repeat(appended, 5000)} {
			srv := imaptest.NewServer(t, nil)
			c := open(t, srv.Config(), nil)
			srv.Fail("APPEND", reply, 1)
			_, err := c.Append(t.Context(), "INBOX", strings.NewReader(body), &connection.AppendOptions{Size: int64(len(body))})
			wantKind(t, err, want)
			if _, err := c.Append(t.Context(), "INBOX", strings.NewReader(body), nil); err != nil {
				t.Errorf("after %s: %v", reply, err)
			}
		}
	}
	srv := imaptest.NewServer(t, nil)
	srv.Fail("APPEND", "NO not understood", 1)
	_, err := open(t, srv.Config(), nil).Append(t.Context(), "INBOX", strings.NewReader("Subject: \x00\r\n\r\n"), nil)
	if e := theError(t, err, connection.ErrRejected); !strings.Contains(e.Hint, "NUL") {
		t.Errorf("got %v", err)
	}
}

// A lost reply is uncertain, and the message is not sent again; a connection that breaks before the last octet is not.
func TestAppendLost(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	c := open(t, srv.Config(), nil)
	srv.LoseReply("APPEND", 1)
	_, err := c.Append(t.Context(), "INBOX", hidden(appended), nil)
	wantKind(t, err, connection.ErrUncertain)
	if got := srv.Messages(); len(got) != 1 {
		t.Errorf("there are %d messages, want the one", len(got))
	}
	if n := len(srv.Transcript("APPEND")); n != 1 {
		t.Errorf("APPEND was sent %d times", n)
	}
	large := strings.Repeat(appended, 5000)
	first := open(t, srv.Config(), nil)
	if got := collect(t, first, nil); len(got) != 1 { // a session is open now, and idle
		t.Fatalf("got %d messages", len(got))
	}
	srv.CloseConnections()
	if _, err := first.Append(t.Context(), "INBOX", hidden(large), nil); err != nil {
		t.Errorf("over a session that had died: %v", err)
	}
	if got := srv.Messages(); len(got) != 2 {
		t.Errorf("there are %d messages, want 2", len(got))
	}
}

// A body that is not what was said leaves nothing, whatever its size and whichever octet is missing.
func TestAppendWrongBody(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20_000)
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		body io.Reader
		size int
		want error
	}{
		"small, short":          {hidden(appended), len(appended) + 2, connection.ErrInvalid},
		"small, long":           {hidden(appended), len(appended) - 1, connection.ErrInvalid},
		"large, one too few":    {hidden(large), len(large) + 1, connection.ErrInvalid},
		"large, two too few":    {hidden(large), len(large) + 2, connection.ErrInvalid},
		"large, one too many":   {hidden(large), len(large) - 1, connection.ErrInvalid},
		"large, fails":          {io.MultiReader(hidden(large), iotest.ErrReader(boom)), len(large) + 10, boom},
		"large, fails at end":   {io.MultiReader(hidden(large), iotest.ErrReader(boom)), len(large), boom},
		"unknown, fails":        {io.MultiReader(hidden(large), iotest.ErrReader(boom)), 0, boom},
		"a flag with a space":   {nil, -1, connection.ErrInvalid},
		"a folder with a CR LF": {nil, -2, connection.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, nil)
			c := open(t, srv.Config(), nil)
			var err error
			switch test.size {
			case -1:
				_, err = c.Append(t.Context(), "INBOX", hidden("x"), &connection.AppendOptions{Flags: []connection.Flag{"a b"}})
			case -2:
				_, err = c.Append(t.Context(), "IN\r\nBOX", hidden("x"), nil)
			default:
				_, err = c.Append(t.Context(), "INBOX", test.body, &connection.AppendOptions{Size: int64(test.size)})
			}
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if _, err := c.Append(t.Context(), "INBOX", hidden(appended), nil); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			wantBodies(t, texts(octets(srv.Messages())), appended)
		})
	}
}

func TestMark(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	for _, mode := range []string{imapclient.DeleteNone, imapclient.DeleteExpunge} {
		cfg := srv.Config()
		cfg.DeleteMode = mode
		c := open(t, cfg, nil)
		var refs []connection.Ref
		for _, f := range collect(t, c, nil) {
			refs = append(refs, f.Ref)
		}
		flag := connection.Flag("$Poison-" + mode)
		if err := c.Mark(t.Context(), append(refs[:2:2], connection.Ref{Folder: "INBOX", ID: "1:99"}), flag, connection.FlagSeen); err != nil {
			t.Fatal(err)
		}
		for i, m := range srv.Messages() {
			if got := slices.Contains(m.Flags, flag) && slices.Contains(m.Flags, connection.FlagSeen); got != (i < 2) {
				t.Errorf("%s: message %d is marked: %t", mode, i, got)
			}
		}
		for _, bad := range []connection.Flag{connection.FlagDeleted, `\Recent`, "a b", ""} {
			wantKind(t, c.Mark(t.Context(), refs, bad), connection.ErrInvalid)
		}
		stale := connection.Ref{Folder: "INBOX", ID: "77:1"}
		wantKind(t, c.Mark(t.Context(), []connection.Ref{stale}, flag), connection.ErrStale)
		if mode == imapclient.DeleteNone {
			// Mark opened the folder for writing; reading goes back to EXAMINE.
			if got := collect(t, c, nil); len(got) != 3 || len(srv.Transcript("SELECT")) == 0 {
				t.Errorf("got %d messages", len(got))
			}
			if last := srv.Transcript("SELECT", "EXAMINE"); last[len(last)-1].Name != "EXAMINE" {
				t.Errorf("the folder was opened by %v", last[len(last)-1])
			}
		}
	}
	for _, m := range srv.Messages() {
		if !bytes.HasPrefix(m.Raw, []byte("Subject: letter")) {
			t.Errorf("got %q", m.Raw)
		}
	}
}
