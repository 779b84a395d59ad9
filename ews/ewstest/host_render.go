package ewstest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sever ends the connection of a request. It does not return.
func (s *Server) sever(x *exchange, how ending) {
	s.note(x, func(e *Request) { e.Uncommitted = true })
	under := tcpOf(connOf(x.r.Context()).net)
	if tcp, ok := under.(*net.TCPConn); ok && how == endReset {
		_ = tcp.SetLinger(0) // the connection is gone then
	}
	_ = under.Close() // nothing depends on it
	panic(http.ErrAbortHandler)
}

// render writes an answer. It does not return if that cannot be, or is to be broken off.
func (s *Server) render(w http.ResponseWriter, req *request, rep *reply) {
	p := rep.mishap
	if p == nil {
		p = &mishap{cut: -1}
	}
	for key, values := range p.header {
		w.Header()[key] = values
	}
	if rep.raw != nil {
		rep.raw(w, req.r)
		return
	}
	d, sh := s.style()
	if p.dialect != nil {
		d = *p.dialect
	}
	if p.shred != nil {
		sh = *p.shred
	}
	status := rep.status
	switch {
	case status != 0:
	case rep.fault == nil:
		status = http.StatusOK
	case d.FaultStatus != 0:
		status = d.FaultStatus
	default:
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	var err error
	switch {
	case rep.stream != nil:
		err = s.renderStream(w, req, rep, p, d, sh)
	case len(p.rewrite) > 0 || p.length != 0:
		err = s.renderWhole(w, req, rep, p, d, sh, status)
	default:
		err = s.renderBody(w, req, rep, p, d, sh, status)
	}
	if err != nil {
		s.sever(req.exchange, endClosed)
	}
}

// renderBody writes an answer while it is made.
func (s *Server) renderBody(w http.ResponseWriter, req *request, rep *reply, p *mishap, d Dialect, sh Shred, status int) error {
	out := s.damaged(w, req, p, sh)
	zip := p.bomb || !d.NoGzip && p.cut < 0 && p.endless == nil && strings.Contains(req.r.Header.Get("Accept-Encoding"), "gzip")
	if !zip {
		w.WriteHeader(status)
		return s.write(out, rep, p, d)
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z, ok := s.zips.Get().(*gzip.Writer)
	if !ok {
		z = gzip.NewWriter(nil)
	}
	z.Reset(out)
	defer s.zips.Put(z)
	return errors.Join(s.write(z, rep, p, d), z.Close())
}

// document writes a document in a dialect.
func (s *Server) document(out io.Writer, d Dialect, root *node) error {
	b, ok := s.buffers.Get().(*bufio.Writer)
	if !ok {
		b = bufio.NewWriterSize(nil, 32<<10)
	}
	b.Reset(out)
	defer s.buffers.Put(b)
	return newWriter(b, d).document(root)
}

// write writes the document, or its beginning and what has no end.
func (s *Server) write(out io.Writer, rep *reply, p *mishap, d Dialect) error {
	doc := rep.whole
	if doc == nil || rep.fault != nil {
		doc = s.envelope(rep, rep.body)
	}
	if p.endless == nil {
		return s.document(out, d, doc)
	}
	var whole bytes.Buffer
	if err := s.document(&whole, d, doc); err != nil {
		return err
	}
	text := whole.Bytes()
	if _, err := out.Write(text[:bytes.LastIndex(text[:bytes.LastIndex(text, []byte("</"))], []byte("</"))]); err != nil {
		return err
	}
	var failed error
	p.endless(func(part string) bool {
		_, failed = io.WriteString(out, part)
		return failed == nil
	})
	return failed
}

// renderWhole writes an answer that is changed as a whole, or tells a wrong length.
func (s *Server) renderWhole(w http.ResponseWriter, req *request, rep *reply, p *mishap, d Dialect, sh Shred, status int) error {
	var whole bytes.Buffer
	if err := s.write(&whole, rep, &mishap{}, d); err != nil {
		return err
	}
	body := whole.Bytes()
	for _, change := range p.rewrite {
		body = change(body)
	}
	if p.length == 0 {
		w.WriteHeader(status)
		_, err := s.damaged(w, req, p, sh).Write(body)
		return err
	}
	s.note(req.exchange, func(e *Request) { e.Status = status })
	return lie(w, status, int64(len(body))+p.length, body)
}

// lie answers with a Content-Length of its own, and closes the connection. net/http does not let that pass.
func lie(w http.ResponseWriter, status int, length int64, body []byte) error {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	head := "HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n" +
		"Connection: close\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: " + strconv.FormatInt(max(0, length), 10) + "\r\n\r\n"
	_, err = c.Write(append([]byte(head), body...))
	return errors.Join(err, c.Close())
}

// damaged is where the octets of an answer's body go.
func (s *Server) damaged(w http.ResponseWriter, req *request, p *mishap, sh Shred) io.Writer {
	out := io.Writer(w)
	if patience := s.opts.Throttle.Patience; patience > 0 {
		out = &impatient{w: w, c: connOf(req.r.Context()).net, patience: patience}
	}
	out = newShredder(w, out, sh)
	if p.cut < 0 && p.rate == 0 {
		return out
	}
	return &damage{s: s, w: w, out: out, req: req, p: p}
}

// An impatient writer cuts off clients that do not read. It goes by the system's clock.
type impatient struct {
	w        io.Writer
	c        net.Conn
	patience time.Duration
}

func (i *impatient) Write(p []byte) (int, error) {
	// Not by a deadline: crypto/tls would try for seconds to say farewell.
	enough := time.AfterFunc(i.patience, func() { _ = tcpOf(i.c).Close() }) // it may be closed already
	defer enough.Stop()
	return i.w.Write(p)
}

// A damage breaks an answer off, or slows it down.
type damage struct {
	s    *Server
	w    http.ResponseWriter
	out  io.Writer
	req  *request
	p    *mishap
	sent int64
}

func (d *damage) Write(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		part := p[total:]
		if d.p.rate > 0 {
			part = part[:min(int64(len(part)), max(1, d.p.rate/10))]
		}
		if d.p.cut >= 0 {
			part = part[:min(int64(len(part)), d.p.cut-d.sent)]
		}
		n, err := d.out.Write(part)
		total += n
		d.sent += int64(n)
		if err != nil {
			return total, err
		}
		if d.p.cut >= 0 && d.sent >= d.p.cut {
			d.end()
		}
		if d.p.rate > 0 {
			d.flush()
			select {
			case <-d.s.clock.After(time.Duration(n) * time.Second / time.Duration(d.p.rate)):
			case <-d.req.r.Context().Done():
				return total, d.req.r.Context().Err()
			}
		}
	}
	return total, nil
}

func (d *damage) flush() { _ = http.NewResponseController(d.w).Flush() } // a client that is gone is told by Write

// end breaks the answer off.
func (d *damage) end() {
	d.flush()
	if d.p.ending == endSilent {
		<-d.req.r.Context().Done()
	}
	d.s.sever(d.req.exchange, d.p.ending)
}
