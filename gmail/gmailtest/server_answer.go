package gmailtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// An answer is a ResponseWriter that knows what it was told, and breaks off where a fault says so.
type answer struct {
	http.ResponseWriter
	told   func(status int, octets int64)
	plan   *plan
	quit   func(silent bool) // ends the answer: waits for the client to go if silent, then panics
	wait   func(time.Duration)
	status int
	octets int64 // of the body
}

func newAnswer(w http.ResponseWriter, told func(status int, octets int64)) *answer {
	return &answer{ResponseWriter: w, told: told}
}

// finish records what was sent, also if the connection was cut.
func (a *answer) finish() { a.told(a.status, a.octets) }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
		if a.plan != nil {
			maps.Copy(a.Header(), a.plan.header)
		}
		a.told(status, 0)
	}
	if !a.lost() {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.lost():
		return len(p), nil
	case a.plan != nil && a.plan.pause > 0:
		return a.trickle(p)
	}
	return a.write(p)
}

// lost reports whether nothing of the answer is to be sent.
func (a *answer) lost() bool { return a.plan != nil && a.plan.lose }

// trickle writes a piece after the other, with pauses.
func (a *answer) trickle(p []byte) (written int, err error) {
	for written < len(p) && err == nil {
		var n int
		n, err = a.write(p[written:min(written+a.plan.piece, len(p))])
		written += n
		_ = http.NewResponseController(a.ResponseWriter).Flush() // a recorder of a batch cannot; it is whole then
		a.wait(a.plan.pause)
	}
	return written, err
}

// write sends octets up to where the answer is to end.
func (a *answer) write(p []byte) (int, error) {
	if a.plan == nil || a.plan.cut < 0 || a.octets+int64(len(p)) <= a.plan.cut {
		n, err := a.ResponseWriter.Write(p)
		a.octets += int64(n)
		return n, err
	}
	n, err := a.ResponseWriter.Write(p[:a.plan.cut-a.octets])
	a.octets += int64(n)
	if err != nil {
		return n, err
	}
	if a.plan.ending == endShort {
		return len(p), nil
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush() // a recorder of a batch cannot; it is whole then
	a.quit(a.plan.ending == endSilent)
	return n, nil
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// answer sends what became of a request: an object, a reply, an *apiError, a function that answers, or nil.
func (s *Server) answer(q *request, a *answer, p *plan, result any) {
	p.shape(q, a)
	maps.Copy(a.Header(), q.header)
	status := http.StatusOK
	var text []byte
	var o object
	switch v := result.(type) {
	case nil:
		a.WriteHeader(http.StatusNoContent)
		return
	case reply:
		maps.Copy(a.Header(), v.header)
		status, text = v.status, v.body
	case *apiError:
		s.refused(q, v)
		maps.Copy(a.Header(), v.header)
		status, o = v.status, v.body()
	case object:
		o = v
	case func(*answer):
		v(a)
		return
	default:
		panic(fmt.Sprintf("gmailtest: %s was answered with a %T", q.method, v))
	}
	if o != nil {
		a.Header().Set("Content-Type", "application/json; charset=UTF-8")
		a.Header().Set("Vary", "Origin, X-Origin, Referer")
		a.Header().Set("Cache-Control", "private")
	}
	write := func(w io.Writer) {
		if o == nil {
			_, _ = w.Write(text) // the client may be gone
			return
		}
		s.renderTo(w, q, o, status)
	}
	if len(p.rewrite) > 0 {
		var whole bytes.Buffer
		write(&whole)
		text, o = whole.Bytes(), nil
		for _, change := range p.rewrite {
			text = change(text)
		}
	}
	if s.opts.Rendering.NoGzip || !compressible(q.http) || len(text) == 0 && o == nil {
		a.WriteHeader(status)
		write(a)
		return
	}
	a.Header().Set("Content-Encoding", "gzip")
	a.WriteHeader(status)
	z, ok := s.zips.Get().(*gzip.Writer)
	if ok {
		z.Reset(a)
	} else {
		z, _ = gzip.NewWriterLevel(a, gzip.BestSpeed) // the level is a good one
	}
	write(z)
	_ = z.Close() // the client may be gone
	s.zips.Put(z)
}

// renderTo writes an answer as JSON.
func (s *Server) renderTo(w io.Writer, q *request, o object, status int) {
	p := &renderer{w: bufio.NewWriter(w), style: s.opts.Rendering, indent: q.query.Get("prettyPrint") != "false", buffers: &s.buffers}
	if p.style.Shuffle {
		p.rng = rand.New(rand.NewPCG(s.opts.Seed, s.shuffles.Add(1))) //nolint:gosec // tests want to be repeated
	}
	var m *mask
	if fields := q.query.Get("fields"); fields != "" && status < http.StatusBadRequest && !p.style.IgnoreFields && q.route != nil {
		m, _ = parseMask(fields, q.route.answer) // it was checked before
	}
	if s.opts.Rendering.Decoys && status < http.StatusBadRequest {
		for _, decoy := range decoys() {
			m.add(decoy.name, nil)
			o = append(object{decoy}, o...)
		}
	}
	if err := p.render(o, m, 0); err != nil {
		panic(http.ErrAbortHandler) // as a server whose disk fails
	}
	_ = p.w.WriteByte('\n') // a bufio.Writer keeps its error for Flush
	_ = p.w.Flush()         // the client may be gone
}

// decoys are members that a careless reader takes for others.
func decoys() object {
	inner := obj("raw", "bm90IHRoaXM=", "id", "}{", "historyId", uint64(1), "labelIds", []string{`"raw":"`, `\`})
	return obj("x", inner, "list", []object{inner, {}}, "raw2", "bm90IHRoaXM=", "nothing", json.RawMessage("null"), "number", json.RawMessage("-1.5e3"))
}

// compressible reports whether Google would compress the answer to a request: besides accepting gzip, the client must have the word
// in its User-Agent.
func compressible(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && strings.Contains(r.UserAgent(), "gzip")
}
