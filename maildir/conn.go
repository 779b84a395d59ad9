package maildir

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mailconn/mailconn/connection"
)

const driverName = "maildir"

// A Conn is an open connection to the Maildirs of its Config. It holds no file open between calls and is safe for
// concurrent use.
type Conn struct {
	cfg     Config
	env     *connection.Env
	pattern *pattern
	seed    maphash.Seed
	recent  recent
	counter atomic.Uint64 // of unique names

	mu     sync.Mutex
	closed bool
	calls  map[*call]struct{}   // under way
	boxes  map[string][]string  // mailbox name: elements of its path below pattern.base
	dirs   map[folderKey]string // folder: its directory below the mailbox's
}

type folderKey struct{ mailbox, name string }

var (
	_ connection.Source        = (*Conn)(nil)
	_ connection.MailboxSyncer = (*Conn)(nil)
	_ connection.FolderLister  = (*Conn)(nil)
	_ connection.Appender      = (*Conn)(nil)
	_ connection.Opener        = (*Conn)(nil)
	_ connection.Marker        = (*Conn)(nil)
)

// Open returns a connection with the settings cfg, without I/O. env may be nil. An invalid setting is ErrConfig.
func Open(cfg Config, env *connection.Env) (*Conn, error) {
	env = env.For(driverName, cfg.ID)
	fail := func(err error) (*Conn, error) {
		return nil, &connection.Error{Op: "open", Driver: driverName, Endpoint: cfg.Path, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
	}
	if err := cfg.Validate(); err != nil {
		return fail(err)
	}
	p, err := parsePattern(cfg.Path, cfg.MailboxName)
	if err != nil {
		return fail(err)
	}
	return &Conn{
		cfg: cfg, env: env, pattern: p, seed: maphash.MakeSeed(),
		calls: map[*call]struct{}{}, boxes: map[string][]string{}, dirs: map[folderKey]string{},
	}, nil
}

// Info implements [connection.Connection]. The endpoint is the path of the settings.
func (c *Conn) Info() connection.Info {
	return connection.Info{ID: c.cfg.ID, Name: c.cfg.Name, Driver: driverName, Endpoint: c.cfg.Path}
}

// Close ends the calls that are under way with ErrClosed. A call within a system call ends when that returns.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for call := range c.calls {
		call.cancel(errClosed)
	}
	clear(c.calls)
	return nil
}

// A call is one use of a verb.
type call struct{ cancel context.CancelCauseFunc }

var errClosed = errors.New("the connection was closed")

// begin ties ctx to the life of c. The context that it returns ends with either; done must be called.
func (c *Conn) begin(ctx context.Context) (_ context.Context, done func(), _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, &connection.Error{Kind: connection.ErrClosed, Err: errClosed}
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	this := &call{cancel}
	c.calls[this] = struct{}{}
	return ctx, func() {
		c.mu.Lock()
		delete(c.calls, this)
		c.mu.Unlock()
		cancel(nil)
	}, nil
}

// ended returns why ctx, of begin, is done; nil if it is not.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err != nil && errors.Is(context.Cause(ctx), errClosed) {
		return &connection.Error{Kind: connection.ErrClosed, Err: errClosed}
	}
	return err
}

// fail makes err an *Error of this connection. One that is an *Error already keeps what it says.
func (c *Conn) fail(op string, ref connection.Ref, err error) *connection.Error {
	e := &connection.Error{Kind: kindOf(err), Err: err}
	if inner, ok := errors.AsType[*connection.Error](err); ok {
		own := *inner
		e = &own
	}
	e.Op, e.Driver, e.Endpoint = op, driverName, c.cfg.Path
	if e.Ref.IsZero() {
		e.Ref = ref
	}
	if e.Hint == "" && e.Kind == connection.ErrPermission {
		e.Hint = permissionHint(err)
	}
	if e.Hint == "" && e.Kind == connection.ErrQuota {
		e.Hint = "the file system is full, or the quota of " + processUser() + " is used up: make room"
	}
	return e
}

// kindOf adds to connection.KindOf what only files know.
func kindOf(err error) connection.Kind {
	switch {
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EAGAIN):
		return connection.ErrUnavailable
	case errors.Is(err, syscall.ENAMETOOLONG):
		return connection.ErrInvalid
	case errors.Is(err, syscall.EIO):
		return connection.ErrCorrupt
	case escapes(err), errors.Is(err, syscall.ELOOP):
		return connection.ErrPermission
	}
	return connection.KindOf(err)
}

// escapes reports whether err is os.Root's refusal to leave its tree, which the os package does not export.
func escapes(err error) bool {
	pathErr, ok := errors.AsType[*fs.PathError](err)
	return ok && pathErr.Err != nil && pathErr.Err.Error() == "path escapes from parent"
}

// permissionHint names the path, the right that is missing and who lacks it.
func permissionHint(err error) string {
	if escapes(err) {
		return "a symbolic link leads out of the mailbox's tree, which is never followed: replace it by a directory, or set path to where it leads"
	}
	var op, path string
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		op, path = pathErr.Op, pathErr.Path
	} else if linkErr, ok := errors.AsType[*os.LinkError](err); ok {
		op, path = linkErr.Op, linkErr.New
	} else {
		return ""
	}
	right := "read it, and to search the directories above"
	for _, writing := range []string{"mkdir", "unlink", "rename", "link", "create"} {
		if strings.Contains(op, writing) {
			right = "write to its directory"
		}
	}
	return fmt.Sprintf("path: %s: %s needs the right to %s", path, processUser(), right)
}

// processUser describes who this process is, for people.
func processUser() string {
	u, err := user.Current()
	if err != nil {
		return "the process's user"
	}
	return fmt.Sprintf("user %s (uid %s)", u.Username, u.Uid)
}

// single makes seq fail, with ErrInvalid, when it is used a second time.
func single[T any](c *Conn, op string, seq func(yield func(*T, error) bool)) iter.Seq2[*T, error] {
	var used atomic.Bool
	return func(yield func(*T, error) bool) {
		if used.Swap(true) {
			yield(nil, c.fail(op, connection.Ref{}, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("the iterator was used before; it is single-use")}))
			return
		}
		seq(yield)
	}
}

// observe fills in who speaks and hands ev to the host.
func (c *Conn) observe(ev connection.Event) {
	ev.Connection = c.cfg.ID
	if ev.Connection == "" {
		ev.Connection = driverName
	}
	c.env.Emit(ev)
}

// quoted makes a name from a directory fit for an error's text.
func quoted(name string) string { return strconv.Quote(name) }
