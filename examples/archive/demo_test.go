package main

import (
	"path/filepath"
	"testing"
	"time"
)

// The command at the top of the README.
func TestDemonstration(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	began := time.Now()
	cmd := command(t)
	built := time.Since(began)
	began = time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s after the build (%s), want under 20s", took, built)
	}
	result{out: string(out)}.want(t, 0,
		"Stored 300 messages", "Deleted 300 at the source", "the archive is whole",
		"All 300 messages that the server held are in the archive", "What to try next")
	dirs, err := filepath.Glob(filepath.Join(temp, "mail-archive-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("got archives %q, %v; want one", dirs, err)
	}
	wantArchived(t, dirs[0], samples(demoMessages, demoSeed))
	t.Logf("build %s, run %s\n%s", built.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), out)
}

func TestDemonstrationIntoAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "this")
	for range 2 { // the second time the archive has it all
		runArgs(t, "-to", dir).want(t, exitOK, "Stored 300 messages", "the archive is whole", "-verify "+dir)
	}
	wantArchived(t, dir, samples(demoMessages, demoSeed))
}
