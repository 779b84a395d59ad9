package imaptest

import (
	"compress/flate"
	"errors"
	"net"
	"strings"

	"github.com/mailconn/mailconn/imapclient/internal/inflate"
	"github.com/mailconn/mailconn/internal/doubles"
)

// deflate makes what the meter reads and writes raw DEFLATE from here on (RFC 4978). Octets are counted above it, as
// above TLS.
func deflate(m *doubles.Meter) {
	w, _ := flate.NewWriter(m.Conn, flate.DefaultCompression) // the level is one that there is
	m.Conn = &deflated{Conn: m.Conn, in: inflate.NewReader(nil, m.Conn), out: w}
}

type deflated struct {
	net.Conn
	in  *inflate.Reader
	out *flate.Writer
}

func (d *deflated) Read(p []byte) (int, error) { return d.in.Read(p) }

// Write sends all of p.
func (d *deflated) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	return n, errors.Join(err, d.out.Flush())
}

// compress obeys COMPRESS (RFC 4978).
func (s *session) compress(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	mechanism, err := c.atom()
	if err != nil {
		return "", err
	}
	if err := c.end(); err != nil {
		return "", err
	}
	switch {
	case !strings.EqualFold(mechanism, "DEFLATE"):
		return "BAD unknown compression mechanism", nil
	case s.deflating:
		return "NO [COMPRESSIONACTIVE] once is enough", nil
	case s.r.Buffered() > 0: // RFC 4978, 3: they cannot know yet whether they are to be compressed
		return "BAD commands must not follow COMPRESS before the reply", nil
	}
	s.deflating = true
	return "OK begin DEFLATE now", nil
}

func (s *session) finishCompress() error {
	if err := s.flush(); err != nil {
		return err
	}
	deflate(s.meter)
	s.attach()
	return nil
}
