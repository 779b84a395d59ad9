//go:build !linux

package peertest

import (
	"os"
	"os/exec"
)

func dieWithParent(*exec.Cmd) {}

func terminate(p *os.Process) error { return p.Signal(os.Interrupt) }

func killGroup(p *os.Process) {
	_ = p.Kill() // already gone
}
