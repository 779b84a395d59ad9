package imapclient

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"net"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/internal/inflate"
)

// The values of Config.Compress.
const (
	CompressAuto = "auto" // compress where the server offers it
	CompressOff  = "off"
)

const capDeflate = "COMPRESS=DEFLATE"

// compress begins compression in both directions (RFC 4978) if the server offers it and the settings permit. It comes
// after the login, so that no credential is ever compressed together with text that others can choose. A server that
// refuses what it offers is spoken to without.
func (l *link) compress(cfg *Config) error {
	if cfg.Compress == CompressOff || !l.has(capDeflate) {
		return nil
	}
	began := time.Now()
	n, err := l.command("COMPRESS DEFLATE", maxPreludeLine, nil)
	switch {
	case err != nil:
		l.way.Report("compress", began, "", "", err)
		return err
	case n.Type != "OK":
		l.env.Emit(connection.Event{Kind: connection.EventQuirk, Connection: l.name(), Detail: "compress-refused"})
		l.way.Report("compress", began, "the server offers "+capDeflate+" and refuses it: "+l.said(n), "", nil)
		return nil
	}
	d, err := newDeflated(l)
	if err != nil {
		return l.peer.Errorf(connection.ErrUnknown, "", "compress: %w", err)
	}
	l.stream, l.br = d, bufio.NewReaderSize(d, linkBuffer)
	l.way.Report("compress", began, "DEFLATE in both directions", "", nil)
	return nil
}

// A deflated is a connection whose octets are raw DEFLATE (RFC 1951), without a zlib header, in both directions. As
// with any net.Conn, one goroutine may read while another one writes.
type deflated struct {
	net.Conn
	l   *link
	in  *inflate.Reader
	out *flate.Writer
	buf *bufio.Writer // out's: it writes in small pieces
}

// newDeflated wraps the link's stream. What was buffered behind the server's consent is compressed already.
func newDeflated(l *link) (*deflated, error) {
	begun, err := l.br.Peek(l.br.Buffered())
	if err != nil {
		return nil, err
	}
	d := &deflated{Conn: l.stream, l: l, in: inflate.NewReader(bytes.Clone(begun), l.stream), buf: bufio.NewWriter(l.stream)}
	d.out, err = flate.NewWriter(d.buf, flate.BestSpeed)
	return d, err
}

// Read implements net.Conn.
func (d *deflated) Read(p []byte) (int, error) {
	n, err := d.in.Read(p)
	if errors.Is(err, inflate.ErrCorrupt) {
		err = d.l.peer.Errorf(connection.ErrProtocol, "compress: set it to off if this server cannot do it right", "%w", err)
	}
	return n, err
}

// Write implements net.Conn. All of p has gone out when it returns: the server would wait for what is held back.
func (d *deflated) Write(p []byte) (int, error) {
	if _, err := d.out.Write(p); err != nil {
		return 0, err
	}
	if err := d.out.Flush(); err != nil {
		return 0, err
	}
	return len(p), d.buf.Flush()
}
