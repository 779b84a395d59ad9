package ewstest

import (
	"io"
	"math/rand/v2"
	"net/http"
)

// A Shred is how the body of an answer is cut up into chunks of HTTP, each of which is sent at once. The zero Shred leaves
// that to net/http. What a client's Read returns depends on more than that: see [Server.SetRead].
type Shred struct {
	Chunk   int  // octets of each chunk; negative: at random up to its amount
	Hostile bool // the first 64 KiB are cut within names of elements, entities, quanta of base64, and between CR and LF
	Seed    uint64
}

// hostileOctets is how much of an answer is cut where it hurts; every cut is a packet.
const hostileOctets = 64 << 10

// Shreds are shreddings by names: the lines of a test matrix.
func Shreds() map[string]Shred {
	return map[string]Shred{
		"whole": {}, "octets": {Chunk: 1}, "4 KiB": {Chunk: 4096}, "random": {Chunk: -2000}, "hostile": {Hostile: true},
	}
}

// A shredder cuts up what is written through it.
type shredder struct {
	w     io.Writer
	flush func()
	sh    Shred
	rng   *rand.Rand
	sent  int
}

// newShredder returns a writer that writes to out, which writes to w.
func newShredder(w http.ResponseWriter, out io.Writer, sh Shred) io.Writer {
	if sh == (Shred{Seed: sh.Seed}) {
		return out
	}
	flush := func() { _ = http.NewResponseController(w).Flush() }                          // a client that is gone is told by Write
	return &shredder{w: out, flush: flush, sh: sh, rng: rand.New(rand.NewPCG(sh.Seed, 3))} //nolint:gosec // tests want to be repeated
}

func (s *shredder) Write(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		part := p[total:]
		n, err := s.w.Write(part[:s.next(part)])
		total += n
		s.sent += n
		if err != nil {
			return total, err
		}
		s.flush()
	}
	return total, nil
}

// next returns how many octets of p make the next chunk.
func (s *shredder) next(p []byte) int {
	n := len(p)
	switch {
	case s.sh.Hostile && s.sent < hostileOctets:
		return hostileCut(p, s.sent)
	case s.sh.Chunk > 0:
		n = s.sh.Chunk
	case s.sh.Chunk < 0:
		n = 1 + s.rng.IntN(-s.sh.Chunk)
	}
	return min(n, len(p))
}

// hostileCut returns how many octets of p lie before the next place where a cut hurts, at least one. sent makes the places
// within runs of base64 differ.
func hostileCut(p []byte, sent int) int {
	run := 0 // of letters and digits
	for i := 1; i < len(p); i++ {
		switch last := p[i-1]; {
		case last == '<' || last == '&' || last == '\r', p[i] == ';', p[i] == '<' && last == '>':
			return i
		case last == '/' && i == 1: // the name of an end tag, as its "<" was the end of the last chunk
			return i
		case last > ' ' && last != '=' && last != '>':
			run++
		default:
			run = 0
		}
		if run > 32+sent%5 {
			return i
		}
	}
	return len(p)
}
