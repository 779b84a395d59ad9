package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

// A role is what a contender is compared as.
type role uint8

const (
	limit role = iota // does no more than the protocol asks
	peer              // another program for the same work
	ours
)

// A row is one piece of work that several contenders do.
type row struct {
	name, what string
	// setup prepares the mail and names the contenders. What it starts and makes it hands to bed.later.
	setup func(ctx context.Context, b *bed) ([]contender, error)
}

// A contender does a row's work as a process.
type contender struct {
	name    string
	role    role
	missing string                                                 // why it cannot run here
	command func(ctx context.Context, target string) (*job, error) // target is an empty folder
	check   func(target string, said []byte) error                 // whether the work was done
	timed   func(said []byte) (time.Duration, error)               // what is measured; nil: how long the process ran
}

// A job is a process to run, with what it reads.
type job struct {
	cmd   *exec.Cmd
	input []byte
}

// A bed is what rows are measured on.
type bed struct {
	scale        float64
	memory, disk string
	self         string // this program
	profile      string // folder for profiles; "" if none are wanted
	row          string // the row being measured
	cleanups     []func() error
}

// later has f called when the row is done, last first.
func (b *bed) later(f func() error) { b.cleanups = append(b.cleanups, f) }

// dir makes a folder that is removed when the row is done. Other users may enter it.
func (b *bed) dir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "mb")
	if err != nil {
		return "", err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	return dir, os.Chmod(dir, 0o755)
}

func (b *bed) clean() error {
	var all []error
	for _, f := range slices.Backward(b.cleanups) {
		all = append(all, f())
	}
	b.cleanups = nil
	return errors.Join(all...)
}

// link returns an address at which the server of another one is reached over a link of that time there and back. Without
// a time it is the same address.
func (b *bed) link(address string, roundTrip time.Duration) (string, error) {
	if roundTrip == 0 {
		return address, nil
	}
	proxy, err := peertest.StartProxy(address)
	if err != nil {
		return "", err
	}
	b.later(proxy.Close)
	way := peertest.Way{Delay: roundTrip / 2}
	proxy.Set(peertest.Faults{Up: way, Down: way})
	return proxy.Addr(), nil
}

// count returns n scaled, at least 1.
func (b *bed) count(n int) int { return max(1, int(float64(n)*b.scale)) }

// A result is what was measured of one contender.
type result struct {
	contender
	times []time.Duration // sorted
	cpu   []time.Duration // of the process, user and system; sorted
	rss   int64           // octets, of the largest run; 0 if it cannot be known here
}

func (r *result) median() time.Duration { return middle(r.times) }

// middle returns the median of sorted times, 0 of none.
func middle(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[len(times)/2]
}

// spent is what one run of a contender took.
type spent struct {
	took, cpu time.Duration
	rss       int64
}

// measure runs every contender of r once unmeasured, so that server and caches are warm for all, and then runs times,
// taking turns.
func measure(ctx context.Context, b *bed, r row, runs int) (results []*result, err error) {
	defer func() { err = errors.Join(err, b.clean()) }()
	contenders, err := r.setup(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, c := range contenders {
		results = append(results, &result{contender: c})
	}
	for turn := range runs + 1 {
		for i := range results {
			c := results[(i+turn)%len(results)]
			if c.missing != "" {
				continue
			}
			got, err := once(ctx, b, c.contender)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			c.rss = max(c.rss, got.rss)
			if turn > 0 {
				c.times = append(c.times, got.took)
				c.cpu = append(c.cpu, got.cpu)
			}
		}
	}
	for _, c := range results {
		slices.SortFunc(c.times, cmp.Compare)
		slices.SortFunc(c.cpu, cmp.Compare)
	}
	return results, nil
}

// once runs a contender in an empty folder and checks what it did.
func once(ctx context.Context, b *bed, c contender) (got spent, err error) {
	target, err := os.MkdirTemp(b.memory, "mt")
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(target)) }()
	j, err := c.command(ctx, target)
	if err != nil {
		return spent{}, err
	}
	var said, complaint bytes.Buffer
	j.cmd.Stdin = bytes.NewReader(j.input)
	if j.cmd.Stdout == nil {
		j.cmd.Stdout = &said
	}
	j.cmd.Stderr = &limited{w: &complaint, left: 64 << 10}
	start := time.Now()
	if err := j.cmd.Start(); err != nil {
		return spent{}, err
	}
	peak := watchPeak(j.cmd.Process.Pid)
	err = j.cmd.Wait()
	got = spent{took: time.Since(start), rss: peak()}
	if err != nil {
		return spent{}, fmt.Errorf("%w\n%s", err, &complaint)
	}
	if err := c.check(target, said.Bytes()); err != nil {
		return spent{}, fmt.Errorf("%w\n%s", err, &complaint)
	}
	if c.timed != nil {
		if got.took, err = c.timed(said.Bytes()); err != nil {
			return spent{}, err
		}
	}
	got.cpu = j.cmd.ProcessState.UserTime() + j.cmd.ProcessState.SystemTime()
	return got, nil
}

// limited passes on only so many octets, and swallows the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
