package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// programDir is where the program is built; TestMain makes it.
var programDir string

// program is the program as its users run it, built when the first test needs it.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "volume.exe") // the name does for every system
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "volume-test-"); err != nil {
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

// A volume is the program in a folder of its own, with a store beside it.
type volume struct {
	t   *testing.T
	dir string
}

func newVolume(t *testing.T) *volume {
	v := &volume{t, t.TempDir()}
	if err := os.Mkdir(filepath.Join(v.dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	return v
}

// write makes a file of the folder.
func (v *volume) write(name, content string) string {
	v.t.Helper()
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		v.t.Fatal(err)
	}
	return path
}

// result is what a run of the program came to.
type result struct {
	t           *testing.T
	code        int
	out, errOut string
}

// command is the built program with its arguments; it runs in the folder.
func (v *volume) command(args ...string) *exec.Cmd {
	v.t.Helper()
	path, err := program()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd := exec.CommandContext(v.t.Context(), path, args...)
	cmd.Dir = v.dir
	return cmd
}

// run runs the built program.
func (v *volume) run(args ...string) result {
	v.t.Helper()
	return v.runWith("", args...)
}

func (v *volume) runWith(input string, args ...string) result {
	v.t.Helper()
	cmd := v.command(args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil {
		v.t.Fatal(err)
	}
	return result{v.t, cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// store runs a command against the store.
func (v *volume) store(args ...string) result {
	v.t.Helper()
	return v.run(append([]string{"-settings", "store"}, args...)...)
}

// want fails the test unless the program ended with code and said all of texts on either output.
func (r result) want(code int, texts ...string) result {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.errOut, text) {
			r.t.Errorf("%q is not said in\n%s%s", text, r.out, r.errOut)
		}
	}
	return r
}

// content returns the files of the store that hold what was put.
func (v *volume) content(t *testing.T) (files []string) {
	err := filepath.WalkDir(filepath.Join(v.dir, "store"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, "%m") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRoundTrip(t *testing.T) {
	v := newVolume(t)
	v.write("letter.eml", "Subject: one\r\n\r\nhello\r\n")
	v.write("box/a.eml", "a")
	v.write("box/deep/b c.eml", "bb")
	v.store("put", "-prefix", "2026/", "-type", "message/rfc822", "-meta", "from=ann", "-meta", "to=ben=x", "letter.eml", "box").want(exitOK, "put 2026/letter.eml", "put 2026/box/a.eml", "put 2026/box/deep/b c.eml")
	v.store("ls").want(exitOK, "2026/letter.eml", "          23", "2026/box/deep/b c.eml")
	if r := v.store("ls", "-d", "2026/").want(exitOK, "2026/box/", "2026/letter.eml"); strings.Contains(r.out, "a.eml") {
		t.Errorf("ls -d does not fold:\n%s", r.out)
	}
	if r := v.store("ls", "-after", "2026/box/b", "-limit", "1").want(exitOK, "b c.eml"); strings.Count(r.out, "\n") != 1 {
		t.Errorf("ls -limit 1 gives\n%s", r.out)
	}
	v.store("stat", "2026/letter.eml").want(exitOK, "23 (23 B)", "message/rfc822", "meta from", "ann", "ben=x", "sha256")
	v.store("get", "2026/letter.eml", "copy.eml").want(exitOK, "got 2026/letter.eml")
	if got, err := os.ReadFile(filepath.Join(v.dir, "copy.eml")); err != nil || string(got) != "Subject: one\r\n\r\nhello\r\n" {
		t.Errorf("got %q, error %v", got, err)
	}
	if r := v.store("get", "2026/box/a.eml", "-").want(exitOK); r.out != "a" {
		t.Errorf("get to standard output gives %q", r.out)
	}
	v.store("get", "2026/box/a.eml").want(exitOK, "into a.eml")
	v.store("get", "2026/box/a.eml", "box").want(exitFailed, "is there already")
	v.store("verify").want(exitOK, "3 objects verified, 26 B read")
	v.store("verify", "2026/box/").want(exitOK, "2 objects verified")
	v.store("rm", "2026/letter.eml", "never-was").want(exitOK, "removed 2026/letter.eml")
	v.store("stat", "2026/letter.eml").want(exitFailed, "not found")
	v.store("get", "2026/letter.eml", "gone.eml").want(exitFailed, "not found")
	v.store("test", "-write").want(exitOK, "ok", "remove")
	left, err := filepath.Glob(filepath.Join(v.dir, "*"))
	if want := []string{"a.eml", "box", "copy.eml", "letter.eml", "store"}; err != nil || len(left) != len(want) {
		t.Errorf("the folder has %q, want %q", left, want)
	}
	hidden, err := filepath.Glob(filepath.Join(v.dir, ".*"))
	if err != nil || len(hidden) > 0 {
		t.Errorf("temporary files are left behind: %q", hidden)
	}
}

func TestStandardInput(t *testing.T) {
	v := newVolume(t)
	v.runWith("from a pipe", "-settings", "store", "put", "-as", "piped", "-").want(exitOK, "put piped  11 B")
	if r := v.store("get", "piped", "-").want(exitOK); r.out != "from a pipe" {
		t.Errorf("got %q", r.out)
	}
}

func TestPutRefuses(t *testing.T) {
	v := newVolume(t)
	v.write("one", "1")
	v.write("a/one", "2")
	v.store("put", "-if-absent", "one").want(exitOK)
	v.store("put", "-if-absent", "one").want(exitFailed, "already exists")
	v.store("put", "one", filepath.Join("a", "one")).want(exitUsage, "would have the same key one")
	v.store("put", "-as", "x", "one", filepath.Join("a", "one")).want(exitUsage, "-as is for one file")
	v.store("put", "-").want(exitUsage, "-as")
	v.store("put", "no-such-file").want(exitFailed, "no-such-file")
	v.store("put", "-class", "GLACIER", "one").want(exitFailed, "storage class")
	v.store("put", "-retain", "tomorrow", "one").want(exitUsage, "2030-12-31")
	v.store("put", "-meta", "x", "one").want(exitUsage, "name=value")
	v.store("put", "-as", "../up", "one").want(exitFailed, "InvalidKey")
	if r := v.store("get", "one", "-"); r.out != "1" {
		t.Errorf("the object is %q, want %q", r.out, "1")
	}
}

func TestGetNeverHarmsAFile(t *testing.T) {
	v := newVolume(t)
	path := v.write("mine", "precious")
	v.write("theirs", "stored")
	v.store("put", "-as", "mine", "theirs").want(exitOK)
	v.store("get", "mine").want(exitFailed, "-force")
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file holds %q, error %v", got, err)
	}
	v.store("get", "-force", "mine").want(exitOK)
	if got, err := os.ReadFile(path); err != nil || string(got) != "stored" {
		t.Errorf("the file holds %q, error %v", got, err)
	}
	// A damaged object does not become a file, and does not replace one.
	for _, file := range v.content(t) {
		if err := os.WriteFile(file, []byte("stOred"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.store("get", "-force", "mine").want(exitFailed, "corrupt data")
	if got, err := os.ReadFile(path); err != nil || string(got) != "stored" {
		t.Errorf("a damaged object made the file %q, error %v", got, err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	v := newVolume(t)
	v.write("good", "good")
	v.write("bad", "bad!")
	v.store("put", "good", "bad").want(exitOK)
	for _, file := range v.content(t) {
		if raw, err := os.ReadFile(file); err != nil || string(raw) != "bad!" {
			continue
		}
		if err := os.WriteFile(file, []byte("bAd!"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.store("verify").want(exitFailed, "bad:", "corrupt data", "1 object verified", "1 damaged")
	r := v.run("-settings", "store", "-json", "verify").want(exitFailed)
	var got tally
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Verified != 1 || got.Damaged != 1 || got.Failed != 0 {
		t.Errorf("got %+v from %q, error %v", got, r.out, err)
	}
	// An object whose key is another content's digest is damaged too.
	v = newVolume(t)
	v.write("any", "any")
	digest := "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"
	v.store("put", "-as", digest+".eml", "any").want(exitOK)
	v.store("verify").want(exitFailed, "1 damaged")
}

func TestHold(t *testing.T) {
	v := newVolume(t)
	v.write("kept", "1")
	v.store("put", "kept").want(exitOK)
	v.store("hold", "kept").want(exitOK, "holding kept")
	v.store("rm", "kept").want(exitFailed, "locked")
	v.store("hold", "-until", "2999-12-31", "kept").want(exitOK, "retaining kept until 3000-01-01")
	v.store("stat", "kept").want(exitOK, "legal hold    yes", "retained to")
	v.store("hold", "-off", "kept").want(exitOK, "no longer holding kept")
	if r := v.store("stat", "kept").want(exitOK, "retained to"); strings.Contains(r.out, "legal hold") {
		t.Errorf("the hold did not end:\n%s", r.out)
	}
	v.store("put", "kept").want(exitFailed, "locked")
	v.store("hold", "-until", "2030-01-01", "kept").want(exitFailed, "locked")
	v.store("hold", "-until", "2030-01-01", "-off", "kept").want(exitUsage)
	v.store("hold", "-until", "soon", "kept").want(exitUsage, "2030-12-31")
	v.store("hold", "missing").want(exitFailed, "not found")
	v.store("put", "-as", "late", "-legal-hold", "kept").want(exitOK)
	v.store("rm", "late", "missing").want(exitFailed, "locked", "removed missing")
}

func TestCommandLine(t *testing.T) {
	v := newVolume(t)
	v.write("imap.json", `{"driver": "imap", "config": {"server": "127.0.0.1", "username": "u", "password": "secret-of-mine"}}`)
	v.write("typo.json", `{"driver": "file", "config": {"locatoin": "/tmp"}}`)
	v.write("key.json", `{"driver": "file", "config": {"location": "/tmp", "credential": "secret-of-mine"}}`)
	for _, tt := range []struct {
		args  []string
		code  int
		texts []string
	}{
		{nil, exitUsage, []string{"say what to do", "restore"}},
		{[]string{"-help"}, exitOK, []string{"legal hold", "-settings"}},
		{[]string{"put", "-help"}, exitOK, []string{"-if-absent"}},
		{[]string{"ls"}, exitUsage, []string{"-settings: missing"}},
		{[]string{"-settings", "store", "lst"}, exitUsage, []string{`"lst" is no command`}},
		{[]string{"-settings", "store", "-workers", "0", "ls"}, exitUsage, []string{"-workers"}},
		{[]string{"-nonsense"}, exitUsage, nil},
		{[]string{"-settings", "store", "ls", "-nonsense"}, exitUsage, nil},
		{[]string{"-settings", "store", "ls", "a", "b"}, exitUsage, []string{"one prefix"}},
		{[]string{"-settings", "store", "verify", "a", "b"}, exitUsage, []string{"one prefix"}},
		{[]string{"-settings", "store", "get"}, exitUsage, []string{"want a key"}},
		{[]string{"-settings", "store", "stat"}, exitUsage, []string{"which keys"}},
		{[]string{"-settings", "store", "rm"}, exitUsage, []string{"which keys"}},
		{[]string{"-settings", "store", "put"}, exitUsage, []string{"which files"}},
		{[]string{"-settings", "store", "hold"}, exitUsage, []string{"which keys"}},
		{[]string{"-settings", "store", "restore"}, exitUsage, []string{"which keys"}},
		{[]string{"-settings", "store", "restore", "-days", "0", "x"}, exitUsage, []string{"-days"}},
		{[]string{"-settings", "store", "restore", "x"}, exitFailed, []string{"lacks Restore"}},
		{[]string{"-settings", "store", "test", "x"}, exitUsage, []string{"unexpected"}},
		{[]string{"-settings", "nowhere", "ls"}, exitFailed, []string{"nowhere", "examples/archive/settings"}},
		{[]string{"-settings", "imap.json", "ls"}, exitFailed, []string{"imap.json", "ObjectStore"}},
		{[]string{"-settings", "typo.json", "ls"}, exitFailed, []string{"locatoin", "location"}},
		{[]string{"-settings", "key.json", "ls"}, exitFailed, []string{"credential"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := (&volume{t, v.dir}).run(tt.args...).want(tt.code, tt.texts...)
			if strings.Contains(r.out+r.errOut, "secret-of-mine") {
				t.Errorf("a secret is printed:\n%s%s", r.out, r.errOut)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	v := newVolume(t)
	v.write("a", "1")
	v.write("b", "22")
	v.run("-settings", "store", "-json", "put", "a", "b").want(exitOK)
	r := v.run("-settings", "store", "-json", "ls").want(exitOK)
	var keys []string
	for line := range strings.Lines(r.out) {
		var info connection.ObjectInfo
		if err := json.Unmarshal([]byte(line), &info); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		keys = append(keys, fmt.Sprint(info.Key, info.Size))
	}
	if want := []string{"a1", "b2"}; !slices.Equal(keys, want) {
		t.Errorf("listed %q, want %q", keys, want)
	}
	r = v.run("-settings", "store", "-json", "test").want(exitOK)
	var report struct {
		Steps []struct{ Name, Status string }
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || len(report.Steps) < 2 || report.Steps[0].Status != "ok" {
		t.Errorf("got %+v from %q, error %v", report, r.out, err)
	}
}

func TestInterrupted(t *testing.T) {
	v := newVolume(t)
	v.write("a", "1")
	v.store("put", "a").want(exitOK)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"ls"}, {"verify"}, {"get", "a", filepath.Join(v.dir, "copy")}, {"put", filepath.Join(v.dir, "a")}, {"rm", "a"}} {
		var out, errOut bytes.Buffer
		code := run(ctx, append([]string{"-settings", filepath.Join(v.dir, "store")}, args...), strings.NewReader(""), &out, &errOut)
		(result{t, code, out.String(), errOut.String()}).want(exitInterrupted, "interrupted")
	}
	if _, err := os.Stat(filepath.Join(v.dir, "copy")); err == nil {
		t.Error("an interrupted get left a file")
	}
	v.store("verify").want(exitOK, "1 object verified")
}
