package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
	"github.com/mailconn/mailconn/gmail/gmailtest"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// programDir is where the program is built; TestMain makes it.
var programDir string

// program is the program as its users run it, built when the first test needs it.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "gmailsync.exe") // the name does for every system
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "gmailsync-test-"); err != nil {
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
	ann, bob = "ann@corp.example", "bob@corp.example"
	admin    = "admin@corp.example"
)

// google is a domain at a server for tests.
type google struct {
	*gmailtest.Server
	ids map[string]string // of users, by address
}

func newGoogle(t *testing.T, opts *gmailtest.Options, users ...string) google {
	t.Helper()
	g := google{gmailtest.NewServer(t, opts), make(map[string]string)}
	for _, address := range users {
		g.ids[address] = g.AddUser(gmailtest.User{Email: address})
	}
	return g
}

// secret is a part of the service account's key that nobody may see.
func (g google) secret() string {
	var key struct {
		PrivateKey string `json:"private_key"`
	}
	_ = json.Unmarshal(g.ServiceAccountJSON(), &key) // an empty one would be found at once
	return strings.Split(key.PrivateKey, "\n")[1]
}

// downloads returns how often messages were read, and not just their labels.
func (g google) downloads() (n int) {
	for _, q := range g.Requests() {
		if q.Method == "messages.get" && strings.Contains(q.Query, "format=raw") {
			n++
		}
	}
	return n
}

// settings writes settings that open the domain, with some fields more.
func (g google) settings(t *testing.T, with map[string]any) string {
	t.Helper()
	config := map[string]any{
		"credentials": string(g.ServiceAccountJSON()), "admin": admin, "endpoint": g.URL(), "custom_endpoints": true, "quota_profile": "legacy",
	}
	maps.Copy(config, with)
	return settingsFile(t, "gmail", config)
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
	return file(t, driver+".json", string(data))
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// result is what a run of the program came to.
type result struct {
	code        int
	out, errOut string
}

// runArgs runs the program in this process.
func runArgs(ctx context.Context, args ...string) result {
	var out, errOut bytes.Buffer
	code := run(ctx, args, &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// want fails the test unless the program ended with code and said all of texts on either output.
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
	for _, secret := range []string{"PRIVATE KEY", "Bearer ", "ya29."} {
		if strings.Contains(r.out+r.errOut, secret) {
			t.Errorf("the output holds a secret, %q:\n%s%s", secret, r.out, r.errOut)
		}
	}
}

// raws are messages from number from up to number to.
func raws(mailbox string, from, to int) (all [][]byte) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Appendf(nil, "From: a@corp.example\r\nTo: %s\r\nSubject: %d\r\nMessage-ID: <%d.%s>\r\n\r\n%s\r\n", mailbox, i, i, mailbox, strings.Repeat("line\r\n", i%50)))
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

// A filed message is what the archive has of one that is in a mailbox now.
type filed struct {
	raw           []byte
	labels, flags string
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

// archived replays the log of a mailbox, told by its id, and returns what is in it now, by ids at Google. Octets are read from the
// archive.
func archived(t *testing.T, dir, mailbox string) map[string]filed {
	t.Helper()
	parts, entries := logged(t, fileStore(t, dir), mailbox)
	for i, part := range parts {
		if part.Number != int64(i)+1 || part.Mailbox != mailbox || part.Checkpoint == "" {
			t.Errorf("part %d of %s: got %+v", i+1, mailbox, part)
		}
	}
	now := make(map[string]filed)
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
			now[e.Ref.ID] = filed{data, sorted(e.Labels), sorted(e.Flags)}
		case "updated":
			now[e.Ref.ID] = filed{now[e.Ref.ID].raw, sorted(e.Labels), sorted(e.Flags)}
		case "removed":
			delete(now, e.Ref.ID)
		}
	}
	return now
}

func sorted[T ~string](s []T) string { return fmt.Sprint(slices.Sorted(slices.Values(s))) }

// wantArchived fails the test unless the archive has what Google has in the mailbox, octet for octet.
func wantArchived(t *testing.T, dir string, g google, user string) {
	t.Helper()
	have := archived(t, dir, g.ids[user])
	var wrong []string
	for _, m := range g.Messages(user) {
		if f, ok := have[m.ID]; !ok || !bytes.Equal(f.raw, m.Raw) {
			wrong = append(wrong, fmt.Sprintf("%.80q: got %d octets, found %v, want %d", m.Raw, len(f.raw), ok, len(m.Raw)))
		}
		delete(have, m.ID)
	}
	for id := range have {
		wrong = append(wrong, fmt.Sprintf("the archive has %s, Google has not", id))
	}
	if len(wrong) > 0 {
		t.Errorf("%s: %d messages are wrong, such as\n%s", user, len(wrong), strings.Join(wrong[:min(len(wrong), 5)], "\n"))
	}
}

func TestUsage(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":      {[]string{"-form", "x.json"}, "flag provided but not defined: -form"},
		"stray word":        {[]string{"x.json"}, `"x.json": unexpected`},
		"nothing":           {nil, "-settings: missing"},
		"two sources":       {[]string{"-settings", "x", "-admin", "y", "-to", "z"}, "-settings: -credentials"},
		"no administrator":  {[]string{"-credentials", "x", "-to", "z"}, "-admin: missing"},
		"no destination":    {[]string{"-settings", "x"}, "-to: missing"},
		"negative interval": {[]string{"-settings", "x", "-to", "y", "-interval", "-1s"}, "-interval -1s"},
		"no workers":        {[]string{"-settings", "x", "-to", "y", "-workers", "0"}, "-workers 0: want at least 1"},
		"malformed filter":  {[]string{"-settings", "x", "-to", "y", "-filter", "a@b,[x"}, `-filter: "[x"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			runArgs(t.Context(), test.args...).want(t, exitUsage, test.want)
		})
	}
	runArgs(t.Context(), "-help").want(t, exitOK, "-settings", "-once", "-filter", "examples/gmailsync/settings")
}

func TestBadSettings(t *testing.T) {
	dir := t.TempDir()
	empty := file(t, "empty", "\n")
	person := map[string]any{"client_id": "x", "client_secret": "y", "refresh_token": "z"}
	good := settingsFile(t, "gmail", map[string]any{"oauth2": person})
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no file", []string{"-settings", "nowhere.json"}, "samples are in examples/gmailsync/settings"},
		{"no settings", []string{"-settings", empty}, "driver: missing"},
		{"another driver", []string{"-settings", settingsFile(t, "imap", nil)}, "imap"},
		{"unknown field", []string{"-settings", settingsFile(t, "gmail", map[string]any{"amin": "x"})}, `did you mean "admin"?`},
		{"no credentials", []string{"-settings", settingsFile(t, "gmail", nil)}, "credentials"},
		{"no key", []string{"-credentials", "nowhere", "-admin", admin}, "nowhere"},
		{"not a key", []string{"-credentials", good, "-admin", admin}, "credentials: "},
		{"a hostile key", []string{"-credentials", file(t, "key", `{"type":"external_account"}`), "-admin", admin}, "not a service-account key"},
		{"destination below a file", []string{"-settings", good, "-to", filepath.Join(empty, "x")}, "-to"},
		{"destination is no store", []string{"-settings", good, "-to", good}, "-to"},
		{"destination is no settings file", []string{"-settings", good, "-to", empty}, "-to"},
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

// The samples are whole but for the secrets.
func TestSamples(t *testing.T) {
	c, err := (&job{options: options{settings: filepath.Join("settings", "person.json")}}).openGmail(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join("settings", "domain.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sample connection.Settings
	var config map[string]any
	if err := errors.Join(json.Unmarshal(data, &sample), json.Unmarshal(sample.Config, &config)); err != nil {
		t.Fatal(err)
	}
	config["credentials"] = string(newGoogle(t, nil).ServiceAccountJSON())
	config["custom_endpoints"] = true // the token_uri of the server for tests
	if c, err = (&job{options: options{settings: settingsFile(t, sample.Driver, config)}}).openGmail(nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestOnce(t *testing.T) {
	g := newGoogle(t, nil, ann, bob)
	g.Deliver(ann, raws(ann, 0, 40)...)
	label := g.AddLabel(ann, "Projects/2026")
	first := g.Messages(ann)[0]
	g.SetLabels(ann, first.ID, []string{label}, []string{"INBOX", "UNREAD"})
	g.Deliver(bob, raws(bob, 0, 5)...)
	from, dir := g.settings(t, nil), filepath.Join(t.TempDir(), "new", "archive")
	args := []string{"-once", "-settings", from, "-to", dir}
	r := runArgs(t.Context(), args...)
	r.want(t, exitOK, "About 45 messages to read in 2 new mailboxes", "ann@corp.example: 40 new messages", "up to date", "2 mailboxes up to date, 0 failed; 45 messages new")
	if strings.Contains(r.out, g.secret()) {
		t.Error("the output holds the key")
	}
	wantArchived(t, dir, g, ann)
	wantArchived(t, dir, g, bob)
	if f := archived(t, dir, g.ids[ann])[first.ID]; f.labels != "[Projects/2026]" || f.flags != `[\Seen]` {
		t.Errorf("got labels %s, flags %s", f.labels, f.flags)
	}

	runArgs(t.Context(), args...).want(t, exitOK, "2 mailboxes up to date, 0 failed; 0 messages new")
	g.Deliver(bob, raws(bob, 5, 7)...)
	g.SetLabels(ann, first.ID, []string{"STARRED"}, nil)
	g.ResetLog()
	runArgs(t.Context(), append(args, "-filter", "b*@corp.example", "-v")...).want(t, exitOK, "1 mailbox up to date, 0 failed; 2 messages new")
	wantArchived(t, dir, g, bob)
	r = runArgs(t.Context(), args...)
	r.want(t, exitOK, "0 messages new, 1 changed")
	if strings.Contains(r.out, "to read in") {
		t.Errorf("there is a forecast for mailboxes that were read:\n%s", r.out)
	}
	if calls := g.downloads(); calls != 2 {
		t.Errorf("got %d downloads, want those of the two new messages", calls)
	}
	if f := archived(t, dir, g.ids[ann])[first.ID]; f.flags != `[\Flagged \Seen]` {
		t.Errorf("got flags %s", f.flags)
	}

	runArgs(t.Context(), "-settings", from, "-list", "-filter", "*nn@*").want(t, exitOK, ann)
	runArgs(t.Context(), "-settings", from, "-test").want(t, exitOK, "mailbox")
}

// One person's mailbox, which has no name among others.
func TestOnePerson(t *testing.T) {
	g := newGoogle(t, nil, ann)
	g.Deliver(ann, raws(ann, 0, 3)...)
	o := g.OAuth2(ann)
	from := settingsFile(t, "gmail", map[string]any{
		"oauth2":   map[string]any{"client_id": o.ClientID, "client_secret": o.ClientSecret, "refresh_token": o.RefreshToken, "token_uri": o.TokenURI},
		"endpoint": g.URL(), "custom_endpoints": true,
	})
	dir := t.TempDir()
	r := runArgs(t.Context(), "-once", "-settings", from, "-to", dir)
	r.want(t, exitOK, "ann@corp.example: 3 new messages", "1 mailbox up to date, 0 failed; 3 messages new")
	if strings.Contains(r.out+r.errOut, o.RefreshToken) || strings.Contains(r.out+r.errOut, o.ClientSecret) {
		t.Errorf("the output holds a secret:\n%s%s", r.out, r.errOut)
	}
	g.ids[ann] = ""
	wantArchived(t, dir, g, ann)
	runArgs(t.Context(), "-settings", from, "-list").want(t, exitOK, ann)
}

// Google forgets the history: what came and went meanwhile is found, and nothing is downloaded twice.
func TestHistoryForgotten(t *testing.T) {
	g := newGoogle(t, nil, ann)
	ids := g.Deliver(ann, raws(ann, 0, 20)...)
	args := []string{"-once", "-settings", g.settings(t, nil), "-to", t.TempDir()}
	runArgs(t.Context(), args...).want(t, exitOK, "20 messages new")
	g.Deliver(ann, raws(ann, 20, 25)...)
	g.Remove(ann, ids[3], ids[4])
	g.ExpireHistory(ann)
	g.ResetLog()
	runArgs(t.Context(), args...).want(t, exitOK, "5 messages new", "2 removed at Google")
	wantArchived(t, args[4], g, ann)
	if calls := g.downloads(); calls != 5 {
		t.Errorf("got %d downloads, want 5", calls)
	}
}

// A label that is removed takes no message with it: they are in the mailbox still, and none is downloaded again, even where the
// history is lost.
func TestLabelRemoved(t *testing.T) {
	g := newGoogle(t, nil, ann)
	label := g.AddLabel(ann, "Work")
	for _, id := range g.Deliver(ann, raws(ann, 0, 4)...)[:3] {
		g.SetLabels(ann, id, []string{label}, []string{"INBOX"})
	}
	args := []string{"-once", "-settings", g.settings(t, nil), "-to", t.TempDir()}
	runArgs(t.Context(), args...).want(t, exitOK, "4 messages new")
	g.ResetLog()
	g.RemoveLabel(ann, label)
	for range 2 {
		runArgs(t.Context(), args...).want(t, exitOK, "0 messages new", "0 removed at Google")
		wantArchived(t, args[4], g, ann)
		g.ExpireHistory(ann)
	}
	if calls := g.downloads(); calls != 0 {
		t.Errorf("got %d downloads, want none", calls)
	}
	_, entries := logged(t, fileStore(t, args[4]), g.ids[ann])
	if !slices.ContainsFunc(entries, func(e mirrored.Entry) bool { return e.Op == "folder removed" && e.Folder == "Work" }) {
		t.Errorf("the log does not tell that the label is gone: %+v", entries)
	}
}

// A mailbox that is off is told, and the others are mirrored. A suspended user is left out, and told once.
func TestMailboxOff(t *testing.T) {
	const eve, sam = "eve@corp.example", "sam@corp.example"
	g := newGoogle(t, nil, ann, eve, sam)
	g.Deliver(ann, raws(ann, 0, 3)...)
	g.Deliver(eve, raws(eve, 0, 3)...)
	g.Disable(eve)
	g.Suspend(sam, true)
	from, dir := g.settings(t, nil), t.TempDir()
	runArgs(t.Context(), "-once", "-settings", from, "-to", dir).want(t, exitFailed, "problem with eve@corp.example", "sam@corp.example: suspended", "1 mailbox up to date, 1 failed", "1 mailbox could not be mirrored whole")
	wantArchived(t, dir, g, ann)
	r := runArgs(t.Context(), "-once", "-settings", from, "-to", dir, "-json")
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
	if got := strings.Join(events, " "); got != "note note forecast problem done failed" {
		t.Errorf("got events %s\n%s", got, r.out)
	}
}

// When nothing can be mirrored, the test says what is wrong.
func TestNotDelegated(t *testing.T) {
	g := newGoogle(t, nil, ann)
	g.Delegate("https://www.googleapis.com/auth/admin.directory.user.readonly")
	r := runArgs(t.Context(), "-once", "-settings", g.settings(t, nil), "-to", t.TempDir())
	r.want(t, exitFailed, "0 mailboxes up to date, 1 failed", "Hint: ", "gmail.readonly")
}

// A service account without a settings file.
func TestCredentialsFlag(t *testing.T) {
	g := newGoogle(t, nil, ann)
	// Google's hosts are the only ones that such a key may name.
	runArgs(t.Context(), "-credentials", file(t, "key.json", string(g.ServiceAccountJSON())), "-admin", admin, "-to", t.TempDir()).want(t, exitFailed, "-credentials", "token_uri")
}

// Without -once it brings what arrives later, until it is told to stop.
func TestFollow(t *testing.T) {
	g := newGoogle(t, nil, ann)
	g.Deliver(ann, raws(ann, 0, 3)...)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var r result
	ended := make(chan struct{})
	// Idle mailboxes are looked at less and less often; here they are not idle long enough.
	args := []string{"-settings", g.settings(t, map[string]any{"poll_interval": "1s", "poll_interval_max": "1s"}), "-to", dir, "-interval", "10ms"}
	go func() {
		defer close(ended)
		r = runArgs(ctx, args...)
	}()
	has := func(n int) func() bool {
		return func() bool { return len(archived(t, dir, g.ids[ann])) == n }
	}
	until(t, ended, "the first messages are in the log", has(3))
	g.Deliver(ann, raws(ann, 3, 5)...)
	until(t, ended, "the next messages are in the log", has(5))
	cancel()
	<-ended
	r.want(t, exitInterrupted, "interrupted", "stopping")
	wantArchived(t, dir, g, ann)
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

// What the driver counts outlives the process.
func TestState(t *testing.T) {
	g := newGoogle(t, nil, ann)
	g.Deliver(ann, raws(ann, 0, 10)...)
	args := []string{"-once", "-settings", g.settings(t, nil), "-to", t.TempDir(), "-json"}
	spent := func() (units float64) {
		r := runArgs(t.Context(), args...)
		r.want(t, exitOK)
		for line := range strings.Lines(r.out) {
			var event struct {
				Done struct {
					Units float64 `json:"units_today"`
				} `json:"done"`
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatal(err)
			}
			units += event.Done.Units
		}
		return units
	}
	first := spent()
	if second := spent(); first < 50 || second <= first || second > first+10 {
		t.Errorf("got %v units, then %v: want the second count to go on from the first", first, second)
	}
	s := state{fileStore(t, args[4])}
	if got, err := s.Load(t.Context(), "no such/key"); got != nil || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, value := range []string{"one", "and another"} {
		if err := s.Save(t.Context(), "a/../b", []byte(value)); err != nil {
			t.Error(err)
		}
		if got, err := s.Load(t.Context(), "a/../b"); string(got) != value || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, value)
		}
	}
}
