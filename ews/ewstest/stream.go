package ewstest

import (
	"bytes"
	"errors"
	"net/http"
	"time"
)

// Streaming is how GetStreamingEvents behaves. The zero value is Exchange's way.
type Streaming struct {
	Heartbeat time.Duration // 0 = 45 s
	// Together sends each event in an Envelope of its own, and all that are there in one chunk.
	Together bool
	// ChangePrefixes gives each Envelope other prefixes than the last.
	ChangePrefixes bool
	// NoClosed ends the answer without ConnectionStatus Closed.
	NoClosed bool
	// Silent sends the first answer and then nothing at all, whatever happens, without an end.
	Silent bool
	// Error is a code that is told with ConnectionStatus OK in place of each notification and heartbeat, for ever.
	Error string
	// Miss loses so many of the first events; the stream does not tell.
	Miss int
	// NeedAffinity refuses requests that do not bring the cookie X-BackEndOverrideCookie that Subscribe set.
	NeedAffinity bool
}

// renderStream writes an answer of many Envelopes. What was emitted is sent when nil is.
func (s *Server) renderStream(w http.ResponseWriter, req *request, rep *reply, p *mishap, d Dialect, sh Shred) error {
	out := s.damaged(w, req, p, sh)
	w.WriteHeader(http.StatusOK)
	var held bytes.Buffer
	send := func() error {
		_, err := out.Write(held.Bytes())
		held.Reset()
		return errors.Join(err, http.NewResponseController(w).Flush())
	}
	err := rep.stream(req.r, func(body *node) error {
		if body == nil {
			return send()
		}
		style := d
		if d.Seed++; s.opts.Streaming.ChangePrefixes {
			d.Prefixes = (d.Prefixes + 1) % (PrefixDefault + 1)
		}
		return s.document(&held, style, s.envelope(rep, body))
	})
	return errors.Join(err, send())
}
