//go:build !linux

package main

import "errors"

// peakOf is known on Linux only.
func peakOf(string) (int64, error) { return 0, errors.New("peak memory is not known on this system") }

func watchPeak(int) func() int64 { return func() int64 { return 0 } }
