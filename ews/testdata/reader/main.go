// Command reader is reader.Run for this driver, as a program.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/internal/drivertest/reader"
)

func main() {
	if err := reader.Run(context.Background(), ews.Driver(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
