package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// printTable prints one row's results.
func printTable(out io.Writer, r row, runs int, results []*result) error {
	base, best := fastest(results, limit), fastest(results, peer)
	if _, err := fmt.Fprintf(out, "\n%s: %s\n", r.name, r.what); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	lines := []string{"contender\tmedian\tfastest\tslowest\tto limit\tto peer\tCPU\tpeak RSS\t"}
	for _, c := range results {
		if c.missing != "" {
			lines = append(lines, fmt.Sprintf("%s\t%s\t\t\t\t\t\t\t", c.name, c.missing))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t", c.name, seconds(c.median()), seconds(c.times[0]),
			seconds(c.times[len(c.times)-1]), ratio(c.median(), base), ratio(c.median(), best), seconds(middle(c.cpu)), megabytes(c.rss)))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "medians of %d\n", runs)
	return err
}

// fastest returns the least median among the contenders of a role, 0 if none ran.
func fastest(results []*result, of role) time.Duration {
	var least time.Duration
	for _, c := range results {
		if m := c.median(); c.role == of && m > 0 && (least == 0 || m < least) {
			least = m
		}
	}
	return least
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func ratio(d, base time.Duration) string {
	if base == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fx", float64(d)/float64(base))
}

func megabytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MB", float64(n)/(1<<20))
}
