package imapclient

import (
	"bytes"
	"math"
	"slices"
	"strconv"
)

// A SEARCH response may be the largest text there is, one number for each message of a folder. It is read number by
// number instead of being kept as text, and handed on in ascending order: go-imap takes each number into a sorted set,
// which costs seconds for some ten thousand numbers in descending order and hours for a million.

// searching is where a SEARCH response stands. It lasts from one piece of text to the next.
type searching struct {
	number uint64 // the digits so far
	digits int    //
	tail   []byte // from "(" on: (MODSEQ 12)
	sorted bool   // ascending so far
	odd    bool   // spaces that should not be there
	spaces int
}

// sought is what the SEARCH responses to the command under way have held so far.
type sought struct {
	numbers int
	last    uint32 // the highest
}

// searchLimits bound one SEARCH response, and the numbers of all that answer one command. Tests lower them.
type searchLimits struct{ octets, numbers int }

// maxTail is how long what follows the numbers may be.
const maxTail = 64

// search takes the next piece of a SEARCH response's text behind its head.
func (g *guard) search(part []byte) error {
	if g.searching == nil {
		g.searching = &searching{sorted: true, spaces: 1}
		g.found = g.found[:0]
	}
	s := g.searching
	g.text += len(part)
	if g.text > g.most.octets {
		return g.violation("a SEARCH response over %d octets", g.most.octets)
	}
	for _, c := range part {
		switch {
		case s.tail != nil && c != '\n':
			if s.tail = append(s.tail, c); len(s.tail) > maxTail {
				return g.violation("a SEARCH response with something behind its numbers: %q", g.shown(s.tail))
			}
		case c >= '0' && c <= '9':
			s.number = s.number*10 + uint64(c-'0')
			s.digits++
			if s.number > math.MaxUint32 || s.digits > 20 {
				return g.violation("a SEARCH response with a number out of range")
			}
			s.spaces = 0
		case c == ' ' || c == '\r' || c == '\n':
			if err := g.foundOne(s); err != nil {
				return err
			}
			if c == ' ' {
				s.spaces++
			}
			s.odd = s.odd || s.spaces > 1 || c == '\r' && s.spaces > 0 && len(g.found) > 0
			if c == '\n' {
				if err := g.endSearch(s); err != nil {
					return err
				}
			}
		case c == '(':
			s.tail = append(s.tail, c)
		default:
			return g.violation("a SEARCH response with %q in it", string(rune(c)))
		}
	}
	return nil
}

// foundOne ends the number that is being read, if there is one.
func (g *guard) foundOne(s *searching) error {
	if s.digits == 0 {
		return nil
	}
	n := uint32(s.number) // in range: search has looked
	s.number, s.digits = 0, 0
	if g.drop {
		return nil
	}
	if len(g.found) == g.most.numbers {
		return g.violation("a SEARCH response with over %d numbers", g.most.numbers)
	}
	s.sorted = s.sorted && (len(g.found) == 0 || g.found[len(g.found)-1] < n)
	g.found = append(g.found, n)
	return nil
}

// maxMixed is how many numbers several SEARCH responses to one command may hold if they are not in ascending order: go-imap
// would sort them, at the cost that is told above.
const maxMixed = 10_000

// endSearch makes the response ready to be handed on.
func (g *guard) endSearch(s *searching) error {
	g.searching = nil
	if g.drop {
		return nil
	}
	if !s.sorted {
		g.quirk("search-order")
		slices.Sort(g.found)
		g.found = slices.Compact(g.found)
	}
	if s.odd {
		g.quirk("spaces")
	}
	if n := len(g.found); n > 0 {
		mixed := g.hits.numbers > 0 && g.found[0] <= g.hits.last
		g.hits.numbers += n
		g.hits.last = max(g.hits.last, g.found[n-1])
		switch {
		case g.hits.numbers > g.most.numbers:
			return g.violation("SEARCH responses with over %d numbers", g.most.numbers)
		case mixed && g.hits.numbers > maxMixed:
			return g.violation("several SEARCH responses to one command, in no order")
		}
	}
	g.left, g.tail = g.found, "\r\n"
	if tail := bytes.TrimSpace(s.tail); len(tail) > 0 {
		g.tail = " " + string(tail) + "\r\n"
	}
	return nil
}

// handOnFound puts the next piece of a SEARCH response into out.
func (g *guard) handOnFound() {
	g.line = g.line[:0]
	n := 0
	for n < len(g.left) && len(g.line) < searchPiece {
		g.line = append(g.line, ' ')
		g.line = strconv.AppendUint(g.line, uint64(g.left[n]), 10)
		n++
	}
	g.left = g.left[n:]
	if len(g.left) == 0 {
		g.line = append(g.line, g.tail...)
		g.left, g.tail = nil, ""
		if cap(g.found) > keptCapacity {
			g.found = nil
		}
	}
	g.out = g.line
}
