package connectiontest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/mailconn/mailconn/connection"
)

var plantedSyncs = []planted{
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
