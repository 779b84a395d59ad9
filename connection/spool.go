package connection

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
)

// SpoolOptions are the options of [Spool].
type SpoolOptions struct {
	Memory int64  // octets kept in memory before the rest goes to a temporary file; 0 = 256 KiB, negative = none
	Max    int64  // a larger message is ErrTooLarge; 0 = no limit
	Dir    string // for temporary files; "" = os.TempDir
}

const defaultSpoolMemory = 256 << 10

// A Spooled is a message whose body can be read again, by several readers at once, after the iterator that yielded it
// went on. Close it when done.
type Spooled struct {
	Message // as it was, but for Body (nil: use Reader) and Size (the octets counted)
	data    []byte
	file    *os.File
	name    string // of a file that could not be removed while open
	release func()
	once    sync.Once
}

// spoolBuffers are kept between messages. One that a large message has grown is not, lest each worker hold one for ever.
var spoolBuffers = sync.Pool{New: func() any { return new([]byte) }}

const keepBuffer = 1 << 20

// Spool reads m's Body to its end: into memory, and beyond SpoolOptions.Memory into a temporary file that no crash
// leaves behind where the system can remove open files. Any error of Body is returned and nothing is kept. opts may be
// nil.
func Spool(m *Message, opts *SpoolOptions) (*Spooled, error) {
	o := SpoolOptions{Memory: defaultSpoolMemory}
	if opts != nil {
		o = *opts
	}
	switch {
	case o.Memory == 0:
		o.Memory = defaultSpoolMemory
	case o.Memory < 0:
		o.Memory = 0
	}
	if m.Body == nil {
		return nil, &Error{Op: "spool", Ref: m.Ref, Kind: ErrInvalid, Err: errors.New("the message has no body to read")}
	}
	// One octet more than a limit is read to see it passed: the largest number would wrap round to none at all.
	o.Memory, o.Max = min(o.Memory, math.MaxInt64-1), min(o.Max, math.MaxInt64-1)
	body := m.Body
	if o.Max > 0 {
		body = io.LimitReader(body, o.Max+1)
	}
	s := &Spooled{Message: *m}
	s.Body = nil
	pooled := spoolBuffers.Get().(*[]byte)
	buf := (*pooled)[:0]
	if m.Size > 0 {
		// A size is a hint from a server: grow by it only as far as memory is meant to go.
		buf = slices.Grow(buf, int(min(m.Size, o.Memory, defaultSpoolMemory))+1)
	}
	buf, err := readUpTo(body, buf, o.Memory+1)
	n := int64(len(buf))
	release := func() {
		if cap(buf) <= keepBuffer {
			*pooled = buf
			spoolBuffers.Put(pooled)
		}
	}
	if err == nil && n > o.Memory {
		n, err = s.toFile(io.MultiReader(bytes.NewReader(buf), body), o.Dir)
		release()
	} else {
		s.data, s.release = buf, release
	}
	if err == nil && o.Max > 0 && n > o.Max {
		err = &Error{Op: "spool", Ref: m.Ref, Kind: ErrTooLarge, Err: fmt.Errorf("over %d octets", o.Max)}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Size = n
	return s, nil
}

// readUpTo appends to buf what r has, until there are limit octets.
func readUpTo(r io.Reader, buf []byte, limit int64) ([]byte, error) {
	for int64(len(buf)) < limit {
		if len(buf) == cap(buf) {
			// By doubling, but never beyond what may be needed.
			grown := make([]byte, len(buf), min(int64(max(2*cap(buf), 4<<10)), limit))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):min(int64(cap(buf)), limit)])
		buf = buf[:len(buf)+n]
		if err == io.EOF { //nolint:errorlint // only the bare one is the end
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

func (s *Spooled) toFile(r io.Reader, dir string) (int64, error) {
	f, err := os.CreateTemp(dir, "mailconn-spool-*")
	if err != nil {
		return 0, &Error{Op: "spool", Kind: KindOf(err), Hint: "the folder for temporary files (TMPDIR, or SpoolOptions.Dir) must be writable and have room", Err: err}
	}
	s.file = f
	if os.Remove(f.Name()) != nil {
		s.name = f.Name()
	}
	w := &spoolWriter{f: f}
	n, err := io.CopyBuffer(w, onlyReader{r}, make([]byte, 64<<10))
	if w.err != nil {
		err = &Error{Op: "spool", Kind: KindOf(w.err), Hint: "the folder for temporary files (TMPDIR, or SpoolOptions.Dir) must have room", Err: w.err}
	}
	return n, err
}

// spoolWriter tells the disk's errors from the source's.
type spoolWriter struct {
	f   *os.File
	err error
}

func (w *spoolWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.err = err
	return n, err
}

// onlyReader hides WriteTo, which would bring buffers of its own.
type onlyReader struct{ io.Reader }

// Reader returns a new reader at the first octet. Readers are independent of each other and valid until Close.
func (s *Spooled) Reader() io.ReadSeeker {
	if s.file != nil {
		return io.NewSectionReader(s.file, 0, s.Size)
	}
	return bytes.NewReader(s.data)
}

// Close releases the memory or the file. A second Close does nothing.
func (s *Spooled) Close() error {
	var err error
	s.once.Do(func() {
		if s.release != nil {
			s.release()
		}
		s.data = nil
		if s.file != nil {
			err = s.file.Close()
		}
		if s.name != "" {
			err = errors.Join(err, os.Remove(s.name))
		}
	})
	return err
}
