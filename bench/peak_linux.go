package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// peakOf returns the largest resident set that process pid ("self", or a number) has had since it began its program, in
// octets. Unlike wait4's ru_maxrss it does not count what the parent held when it forked.
func peakOf(pid string) (int64, error) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(status, []byte("VmHWM:"))
	if !found {
		return 0, fmt.Errorf("process %s has no memory any more", pid)
	}
	number, _, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
	kib, err := strconv.ParseInt(number, 10, 64)
	return kib << 10, err
}

// watchPeak looks at a process until the function that it returns is called, which tells the largest resident set seen.
func watchPeak(pid int) func() int64 {
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// Before exec it is this program, after the end it is nothing.
				if now, err := peakOf(strconv.Itoa(pid)); err == nil {
					most = now
				}
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-peak
	}
}
