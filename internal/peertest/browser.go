package peertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// axeVersion is what .ci/peer-axe installs.
const axeVersion = "4.14.1"

// Chromium returns the path of the browser. Where it is not installed the test is skipped, or fails if the environment has
// CI=true.
func Chromium(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		err = fmt.Errorf("%w: chromium", ErrNotInstalled)
	}
	Require(t, err)
	return path
}

// Axe returns the script axe-core, which finds what people cannot use on a page. Where it is not installed the test is
// skipped, or fails if the environment has CI=true.
func Axe(t testing.TB) string {
	t.Helper()
	dir, err := peersDir()
	var script []byte
	if err == nil {
		script, err = os.ReadFile(filepath.Join(dir, "axe-core-"+axeVersion, "node_modules", "axe-core", "axe.min.js"))
	}
	if err != nil {
		err = fmt.Errorf("%w: axe-core: %w", ErrNotInstalled, err)
	}
	Require(t, err)
	return string(script)
}
