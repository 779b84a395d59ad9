// Package dropfolder is a driver of somebody else's: a directory into which another program drops messages, one to a file
// whose name ends in .eml, complete when it has that name. It is as small as a driver can be that keeps the promises of
// package connection; its test holds it against them.
package dropfolder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Config is what a host stores of a connection, as JSON.
type Config struct {
	connection.Identity
	Path string `json:"path" label:"Folder" help:"the directory that messages are dropped into"`
}

// Validate implements [connection.Config]. It names the field at fault.
func (c Config) Validate() error {
	if c.Path == "" {
		return errors.New("path: missing: give the directory that messages are dropped into")
	}
	return nil
}

// Driver returns the driver "dropfolder", for a host's Registry.
func Driver() connection.Driver { return connection.NewDriver("dropfolder", Open) }

// A Conn is one folder. Its methods may be called from several goroutines.
type Conn struct {
	cfg    Config
	closed context.Context // done when the Conn is closed
	close  context.CancelFunc
}

var _ connection.Source = (*Conn)(nil)

// Open does no I/O.
func Open(cfg Config, _ *connection.Env) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &connection.Error{Op: "open", Driver: "dropfolder", Kind: connection.ErrConfig, Err: err}
	}
	c := &Conn{cfg: cfg}
	c.closed, c.close = context.WithCancel(context.Background())
	return c, nil
}

// Info implements [connection.Connection].
func (c *Conn) Info() connection.Info {
	return connection.Info{ID: c.cfg.ID, Name: c.cfg.Name, Driver: "dropfolder", Endpoint: c.cfg.Path}
}

// Close implements [connection.Connection].
func (c *Conn) Close() error {
	c.close()
	return nil
}

// Test implements [connection.Connection].
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	report := &connection.Report{Info: c.Info(), Started: time.Now()}
	names, err := c.names(ctx)
	step := connection.Step{Name: "open", Status: connection.StatusOK, Detail: c.cfg.Path, Elapsed: time.Since(report.Started)}
	if err != nil {
		step.Status, step.Err, step.Hint = connection.StatusFailed, c.fail("test", connection.Ref{}, err), "path: the directory must exist and be readable"
	} else if len(names) == 0 {
		step.Detail += ": no messages now"
	}
	report.Steps = append(report.Steps, step)
	if opts != nil && opts.Progress != nil {
		opts.Progress(step)
	}
	return report, report.Err()
}

// Fetch implements [connection.Fetcher].
func (c *Conn) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
	}
	var used atomic.Bool
	return func(yield func(*connection.Message, error) bool) {
		if used.Swap(true) {
			yield(nil, c.fail("fetch", connection.Ref{}, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("the iterator was used already")}))
			return
		}
		f := &fetch{conn: c, opts: o, yield: yield, seen: make(map[string]bool)}
		if err := f.run(ctx); err != nil {
			yield(nil, c.fail("fetch", connection.Ref{}, err))
		}
	}
}

// A fetch is one running Fetch.
type fetch struct {
	conn  *Conn
	opts  connection.FetchOptions
	yield func(*connection.Message, error) bool
	seen  map[string]bool
	count int  // messages yielded
	left  bool // the loop was left
}

func (f *fetch) run(ctx context.Context) error {
	if len(f.opts.Folders) > 0 || f.opts.Mailbox != "" { // Unseen is fine: nothing ever has the flag
		return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("a drop folder has no folders or mailboxes")}
	}
	for {
		names, err := f.conn.names(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			if f.seen[name] {
				continue
			}
			f.seen[name] = true
			if err := f.conn.ended(ctx); err != nil {
				return err
			}
			if f.one(ctx, name); f.left || f.opts.Limit > 0 && f.count >= f.opts.Limit {
				return nil
			}
		}
		if !f.opts.Follow {
			return nil
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-f.conn.closed.Done():
		}
		timer.Stop()
	}
}

// one yields a message, or why it cannot be read.
func (f *fetch) one(ctx context.Context, name string) {
	ref := connection.Ref{ID: name}
	if f.opts.Skip != nil && f.opts.Skip(ref) {
		return
	}
	file, err := os.Open(filepath.Join(f.conn.cfg.Path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return // somebody was quicker
	}
	var info fs.FileInfo
	if err == nil {
		defer func() { _ = file.Close() }() // it was only read
		info, err = file.Stat()
	}
	if err != nil {
		f.left = !f.yield(nil, f.conn.fail("fetch", ref, err))
		return
	}
	if info.ModTime().Before(f.opts.Since) {
		return
	}
	f.count++
	f.left = !f.yield(&connection.Message{Ref: ref, Size: info.Size(), Received: info.ModTime(), Body: &body{ctx: ctx, conn: f.conn, ref: ref, file: file}}, nil)
}

// A body ends when its loop does.
type body struct {
	ctx  context.Context
	conn *Conn
	ref  connection.Ref
	file io.Reader
}

func (b *body) Read(p []byte) (int, error) {
	err := b.conn.ended(b.ctx)
	n := 0
	if err == nil {
		n, err = b.file.Read(p)
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, b.conn.fail("fetch", b.ref, err)
}

// Delete implements [connection.Deleter].
func (c *Conn) Delete(ctx context.Context, refs ...connection.Ref) error {
	var errs []error
	for _, ref := range refs {
		err := c.ended(ctx)
		switch {
		case err != nil:
		case ref.ID == "" || ref.ID != filepath.Base(ref.ID) || ref.Folder != "" || ref.Mailbox != "":
			err = &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("not a ref of a drop folder")}
		default:
			err = os.Remove(filepath.Join(c.cfg.Path, ref.ID))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, c.fail("delete", ref, err))
		}
	}
	return errors.Join(errs...)
}

// names returns the messages that are complete.
func (c *Conn) names(ctx context.Context) (names []string, err error) {
	if err := c.ended(ctx); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(c.cfg.Path)
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".eml") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// ended says why nothing more may be done.
func (c *Conn) ended(ctx context.Context) error {
	if c.closed.Err() != nil {
		return &connection.Error{Kind: connection.ErrClosed, Err: errors.New("the connection was closed")}
	}
	return ctx.Err()
}

// fail makes err an error of this connection.
func (c *Conn) fail(op string, ref connection.Ref, err error) error {
	kind := connection.KindOf(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = connection.ErrConfig // the folder: a message that is gone is none
	case errors.Is(err, fs.ErrPermission):
		kind = connection.ErrPermission
	}
	return &connection.Error{Op: op, Driver: "dropfolder", Endpoint: c.cfg.Path, Ref: ref, Kind: kind, Err: err}
}
