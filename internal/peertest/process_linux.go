package peertest

import (
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent gives cmd its own process group, and has the kernel end it when this process dies.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
}

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// killGroup kills p and its children, which share its process group.
func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // ESRCH: already gone
}
