package filestore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOrderOfSystemCalls reads in a trace of the system that the octets are on disk before the name, and the name and
// the directories above it before Put returns: no other test would notice if they were not.
func TestOrderOfSystemCalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace")
	}
	base := t.TempDir()
	dir := filepath.Join(base, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "one", dir)
	trace := filepath.Join(base, "trace")
	cmd.Path, cmd.Args = strace, []string{strace, "-f", "-y", "-s", "4096", "-o", trace, "-e", "trace=fsync,renameat,renameat2,write", os.Args[0]}
	if err := cmd.Run(); err != nil {
		t.Skipf("strace cannot trace here: %v", err)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`(fsync|write|rename)\w*\(\d+<([^>]*)>(?:, "([^"]*)"(?:, \d+<([^>]*)>, "([^"]*)")?)?`)
	temp := regexp.MustCompile(`/\.tmp/[^/]+$`)
	var got []string
	for line := range strings.Lines(string(data)) {
		m := call.FindStringSubmatch(line)
		if m == nil || !strings.HasPrefix(m[2], base) {
			continue
		}
		path := temp.ReplaceAllString(strings.TrimPrefix(m[2], base), " temp")
		if m[1] == "rename" {
			path = strings.TrimPrefix(m[4], base) + "/" + m[5]
		}
		got = append(got, m[1]+" "+path)
	}
	key := addressed("one")
	aa, bb := filepath.Dir(filepath.Dir(key)), filepath.Dir(key)
	want := []string{
		"write /store temp", "fsync /store temp", "rename /store/" + key, // octets, then name
		"fsync /store/" + bb, "fsync /store/" + aa, "fsync /store/messages", "fsync /store", "fsync ",
		"write /store temp", "fsync /store temp", // data of dir/k
		"write /store temp", "fsync /store temp", "rename /store/dir/k%f%m", "fsync /store/dir", "fsync /store", // its sidecar
		"rename /store/dir/k%f", "fsync /store/dir",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the calls\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
