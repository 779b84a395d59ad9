package main

import (
	"time"

	"github.com/mailconn/mailconn/internal/rss"
)

// watchPeak looks at a process until the function that it returns is called, which tells the largest resident set seen: 0
// where the kernel does not tell.
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
				if now, err := rss.Peak(pid); err == nil {
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
