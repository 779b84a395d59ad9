package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// anArchive makes an archive of three messages, as examples/archive does, and returns its folder and their keys.
func anArchive(t *testing.T) (dir string, keys, raw []string) {
	t.Helper()
	dir = t.TempDir()
	store, err := openArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, text string) {
		t.Helper()
		if _, err := store.Put(t.Context(), key, strings.NewReader(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	manifest := `{"run":"r","segment":1,"lines":3,"source":"s"}` + "\n"
	for i, folder := range []string{"INBOX", "INBOX", "Sent"} {
		text := fmt.Sprintf("From: ann@example.org\r\nMessage-ID: <%d@example.org>\r\n\r\nNumber %d\r\n", i, i)
		key, err := messageKey(digest(text))
		if err != nil {
			t.Fatal(err)
		}
		put(key, text)
		keys, raw = append(keys, key), append(raw, text)
		line, err := json.Marshal(map[string]any{
			"key": key, "size": len(text), "ref": connection.Ref{Folder: folder, ID: fmt.Sprint(i)}, "folder": folder,
			"received": fmt.Sprintf("2026-01-0%dT12:00:00Z", i+1), "envelope": connection.Envelope{From: "ann@example.org", To: []string{"list@example.org"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		manifest += string(line) + "\n"
	}
	manifest += strings.SplitN(manifest, "\n", 2)[1] // each twice
	put("manifests/r/"+digest(manifest)+".jsonl", manifest)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, keys, raw
}

// via starts a server and returns the settings file of a connection to it.
func via(t *testing.T) (*smtptest.Server, string) {
	t.Helper()
	srv := smtptest.NewServer(t, nil)
	data, err := json.Marshal(srv.Settings())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "smtp.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return srv, file
}

func call(t *testing.T, stdin string, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &out)
	return code, out.String()
}

func TestReplayByQuery(t *testing.T) {
	dir, _, raw := anArchive(t)
	srv, file := via(t)
	for query, want := range map[string][]string{"-folder=INBOX": raw[:2], "-folder=S*": raw[2:], "-since=2026-01-02": raw[1:], "-until=2026-01-02T12:00:00Z": raw[:1], "-folder=*": raw} {
		before := len(srv.Messages())
		if code, said := call(t, "", "-archive", dir, "-via", file, "-to", "bob@example.org, carol@example.org", query); code != exitOK || strings.Count(said, "sent ") != len(want) {
			t.Errorf("%s: exit code %d:\n%s", query, code, said)
		}
		got := srv.Messages()[before:]
		if len(got) != len(want) {
			t.Fatalf("%s: %d messages arrived, want %d", query, len(got), len(want))
		}
		for i, m := range got {
			if string(m.Raw) != want[i] || m.From != "ann@example.org" || len(m.To) != 2 {
				t.Errorf("%s: from %s to %s came %q, want %q", query, m.From, m.To, m.Raw, want[i])
			}
		}
	}
}

func TestReplayByKeyAndList(t *testing.T) {
	dir, keys, raw := anArchive(t)
	srv, file := via(t)
	code, said := call(t, "# two of them\n"+keys[1]+"\n\n"+keys[0]+"\n", "-archive", dir, "-via", file, "-to", "bob@example.org", "-list", "-", keys[0])
	if got := srv.Messages(); code != exitOK || len(got) != 2 || string(got[0].Raw) != raw[0] || got[0].From != "archive@example.org" {
		t.Errorf("exit code %d, %+v:\n%s", code, got, said)
	}
	missing := strings.Repeat("ab", 32)
	code, said = call(t, "", "-archive", dir, "-via", file, "-to", "bob@example.org", missing, keys[2])
	if code != exitFailed || !strings.Contains(said, "not found") || !strings.Contains(said, "1 sent") {
		t.Errorf("a key that is missing: exit code %d:\n%s", code, said)
	}
}

func TestDryRunSendsNothing(t *testing.T) {
	dir, keys, _ := anArchive(t)
	srv, file := via(t)
	code, said := call(t, "", "-archive", dir, "-via", file, "-to", "bob@example.org", "-folder", "*", "-dry-run")
	if code != exitOK || strings.Count(said, "would send ") != 3 || !strings.Contains(said, keys[2]) || strings.Count(said, "from <ann@example.org> to bob@example.org") != 3 || len(srv.Messages()) > 0 {
		t.Errorf("exit code %d, %d sent:\n%s", code, len(srv.Messages()), said)
	}
}

func TestEachOutcomeIsTold(t *testing.T) {
	dir, _, _ := anArchive(t)
	srv, file := via(t)
	srv.Fail("END", "554 5.6.0 a virus", 1)
	srv.LoseReply("END", 1)
	srv.Fail("RCPT TO:<carol", "550 5.1.1 no such user")
	code, said := call(t, "", "-archive", dir, "-via", file, "-to", "bob@example.org,carol@example.org", "-folder", "*")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"refused      messages/", "a virus", "unknown      messages/", "sent to some messages/", "no such user", "3 messages, 1 sent to some, 1 refused, 1 unknown"} {
		if !strings.Contains(said, want) {
			t.Errorf("it said nothing of %q:\n%s", want, said)
		}
	}
	if len(srv.Messages()) != 2 {
		t.Errorf("%d messages arrived, want that of which it is unknown, and that to some", len(srv.Messages()))
	}
	if strings.Contains(said, smtptest.DefaultPassword) {
		t.Error("the password was printed")
	}
}

// What the next messages would meet as well ends it at once: a login that is refused, here after the test of the connection.
func TestStopsWhereNothingCanBeSent(t *testing.T) {
	dir, _, _ := anArchive(t)
	srv, file := via(t)
	srv.Fail("BDAT", "530 5.7.0 log in again")
	code, said := call(t, "", "-archive", dir, "-via", file, "-to", "bob@example.org", "-folder", "*")
	if code != exitFailed || !strings.Contains(said, "1 message, 1 not sent; stopped before the rest") || len(srv.Commands("MAIL")) > 2 {
		t.Errorf("exit code %d:\n%s", code, said)
	}
}

// The demonstration works, and leaves nothing behind.
func TestDemonstration(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	code, said := call(t, "")
	if code != exitOK || !strings.Contains(said, "4 messages, 2 sent, 1 refused, 1 unknown") || !strings.Contains(said, "X-Original-Message-ID: <four@example.org>") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v: %v", left, err)
	}
}

// Where the source told no time of arrival, the time of storing counts.
func TestQueryByTime(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		e    Entry
		want bool
	}{
		{Entry{Received: day(5)}, true},
		{Entry{Received: day(20), Stored: day(5)}, false},
		{Entry{Stored: day(5)}, true},
		{Entry{Stored: day(20)}, false},
		{Entry{Received: day(1)}, false},
		{Entry{}, false},
	} {
		q := query{since: day(2), until: day(10)}
		if got := q.matches(tt.e); got != tt.want {
			t.Errorf("%+v: got %v", tt.e, got)
		}
	}
}

// A store that does not know digests does not let a damaged message through, nor a damaged manifest.
func TestDamageIsSeenWithoutTheStore(t *testing.T) {
	key, err := messageKey(digest("whole"))
	if err != nil {
		t.Fatal(err)
	}
	for text, damaged := range map[string]bool{"whole": false, "whale": true, "whol": true} {
		_, err := io.ReadAll(&verified{r: strings.NewReader(text), hash: sha256.New(), key: key})
		if damaged != errors.Is(err, connection.ErrCorrupt) || !damaged && err != nil {
			t.Errorf("%q: got %v", text, err)
		}
	}
	dir := t.TempDir()
	store, err := openArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "manifests/r/"+digest("another")+".jsonl", strings.NewReader("{}\n"), nil); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if code, said := call(t, "", "-archive", dir, "-folder", "*", "-dry-run"); code != exitFailed || !strings.Contains(said, "is damaged") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
}

// A message that is damaged in the archive is not sent.
func TestDamagedMessageIsNotSent(t *testing.T) {
	dir, keys, raw := anArchive(t)
	srv, file := via(t)
	found := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && string(data) == raw[0] {
			found++
			err = os.WriteFile(path, bytes.Replace(data, []byte("Number"), []byte("Nunber"), 1), 0o600)
		}
		return err
	})
	if err != nil || found != 1 {
		t.Fatalf("damaged %d files: %v", found, err)
	}
	code, said := call(t, "", "-archive", dir, "-via", file, "-to", "bob@example.org", keys[0])
	if code != exitFailed || len(srv.Messages()) > 0 || !strings.Contains(said, "corrupt") {
		t.Errorf("exit code %d, %d sent:\n%s", code, len(srv.Messages()), said)
	}
}

func TestWrongUse(t *testing.T) {
	dir, keys, _ := anArchive(t)
	_, file := via(t)
	for want, args := range map[string][]string{
		"-archive: missing":       {"-via", file, keys[0]},
		"-via: missing":           {"-archive", dir, keys[0]},
		"-to: missing":            {"-archive", dir, "-via", file, keys[0]},
		"say which messages":      {"-archive", dir, "-via", file, "-to", "bob@example.org"},
		"syntax error in pattern": {"-archive", dir, "-via", file, "-to", "bob@example.org", "-folder", "["},
		"neither the key":         {"-archive", dir, "-via", file, "-to", "bob@example.org", "hello"},
		"no such file":            {"-archive", filepath.Join(dir, "not-there"), "-via", file, "-to", "bob@example.org", keys[0]},
		"lacks Send":              {"-archive", dir, "-via", fileStore(t, dir), "-to", "bob@example.org", keys[0]},
		"2026-01-31T12":           {"-archive", dir, "-via", file, "-to", "bob@example.org", "-since", "yesterday"},
		"want addresses such as":  {"-archive", dir, "-via", file, "-to", "carol@example.org, bob", keys[0]},
		"is this an archive":      {"-archive", t.TempDir(), "-via", file, "-to", "bob@example.org", "-folder", "*"},
		"has no such message":     {"-archive", dir, "-via", file, "-to", "bob@example.org", "-folder", "Nowhere"},
	} {
		if code, said := call(t, "", args...); code == exitOK || !strings.Contains(said, want) {
			t.Errorf("%q: exit code %d, said %q, want %q", args, code, said, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if code := run(ctx, []string{"-archive", dir, "-via", file, "-to", "bob@example.org", keys[0]}, nil, &out, &out); code != exitInterrupted {
		t.Errorf("interrupted: exit code %d:\n%s", code, &out)
	}
}

func fileStore(t *testing.T, dir string) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"driver": "file", "config": map[string]string{"location": dir}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "store.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
