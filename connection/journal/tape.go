package journal

import (
	"bytes"
	"io"
)

// maxPrefix bounds what is kept of a message until it is known to be a report that can be opened: its header, and the
// text with the recipients. A list with 50,000 members fits.
const maxPrefix = 4 << 20

// A tape records what is read from r, so that it can be given back.
type tape struct {
	r         io.Reader
	recording bool
	kept      []byte
	err       error // r's, its end included
}

func (t *tape) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if t.recording && len(t.kept) >= maxPrefix {
		return 0, tooLarge("the report's text is over %d octets", maxPrefix)
	}
	n, err := t.r.Read(p)
	if t.recording {
		t.kept = append(t.kept, p[:n]...)
	}
	t.err = err
	return n, err
}

// stop ends the recording and forgets what is on the tape.
func (t *tape) stop() { t.recording, t.kept = false, nil }

// replay returns all that r had, from its beginning.
func (t *tape) replay() io.Reader {
	t.recording = false
	return io.MultiReader(bytes.NewReader(t.kept), t)
}
