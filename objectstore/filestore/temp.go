package filestore

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// A temp is a file in .tmp that is to become an object or a sidecar. Whoever made one calls discard in the end.
type temp struct {
	t     *tree
	dir   *dir
	name  string
	file  *os.File // nil once closed
	moved bool
}

func (c *Conn) newTemp(t *tree) (*temp, error) {
	for attempt := 1; ; attempt++ {
		d, err := t.get([]string{tmpDir}, true)
		if err != nil {
			return nil, err
		}
		name := strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + strconv.FormatUint(c.serial.Add(1), 36)
		f, err := d.create(name)
		if err == nil {
			return &temp{t: t, dir: d, name: name, file: f}, nil
		}
		// Somebody removed .tmp, or the name is that of a process that died long ago.
		if errors.Is(err, fs.ErrNotExist) {
			t.forget(d)
		}
		t.put(d)
		if attempt == maxTries || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}

// finish ends writing; with durable the octets are on disk afterwards.
func (p *temp) finish(durable bool) error {
	f := p.file
	p.file = nil
	var err error
	if durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rename gives the file its final name, and replaces what is there.
func (p *temp) rename(d *dir, name string) error {
	err := p.dir.rename(p.name, d.node, name)
	p.moved = err == nil
	return err
}

// renameNew gives the file its final name unless that is taken: fs.ErrExist.
func (p *temp) renameNew(d *dir, name string) error {
	err := p.dir.renameNew(p.name, d.node, name)
	p.moved = err == nil
	return err
}

// discard releases p, and removes the file unless it got its final name. What cannot be removed is left to
// AbortIncomplete.
func (p *temp) discard() {
	if p.file != nil {
		_ = p.file.Close() // unfinished: nobody needs what was written
	}
	if !p.moved {
		_ = p.dir.remove(p.name)
	}
	p.t.put(p.dir)
}

// nextStamp returns the present time, later than any it returned before, so that no two versions of an object have the
// same modification time.
func (c *Conn) nextStamp() time.Time {
	for {
		last := c.stamp.Load()
		now := max(time.Now().UnixNano(), last+1)
		if c.stamp.CompareAndSwap(last, now) {
			return time.Unix(0, now)
		}
	}
}

func hexOf(sum []byte) string { return hex.EncodeToString(sum) }
