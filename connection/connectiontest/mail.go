package connectiontest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// maxRead bounds what a rule reads of one body: a driver that never ends one must not eat the machine.
const maxRead = 64 << 20

// letter returns a small plain message that every protocol carries, different for each n.
func letter(n int) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: letter %d\r\n"+
		"Date: Fri, 13 Feb 2026 23:31:30 +0000\r\nMessage-ID: <letter-%d@example.org>\r\n\r\nThis is letter %d.\r\n%s\r\n",
		n, n, n, strings.Repeat("It goes on. ", n%7))
}

func letters(from, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = letter(from + i)
	}
	return all
}

// large is a message of so many octets: too big for one packet and for small buffers.
func (x *exam) large(n, size int) []byte {
	size = min(size, x.h.bigSize())
	name := fmt.Sprintf("large-letter-%d", n)
	return textOf("From: Ann <ann@example.org>\r\nSubject: "+name+"\r\nMessage-ID: <"+name+"@example.org>\r\n\r\n", size)
}

// carried returns the corpus and what the fixture makes of it; what it cannot hold is left out of both.
func (x *exam) carried() (give, want [][]byte) {
	for _, s := range corpus(x.h.bigSize()) {
		raw := s.Raw
		if x.h.Normalize != nil {
			changed, reason := x.h.Normalize(Sample{Name: s.Name, Raw: bytes.Clone(s.Raw)})
			switch {
			case reason == "":
			case changed == nil:
				x.t.Logf("sample %s is left out: %s", s.Name, reason)
				continue
			default:
				x.t.Logf("sample %s is expected to be changed: %s", s.Name, reason)
				raw = changed
			}
		}
		give, want = append(give, s.Raw), append(want, raw)
	}
	return give, want
}

// plain is carried for messages made by letter.
func (x *exam) plain(raw [][]byte) (want [][]byte) {
	if x.h.Normalize == nil {
		return raw
	}
	for _, octets := range raw {
		changed, reason := x.h.Normalize(Sample{Name: "letter", Raw: bytes.Clone(octets)})
		switch {
		case reason == "":
			changed = octets
		case changed == nil:
			x.t.Fatalf("connectiontest: the fixture must hold plain messages: %s", reason)
		}
		want = append(want, changed)
	}
	return want
}

// fill puts n letters at the source and returns what they are there.
func (x *exam) fill(from, n int) [][]byte {
	raw := letters(from, n)
	x.h.Fill(x.t, raw...)
	return x.plain(raw)
}

// fillRaw does so with the messages given.
func (x *exam) fillRaw(raw ...[]byte) [][]byte {
	x.h.Fill(x.t, raw...)
	return x.plain(raw)
}

// leftIs fails the rule if the source does not hold exactly want by the time that the harness allows.
func (x *exam) leftIs(when string, want [][]byte) {
	var diff string
	if !poll(x.h.Eventual, func() bool { diff = difference(x.h.Left(x.t), want); return diff == "" }) {
		x.fail("%s the source does not hold what it must:\n%s", when, diff)
	}
}

// a fetched is one message as a loop saw it.
type fetched struct {
	connection.Message // without Body
	raw                []byte
}

func raws(all []fetched) [][]byte {
	out := make([][]byte, len(all))
	for i, f := range all {
		out[i] = f.raw
	}
	return out
}

// loop runs one Fetch and checks the rules of its iterator. Errors of single messages are returned as items, the one
// that ends the loop as last. It ends early when step returns false.
func (x *exam) loop(ctx context.Context, f connection.Fetcher, opts *connection.FetchOptions, step func(*connection.Message) bool) (items []error, last error) {
	for m, err := range f.Fetch(ctx, opts) {
		x.noteError("fetch", err)
		switch {
		case last != nil:
			x.stop("fetch: after the error %v, which concerns no message, the loop went on", last)
		case (m == nil) == (err == nil):
			x.stop("fetch: yielded message %v with error %v; want exactly one of them", m, err)
		case err != nil && aboutOne(err):
			items = append(items, err)
		case err != nil:
			last = err
		case m.Body == nil:
			x.stop("fetch: message %v has no Body", m.Ref)
		case !step(m):
			return items, nil
		}
	}
	return items, last
}

// aboutOne reports whether err concerns one message only.
func aboutOne(err error) bool {
	var e *connection.Error
	return errors.As(err, &e) && !e.Ref.IsZero()
}

// read reads a body to its end.
func (x *exam) read(m *connection.Message) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(m.Body, maxRead))
	if len(raw) == maxRead {
		x.stop("message %v: the body does not end within %d octets", m.Ref, maxRead)
	}
	x.noteError("fetch (reading a body)", err)
	return raw, err
}

// fetchAll fetches all and reads all, and ends the rule on any error.
func (x *exam) fetchAll(ctx context.Context, f connection.Fetcher, opts *connection.FetchOptions) []fetched {
	var all []fetched
	x.within(x.h.patience()*3, "fetching all messages", func() {
		items, last := x.loop(ctx, f, opts, func(m *connection.Message) bool {
			raw, err := x.read(m)
			if err != nil {
				x.stop("message %v: its body ended after %d octets in %v", m.Ref, len(raw), err)
			}
			got := fetched{Message: *m, raw: raw}
			got.Body = nil
			all = append(all, got)
			return true
		})
		if err := errors.Join(append(items, last)...); err != nil {
			x.stop("fetch: %v", err)
		}
	})
	return all
}

// refsOf fetches all and returns the Refs by the octets.
func (x *exam) refsOf(f connection.Fetcher) map[string]connection.Ref {
	refs := map[string]connection.Ref{}
	for _, m := range x.fetchAll(x.ctx, f, nil) {
		refs[string(m.raw)] = m.Ref
	}
	return refs
}

// difference describes how got differs from want as a multiset, "" if it does not.
func difference(got, want [][]byte) string {
	type key = [sha256.Size]byte
	count := map[key]int{}
	for _, raw := range want {
		count[sha256.Sum256(raw)]++
	}
	var extra, missing [][]byte
	for _, raw := range got {
		sum := sha256.Sum256(raw)
		if count[sum] > 0 {
			count[sum]--
		} else {
			extra = append(extra, raw)
		}
	}
	for _, raw := range want {
		sum := sha256.Sum256(raw)
		if count[sum] > 0 {
			count[sum]--
			missing = append(missing, raw)
		}
	}
	if len(extra) == 0 && len(missing) == 0 {
		return ""
	}
	lines := []string{fmt.Sprintf("got %d, want %d", len(got), len(want))}
	for i, raw := range missing {
		if i == 8 {
			lines = append(lines, fmt.Sprintf("and %d more are missing", len(missing)-i))
			break
		}
		line := "missing: " + describe(raw)
		if near := nearestTo(raw, extra); near != nil {
			line += "; something like it is there: " + compare(near, raw)
		}
		lines = append(lines, line)
	}
	for i, raw := range extra {
		if i == 8 {
			lines = append(lines, fmt.Sprintf("and %d more are too many", len(extra)-i))
			break
		}
		lines = append(lines, "not wanted, or more than once: "+describe(raw))
	}
	return strings.Join(lines, "\n")
}

// describe names octets for people: by their subject, or as they begin.
func describe(raw []byte) string {
	begin := raw[:min(len(raw), 4096)]
	if _, after, ok := bytes.Cut(begin, []byte("Subject: ")); ok {
		subject, _, _ := bytes.Cut(after, []byte("\n"))
		return fmt.Sprintf("%q, %d octets", strings.TrimSpace(string(subject[:min(len(subject), 60)])), len(raw))
	}
	return fmt.Sprintf("%d octets beginning %q", len(raw), raw[:min(len(raw), 40)])
}

// nearestTo returns the one of others that is most likely meant to be raw.
func nearestTo(raw []byte, others [][]byte) []byte {
	var best []byte
	most := min(len(raw), 16) - 1
	for _, other := range others {
		if n := common(raw, other); n > most {
			best, most = other, n
		}
	}
	return best
}

func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// compare says where got differs from want first.
func compare(got, want []byte) string {
	at := common(got, want)
	if at == len(got) && at == len(want) {
		return "they are the same"
	}
	if at == len(got) || at == len(want) {
		return fmt.Sprintf("%d octets instead of %d, alike as far as both go", len(got), len(want))
	}
	excerpt := func(b []byte) []byte { return b[at:min(len(b), at+24)] }
	return fmt.Sprintf("%d octets instead of %d, different from octet %d on: got %q, want %q", len(got), len(want), at, excerpt(got), excerpt(want))
}
