// Command apilist writes the exported API of each public package of this module as a text file, one declaration a line,
// into the folder named by its argument; with -check it only says what differs, and then fails. Run it in the module's
// root: `make api`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/internal/selftest"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a file is not as it would be written")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: apilist [-check] folder")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "apilist:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	packages, err := selftest.Load(".")
	if err != nil {
		return err
	}
	stale, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	differs := false
	for _, p := range packages {
		if !p.Public() {
			continue
		}
		name := filepath.Join(dir, strings.ReplaceAll(p.Path, "/", "-")+".txt")
		if p.Path == "" {
			continue // the module's root holds documentation alone
		}
		stale = slices.DeleteFunc(stale, func(s string) bool { return s == name })
		now := selftest.API(p)
		if !check {
			if err := os.WriteFile(name, []byte(strings.Join(now, "\n")+"\n"), 0o644); err != nil {
				return err
			}
			continue
		}
		before, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		differs = compare(p.Path, strings.Split(strings.TrimSpace(string(before)), "\n"), now) || differs
	}
	for _, name := range stale {
		if check {
			fmt.Printf("%s: the package is gone\n", name)
			differs = true
		} else if err := os.Remove(name); err != nil {
			return err
		}
	}
	if differs {
		return errors.New("the API is not as recorded: read the lines above, then run make api and commit the result with the change")
	}
	return nil
}

// compare prints the lines that one side lacks, and reports whether there are any.
func compare(path string, before, now []string) bool {
	differs := false
	for sign, sides := range map[string][2][]string{"-": {before, now}, "+": {now, before}} {
		for _, line := range sides[0] {
			if line != "" && !slices.Contains(sides[1], line) {
				fmt.Printf("%s %s: %s\n", sign, path, line)
				differs = true
			}
		}
	}
	return differs
}
