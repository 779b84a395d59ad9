package connectiontest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"
	"testing"
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

var plantedMailboxes = []planted{
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
			go func() { <-time.After(3 * time.Second) }()
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
		also: []string{CanceledAtOnce, FetchFollow, NoGoroutineLeft},
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
	{
		bug: "tells the next checkpoint", rule: SyncCheckpoint,
		harness: onChange(func(c *connection.Change) bool {
			if c.Checkpoint != "" {
				var life, at int
				_, err := fmt.Sscanf(string(c.Checkpoint), "1:%d:%d", &life, &at)
				must(err)
				if c.Op == connection.Added && at < 7 {
					c.Checkpoint = connection.Checkpoint(fmt.Sprintf("1:%d:%d", life, at+1))
				}
			}
			return true
		}),
		also: []string{SyncResumes},
	},
	{
		bug: "starts again from the beginning", rule: SyncResumes,
		harness: mailbox(func(b *bent) {
			b.sync = func(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
				if _, err := b.place(since, 0, 1<<20); err == nil {
					since = ""
				}
				return b.Mailbox.Sync(ctx, since, opts)
			}
		}),
		also: []string{SyncKnown},
	},
	{
		bug: "tells of no message that is gone", rule: SyncResumes,
		harness: onChange(func(c *connection.Change) bool { return c.Op != connection.Removed }),
	},
	{
		bug: "takes any checkpoint", rule: SyncStale,
		harness: mailbox(func(b *bent) {
			b.sync = func(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
				if _, err := b.place(since, 0, 1<<20); err != nil && (opts == nil || opts.Known == nil) {
					since = ""
				}
				return b.Mailbox.Sync(ctx, since, opts)
			}
		}),
	},
	{
		bug: "does not ask what is known", rule: SyncKnown,
		harness: mailbox(func(b *bent) {
			b.sync = func(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
				if opts != nil && opts.Known != nil {
					since = ""
				}
				return b.Mailbox.Sync(ctx, since, nil)
			}
		}),
	},
	{
		bug: "gives an empty body for a big message of a change", rule: SyncBytes,
		harness: onChange(func(c *connection.Change) bool {
			if c.Op == connection.Added && c.Message.Size > 60_000 {
				c.Message.Body = bytes.NewReader(nil)
			}
			return true
		}),
		also: []string{SyncBodyEnds},
	},
	{
		bug: "keeps one buffer for the bodies of changes", rule: SyncBodyEnds,
		harness: mailbox(func(b *bent) {
			b.sync = func(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
				return func(yield func(*connection.Change, error) bool) {
					r := bytes.NewReader(nil)
					for c, err := range b.Mailbox.Sync(ctx, since, opts) {
						if err == nil && c.Op == connection.Added {
							r.Reset(octets(c.Message))
							c.Message.Body = r
						}
						if !yield(c, err) {
							return
						}
					}
				}
			}
		}),
	},
	{
		bug: "appends with its own line endings", rule: AppendBytes,
		harness: onAppend(func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			raw, err := io.ReadAll(r)
			if err != nil {
				return b.Mailbox.Append(ctx, folder, failing{err}, opts)
			}
			if len(raw) < 1000 {
				raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
				opts = nil
			}
			return b.Mailbox.Append(ctx, folder, bytes.NewReader(raw), opts)
		}),
		also: []string{AppendFolder, AppendAll},
	},
	{
		bug: "appends what it got when the reader fails", rule: AppendAll,
		harness: onAppend(func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			raw, err := io.ReadAll(r)
			if opts != nil {
				o := *opts
				o.Size = 0
				opts = &o
			}
			ref, appendErr := b.Mailbox.Append(ctx, folder, bytes.NewReader(raw), opts)
			if err != nil {
				return connection.Ref{}, b.failed("append", connection.Ref{}, "", err)
			}
			return ref, appendErr
		}),
	},
	{
		bug: "makes every folder", rule: AppendFolder,
		harness: onAppend(func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			var o connection.AppendOptions
			if opts != nil {
				o = *opts
			}
			o.CreateFolder = true
			return b.Mailbox.Append(ctx, folder, r, &o)
		}),
	},
	{
		bug: "opens the message after the one that was asked for", rule: OpenAgain,
		harness: mailbox(func(b *bent) {
			b.again = func(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
				m, err := b.Mailbox.Open(ctx, neighbour(ref))
				if err != nil {
					return b.Mailbox.Open(ctx, ref)
				}
				m.Ref = ref
				return m, nil
			}
		}),
	},
	{
		bug: "does not mark", rule: MarkFlags,
		harness: mailbox(func(b *bent) {
			b.mark = func(ctx context.Context, _ []connection.Ref, _ ...connection.Flag) error {
				return b.begin(ctx, "mark")
			}
		}),
	},
	{
		bug: "lists a folder twice", rule: FoldersListed,
		harness: mailbox(func(b *bent) {
			b.folders = func(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
				return func(yield func(*connection.Folder, error) bool) {
					for f, err := range b.Mailbox.Folders(ctx, mailbox) {
						if !yield(f, err) || err != nil || !yield(f, nil) {
							return
						}
					}
				}
			}
		}),
	},
	{
		bug: "returns no report with an error", rule: TestReports,
		harness: mailbox(func(b *bent) {
			b.test = func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
				r, err := b.Mailbox.Test(ctx, opts)
				if err != nil {
					return nil, err
				}
				return r, nil
			}
		}),
		also: []string{BrokenIsExplained},
	},
	{
		bug: "gives no hint", rule: BrokenIsExplained,
		harness: mailbox(func(b *bent) {
			b.test = func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
				r, err := b.Mailbox.Test(ctx, opts)
				for i := range r.Steps {
					r.Steps[i].Hint = ""
				}
				return r, err
			}
		}),
		also: []string{TestReports},
	},
	{
		bug: "leaves its test message", rule: TestChangesNothing,
		harness: mailbox(func(b *bent) {
			b.test = func(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
				if opts != nil && opts.Write {
					b.Deliver(letter(1000))
				}
				return b.Mailbox.Test(ctx, opts)
			}
		}),
	},
	{
		bug: "dials when it is opened", rule: OpenDoesNoIO,
		harness: func() Harness {
			h := mailboxHarness(asIs[*Mailbox])
			open := h.Open
			h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
				if env.Dial != nil {
					if c, err := env.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
						must(c.Close())
					}
				}
				return open(t, env)
			}
			return h
		},
	},
	{
		bug: "fails at the second Close", rule: CloseTwice,
		harness: mailbox(func(b *bent) {
			b.close = func() error {
				if err := b.begin(context.Background(), "close"); err != nil {
					return err
				}
				return b.Mailbox.Close()
			}
		}),
	},
	{
		bug: "works after Close", rule: ClosedSaysClosed,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				if opts != nil && opts.Follow {
					return b.Mailbox.Fetch(ctx, opts)
				}
				return b.Reopen().Fetch(ctx, opts)
			}
		}),
		also: []string{CloseEnds, NoGoroutineLeft},
	},
	{
		bug: "does not end a loop that waits when it is closed", rule: CloseEnds,
		harness: mailbox(func(b *bent) {
			b.fetch = func(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				if opts != nil && opts.Follow && b.begin(ctx, "fetch") == nil {
					return b.Reopen().Fetch(ctx, opts)
				}
				return b.Mailbox.Fetch(ctx, opts)
			}
		}),
		also: []string{NoGoroutineLeft},
	},
	{
		bug: "returns a bare error", rule: ErrorsAreTyped,
		harness: mailbox(func(b *bent) {
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return b.Mailbox.Delete(ctx, refs...)
			}
		}),
	},
	{
		bug: "prints the secret in an error", rule: SecretsNeverPrint,
		harness: mailbox(func(b *bent) {
			b.remove = func(ctx context.Context, refs ...connection.Ref) error {
				if err := b.Mailbox.Delete(ctx, refs...); err != nil {
					return b.error("delete", connection.Ref{}, "", connection.KindOf(err), fmt.Errorf("LOGIN ann %s: %w", canary, err))
				}
				return nil
			}
		}),
	},
	{
		bug: "logs the login in base64", rule: SecretsNeverPrint,
		harness: func() Harness {
			h := mailboxHarness(asIs[*Mailbox])
			open := h.Open
			h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
				blob := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + canary))
				env.Log().Log(t.Context(), connection.LevelTrace, "sent", "line", "AUTHENTICATE PLAIN "+blob)
				return open(t, env)
			}
			return h
		},
	},
	{
		bug: "shows the password to fmt", rule: SecretsNeverPrint,
		harness: func() Harness {
			return mailboxHarness(func(m *Mailbox) connection.Connection {
				return &struct {
					*Mailbox
					password string
				}{m, canary}
			})
		},
	},
	{
		bug: "tells the secret in an event", rule: SecretsNeverPrint,
		harness: func() Harness {
			h := mailboxHarness(asIs[*Mailbox])
			open := h.Open
			h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
				env.Emit(connection.Event{Kind: connection.EventNotice, Detail: "welcome, " + canary})
				return open(t, env)
			}
			return h
		},
	},
	{
		bug: "refuses a canceled context without saying so", rule: CanceledAtOnce,
		harness: onAppend(func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			if ctx.Err() != nil {
				return connection.Ref{}, b.error("append", connection.Ref{}, "", connection.ErrNetwork, errors.New("the line is closed"))
			}
			return b.Mailbox.Append(ctx, folder, r, opts)
		}),
	},
}

// onChange bends Sync: f may change each change, and says whether it is yielded.
func onChange(f func(c *connection.Change) bool) func() Harness {
	return mailbox(func(b *bent) {
		b.sync = func(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
			return func(yield func(*connection.Change, error) bool) {
				for c, err := range b.Mailbox.Sync(ctx, since, opts) {
					if err == nil && !f(c) {
						continue
					}
					if !yield(c, err) {
						return
					}
				}
			}
		}
	})
}

func onAppend(f func(b *bent, ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error)) func() Harness {
	return mailbox(func(b *bent) {
		b.append = func(ctx context.Context, folder string, r io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
			return f(b, ctx, folder, r, opts)
		}
	})
}
