package imapclient_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// Where the cases of imap.md, section 15, are tested:
//
//	1, 2, 3, 5-8, 14, 18, 19, 20   TestEdges; 3 and 5 of large bodies TestLargeBodyCut; 8 also TestBodiesOfAllKindsInOrder
//	4                              TestSilentServer, TestJournalOfSilentServer
//	9                              TestMaxMessage, TestPartialFetch
//	10, 11, 12                     TestPartialReplies, TestPartialFetch
//	13                             TestMillionMessages, TestSyncLargeFolder
//	14, 15, 16                     TestSearchWindows, TestLongSearchIsHandedOnInOrder, TestEndlessSearch
//	17                             TestDeleteStale, TestFollowRenumbered, TestRenumberedBeforeExpunge, TestSyncRenumbered, TestOneSession
//	20, 21                         TestThrottledLogin, TestTurnedAway, TestLoginRefusedForNow, TestBrandsRefuse
//	22                             TestLoginWithoutReply
//	23, 24, 25                     TestIdleTroubles, TestIdleFalseAlarms, TestDovecotIdle
//	26                             TestFolders, TestLiteralFolderName, TestInbox, TestOddNamesAreSentBackAsTheyCame, TestGuardRepairsWhatGoIMAPDiesOf
//	27, 28                         TestReadOnlyFolder, TestPlainExpunge
//	29, 30                         TestMoveRefused, TestMovePartly, TestMoveLostReply, TestLostReply
//	31, 32                         TestComesAgain, TestLookAlikes
//	33                             TestCorpusInOctets, TestConformance, TestDovecotConformance
//	34                             TestTwoGiB, TestMaxMessage
//	35, 36, 47                     TestGuardLimits, TestEndlessWords, TestGuardRepairsWhatGoIMAPDiesOf, FuzzGuard
//	37, 38, 39                     TestPrelude, TestHostileServers, TestUntrustedTLS, TestTrustSettings
//	40                             TestSlowDrip, and the dialling in internal/netx
//	41, 42                         TestSlowCaller, TestStalledSinkIsNotKilled, TestCancelWhereverItIs
//	43                             TestPipeliningHangs
//	44                             TestTokenOfEachSession, TestTokenRenewal
//	45                             TestCapabilitiesAreFiltered
//	46                             TestCompressRefused, TestDeflateBomb
//	48                             TestAppendWrongBody, TestAppendRefused, TestAppendCreatesFolder, TestAppendLost
//	49                             TestCutAfterEachOctet
//
// Those of sasl.md, section 13, are tested in internal/saslx, and over the wire by TestEveryMechanism, TestPrelude and
// the tests of Dovecot's mechanisms.

// 22: a login that never gets its tagged reply ends by the timeout.
func TestLoginWithoutReply(t *testing.T) {
	srv := imaptest.NewScript(t, nil, imaptest.Script{
		imaptest.Send("* OK [CAPABILITY " + caps + "] hi"),
		imaptest.Expect("LOGIN"), imaptest.Send("* OK [ALERT] welcome", "* BAD [CLIENTBUG] something"), imaptest.Stall(),
	})
	cfg := srv.Config()
	cfg.NoDataTimeout = connection.Duration(500 * time.Millisecond)
	_, err := open(t, cfg, srv.Env()).Test(t.Context(), nil)
	if e := theError(t, err, connection.ErrTimeout); !strings.Contains(e.Error(), "CLIENTBUG") {
		t.Errorf("the server's words are missing: %v", e)
	}
}

// 31: a message that was stored and not deleted comes again, with the same Ref.
func TestComesAgain(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	first := refs(t, open(t, emptying(srv.Config()), srv.Env()))
	again := refs(t, open(t, emptying(srv.Config()), srv.Env()))
	if len(again) != 2 || again[0] != first[0] || again[1] != first[1] {
		t.Errorf("got %v, then %v", first, again)
	}
}

// 32: messages that look alike are kept apart.
func TestLookAlikes(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	same := []byte("Message-ID: <a@b>\r\n\r\none\r\n")
	raw := [][]byte{same, same, []byte("Message-ID: <a@b>\r\n\r\ntwo\r\n"), []byte("no message id\r\n")}
	srv.Deliver(raw...)
	srv.DeliverTo("Other", imaptest.Message{Raw: same})
	cfg := srv.Config()
	cfg.Folders = []string{"INBOX", "Other"}
	all := collect(t, open(t, cfg, srv.Env()), nil)
	wantBodies(t, bodies(t, all), append(texts(raw), string(same))...)
	seen := map[connection.Ref]bool{}
	for _, f := range all {
		if seen[f.Ref] {
			t.Errorf("%v came twice", f.Ref)
		}
		seen[f.Ref] = true
	}
}

// 34: a message of over 2 GiB streams through little memory.
func TestTwoGiB(t *testing.T) {
	if testing.Short() {
		t.Skip("short: reads 2 GiB")
	}
	const size = 1<<31 + 12345
	page := []byte(text(1 << 20))
	want := sha256.New()
	fill := func(w io.Writer) {
		for left := int64(size); left > 0; {
			n, err := w.Write(page[:min(left, int64(len(page)))])
			if err != nil {
				return
			}
			left -= int64(n)
		}
	}
	fill(want)
	env := &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer func() { _ = far.Close() }() // the client is gone then
			_, _ = io.WriteString(far, "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n")
			for lines := bufio.NewScanner(far); lines.Scan(); {
				tag, command, _ := strings.Cut(lines.Text(), " ")
				reply := ""
				switch {
				case strings.HasPrefix(command, "EXAMINE"):
					reply = "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\n"
				case strings.HasPrefix(command, "UID SEARCH"):
					reply = "* SEARCH 1\r\n"
				case strings.HasPrefix(command, "UID FETCH"):
					_, _ = fmt.Fprintf(far, "* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"17-Jul-2024 02:44:25 +0000\" BODY[] {%d}\r\n", int64(size))
					fill(far)
					reply = ")\r\n"
				}
				if _, err := io.WriteString(far, reply+tag+" OK done\r\n"); err != nil {
					return
				}
			}
		}()
		return near, nil
	}}
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure, Lenient: true})
	n := 0
	for m, err := range open(t, srv.Config(), env).Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		got := sha256.New()
		read, err := io.Copy(got, m.Body)
		if err != nil || read != size || m.Size != size || string(got.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("read %d of %d octets, %v, or not these", read, int64(size), err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
}

// 38: a server that cannot prove who it is, or will not do TLS as it must, gets no password, and the report says what to
// do.
func TestUntrustedTLS(t *testing.T) {
	for _, test := range []struct {
		name, hint string
		server     *tls.Config
		name2      string
	}{
		{"another name", "server_name", &tls.Config{}, "mail.example.org"},
		{"TLS 1.0 only", "min_tls", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, ""},  //nolint:gosec // that is what is refused
		{"a client certificate wanted", "client_cert_pem", &tls.Config{ClientAuth: tls.RequireAnyClientCert}, ""}, //nolint:gosec // a test
	} {
		for _, mode := range []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable} {
			t.Run(test.name+" "+string(mode), func(t *testing.T) {
				srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode, TLS: test.server.Clone()})
				cfg := srv.Config()
				cfg.ServerName = test.name2
				report, err := open(t, cfg, nil).Test(t.Context(), nil)
				_ = theError(t, err, connection.ErrTLS)
				if text := report.String(); !strings.Contains(text, "Hint: ") || !strings.Contains(text, test.hint) {
					t.Errorf("no hint at %s:\n%s", test.hint, text)
				}
				if n := len(srv.Transcript("LOGIN", "AUTHENTICATE")); n != 0 {
					t.Errorf("%d logins", n)
				}
			})
		}
	}
}

// 40: a server that sends an octet now and then lives, if each comes within the timeout.
func TestSlowDrip(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure, MaxWrite: 1})
	raw := letters(2)
	srv.Deliver(raw...)
	cfg := srv.Config()
	cfg.NoDataTimeout, cfg.ConnectTimeout = connection.Duration(5*time.Second), connection.Duration(5*time.Second)
	wantBodies(t, bodies(t, collect(t, open(t, cfg, srv.Env()), nil)), texts(raw)...)
}

// 43: why this driver never has two FETCH commands under way. Dovecot holds back the first one's tagged reply while it
// has more to do. The library gives the second one's first body to its reader before it goes on; the caller who takes
// the replies in order waits for the first one's end. Both wait for ever.
func TestPipeliningHangs(t *testing.T) {
	near, far := net.Pipe()
	var server sync.WaitGroup
	server.Go(func() {
		_, _ = io.WriteString(far, "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n")
		lines := bufio.NewScanner(far)
		lines.Scan()
		lines.Scan()
		_, _ = io.WriteString(far, "* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n* 2 FETCH (UID 2 BODY[] {3}\r\ntwo)\r\nT1 OK done\r\nT2 OK done\r\n")
	})
	c := goclient.New(near, nil)
	if err := c.WaitGreeting(); err != nil {
		t.Fatal(err)
	}
	whole := &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}}
	first := c.Fetch(goimap.UIDSetNum(1), whole)
	second := c.Fetch(goimap.UIDSetNum(2), whole)
	done := make(chan error, 1)
	go func() {
		_, err := first.Collect()
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("the first command ended with %v: the library no longer hangs, and the driver may pipeline", err)
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := second.Collect(); err != nil { // whoever reads the second one frees both
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = far.Close() // the library has nothing more to do
	_ = c.Close()   // as above
	server.Wait()
}
