package connectiontest

import (
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A planted bug is a driver that breaks one promise. The suite must catch it by name, and should accuse it of little else.
type planted struct {
	bug     string
	harness func() Harness
	rule    string   // the promise that it breaks
	also    []string // others that the same bug breaks too, rightly
	only    []string // the rules to check; nil = all
}

// TestPlantedBugsAreCaught runs every rule against every planted bug.
func TestPlantedBugsAreCaught(t *testing.T) {
	for _, p := range slices.Concat(plantedMailboxes, plantedStores, plantedOutboxes, plantedLines) {
		t.Run(p.bug, func(t *testing.T) {
			t.Parallel()
			broken := brokenBy(t, p.harness, p.only)
			if broken[p.rule] == "" {
				t.Errorf("rule %q did not catch it; these failed: %v", p.rule, slices.Sorted(maps.Keys(broken)))
			}
			for rule, text := range broken {
				// A drain over a line that is cut at any place meets each bug of fetching and deleting now and then.
				if rule != p.rule && rule != CutDrain && !slices.Contains(p.also, rule) {
					t.Errorf("it is accused of %q too:\n%s", rule, text)
				}
			}
		})
	}
}

// TestEveryRuleCatchesSomething shows that no rule is there for nothing.
func TestEveryRuleCatchesSomething(t *testing.T) {
	caught := map[string]bool{}
	for _, p := range slices.Concat(plantedMailboxes, plantedStores, plantedOutboxes, plantedLines) {
		caught[p.rule] = true
	}
	for _, r := range Rules() {
		if !caught[r.Name] {
			t.Errorf("no planted bug is there to be caught by %q", r.Name)
		}
	}
}

// brokenBy checks every rule, or only those named, a few at a time, and returns the broken ones with what was said.
func brokenBy(t *testing.T, harness func() Harness, only []string) map[string]string {
	var mu sync.Mutex
	var wg sync.WaitGroup
	broken := map[string]string{}
	places := make(chan struct{}, 6)
	first := harness()
	applying, _ := first.applying(t)
	for _, r := range applying {
		if only != nil && !slices.Contains(only, r.name) {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			h := harness()
			h.big, h.Soon, h.wait, h.limit = 70<<10, 3*time.Second, 5*time.Second, time.Minute
			failures, _ := r.run(t, &h)
			mu.Lock()
			defer mu.Unlock()
			for _, f := range failures {
				broken[f.rule] += f.String() + "\n"
			}
		})
	}
	wg.Wait()
	return broken
}

// A bent mailbox does what its functions say, and else what the double does.
type bent struct {
	*Mailbox
	test    func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error)
	fetch   func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error]
	remove  func(ctx context.Context, refs ...connection.Ref) error
	sync    func(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error]
	append  func(ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error)
	again   func(ctx context.Context, ref connection.Ref) (*connection.Message, error)
	mark    func(ctx context.Context, refs []connection.Ref, flags ...connection.Flag) error
	folders func(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error]
	close   func() error
}

func (b *bent) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	if b.test != nil {
		return b.test(ctx, opts)
	}
	return b.Mailbox.Test(ctx, opts)
}

func (b *bent) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	if b.fetch != nil {
		return b.fetch(ctx, opts)
	}
	return b.Mailbox.Fetch(ctx, opts)
}

func (b *bent) Delete(ctx context.Context, refs ...connection.Ref) error {
	if b.remove != nil {
		return b.remove(ctx, refs...)
	}
	return b.Mailbox.Delete(ctx, refs...)
}

func (b *bent) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	if b.sync != nil {
		return b.sync(ctx, since, opts)
	}
	return b.Mailbox.Sync(ctx, since, opts)
}

func (b *bent) Append(ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	if b.append != nil {
		return b.append(ctx, folder, r, opts)
	}
	return b.Mailbox.Append(ctx, folder, r, opts)
}

func (b *bent) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	if b.again != nil {
		return b.again(ctx, ref)
	}
	return b.Mailbox.Open(ctx, ref)
}

func (b *bent) Mark(ctx context.Context, refs []connection.Ref, flags ...connection.Flag) error {
	if b.mark != nil {
		return b.mark(ctx, refs, flags...)
	}
	return b.Mailbox.Mark(ctx, refs, flags...)
}

func (b *bent) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	if b.folders != nil {
		return b.folders(ctx, mailbox)
	}
	return b.Mailbox.Folders(ctx, mailbox)
}

func (b *bent) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Mailbox.Close()
}

// mailbox is a harness whose connections are bent.
func mailbox(bend func(b *bent)) func() Harness {
	return func() Harness {
		return mailboxHarness(func(m *Mailbox) connection.Connection {
			b := &bent{Mailbox: m}
			bend(b)
			return b
		})
	}
}

// onMessage bends Fetch: f may change each message before it is yielded. What it returns, if anything, runs after the step.
func onMessage(f func(b *bent, m *connection.Message) (after func())) func() Harness {
	return mailbox(func(b *bent) {
		b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
			return func(yield func(*connection.Message, error) bool) {
				for m, err := range b.Mailbox.Fetch(ctx, opts) {
					var after func()
					if err == nil {
						after = f(b, m)
					}
					more := yield(m, err)
					if after != nil {
						after()
					}
					if !more {
						return
					}
				}
			}
		}
	})
}

// onOptions bends Fetch: f may change the options.
func onOptions(f func(o *connection.FetchOptions)) func() Harness {
	return mailbox(func(b *bent) {
		b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
			var o connection.FetchOptions
			if opts != nil {
				o = *opts
			}
			f(&o)
			return b.Mailbox.Fetch(ctx, &o)
		}
	})
}
