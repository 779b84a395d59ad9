package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// must is for what cannot fail in a double.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// octets reads a body of the double whole.
func octets(m *connection.Message) []byte {
	raw, err := io.ReadAll(m.Body)
	must(err)
	return raw
}

// neighbour is the message after ref.
func neighbour(ref connection.Ref) connection.Ref {
	n, err := strconv.Atoi(ref.ID)
	must(err)
	ref.ID = strconv.Itoa(n + 1)
	return ref
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

var plantedMailboxes = slices.Concat(plantedFetches, plantedSyncs, plantedWhole)

var plantedFetches = []planted{
	{
		bug: "deletes on fetch, before anybody stored it", rule: FetchChangesNothing,
		harness: onMessage(func(b *bent, m *connection.Message) func() {
			raw := octets(m)
			m.Body = bytes.NewReader(raw)
			must(b.Mailbox.Delete(context.Background(), m.Ref))
			return nil
		}),
		also: []string{FetchOnce, FetchBytes, FetchUnreadBody, FetchBreak, FetchConcurrent, FetchOptions, FetchBadOne, FetchCancel, FetchBodyEnds, DeleteOnlyNamed, DeleteMissing, DeleteInLoop, DeleteConcurrent, DrainKeeps, OpenAgain, MarkFlags, CanceledAtOnce, CloseTwice, CloseEnds, ClosedSaysClosed, TestReports, TestChangesNothing, SecretsNeverPrint, ErrorsAreTyped, NoGoroutineLeft, StallEnds, CutDrain},
	},
	{
		bug: "deletes a message once its body was read to the end", rule: DrainKeeps,
		harness: onMessage(func(b *bent, m *connection.Message) func() {
			inner := m.Body
			m.Body = readFunc(func(p []byte) (int, error) {
				n, err := inner.Read(p)
				if errors.Is(err, io.EOF) {
					must(b.Mailbox.Delete(context.Background(), m.Ref))
				}
				return n, err
			})
			return nil
		}),
		also: []string{FetchChangesNothing, FetchOnce, FetchBodyEnds, FetchUnreadBody, FetchConcurrent, FetchOptions, FetchBadOne, FetchCancel, DeleteOnlyNamed, DeleteMissing, DeleteInLoop, DeleteConcurrent, OpenAgain, MarkFlags, CanceledAtOnce, TestReports, TestChangesNothing, CutDrain},
	},
	{
		bug: "marks seen on fetch", rule: FetchChangesNothing,
		harness: onMessage(func(b *bent, m *connection.Message) func() {
			must(b.Mailbox.Mark(context.Background(), []connection.Ref{m.Ref}, connection.FlagSeen))
			return nil
		}),
		also: []string{MarkFlags},
	},
	{
		bug: "deletes a neighbour", rule: DeleteOnlyNamed,
		harness: mailbox(func(b *bent) {
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				for _, ref := range refs {
					refs = append(refs, neighbour(ref))
				}
				return b.Mailbox.Delete(ctx, refs...)
			}
		}),
		also: []string{DeleteMissing, DeleteInLoop, DeleteConcurrent, DrainKeeps, SyncResumes, OpenAgain, MarkFlags},
	},
	{
		bug: "says that a missing message is an error", rule: DeleteMissing,
		harness: mailbox(func(b *bent) {
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				for _, ref := range refs {
					if _, err := b.Mailbox.Open(ctx, ref); err != nil {
						return err
					}
					if err := b.Mailbox.Delete(ctx, ref); err != nil {
						return err
					}
				}
				return b.Mailbox.Delete(ctx)
			}
		}),
		also: []string{},
	},
	{
		bug: "gives a long message as a short one", rule: FetchBytes,
		harness: onMessage(func(_ *bent, m *connection.Message) func() {
			m.Body = io.LimitReader(m.Body, 60_000)
			return nil
		}),
		also: []string{FetchOnce, FetchBodyEnds, FetchUnreadBody, FetchBreak, FetchConcurrent, FetchCancel, DeleteInLoop, DeleteConcurrent, DrainKeeps, OpenAgain, CloseEnds, CutDrain},
	},
	{
		bug: "repairs line endings", rule: FetchBytes,
		harness: onMessage(func(_ *bent, m *connection.Message) func() {
			raw := bytes.ReplaceAll(octets(m), []byte("\r\n"), []byte("\n"))
			m.Body = bytes.NewReader(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))
			return nil
		}),
		also: []string{FetchBodyEnds},
	},
	{
		bug: "keeps one buffer for all bodies", rule: FetchBodyEnds,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					r := bytes.NewReader(nil)
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						if err == nil {
							raw, readErr := io.ReadAll(m.Body)
							if readErr != nil {
								yield(nil, readErr)
								return
							}
							r.Reset(raw)
							m.Body = r
						}
						if !yield(m, err) {
							return
						}
					}
				}
			}
		}),
		also: []string{},
	},
	{
		bug: "ends a body in EOF when its step is over", rule: FetchBodyEnds,
		harness: onMessage(func(_ *bent, m *connection.Message) func() {
			inner, over := m.Body, false
			m.Body = readFunc(func(p []byte) (int, error) {
				if over {
					return 0, io.EOF
				}
				return inner.Read(p)
			})
			return func() { over = true }
		}),
	},
	{
		bug: "leaves what was not read in front of the next message", rule: FetchUnreadBody,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					var rest []byte
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						var r *bytes.Reader
						if err == nil {
							raw, readErr := io.ReadAll(m.Body)
							if readErr != nil {
								yield(nil, readErr)
								return
							}
							r = bytes.NewReader(append(slices.Clone(rest), raw...))
							m.Body = r
						}
						if !yield(m, err) {
							return
						}
						if r != nil {
							rest = make([]byte, r.Len())
							_, _ = r.Read(rest) // of memory; empty is as good
						}
					}
				}
			}
		}),
		also: []string{FetchBodyEnds},
	},
	{
		bug: "yields the last message twice", rule: FetchOnce,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					var last connection.Ref
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						if err == nil {
							last = m.Ref
						}
						if !yield(m, err) {
							return
						}
					}
					if m, err := b.Mailbox.Open(ctx, last); err == nil {
						yield(m, nil)
					}
				}
			}
		}),
		also: []string{FetchBytes, FetchBodyEnds, FetchBreak, FetchConcurrent, FetchChangesNothing, FetchOptions, FetchBadOne, DeleteInLoop, DrainKeeps, MarkFlags, DeleteOnlyNamed, FetchUnreadBody},
	},
	{
		bug: "leaves a goroutine behind for each loop left early", rule: FetchBreak,
		harness: mailbox(func(b *bent) {
			over := make(chan struct{})
			var once sync.Once
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						if !yield(m, err) {
							go func() { <-over }()
							return
						}
					}
				}
			}
			b.close = func() error {
				once.Do(func() { close(over) })
				return b.Mailbox.Close()
			}
		}),
	},
	{
		bug: "leaks a goroutine", rule: NoGoroutineLeft,
		harness: onAppend(func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			go func() { <-time.After(time.Minute) }()
			return b.Mailbox.Append(ctx, folder, r, opts)
		}),
	},
	{bug: "ignores Limit", rule: FetchOptions, harness: onOptions(func(o *connection.FetchOptions) { o.Limit = 0 })},
	{bug: "ignores Skip", rule: FetchOptions, harness: onOptions(func(o *connection.FetchOptions) { o.Skip = nil })},
	{bug: "ignores Since", rule: FetchOptions, harness: onOptions(func(o *connection.FetchOptions) { o.Since = time.Time{} })},
	{bug: "ignores Unseen", rule: MarkFlags, harness: onOptions(func(o *connection.FetchOptions) { o.Unseen = false })},
	{
		bug: "does not follow", rule: FetchFollow,
		harness: onOptions(func(o *connection.FetchOptions) { o.Follow = false }),
		also:    []string{CloseEnds},
	},
	{
		bug: "ignores the context of a loop", rule: FetchCancel,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return b.Mailbox.Fetch(context.WithoutCancel(ctx), opts)
			}
		}),
		also: []string{CanceledAtOnce, FetchFollow, NoGoroutineLeft, StallEnds},
	},
	{
		bug: "ends without an error when its context is done", rule: FetchFollow,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						if err != nil && ctx.Err() != nil || !yield(m, err) {
							return
						}
					}
				}
			}
		}),
		also: []string{CanceledAtOnce, FetchCancel},
	},
	{
		bug: "stops at the first bad message", rule: FetchBadOne,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						if !yield(m, err) || err != nil {
							return
						}
					}
				}
			}
		}),
	},
	{
		bug: "gives all loops the same place", rule: FetchConcurrent,
		harness: mailbox(func(b *bent) {
			var mu sync.Mutex
			running, seen := 0, map[connection.Ref]bool{}
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					mu.Lock()
					running++
					mu.Unlock()
					defer func() {
						mu.Lock()
						defer mu.Unlock()
						if running--; running == 0 {
							clear(seen)
						}
					}()
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						mu.Lock()
						again := err == nil && seen[m.Ref]
						if err == nil {
							seen[m.Ref] = true
						}
						mu.Unlock()
						if !again && !yield(m, err) {
							return
						}
					}
				}
			}
		}),
		also: []string{},
	},
	{
		bug: "holds a lock while it yields", rule: DeleteInLoop,
		harness: mailbox(func(b *bent) {
			lock := make(chan struct{}, 1)
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					for m, err := range b.Mailbox.Fetch(ctx, opts) {
						lock <- struct{}{}
						more := yield(m, err)
						<-lock
						if !more {
							return
						}
					}
				}
			}
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				select {
				case lock <- struct{}{}:
					defer func() { <-lock }()
				case <-time.After(50 * time.Millisecond): // as a deadlock that somebody breaks
					return b.error("delete", connection.Ref{}, "", connection.ErrTimeout, nil)
				}
				return b.Mailbox.Delete(ctx, refs...)
			}
		}),
		also: []string{DrainKeeps, FetchFollow, FetchConcurrent, DeleteConcurrent, CloseEnds, NoGoroutineLeft},
	},
	{
		bug: "deletes by two goroutines lose one", rule: DeleteConcurrent,
		harness: mailbox(func(b *bent) {
			busy := make(chan struct{}, 1)
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				select {
				case busy <- struct{}{}:
					<-time.After(2 * time.Millisecond)
					defer func() { <-busy }()
					return b.Mailbox.Delete(ctx, refs...)
				default:
					return nil // somebody else is at it
				}
			}
		}),
		also: []string{DrainKeeps},
	},
}
