// Command bench measures this module side by side with the limit, which is a program that does no more than the protocol
// asks, and with the programs that people use for the same work, where they are installed:
//
//	go run ./bench                        all rows
//	go run ./bench imap-s maildir-sweep   these
//	go run ./bench -scale 0.05 -runs 3    a quick look
//	go run ./bench -list
//
// Every contender is a process of its own and does the same work on the same mail: what it stored is counted after each
// run, and a run that stored something else is an error, not a time. Contenders take turns, so that a machine that is
// busy for a while is so for all of them. The table shows medians, their ratios to the limit and to the best other
// program, and the largest resident set of each.
//
// Read the ratios, not the seconds. A driver adds its rows in rows.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
)

// childArgument is the first argument of a contender that is this program itself.
const childArgument = "child"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		err = child(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout)
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the rows that args name and prints their table.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	b := &bed{}
	flags.Float64Var(&b.scale, "scale", 1, "share of each row's messages to use")
	flags.StringVar(&b.memory, "memory", memoryDir(), "folder on a memory file system, for rows without fsync")
	flags.StringVar(&b.disk, "disk", os.TempDir(), "folder on a disk, for rows with fsync")
	flags.StringVar(&b.profile, "profile", "", "folder for CPU profiles, <row>-<task>.pprof; profiling costs time")
	runs := flags.Int("runs", 5, "measured runs of each contender")
	list := flags.Bool("list", false, "print the rows and what they measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.scale <= 0 || *runs < 1 {
		return errors.New("scale and runs must be more than 0")
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	chosen, err := choose(rows(), flags.Args())
	if err != nil {
		return err
	}
	for _, r := range chosen {
		if *list {
			if _, err := fmt.Fprintf(out, "%-14s %s\n", r.name, r.what); err != nil {
				return err
			}
			continue
		}
		b.row = r.name
		results, err := measure(ctx, b, r, *runs)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := printTable(out, r, *runs, results); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the rows that match one of patterns (path.Match), all if there are none.
func choose(all []row, patterns []string) ([]row, error) {
	if len(patterns) == 0 {
		return all, nil
	}
	var chosen []row
	for _, pattern := range patterns {
		found := false
		for _, r := range all {
			match, err := path.Match(pattern, r.name)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", pattern, err)
			}
			if match {
				found = true
				if !slices.ContainsFunc(chosen, func(c row) bool { return c.name == r.name }) {
					chosen = append(chosen, r)
				}
			}
		}
		if !found {
			var names []string
			for _, r := range all {
				names = append(names, r.name)
			}
			return nil, fmt.Errorf("no row %q: there are %s", pattern, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

// memoryDir returns Linux's memory file system, or the folder for temporary files where there is none.
func memoryDir() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return os.TempDir()
}
