// Package interrupt tells a program of Ctrl-C: the first one ends its work in good order, a second one ends the program.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends with the first os.Interrupt or SIGTERM. When it has ended, the next one ends the
// program at once: who sees the end of the context may promise that.
func Context() context.Context {
	ctx, end := context.WithCancelCause(context.Background())
	signals, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(signals, func() {
		stop()
		end(context.Cause(signals))
	})
	return ctx
}
