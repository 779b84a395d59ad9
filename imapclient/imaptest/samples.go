package imaptest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"mime"
	"strings"
	"time"
)

// SampleMessages yields n messages as a mail archive meets them: mostly plain text of 3 to 6 KB, some in 8-bit, some
// multipart with attachments up to 200 KB, and a few odd ones (no header, bare LF, a long header line, lines of dots,
// empty, a first line that begins with "From "). The same seed yields the same octets. All are different but for the
// empty ones.
func SampleMessages(n int, seed uint64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s := sampler{rand: rand.New(rand.NewPCG(seed, 0x6d61696c))}
		for s.number = range n {
			if !yield(s.message()) {
				return
			}
		}
	}
}

type sampler struct {
	rand   *rand.Rand
	number int
	buf    bytes.Buffer
}

var (
	sampleWords = strings.Fields(`the of and to in for on with at by from as is was be this that invoice contract
		meeting minutes project delivery offer order payment account quarter budget report draft review customer
		supplier schedule Monday Tuesday Wednesday Thursday Friday please find attached regards thanks tomorrow
		yesterday update status question answer number reference office travel ticket server backup network change
		approval signature office window deadline agreement figures estimate summary`)
	sampleForeign = strings.Fields(`Grüße Übersicht façade naïve résumé Straße żółć Ελλάδα Привет 日本語 中文 한국어 señor
		Århus œuvre €uro мир übermorgen Käse Ñandú`)
	sampleNames = [...]string{
		"Ann Archer", "Bob Baker", "Chloé Durand", "Dmitri Иванов", "Eva Müller", "Finance Team", "山田太郎", "Grace O'Neil",
		"Host Master", "Ivy, J. K.",
	}
)

func (s *sampler) pick(words []string) string { return words[s.rand.IntN(len(words))] }

func (s *sampler) message() []byte {
	s.buf.Reset()
	switch kind := s.rand.IntN(1000); {
	case kind < 4: // empty
	case kind < 8:
		fmt.Fprintf(&s.buf, "message %d has no header, only this line\r\n", s.number)
	case kind < 16:
		fmt.Fprintf(&s.buf, "From archive@example.org Mon Jan  5 10:00:0%d 2026\r\n", s.number%10)
		s.header("text/plain; charset=us-ascii", "7bit", false)
		s.text(3000, sampleWords)
	case kind < 40: // bare LF throughout
		s.header("text/plain; charset=us-ascii", "7bit", false)
		s.text(s.size(), sampleWords)
		return bytes.ReplaceAll(s.buf.Bytes(), []byte("\r\n"), []byte("\n"))
	case kind < 60:
		s.header("text/plain; charset=us-ascii", "7bit", true)
		s.text(s.size(), sampleWords)
	case kind < 80: // dots, and no line end at the end
		s.header("text/plain; charset=us-ascii", "7bit", false)
		s.buf.WriteString(".\r\n..\r\n.leading dot\r\n\r\n.\r\n")
		s.text(s.size(), sampleWords)
		s.buf.WriteString("the end")
	case kind < 300:
		s.header("text/plain; charset=utf-8", "8bit", false)
		s.text(s.size(), sampleForeign)
	case kind < 400:
		s.multipart()
	default:
		s.header("text/plain; charset=us-ascii", "7bit", false)
		s.text(s.size(), sampleWords)
	}
	return bytes.Clone(s.buf.Bytes())
}

// size draws the octets of a text: mostly 3 to 6 KB with the header.
func (s *sampler) size() int {
	if s.rand.IntN(20) == 0 {
		return s.rand.IntN(30 << 10)
	}
	return 2500 + s.rand.IntN(3000)
}

// header writes a header with its empty line. Addresses, subject and date vary; a wide one has lines of kilobytes.
func (s *sampler) header(contentType, encoding string, wide bool) {
	date := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(s.rand.IntN(700*24*60)) * time.Minute)
	word := func() string { return s.pick(sampleWords) }
	subject := fmt.Sprintf("%s %s %s %d", word(), word(), word(), s.number)
	if s.rand.IntN(5) == 0 {
		subject += " " + s.pick(sampleForeign)
	}
	from, to := sampleNames[s.rand.IntN(len(sampleNames))], sampleNames[s.rand.IntN(len(sampleNames))]
	hops := 1 + s.rand.IntN(4)
	for hop := range hops {
		fmt.Fprintf(&s.buf, "Received: from relay%d.example.net (relay%d.example.net [192.0.2.%d])\r\n\tby mx%d.example.org with ESMTPS id %08x;\r\n\t%s\r\n",
			hop, hop, 1+s.rand.IntN(250), hop, s.rand.Uint32(), date.Format(time.RFC1123Z))
	}
	fmt.Fprintf(&s.buf, "Date: %s\r\nFrom: %s <user%d@example.org>\r\nTo: %s <user%d@example.com>\r\n",
		date.Format(time.RFC1123Z), phrase(from), s.rand.IntN(500), phrase(to), s.rand.IntN(500))
	fmt.Fprintf(&s.buf, "Subject: %s\r\nMessage-ID: <%d.%016x@example.org>\r\nMIME-Version: 1.0\r\n",
		mime.QEncoding.Encode("utf-8", subject), s.number, s.rand.Uint64())
	if wide {
		fmt.Fprintf(&s.buf, "X-Trace: %s\r\n", strings.Repeat("0123456789abcdef", 100+s.rand.IntN(2000)))
		s.buf.WriteString("References:")
		for range 50 {
			fmt.Fprintf(&s.buf, "\r\n <%016x@example.org>", s.rand.Uint64())
		}
		s.buf.WriteString("\r\n")
	}
	fmt.Fprintf(&s.buf, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", contentType, encoding)
}

// phrase writes a display name as a header may hold it.
func phrase(name string) string {
	if encoded := mime.QEncoding.Encode("utf-8", name); encoded != name {
		return encoded
	}
	return quote(name)
}

// text writes lines of words, about so many octets.
func (s *sampler) text(octets int, words []string) {
	end := s.buf.Len() + octets
	for s.buf.Len() < end {
		for start := s.buf.Len(); s.buf.Len() < start+66; {
			s.buf.WriteString(s.pick(words))
			s.buf.WriteByte(' ')
			if s.rand.IntN(4) == 0 {
				s.buf.WriteString(s.pick(sampleWords))
				s.buf.WriteByte(' ')
			}
		}
		s.buf.Truncate(s.buf.Len() - 1)
		s.buf.WriteString("\r\n")
		if s.rand.IntN(8) == 0 {
			s.buf.WriteString("\r\n")
		}
	}
}

// multipart writes a text and one or two attachments.
func (s *sampler) multipart() {
	boundary := fmt.Sprintf("=_%016x", s.rand.Uint64())
	s.header(fmt.Sprintf("multipart/mixed; boundary=%q", boundary), "7bit", false)
	fmt.Fprintf(&s.buf, "This is a message in several parts.\r\n--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", boundary)
	s.text(500+s.rand.IntN(2000), sampleWords)
	for i := range 1 + s.rand.IntN(2) {
		fmt.Fprintf(&s.buf, "--%s\r\nContent-Type: application/octet-stream; name=\"file%d.bin\"\r\nContent-Disposition: attachment; filename=\"file%d.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, i, i)
		s.base64(s.attachment())
	}
	fmt.Fprintf(&s.buf, "--%s--\r\n", boundary)
}

// attachment draws the octets of an attachment: few are large, and two of the largest still stay below 200 KB in base64.
func (s *sampler) attachment() int {
	if s.rand.IntN(10) == 0 {
		return 20<<10 + s.rand.IntN(48<<10)
	}
	return 1 + s.rand.IntN(6<<10)
}

// base64 writes so many random octets in lines of 76.
func (s *sampler) base64(octets int) {
	const perLine = 57
	var raw [64]byte
	for left := octets; left > 0; left -= perLine {
		for i := 0; i < len(raw); i += 8 {
			binary.LittleEndian.PutUint64(raw[i:], s.rand.Uint64())
		}
		s.buf.Write(base64.StdEncoding.AppendEncode(s.buf.AvailableBuffer(), raw[:min(left, perLine)]))
		s.buf.WriteString("\r\n")
	}
}
