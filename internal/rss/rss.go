// Package rss asks the kernel how much memory a process has resident: proc(5), so on Linux only; elsewhere each function
// returns an error.
package rss

import (
	"fmt"
	"os"
	"strings"
)

// Now returns what process pid has resident, in octets. It is an error if the process has ended.
func Now(pid int) (int64, error) { return status(pid, "VmRSS") }

// Peak returns the most that process pid has had resident since it began its program, or since ForgetPeak, in octets. Unlike
// getrusage's ru_maxrss it does not count what the parent held when it forked. It is an error if the process has ended.
func Peak(pid int) (int64, error) { return status(pid, "VmHWM") }

// ForgetPeak makes the peak of process pid what is resident now.
func ForgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func status(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d has no memory any more", pid)
}
