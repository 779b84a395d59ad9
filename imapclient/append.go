package imapclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// Append implements [connection.Appender] by APPEND (RFC 9051, 6.3.12). Exactly the octets of body are sent. A body of
// unknown size is spooled first; one that is shorter or longer than AppendOptions.Size is ErrInvalid, or what its reader
// says, and the connection is given up before the message is complete, so that nothing is stored. nil means that the
// server said OK. If the reply is lost behind the last octet the error is ErrUncertain.
//
// The Ref is what the server tells (UIDPLUS), else that of the one new message with the same Message-ID, else it has no
// ID. A folder that is missing is ErrNotFound, unless CreateFolder has it made.
func (c *Conn) Append(ctx context.Context, folder string, body io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	const op = "append"
	var o connection.AppendOptions
	if opts != nil {
		o = *opts
	}
	c, err := c.at(op, o.Mailbox)
	if err != nil {
		return connection.Ref{}, err
	}
	ref := connection.Ref{Mailbox: c.cfg.mailbox, Folder: folder}
	if err := validFolder(folder); err != nil {
		return connection.Ref{}, c.problem(op, ref, connection.ErrInvalid, "folder %w", err)
	}
	flags, err := c.flags(op, o.Flags)
	if err != nil {
		return connection.Ref{}, err
	}
	if o.Size < 0 || o.Size > 1<<62 {
		return connection.Ref{}, c.problem(op, ref, connection.ErrInvalid, "a size of %d octets", o.Size)
	}
	ctx, cancel, leave, err := c.enter(ctx, op)
	if err != nil {
		return connection.Ref{}, err
	}
	defer leave()
	defer cancel()
	a := &appending{conn: c, ctx: ctx, ref: ref, opts: &goimap.AppendOptions{Flags: flags, Time: o.Received}, create: o.CreateFolder}
	if err := a.take(body, o.Size); err != nil {
		return connection.Ref{}, err
	}
	defer a.close()
	if !c.deleting.take(ctx) {
		return connection.Ref{}, c.ended(ctx, op, ref)
	}
	defer c.deleting.give()
	return a.run()
}

// An appending is one Append.
type appending struct {
	conn   *Conn
	ctx    context.Context
	ref    connection.Ref
	opts   *goimap.AppendOptions
	create bool

	kept *connection.Spooled // nil: body is read once, from the caller
	body io.Reader
	size int64
	head heading
}

// spoolAppend is up to which size a body is spooled although its size is known, so that it can be sent again.
const spoolAppend = 64 << 10

// take makes ready what is to be sent.
func (a *appending) take(body io.Reader, size int64) error {
	src := &watched{r: &heedful{ctx: a.ctx, r: body}}
	if size > spoolAppend && !a.create {
		a.body, a.size = src, size
		return nil
	}
	kept, err := connection.Spool(&connection.Message{Body: src, Size: size}, &connection.SpoolOptions{Memory: spoolMemory, Max: size})
	switch {
	case a.ctx.Err() != nil:
		err = a.conn.ended(a.ctx, "append", a.ref)
	case src.err != nil:
		return a.unread(src.err)
	case connection.KindOf(err) == connection.ErrTooLarge:
		return a.wrongSize(size, "more")
	case err != nil:
		return a.conn.fault("append", a.ref, err)
	case size > 0 && kept.Size != size:
		err = a.wrongSize(size, strconv.FormatInt(kept.Size, 10))
	}
	if err != nil {
		if kept != nil {
			_ = kept.Close() // a temporary file: nothing depends on it
		}
		return err
	}
	a.kept, a.size = kept, kept.Size
	return nil
}

func (a *appending) unread(err error) error {
	return a.conn.problem("append", a.ref, connection.KindOf(err), "reading the message: %w", err)
}

func (a *appending) wrongSize(announced int64, got string) error {
	return a.conn.problem("append", a.ref, connection.ErrInvalid, "the message was said to have %d octets, and has %s", announced, got)
}

func (a *appending) close() {
	if a.kept != nil {
		_ = a.kept.Close() // a temporary file: nothing depends on it
	}
}

// heedful ends a caller's reader with ctx, between two reads.
type heedful struct {
	ctx context.Context
	r   io.Reader
}

func (h *heedful) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	return h.r.Read(p)
}

// run sends the message, and once more if the folder had to be made or the session turned out dead.
func (a *appending) run() (connection.Ref, error) {
	created := false
	for try := 0; ; try++ {
		ref, begun, err := a.once()
		if err == nil {
			return ref, nil
		}
		again := a.kept != nil || !begun
		switch {
		case a.ctx.Err() != nil && connection.KindOf(err) != connection.ErrUncertain:
			return connection.Ref{}, a.conn.ended(a.ctx, "append", a.ref)
		case a.create && !created && a.mayBeMissing(err):
			if err := a.makeFolder(); err != nil {
				return connection.Ref{}, err
			}
			created = true
			continue
		case connection.KindOf(err) == connection.ErrNetwork && again && try == 0:
			continue // an idle session that the server had closed: nothing can have been stored
		}
		return connection.Ref{}, a.explain(err)
	}
}

// mayBeMissing reports whether err may mean that there is no such folder. The code for it is optional (RFC 9051, 6.3.12).
func (a *appending) mayBeMissing(err error) bool {
	kind := connection.KindOf(err)
	return kind == connection.ErrNotFound || kind == connection.ErrRejected
}

// explain adds what the settings have to do with a refusal.
func (a *appending) explain(err error) error {
	e := a.conn.fault("append", a.ref, err)
	switch {
	case e.Kind == connection.ErrNotFound && e.Hint == "":
		e.Hint = "the folder must exist, or AppendOptions.CreateFolder be set"
	case e.Code == "LIMIT":
		e.Kind = connection.ErrTooLarge // RFC 5530, 3: here it is the message that is over a limit
	case a.head.nul && (e.Kind == connection.ErrRejected || e.Kind == connection.ErrProtocol):
		e.Hint = "the message holds NUL octets, which IMAP has no room for (RFC 9051, 4.3)"
	}
	return e
}

// once sends the message over one session. begun reports whether octets of the body were taken.
func (a *appending) once() (ref connection.Ref, begun bool, err error) {
	s, done, err := a.conn.lease(a.ctx, "append")
	if err != nil {
		return ref, false, err
	}
	defer done()
	wire, err := s.wireName(a.ctx, "append", a.ref.Folder)
	if err != nil {
		return ref, false, err
	}
	before, err := a.prepare(s)
	if err != nil {
		return ref, false, err
	}
	body := a.body
	if a.kept != nil {
		body = a.kept.Reader()
	}
	a.head = heading{}
	data, begun, err := a.send(s, wire, io.TeeReader(body, &a.head))
	if err != nil {
		return ref, begun, err
	}
	ref = a.ref
	switch {
	case data.UID != 0 && data.UIDValidity != 0:
		ref.ID = strconv.FormatUint(uint64(data.UIDValidity), 10) + ":" + strconv.FormatUint(uint64(data.UID), 10)
	case before != nil:
		ref.ID = a.find(s, before)
	}
	return ref, begun, nil
}

// prepare finds out, where the server will not tell the UID, from where on to search for the message.
func (a *appending) prepare(s *session) (*box, error) {
	if s.has(goimap.CapUIDPlus) {
		return nil, nil
	}
	b, err := s.open(a.ctx, "append", a.ref.Folder)
	switch {
	case err == nil && b.lasting && b.uidNext != 0:
		return b, nil
	case err != nil && s.broken():
		return nil, err
	}
	return nil, nil // APPEND will say what is wrong, if something is
}

// find returns the ID of the one new message with our Message-ID, "" if there is none, or more than one. The message is
// stored: nothing that goes wrong here is an error of Append.
func (a *appending) find(s *session, before *box) string {
	id := a.head.messageID()
	if id == "" {
		return ""
	}
	b, err := s.open(a.ctx, "append", a.ref.Folder)
	if err != nil || b.validity != before.validity {
		return ""
	}
	uids, err := s.search(a.ctx, "append", before.uidNext, 0, goimap.SearchCriteria{
		Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: id}},
	})
	if err != nil || len(uids) != 1 {
		return ""
	}
	return b.ref(uids[0]).ID
}

// send runs APPEND. The last octet is held back until the body has proved to be at its end: before it the server cannot
// have stored anything, so that giving up the connection undoes all.
func (a *appending) send(s *session, wire string, body io.Reader) (data *goimap.AppendData, begun bool, err error) {
	if s.broken() {
		return nil, false, a.conn.problem("append", a.ref, connection.ErrNetwork, "the session is over")
	}
	release := s.watch(a.ctx)
	cmd := s.client.Append(wire, a.size, a.opts)
	complete := false
	_, err = cmd.Write(nil) // fails if the server has refused already
	if err == nil {
		begun = true
		complete, err = a.copy(cmd, body)
	}
	var fault *bodyError
	if errors.As(err, &fault) {
		// The library ends a command with a line, whatever is missing: that must not reach the server as the rest.
		s.guard.fail(fault.err)
		s.dead = true
		_ = cmd.Close() // fault is why
		release()
		return nil, begun, fault.err
	}
	closeErr := cmd.Close()
	data, waitErr := cmd.Wait()
	alive := release()
	switch refused := new(goimap.Error); {
	case waitErr == nil && alive:
		return data, begun, nil
	case errors.As(waitErr, &refused):
		// Refused before the body, the library cannot go on with the session.
		if closeErr != nil || err != nil {
			s.dead = true
		}
		return nil, begun, s.commandError(a.ctx, "append", waitErr)
	}
	s.dead = true
	lost := s.commandError(a.ctx, "append", errors.Join(err, closeErr, waitErr))
	if complete {
		lost = a.conn.problem("append", a.ref, connection.ErrUncertain, "the message was sent whole, and the server's reply was lost: %w", cause(lost))
	}
	return nil, begun, lost
}

// A bodyError is what is wrong with the caller's body.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// copy sends exactly a.size octets of body. complete reports whether the last one was handed to the connection.
func (a *appending) copy(cmd *goclient.AppendCommand, body io.Reader) (complete bool, err error) {
	buf := make([]byte, 64<<10)
	var last []byte // the octet held back
	for left := a.size; left > 0; {
		n, err := io.ReadAtLeast(body, buf[:min(int64(len(buf)), left)], 1)
		if n > 0 {
			left -= int64(n)
			part := buf[:n]
			if left == 0 {
				last = bytes.Clone(part[n-1:])
				part = part[:n-1]
			}
			if _, err := cmd.Write(part); err != nil {
				return false, err
			}
		}
		switch {
		case err == io.EOF: //nolint:errorlint // an EOF within another error is the failure of what lies below
			return false, &bodyError{a.wrongSize(a.size, strconv.FormatInt(a.size-left, 10))}
		case err != nil:
			return false, a.bodyFault(err)
		}
	}
	if a.kept == nil {
		var more [1]byte
		n, err := io.ReadAtLeast(body, more[:], 1)
		switch {
		case n > 0:
			return false, &bodyError{a.wrongSize(a.size, "more")}
		case err != io.EOF: //nolint:errorlint // as above
			return false, a.bodyFault(err)
		}
	}
	if len(last) > 0 {
		if _, err := cmd.Write(last); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (a *appending) bodyFault(err error) error {
	if a.ctx.Err() != nil {
		return &bodyError{a.conn.ended(a.ctx, "append", a.ref)}
	}
	return &bodyError{a.unread(err)}
}

// makeFolder creates the folder. That somebody else has made it meanwhile is as good.
func (a *appending) makeFolder() error {
	s, done, err := a.conn.lease(a.ctx, "append")
	if err != nil {
		return err
	}
	defer done()
	wire, err := s.wireName(a.ctx, "append", a.ref.Folder)
	if err != nil {
		return err
	}
	err = s.run(a.ctx, "append", func() error { return s.client.Create(wire, nil).Wait() })
	if err != nil && connection.KindOf(err) != connection.ErrExists {
		return a.conn.fault("append", a.ref, fmt.Errorf("making the folder: %w", err))
	}
	return nil
}

// heading keeps the beginning of what is sent, to find the Message-ID in it.
type heading struct {
	octets []byte
	nul    bool // there was a NUL anywhere
}

const maxHeading = 64 << 10

func (h *heading) Write(p []byte) (int, error) {
	h.nul = h.nul || bytes.IndexByte(p, 0) >= 0
	h.octets = append(h.octets, p[:min(len(p), maxHeading-len(h.octets))]...)
	return len(p), nil
}

// messageID returns the value of the Message-ID field, "" if there is none that can be searched for.
func (h *heading) messageID() string {
	for line := range strings.SplitSeq(string(h.octets), "\n") {
		line = textproto.TrimString(line)
		if line == "" {
			return ""
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(textproto.TrimString(name), "Message-ID") {
			continue
		}
		value = textproto.TrimString(value)
		if !quotable(value) {
			return ""
		}
		return value
	}
	return ""
}
