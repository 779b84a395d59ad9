package rss_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/mailconn/mailconn/internal/rss"
)

// The peak outlives the memory that made it, until it is forgotten.
func TestPeak(t *testing.T) {
	const size, page = 64 << 20, 4 << 10
	held, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += page {
		held[i] = 1
	}
	holding := ask(t, rss.Now)
	if err := syscall.Munmap(held); err != nil {
		t.Fatal(err)
	}
	free, peak := ask(t, rss.Now), ask(t, rss.Peak)
	if holding < size || free > holding-size/2 || peak < size {
		t.Errorf("holding %d octets, then %d, peak %d; want %d octets in the first and in the last only", holding, free, peak, size)
	}
	if err := rss.ForgetPeak(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, rss.Peak); got > peak-size/2 {
		t.Errorf("got a peak of %d octets, want the one of %d forgotten", got, peak)
	}
}

func ask(t *testing.T, what func(pid int) (int64, error)) int64 {
	t.Helper()
	octets, err := what(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func TestEndedProcess(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if got, err := rss.Now(pid); err == nil {
		t.Errorf("got %d octets of a process that has ended", got)
	}
	if got, err := rss.Peak(pid); err == nil {
		t.Errorf("got a peak of %d octets of a process that has ended", got)
	}
	if rss.ForgetPeak(pid) == nil {
		t.Error("forgot the peak of a process that has ended")
	}
}
