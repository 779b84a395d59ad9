package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// programDir is where the program is built; TestMain makes it.
var programDir string

// program is the program as its users run it, built when the first test needs it.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "ewssync.exe") // the name does for every system
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "ewssync-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(programDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

const (
	service  = "svc@corp.test"
	password = "canary-in-the-password"
)

// exchangeServer is an Exchange server with a service account and mailboxes that it may open.
type exchangeServer struct {
	*ewstest.Server
	boxes map[string]*ewstest.Mailbox
}

func newServer(t *testing.T, opts *ewstest.Options, mailboxes ...string) exchangeServer {
	t.Helper()
	srv := exchangeServer{ewstest.NewServer(t, opts), make(map[string]*ewstest.Mailbox)}
	srv.AddAccount(service, ewstest.AccountOptions{Password: password})
	for _, address := range mailboxes {
		srv.boxes[address] = srv.AddMailbox(address, ewstest.MailboxOptions{})
	}
	srv.GrantImpersonation(service, mailboxes...)
	return srv
}

// settingsFile writes a settings file.
func settingsFile(t *testing.T, driver string, config map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(connection.Settings{ID: "test", Driver: driver, Config: raw})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), driver+".json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// exchange writes settings that reach srv without its Env, as a program of its own must.
func exchange(t *testing.T, srv exchangeServer, with map[string]any) string {
	t.Helper()
	config := map[string]any{
		"server": strings.TrimPrefix(srv.URL(true), "https://"), "allow_any_host": true, "server_name": "exchange.corp.test", "ca_pem": srv.CA(),
		"disable_autodiscover": true, "username": service, "password": password, "connect_timeout": "1m", "no_data_timeout": "1m",
	}
	for name, value := range with {
		config[name] = value
	}
	return settingsFile(t, "ews", config)
}

// result is what a run of the program came to.
type result struct {
	code        int
	out, errOut string
}

// runArgs runs the program in this process.
func runArgs(ctx context.Context, args ...string) result {
	var out, errOut bytes.Buffer
	code := run(ctx, args, strings.NewReader(password+"\r\n"), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// want fails the test unless the program ended with code and said all of texts on either output, and no secret.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code: got %d, want %d\n%s%s", r.code, code, r.out, r.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.errOut, text) {
			t.Errorf("the output does not say %q:\n%s%s", text, r.out, r.errOut)
		}
	}
	if strings.Contains(r.out+r.errOut, password) {
		t.Errorf("the output holds the password:\n%s%s", r.out, r.errOut)
	}
}

func raws(mailbox string, from, to int) (all [][]byte) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Appendf(nil, "From: a@corp.test\r\nTo: %s\r\nSubject: %d\r\nMessage-ID: <%d.%s>\r\n\r\n%s\r\n", mailbox, i, i, mailbox, strings.Repeat("line\r\n", i%50)))
	}
	return all
}

func fileStore(t *testing.T, dir string) connection.ObjectStore {
	t.Helper()
	var config filestore.Config
	config.Location = dir
	s, err := filestore.Open(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// logged returns the parts of a mailbox's log and what is in them.
func logged(t *testing.T, s connection.ObjectStore, mailbox string) (parts []mirrored.Part, all []mirrored.Entry) {
	t.Helper()
	for section, err := range mirrored.NewArchive(s).Log(t.Context(), mailbox) {
		if err != nil {
			t.Fatal(err)
		}
		parts, all = append(parts, section.Part), append(all, section.Changes...)
	}
	return parts, all
}

// archived replays the log of a mailbox and returns the octets of what is in it now, by their ids at the server. Each is
// read from the archive.
func archived(t *testing.T, dir, mailbox string) map[string][]byte {
	t.Helper()
	parts, entries := logged(t, fileStore(t, dir), mailbox)
	for i, part := range parts {
		if part.Number != int64(i)+1 || part.Mailbox != mailbox || part.Checkpoint == "" {
			t.Errorf("part %d of %s: got %+v", i+1, mailbox, part)
		}
	}
	now := make(map[string][]byte)
	for _, e := range entries {
		switch e.Op {
		case "added":
			data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(e.Key)))
			if err != nil {
				t.Errorf("%s: %v", mailbox, err)
			}
			if key := mirrored.MessageKey(data); key != e.Key {
				t.Errorf("%s: its octets belong under %s", e.Key, key)
			}
			now[e.Ref.ID] = data
		case "removed":
			delete(now, e.Ref.ID)
		}
	}
	return now
}

// wantArchived fails the test unless the archive has what the server has in the mailbox, octet for octet.
func wantArchived(t *testing.T, dir string, srv exchangeServer, mailbox string, folders ...string) {
	t.Helper()
	have := archived(t, dir, mailbox)
	var wrong []string
	for _, folder := range folders {
		for _, m := range srv.Messages(mailbox, folder) {
			if data, ok := have[m.ID]; !ok || !bytes.Equal(data, m.Raw) {
				wrong = append(wrong, fmt.Sprintf("%s: %.80q: got %d octets, found %v, want %d", folder, m.Raw, len(data), ok, len(m.Raw)))
			}
			delete(have, m.ID)
		}
	}
	for id := range have {
		wrong = append(wrong, fmt.Sprintf("the archive has %.20s…, the server has not", id))
	}
	if len(wrong) > 0 {
		t.Errorf("%s: %d messages are wrong, such as\n%s", mailbox, len(wrong), strings.Join(wrong[:min(len(wrong), 5)], "\n"))
	}
}

func TestUsage(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":     {[]string{"-form", "x.json"}, "flag provided but not defined: -form"},
		"stray word":       {[]string{"x.json"}, `"x.json": unexpected`},
		"nothing":          {nil, "-settings: missing"},
		"two sources":      {[]string{"-settings", "x", "-server", "y", "-to", "z"}, "-settings: -server"},
		"no password":      {[]string{"-server", "x", "-username", "y", "-to", "z"}, "-password-file: missing"},
		"no destination":   {[]string{"-settings", "x"}, "-to: missing"},
		"once and follow":  {[]string{"-settings", "x", "-to", "y", "-once", "-follow"}, "-once: does not go with -follow"},
		"no interval":      {[]string{"-settings", "x", "-to", "y", "-interval", "0s"}, "-interval 0s"},
		"no workers":       {[]string{"-settings", "x", "-to", "y", "-workers", "0"}, "-workers 0: want at least 1"},
		"malformed choice": {[]string{"-settings", "x", "-to", "y", "-mailboxes", "a@b,[x"}, `-mailboxes: "[x"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			runArgs(t.Context(), test.args...).want(t, exitUsage, test.want)
		})
	}
	runArgs(t.Context(), "-help").want(t, exitOK, "-settings", "-follow", "examples/ewssync/settings")
}

func TestBadSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := settingsFile(t, "ews", map[string]any{"server": "exchange.corp.test", "username": "u@corp.test", "password": "x"})
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no file", []string{"-settings", "nowhere.json"}, "a sample is in examples/ewssync/settings"},
		{"no settings", []string{"-settings", file}, "driver: missing"},
		{"another driver", []string{"-settings", settingsFile(t, "imap", nil)}, "imap"},
		{"a store", []string{"-settings", settingsFile(t, "file", map[string]any{"location": dir})}, "Sync"},
		{"unknown field", []string{"-settings", settingsFile(t, "ews", map[string]any{"servr": "x"})}, `did you mean "server"?`},
		{"no password", []string{"-server", "exchange.corp.test", "-username", "u@corp.test", "-password-file", file}, "-password-file"},
		{"no password file", []string{"-server", "exchange.corp.test", "-username", "u@corp.test", "-password-file", "nowhere"}, "nowhere"},
		{"server is an address", []string{"-server", "192.0.2.1", "-username", "u@corp.test", "-password-file", "-"}, "server: is an IP address"},
		{"destination below a file", []string{"-settings", good, "-to", filepath.Join(file, "x")}, "-to"},
		{"destination is no store", []string{"-settings", good, "-to", good}, "-to"},
		{"destination is no settings file", []string{"-settings", good, "-to", file}, "-to"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !slices.Contains(test.args, "-to") {
				test.args = append(test.args, "-to", dir)
			}
			runArgs(t.Context(), test.args...).want(t, exitFailed, test.want)
		})
	}
}

func TestSample(t *testing.T) {
	_, err := (&job{options: options{settings: filepath.Join("settings", "exchange.json")}}).openServer()
	if err != nil {
		t.Error(err)
	}
}

func TestOnce(t *testing.T) {
	const ann, bob = "ann@corp.test", "bob@corp.test"
	srv := newServer(t, nil, ann, bob)
	srv.boxes[ann].Deliver("Inbox", raws(ann, 0, 30)...)
	srv.boxes[ann].Deliver("Projects/2024", raws(ann, 30, 40)...)
	srv.boxes[bob].Deliver("Inbox", raws(bob, 0, 5)...)
	from := exchange(t, srv, map[string]any{"mailboxes": []string{ann, bob}})
	dir := filepath.Join(t.TempDir(), "new", "archive")
	args := []string{"-once", "-settings", from, "-to", dir}
	runArgs(t.Context(), args...).want(t, exitOK, "ann@corp.test: 40 new messages", "up to date", "2 mailboxes up to date, 0 failed; 45 messages new")
	wantArchived(t, dir, srv, ann, "Inbox", "Projects/2024")
	wantArchived(t, dir, srv, bob, "Inbox")

	runArgs(t.Context(), args...).want(t, exitOK, "2 mailboxes up to date, 0 failed; 0 messages new")
	srv.boxes[bob].Deliver("Inbox", raws(bob, 5, 7)...)
	r := runArgs(t.Context(), append(args, "-mailboxes", "b*@corp.test", "-v")...)
	r.want(t, exitOK, "1 mailbox up to date, 0 failed; 2 messages new", "SyncFolderItems")
	wantArchived(t, dir, srv, bob, "Inbox")

	runArgs(t.Context(), "-settings", from, "-list", "-mailboxes", "*nn@*").want(t, exitOK, ann)
	runArgs(t.Context(), "-settings", from, "-test").want(t, exitOK, "auth")
}

// Without a settings file, and with mailboxes that nobody had to list.
func TestNamedMailboxes(t *testing.T) {
	const ann = "ann@corp.test"
	srv := newServer(t, nil, ann, "bob@corp.test")
	srv.boxes[ann].Deliver("Inbox", raws(ann, 0, 3)...)
	dir := t.TempDir()
	from := exchange(t, srv, nil)
	runArgs(t.Context(), "-settings", from, "-to", dir, "-mailboxes", "Ann@corp.test").want(t, exitOK, "1 mailbox up to date, 0 failed; 3 messages new")
	wantArchived(t, dir, srv, ann, "Inbox")
}

// A mailbox that may not be opened is told, and the others are mirrored.
func TestDeniedMailbox(t *testing.T) {
	const ann, eve = "ann@corp.test", "eve@corp.test"
	srv := newServer(t, nil, ann)
	srv.AddMailbox(eve, ewstest.MailboxOptions{})
	srv.boxes[ann].Deliver("Inbox", raws(ann, 0, 3)...)
	from := exchange(t, srv, map[string]any{"mailboxes": []string{eve, ann}})
	dir := t.TempDir()
	runArgs(t.Context(), "-settings", from, "-to", dir).want(t, exitFailed, "problem with eve@corp.test", "permission denied", "1 mailbox up to date, 1 failed", "1 mailbox could not be mirrored whole")
	wantArchived(t, dir, srv, ann, "Inbox")
	r := runArgs(t.Context(), "-settings", from, "-to", dir, "-json")
	r.want(t, exitFailed)
	var events []string
	for line := range strings.Lines(r.out) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		name, _ := object["event"].(string)
		if object[name] == nil || object["time"] == nil {
			t.Errorf("%q: want the fields time and %s", line, name)
		}
		events = append(events, name)
	}
	if got := strings.Join(events, " "); got != "problem done failed" {
		t.Errorf("got events %s", got)
	}
}

// When nothing can be mirrored, the test says what is wrong.
func TestWrongPassword(t *testing.T) {
	const ann = "ann@corp.test"
	srv := newServer(t, nil, ann)
	from := exchange(t, srv, map[string]any{"mailboxes": []string{ann}, "password": password + "-wrong"})
	runArgs(t.Context(), "-settings", from, "-to", t.TempDir()).want(t, exitFailed, "authentication refused", "0 mailboxes up to date, 1 failed", "Hint: ", "password")
	if got := len(srv.Logins(service)); got == 0 || got > 4 {
		t.Errorf("got %d logins, want few: accounts get locked", got)
	}
}

// -follow brings what arrives later, until it is told to stop.
func TestFollow(t *testing.T) {
	const ann = "ann@corp.test"
	srv := newServer(t, nil, ann)
	srv.boxes[ann].Deliver("Inbox", raws(ann, 0, 3)...)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var r result
	ended := make(chan struct{})
	args := []string{"-settings", exchange(t, srv, map[string]any{"mailboxes": []string{ann}}), "-to", dir, "-follow", "-interval", "10ms"}
	go func() {
		defer close(ended)
		r = runArgs(ctx, args...)
	}()
	messages := func(n int) func() bool {
		return func() bool {
			found, err := filepath.Glob(filepath.Join(dir, "messages", "*", "*.eml"))
			return err == nil && len(found) == n
		}
	}
	until(t, ended, "the first messages are stored", messages(3))
	srv.boxes[ann].Deliver("Inbox", raws(ann, 3, 5)...)
	until(t, ended, "the next messages are stored", messages(5))
	until(t, ended, "the log has them", func() bool { return len(archived(t, dir, ann)) == 5 })
	cancel()
	<-ended
	r.want(t, exitInterrupted, "interrupted", "stopping")
	wantArchived(t, dir, srv, ann, "Inbox")
}

// A folder that is removed is a line of the log. Its messages stay in the archive.
func TestFolderRemoved(t *testing.T) {
	const ann = "ann@corp.test"
	srv := newServer(t, nil, ann)
	srv.boxes[ann].Deliver("Inbox", raws(ann, 0, 2)...)
	srv.boxes[ann].Deliver("Inbox/Old", raws(ann, 2, 5)...)
	args := []string{"-settings", exchange(t, srv, map[string]any{"mailboxes": []string{ann}}), "-to", t.TempDir()}
	runArgs(t.Context(), args...).want(t, exitOK, "5 messages new")
	srv.boxes[ann].Folder("Inbox/Old").Delete()
	runArgs(t.Context(), args...).want(t, exitOK, "ann@corp.test: 0 new messages (0 B), 1 folder change; up to date", "0 messages new, 0 changed, 0 removed on the server")
	_, entries := logged(t, fileStore(t, args[3]), ann)
	if last := entries[len(entries)-1]; last.Op != "folder removed" || last.Folder != "Inbox/Old" {
		t.Errorf("got %+v as the last entry", last)
	}
	if got := len(archived(t, args[3], ann)); got != 5 {
		t.Errorf("got %d messages in the archive, want 5", got)
	}
}

// Each retry is told. Of the many items that are no mail, or odd, none is.
func TestEvents(t *testing.T) {
	var out, errOut bytes.Buffer
	j := &job{Printer: &mirrored.Printer{Out: &out, Errs: &errOut}}
	for range 2 {
		j.observe(connection.Event{Kind: connection.EventRetry, Mailbox: "ann@corp.test", Detail: "the line was cut"})
		j.observe(connection.Event{Kind: connection.EventSkipped, Mailbox: "ann@corp.test", Detail: "no mail"})
		j.observe(connection.Event{Kind: connection.EventQuirk, Mailbox: "ann@corp.test", Detail: "odd"})
	}
	j.observe(connection.Event{Kind: connection.EventRestarted, Detail: "history lost"})
	if got, want := errOut.String(), strings.Repeat("note: ann@corp.test: retry: the line was cut\n", 2)+"note: restarted: history lost\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// patience is what no test needs on a machine that has time.
const patience = 5 * time.Minute

// until waits until ok, or until the program has ended.
func until(t *testing.T, ended <-chan struct{}, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for wait := 5 * time.Millisecond; !ok(); wait = min(2*wait, 320*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ended:
			if !ok() {
				t.Errorf("the program ended before this was true: %s", what)
			}
			return
		case <-limit.C:
			t.Fatalf("after %s this is not true: %s", patience, what)
		}
	}
}
