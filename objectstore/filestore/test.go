package filestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// The object that Test writes, and removes again, is under this prefix.
const probePrefix = "mailconn-test/"

// Test implements connection.Connection. The steps are open (location and bucket), read (a listing of one), and with
// opts.Write write and remove: an object is put twice with IfAbsent, of which the second must be refused, read back and
// deleted.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	var o connection.TestOptions
	if opts != nil {
		o = *opts
	}
	p := &probe{c: c, report: &connection.Report{Info: c.Info(), Started: time.Now()}, progress: o.Progress}
	p.step("open", func() (string, string, error) { return p.openDir(ctx) })
	p.step("read", func() (string, string, error) { return p.read(ctx) })
	key := probePrefix + strings.ToLower(rand.Text())
	if !o.Write {
		p.skip("write", "not asked for")
		p.skip("remove", "not asked for")
	} else {
		p.step("write", func() (string, string, error) { return p.write(ctx, key) })
		p.step("remove", func() (string, string, error) { return "", "", c.Delete(ctx, key) })
	}
	return p.report, p.report.Err()
}

type probe struct {
	c        *Conn
	report   *connection.Report
	progress func(connection.Step)
}

// step runs one step, unless an earlier one failed. A hint without an error is a warning.
func (p *probe) step(name string, run func() (detail, hint string, err error)) {
	if !p.report.OK() {
		p.skip(name, "an earlier step failed")
		return
	}
	began := time.Now()
	s := connection.Step{Name: name, Status: connection.StatusOK}
	s.Detail, s.Hint, s.Err = run()
	s.Elapsed = time.Since(began)
	switch {
	case s.Err != nil:
		s.Status = connection.StatusFailed
		var e *connection.Error
		if errors.As(s.Err, &e) && s.Hint == "" {
			s.Hint = e.Hint
		}
		if s.Hint == "" {
			s.Hint = fmt.Sprintf("look at the directory of location: %q", p.c.location)
		}
	case s.Hint != "":
		s.Status = connection.StatusWarned
	}
	p.add(s)
}

func (p *probe) skip(name, why string) {
	p.add(connection.Step{Name: name, Status: connection.StatusSkipped, Detail: why})
}

func (p *probe) add(s connection.Step) {
	p.report.Steps = append(p.report.Steps, s)
	if p.progress != nil {
		p.progress(s)
	}
}

func (p *probe) openDir(ctx context.Context) (detail, hint string, err error) {
	t, err := p.c.open(ctx)
	if err == nil {
		err = p.c.missing(t)
	}
	if err != nil {
		return "", "", p.c.fail("test", "", err)
	}
	root, err := t.get(nil, false)
	if err != nil {
		return "", "", p.c.fail("test", "", err)
	}
	defer t.put(root)
	detail = p.c.endpoint()
	if !t.durable {
		detail += "\nsync is none: what is stored may be lost when the machine halts"
		hint = "sync: set it to full unless the data can be made again"
	}
	if err := root.writable(); err != nil {
		var e *connection.Error
		if errors.As(p.c.fail("test", "", err), &e) {
			return detail + "\ncan be read, but not written", e.Hint, nil
		}
	}
	return detail, hint, nil
}

func (p *probe) read(ctx context.Context) (detail, hint string, err error) {
	detail = "no objects yet"
	for info, err := range p.c.List(ctx, &connection.ListOptions{Limit: 1}) {
		if err != nil {
			return "", "", err
		}
		detail = "the first object is " + info.Key
	}
	return detail, "", nil
}

func (p *probe) write(ctx context.Context, key string) (detail, hint string, err error) {
	content := []byte("mailconn was here: " + key + "\n")
	put := func() error {
		_, err := p.c.Put(ctx, key, bytes.NewReader(content), &connection.PutOptions{IfAbsent: true})
		return err
	}
	if err := put(); err != nil {
		return "", "", err
	}
	if err := put(); !errors.Is(err, connection.ErrExists) {
		return "", "location: use another file system: this one does not keep two writers apart", p.c.fail("test", key,
			&connection.Error{Kind: connection.ErrUnsupported, Err: fmt.Errorf("a second put with IfAbsent was not refused: %w", orNil(err))})
	}
	object, err := p.c.Get(ctx, key, nil)
	if err != nil {
		return "", "", err
	}
	got, err := io.ReadAll(io.LimitReader(object.Body, int64(len(content))+1))
	if err := errors.Join(err, object.Body.Close()); err != nil {
		return "", "", err
	}
	if !bytes.Equal(got, content) {
		return "", "", p.c.fail("test", key, &connection.Error{Kind: connection.ErrCorrupt, Err: errors.New("what was written is not what is read")})
	}
	return fmt.Sprintf("%d octets, put once, refused the second time, and read back", len(content)), "", nil
}

func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
