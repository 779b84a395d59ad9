package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

// realistic returns n different messages that look like mail and that Dovecot gives out as they came in: it turns LF
// into CRLF, and cannot hold a NUL. Some come twice, as mail to two people does.
func realistic(n int, seed uint64) [][]byte {
	raws := make([][]byte, 0, n)
	for raw := range imaptest.SampleMessages(3*n, seed) {
		lf, crlf := bytes.Count(raw, []byte("\n")), bytes.Count(raw, []byte("\r\n"))
		if lf != crlf || bytes.Count(raw, []byte("\r")) != crlf || bytes.IndexByte(raw, 0) >= 0 {
			continue
		}
		if len(raws) == n {
			break
		}
		raws = append(raws, raw)
		if len(raws)%50 == 0 && len(raws) < n {
			raws = append(raws, raw)
		}
	}
	return raws
}

// imapSettings writes the settings of an IMAP server whose mailbox is emptied.
func imapSettings(t *testing.T, server, user, password, mode, caPEM string, extra map[string]any) string {
	t.Helper()
	config := map[string]any{
		"server": server, "mode": mode, "username": user, "password": password, "ca_pem": caPEM,
		"delete_mode": "expunge", "connect_timeout": "10s", "no_data_timeout": "20s",
	}
	if mode == "insecure" {
		config["allow_plaintext_auth"] = true
	}
	for name, value := range extra {
		config[name] = value
	}
	return settingsFile(t, "imap", config)
}

func TestDovecotModes(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	raws := realistic(2000, 7)
	if len(raws) != 2000 {
		t.Fatalf("got %d messages to begin with, want 2000", len(raws))
	}
	for _, mode := range []struct{ name, service string }{{"insecure", "imap"}, {"starttls", "imap"}, {"tls", "imaps"}} {
		t.Run(mode.name, func(t *testing.T) {
			srv.Deliver(srv.User, raws...)
			from := imapSettings(t, srv.Addr(mode.service), srv.User, srv.Password, mode.name, srv.CAPEM, nil)
			dir := t.TempDir()
			runArgs(t, "-from", from, "-to", dir).want(t, exitOK, "Stored 2,000 messages", "Deleted 2,000 at the source")
			if left := srv.Count(srv.User, "INBOX"); left != 0 {
				t.Errorf("%d messages are still in the mailbox", left)
			}
			wantArchived(t, dir, raws)
			runArgs(t, "-verify", dir).want(t, exitOK, "the archive is whole", "2,000 manifest lines")
		})
	}
}

func TestDovecotKeep(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	raws := realistic(100, 8)
	srv.Deliver(srv.User, raws...)
	from := imapSettings(t, srv.Addr("imaps"), srv.User, srv.Password, "tls", srv.CAPEM, nil)
	dir := t.TempDir()
	for range 2 { // the second time nothing is new
		runArgs(t, "-keep", "-from", from, "-to", dir).want(t, exitOK, "Stored 100 messages", "Nothing was deleted")
	}
	if left := srv.Count(srv.User, "INBOX"); left != 100 {
		t.Errorf("%d messages are in the mailbox, want all 100", left)
	}
	wantArchived(t, dir, raws)
}

// The program is killed again and again, at random moments, while it drains Dovecot over a line that is cut all the
// time. Nothing may be lost, and nothing that is left behind may be in the way of the next run or of -verify.
func TestDovecotKill(t *testing.T) {
	const kills = 30
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	srv := peertest.Dovecot(t, nil)
	proxy := peertest.NewProxy(t, srv.Addr("imap"))
	proxy.Plan(peertest.RandomCuts(seed, 2_000_000))
	from := imapSettings(t, proxy.Addr(), srv.User, srv.Password, "insecure", "", map[string]any{"expunge_every": 50})
	dir := t.TempDir()
	var delivered [][]byte
	deliver := func(n int) {
		raws := realistic(n, seed+uint64(len(delivered)))
		srv.Deliver(srv.User, raws...)
		delivered = append(delivered, raws...)
	}
	deliver(1000)
	killed := 0
	for killed < kills {
		if srv.Count(srv.User, "INBOX") < 500 {
			deliver(1000)
		}
		cmd := command(t, "-from", from, "-to", dir, "-workers", fmt.Sprint(1+random.IntN(16)))
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var ended error
		done := make(chan struct{})
		go func() {
			ended = cmd.Wait()
			close(done)
		}()
		moment := time.NewTimer(time.Duration(random.IntN(500)) * time.Millisecond)
		select {
		case <-moment.C:
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		case <-done: // a cut ended it, or the mailbox is empty
		}
		moment.Stop()
		<-done
		switch code := cmd.ProcessState.ExitCode(); code {
		case exitOK, exitFailed:
		case -1:
			killed++
		default:
			t.Fatalf("exit code %d: %v\n%s", code, ended, output.String())
		}
		if killed == kills/2 {
			runArgs(t, "-verify", dir).want(t, exitOK)
		}
	}
	for try := 0; srv.Count(srv.User, "INBOX") > 0; try++ {
		if try == 100 {
			t.Fatalf("%d messages cannot be drained", srv.Count(srv.User, "INBOX"))
		}
		if r := runArgs(t, "-from", from, "-to", dir); r.code != exitOK && r.code != exitFailed {
			t.Fatalf("exit code %d\n%s%s", r.code, r.out, r.errOut)
		}
	}
	wantArchived(t, dir, delivered)
	runArgs(t, "-verify", dir).want(t, exitOK, "the archive is whole")
	t.Logf("%d messages; killed %d times; %d stored more than once, harmlessly; line: %s",
		len(delivered), killed, manifestLines(t, dir)-len(delivered), proxy.Stats())
}
