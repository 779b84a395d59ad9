package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mailconn/mailconn/connection"
)

var (
	_ connection.ObjectStore      = (*Conn)(nil)
	_ connection.Locker           = (*Conn)(nil)
	_ connection.IncompleteLister = (*Conn)(nil)
)

// tmpDir holds what is being written, and the lock files. No key has its name.
const tmpDir = ".tmp"

// A Conn is an open store. Its methods may be called from several goroutines, and several processes may use one
// directory.
type Conn struct {
	cfg      Config
	env      *connection.Env
	location string
	closed   atomic.Bool
	serial   atomic.Uint64 // of temporary files
	stamp    atomic.Int64  // the last modification time given out
	locks    [lockShards]chan struct{}

	mu   sync.Mutex
	tree *tree // nil until the first verb
	base node  // Location; closed with the tree
}

// Info implements connection.Connection. The endpoint is the directory.
func (c *Conn) Info() connection.Info {
	return connection.Info{ID: c.cfg.ID, Name: c.cfg.Name, Driver: DriverName, Endpoint: c.endpoint()}
}

func (c *Conn) endpoint() string { return filepath.Join(c.location, filepath.FromSlash(c.cfg.Bucket)) }

// Close implements connection.Connection. Verbs under way end with ErrClosed at the next octets they move; bodies that
// Get returned end likewise and are still to be closed.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
	return nil
}

// reset closes the directories, so that the next verb opens them anew. The caller holds c.mu.
func (c *Conn) reset() {
	if c.tree == nil {
		return
	}
	c.tree.close()
	if c.cfg.Bucket != "" {
		_ = c.base.close() // open for reading only
	}
	c.tree = nil
}

// alive returns nil, or why a verb has to end.
func (c *Conn) alive(ctx context.Context) error {
	if c.closed.Load() {
		return connection.ErrClosed
	}
	return ctx.Err()
}

// open returns the tree, opened at the first call.
func (c *Conn) open(ctx context.Context) (*tree, error) {
	if err := c.alive(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return nil, connection.ErrClosed
	}
	if c.tree != nil {
		return c.tree, nil
	}
	base, err := openTop(c.location)
	if err != nil {
		return nil, c.settingError("location", c.location, err)
	}
	top := base
	for _, name := range c.cfg.bucketPath() {
		n, err := top.sub(name)
		if top != base {
			_ = top.close()
		}
		if err != nil {
			_ = base.close()
			return nil, c.settingError("bucket", c.cfg.Bucket, err)
		}
		top = n
	}
	c.base = base
	c.tree = newTree(top, c.endpoint(), c.cfg.Sync != SyncNone)
	return c.tree, nil
}

// settingError says what is wrong with the directory that a setting names.
func (c *Conn) settingError(setting, value string, err error) error {
	e := &connection.Error{Kind: connection.ErrConfig, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Err = fmt.Errorf("%s: %q does not exist", setting, value)
		e.Hint = fmt.Sprintf("%s: create the directory %q, or correct the path; it is never created by itself", setting, c.pathOf(setting))
	case errors.Is(err, fs.ErrPermission):
		e.Kind = connection.ErrPermission
		e.Hint = fmt.Sprintf("%s: %q must be open to %s", setting, c.pathOf(setting), whoami())
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), isFile(c.pathOf(setting)):
		e.Err = fmt.Errorf("%s: %q is not a directory", setting, value)
		e.Hint = fmt.Sprintf("%s: name a directory; below location, symbolic links are not followed", setting)
	default:
		e.Kind = connection.KindOf(err)
		e.Hint = setting + ": the directory cannot be opened"
	}
	return e
}

func (c *Conn) pathOf(setting string) string {
	if setting == "bucket" {
		return c.endpoint()
	}
	return c.location
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func whoami() string {
	if uid := os.Getuid(); uid >= 0 {
		return "the user this program runs as (uid " + strconv.Itoa(uid) + ")"
	}
	return "the user this program runs as"
}

// A sourceError is the caller's reader's, not the disk's.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "reading what is to be stored: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// fail makes the error that leaves a verb. The settings are at fault where the hint says so.
func (c *Conn) fail(op, key string, err error) error {
	e := &connection.Error{Kind: connection.KindOf(err), Err: err}
	var inner *connection.Error
	var source *sourceError
	switch {
	case errors.As(err, &source):
		// Its Kind stands, but a hint about the disk would mislead.
	case errors.As(err, &inner):
		e.Code, e.RetryAfter, e.Hint = inner.Code, inner.RetryAfter, inner.Hint
		if direct, ok := err.(*connection.Error); ok && direct.Driver == "" { //nolint:errorlint // made here, not wrapped
			e.Err = direct.Err
		}
	case errors.Is(err, connection.ErrClosed):
		e.Err = nil
	case errors.Is(err, fs.ErrClosed):
		e.Kind, e.Err = connection.ErrClosed, nil
	case errors.Is(err, syscall.ENAMETOOLONG):
		e.Kind, e.Code = connection.ErrUnsupported, "InvalidKey"
	case errors.Is(err, syscall.EFBIG):
		e.Kind = connection.ErrTooLarge
		e.Hint = fmt.Sprintf("the process's file size limit (ulimit -f), or the file system of location %q, permits no larger file", c.location)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		e.Kind = connection.ErrUnavailable
		e.Hint = "too many open files: raise the limit (ulimit -n)"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EISDIR), errors.Is(err, errStranger):
		e.Kind = connection.ErrCorrupt
		e.Hint = fmt.Sprintf("in location %q something lies in the way that this store has not made", c.location)
	case errors.Is(err, syscall.EROFS):
		e.Hint = fmt.Sprintf("location: %q is on a file system mounted read-only", c.location)
	case e.Kind == connection.ErrPermission:
		e.Hint = fmt.Sprintf("location: %q and all in it must be readable and writable by %s", c.location, whoami())
	case e.Kind == connection.ErrQuota:
		e.Hint = fmt.Sprintf("location: no room left on the file system of %q: free some, or move the store to a larger one", c.location)
	}
	e.Op, e.Driver, e.Endpoint, e.Key = op, DriverName, c.endpoint(), key
	return e
}

// Open returns the store that cfg describes. It does no I/O: the first verb opens the directory. env may be nil.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(DriverName, cfg.ID)
	if err := cfg.Validate(); err != nil {
		return nil, &connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	c := &Conn{cfg: cfg, env: env, location: filepath.Clean(cfg.Location)}
	for i := range c.locks {
		c.locks[i] = make(chan struct{}, 1)
	}
	return c, nil
}
