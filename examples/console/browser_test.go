package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

var screenshots = flag.String("screenshots", "", "a `folder` to put a picture of each page into")

// A lockedBuffer is written by the console and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startConsole runs the program, and returns the address that it prints and what it writes.
func startConsole(t *testing.T, dir string) (address string, out *lockedBuffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out = new(lockedBuffer)
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"-listen", "127.0.0.1:0", "-state", dir}, out, out) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	return printed(t, out, done), out
}

// printed waits for the address that the console prints.
func printed(t *testing.T, out *lockedBuffer, done <-chan int) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, after, found := strings.Cut(out.String(), "http://"); found && strings.Contains(after, "\n") {
			return "http://" + strings.Fields(after)[0]
		}
		select {
		case code := <-done:
			t.Fatalf("exit code %d\n%s", code, out)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("no address was printed\n%s", out)
		}
	}
}

// An administrator's afternoon: a connection from the form, a test that fails and says why, the remedy, a run with progress, a
// message found again, downloaded and sent.
func TestBrowser(t *testing.T) {
	const right, wrong = "correct-horse-9417", "battery-staple-2263"
	mail := imaptest.NewServer(t, &imaptest.Options{Password: right})
	needle := []byte("From: Ann Example <ann@example.org>\r\nTo: bob@example.org\r\nSubject: The needle\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\n\r\n<script>alert(1)</script> \xff\x00 raw octets\r\n")
	for raw := range imaptest.SampleMessages(60, 3) {
		mail.Deliver(raw)
	}
	mail.Deliver(needle)
	post := smtptest.NewServer(t, nil)
	dir := filepath.Join(t.TempDir(), "state")
	v := newVisitor(t)
	address, out := startConsole(t, dir)

	v.do("opening the console", chromedp.Navigate(address))
	v.look("empty")
	v.press("New connection")
	v.look("choose")
	v.press("IMAP mailbox")
	v.press("Save") // nothing was filled in
	if text := v.text(); !strings.Contains(text, "server: missing") {
		t.Errorf("an empty form gives\n%s", text)
	}
	v.look("refused")
	config := mail.Config()
	v.fill("name", "Journal")
	v.fill("f-server", mail.Addr())
	v.fill("f-mode", string(config.Mode.Or()))
	v.fill("f-username", config.Username)
	v.fill("f-password", wrong)
	v.do("opening more settings", chromedp.Click(chromedp.CSS("summary")))
	v.fill("f-ca_pem", config.CAPEM)
	v.look("form")
	v.press("Save")
	v.press("Test")
	v.wait("the failed test", "auth failed")
	v.wait("the hint", "password")
	v.look("test-failed")
	v.press("The settings")
	v.fill("f-password", right)
	v.press("Save")
	v.press("Test")
	v.wait("the test", "Everything works.")
	v.look("test")

	v.do("going home", chromedp.Navigate(pageAt(t, address, "/")))
	v.press("Move into the archive")
	v.wait("the run", "Done: 61 stored")
	if text := v.text(); !strings.Contains(text, "61 deleted at the source") {
		t.Errorf("the run says\n%s", text)
	}
	v.look("run")
	if left := mail.Messages(); len(left) > 0 {
		t.Errorf("%d messages are still on the server", len(left))
	}

	v.press("The archive")
	v.wait("the archive", "61 found")
	v.look("archive")
	v.fill("from", "ann example")
	v.fill("subject", "NEEDLE")
	v.fill("after", "2026-02-01")
	v.fill("before", "2026-02-03")
	v.press("Search")
	v.wait("what was looked for", "1 found")
	v.press("The needle")
	v.look("message")
	if raw := v.download("Download"); !bytes.Equal(raw, needle) {
		t.Errorf("downloaded %q", raw)
	}

	// A run that the server keeps waiting is stopped, and loses nothing.
	mail.Deliver([]byte("Subject: slow\r\n\r\n"))
	mail.Stall("UID FETCH")
	v.do("going home", chromedp.Navigate(pageAt(t, address, "/")))
	v.press("Move into the archive")
	v.press("Stop")
	v.wait("the end", "stopped")
	v.look("stopped")
	if left := mail.Messages(); len(left) != 1 {
		t.Errorf("%d messages are on the server after a run that was stopped, want 1", len(left))
	}

	// An outgoing connection, and the message again.
	v.do("going to a new connection", chromedp.Navigate(pageAt(t, address, "/new/smtp")))
	out2 := post.Config()
	v.fill("name", "Outgoing")
	v.fill("f-server", post.Addr())
	v.fill("f-mode", string(out2.Mode.Or()))
	v.fill("f-from_address", out2.FromAddress)
	v.fill("f-username", out2.Username)
	v.fill("f-password", out2.Password.Reveal())
	v.do("opening more settings", chromedp.Click(chromedp.CSS("summary")))
	v.fill("f-ca_pem", out2.CAPEM)
	v.fill("f-send_strategy", "original")
	v.do("letting octets go as they are", chromedp.SetValue(chromedp.CSS("#f-bare_cr"), "crlf"))
	v.press("Save")
	sum := sha256.Sum256(needle)
	v.do("going to the message", chromedp.Navigate(pageAt(t, address, "/archive/"+hex.EncodeToString(sum[:]))))
	v.fill("to", "auditor@example.org")
	v.press("Send")
	v.wait("the receipt", "Sent to auditor@example.org")
	v.look("replayed")
	if sent := post.Messages(); len(sent) != 1 || !bytes.Equal(sent[0].Raw, needle) {
		t.Errorf("sent %+v", sent)
	}

	v.do("going home", chromedp.Navigate(pageAt(t, address, "/")))
	v.look("connections")
	v.do("switching off", chromedp.Click(chromedp.Search(`//button[@aria-label="Switch off: Journal"]`)))
	v.wait("the switch", "switched off")
	if wrong := v.complaints(); wrong != "" {
		t.Errorf("the browser complains:\n%s", wrong)
	}
	checkSecrets(t, dir, append(v.pages, out.String()), right, wrong, out2.Password.Reveal())
}

// pageAt returns the address of a page.
func pageAt(t *testing.T, address, path string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path, u.RawQuery = path, ""
	return u.String()
}

// checkSecrets looks for passwords where none may be, and at who may read the one place where they are.
func checkSecrets(t *testing.T, dir string, texts []string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for _, text := range texts {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in\n%s", secret, text)
			}
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", path, info.Mode())
		}
		if d.IsDir() || d.Name() == "connections.json" {
			return nil
		}
		raw, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%q is in %s", secret, path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "connections.json"))
	if err != nil || !json.Valid(raw) || !bytes.Contains(raw, []byte(secrets[0])) {
		t.Errorf("the state holds no password at all, so this test looks in vain: %v", err)
	}
}

// The demonstration works with nothing but Go, and again after a restart.
func TestBrowserDemonstration(t *testing.T) {
	v := newVisitor(t)
	dir := t.TempDir()
	address, _ := startConsole(t, dir)
	v.do("opening the console", chromedp.Navigate(address))
	v.press("Add the demonstration")
	v.press("Copy into the archive")
	v.wait("the run", "Done: 300 stored")
	again, _ := startConsole(t, dir)
	v.do("opening the console again", chromedp.Navigate(again))
	v.press("Move into the archive")
	v.wait("the run", "300 deleted at the source")
}
