package peertest

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// stopGrace is how long a server may take to end by itself before it is killed.
const stopGrace = 3 * time.Second

// process is a child that this package started and that it ends by its process id, never by name.
type process struct {
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed when the child has ended
	err  error         // of Wait; read it after done
}

// startProcess starts cmd with its output in a bounded log.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: &tail{max: 256 << 10}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	// A grandchild that lives on keeps the output pipe open; do not wait for it for ever.
	cmd.WaitDelay = 2 * time.Second
	dieWithParent(cmd)
	started := make(chan error, 1)
	go func() {
		// Linux sends the parent-death signal when the thread that started the child ends, so that thread stays.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop asks the process to end, and returns when it and its children have ended. It reports a child that had ended by
// itself, with its log.
func (p *process) stop() error {
	if err := p.running(); err != nil {
		return err
	}
	if err := terminate(p.cmd.Process); err != nil {
		return err
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
	}
	p.end()
	return nil
}

// kill ends the process and its children at once, for when nothing of theirs will be used again. It reports what stop
// reports.
func (p *process) kill() error {
	if err := p.running(); err != nil {
		return err
	}
	p.end()
	return nil
}

// end kills what is left of the process group. A Dovecot login process in the middle of a delayed refusal outlives its
// master by up to 30 seconds.
func (p *process) end() {
	killGroup(p.cmd.Process)
	<-p.done
}

// running returns an error if the process has ended by itself.
func (p *process) running() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %w\n%s", p.cmd.Path, cmp.Or(p.err, errEnded), p.log)
	default:
		return nil
	}
}

var errEnded = errors.New("exit status 0")

// tail keeps the last octets written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
	max int
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
