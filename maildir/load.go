package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A job is a file that may be a message.
type job struct {
	d            *directory
	name         string
	unique, info string
	id           string // of the Ref, if it is not the unique part
}

// A loader opens messages of one folder and reads their beginning. It may be used by several goroutines.
type loader struct {
	c        *Conn
	ctx      context.Context
	op       string
	mailbox  string
	folder   string
	keywords *keywords
	seen     *seen // nil: every file is new
	since    time.Time
}

// An outcome says what became of a job.
type outcome uint8

const (
	loaded   outcome = iota // a message
	failed                  // an error about one message
	vanished                // no file of this name: renamed or removed meanwhile
	passed                  // not to be yielded
	strange                 // not a regular file
)

// An item is a job done. Whoever receives one releases it.
type item struct {
	job
	outcome outcome
	msg     *delivered
	err     error
	ident   uint64
	buf     *[]byte
	file    handle
	open    bool          // file is
	token   chan struct{} // given back by release, if not nil
}

func (it *item) release() {
	if it.msg != nil {
		it.msg.body.finish()
	}
	if it.buf != nil {
		putBuffer(it.buf)
		it.buf = nil
	}
	if it.open {
		_ = it.file.close() // only read
		it.open = false
	}
	if it.token != nil {
		<-it.token
		it.token = nil
	}
}

func (l *loader) ref(id string) connection.Ref {
	return connection.Ref{Mailbox: l.mailbox, Folder: l.folder, ID: escape(id)}
}

func (l *loader) failed(it *item, id string, err error) {
	it.outcome = failed
	it.err = l.c.fail(l.op, l.ref(id), err)
}

// doubleID is the ID of a second file with the same unique part: its name, which no unique part can be.
func doubleID(sub, name, info string) string {
	if info == "" {
		return sub + "/" + name
	}
	return name
}

// load opens the file of it.job, decides whether it is a message, and reads its beginning.
func (l *loader) load(it *item) {
	h, info, err := l.open(it)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESTALE):
		it.outcome = vanished
		return
	case errors.Is(err, syscall.ELOOP):
		it.outcome = strange
		return
	default:
		l.failed(it, it.unique, err)
		return
	}
	it.file, it.open, it.ident = h, true, info.ident
	if !info.regular {
		it.outcome = strange
		if info.dir {
			it.outcome = passed
		}
		return
	}
	id := it.unique
	switch {
	case it.id != "":
		id = it.id
	case l.seen != nil:
		switch l.seen.claim(it.unique, it.d.sub, it.name, info.ident) {
		case same, again:
			it.outcome = passed
			return
		case double:
			id = doubleID(it.d.sub, it.name, it.info)
		case fresh:
		}
	}
	when := received(it.unique, info.mtime)
	limit := l.c.cfg.MaxMessage
	switch {
	case !l.since.IsZero() && when.Before(l.since):
		it.outcome = passed
		return
	case !it.d.mayRead(info):
		l.failed(it, id, &connection.Error{
			Kind: connection.ErrPermission, Err: errors.New("the file has several hard links and belongs to another user than its directory"),
			Hint: "a user may have linked a file that is not his: remove the link, or give the file to the directory's owner",
		})
		return
	case limit > 0 && info.size > limit:
		l.failed(it, id, &connection.Error{
			Kind: connection.ErrTooLarge, Err: fmt.Errorf("%d octets", info.size),
			Hint: fmt.Sprintf("max_message: %d is the limit: raise it to take this message", limit),
		})
		return
	}
	l.read(it, id, info, when)
}

func (l *loader) open(it *item) (handle, fileInfo, error) {
	h, info, err := openMessage(it.d, it.name)
	if err == nil || !l.c.cfg.FollowSymlinks || !errors.Is(err, syscall.ELOOP) {
		return h, info, err
	}
	// The link may lead to elsewhere in the tree. What is there must be looked at before it is opened.
	rel := it.d.rel(it.name)
	if fi, err := it.d.root.Stat(rel); err != nil || !fi.Mode().IsRegular() {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = &fs.PathError{Op: "open", Path: it.d.path(it.name), Err: syscall.ELOOP}
		}
		return handle{}, fileInfo{}, err
	}
	f, err := it.d.root.OpenFile(rel, openFile, 0)
	if err != nil {
		return handle{}, fileInfo{}, err
	}
	return adopt(f)
}

// read fills in the message and reads the first octets: of most messages, all.
func (l *loader) read(it *item, id string, info fileInfo, when time.Time) {
	ref := l.ref(id)
	it.buf = getBuffer(info.size)
	head := (*it.buf)[:min(info.size, int64(cap(*it.buf)))]
	for n := 0; n < len(head); {
		m, err := it.file.read(head[n:])
		n += m
		if err == nil && m == 0 {
			err = &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("%w: %d octets are missing", errShrank, info.size-int64(n))}
		}
		if err != nil {
			l.failed(it, id, err)
			return
		}
	}
	it.msg = &delivered{
		Message: connection.Message{Ref: ref, Folder: l.folder, Size: info.size, Received: when, Flags: l.keywords.flags(it.info)},
		body:    body{c: l.c, ctx: l.ctx, op: l.op, ref: ref, head: head, rest: info.size - int64(len(head)), file: &it.file},
	}
	it.msg.Body = &it.msg.body
	if it.msg.body.rest == 0 {
		_ = it.file.close() // only read
		it.open = false
	}
}
