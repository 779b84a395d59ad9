package connectiontest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A Sample is one message of the [Corpus].
type Sample struct {
	Name string // in lower case with hyphens: "bare-lf"
	Raw  []byte // the caller's own: it may be changed
}

// The sizes of the two big samples.
const (
	longLine   = 1 << 20
	bigMessage = 5 << 20
)

// Corpus returns messages that programs get wrong: 8-bit and NUL octets, bare CR and LF, a line of 1 MiB, a message of
// 5 MiB, none at all, and so on. They are the same octets on every call and in every process, about 6 MiB together,
// and no two are alike, so that a message can be told by its octets. The names are stable; samples may be added.
func Corpus() []Sample { return corpus(bigMessage) }

// corpus returns the samples of at most so many octets.
func corpus(limit int) []Sample {
	head := func(subject string) string {
		return "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: " + subject +
			"\r\nDate: Fri, 13 Feb 2026 23:31:30 +0000\r\nMessage-ID: <" + subject + "@example.org>\r\n"
	}
	text := func(name, raw string) Sample { return Sample{Name: name, Raw: []byte(raw)} }
	samples := []Sample{
		text("plain", head("plain")+"\r\nHello Bob.\r\n"),
		text("empty", ""),
		text("one-octet", "x"),
		text("only-crlf", "\r\n"),
		text("only-lf", "\n"),
		text("only-cr", "\r"),
		text("no-header", "\r\nThe body begins at once.\r\n"),
		text("no-body", head("no-body")),
		text("no-blank-line", "Subject: a header and then\r\nno header any more\r\n"),
		text("no-final-newline", head("no-final-newline")+"\r\nThe last line has no end"),
		text("final-cr", head("final-cr")+"\r\nThe last octet is a CR\r"),
		text("bare-lf", strings.ReplaceAll(head("bare-lf")+"\r\nUnix\r\nlines\r\n", "\r\n", "\n")),
		text("bare-cr", head("bare-cr")+"\r\nold Mac\rlines\r\rhere\r\n"),
		text("mixed-line-ends", head("mixed-line-ends")+"\r\none\r\ntwo\nthree\rfour\r\r\nfive\n\r\n"),
		text("from-line", "From ann@example.org Fri Feb 13 23:31:30 2026\r\n"+head("from-line")+"\r\nFrom here on\r\n>From there\r\n"),
		text("dots", head("dots")+"\r\n.\r\n..\r\n.hidden\r\n...\r\n\r\n.\r\n"),
		text("dot-at-end", head("dot-at-end")+"\r\nText\r\n."),
		text("dot-first", ".\r\nfirst line\r\n"),
		text("smuggle", head("smuggle")+"\r\nText\n.\nMAIL FROM:<eve@example.org>\r.\rRCPT TO:<bob@example.org>\r\n"),
		text("8-bit", head("8-bit")+"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe, \xc3\xa9t\xc3\xa9, \xff\xfe\x80\r\n"),
		text("8-bit-header", "Subject: caf\xe9 \xc3\xa9t\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\r\nFrom: J\xf6rg <j@example.org>\r\n\r\nBody\r\n"),
		text("nul", head("nul")+"\r\na\x00b\x00\x00\r\n\x00\r\n"),
		text("controls", head("controls")+"\r\n\x01\x02\x07\x08\x0b\x0c\x1a\x1b[31m\x7f\x04\r\n"),
		text("byte-order-mark", "\xef\xbb\xbf"+head("byte-order-mark")+"\r\nText\r\n"),
		text("white-space-ends", head("white-space-ends")+"\r\ntrailing spaces   \r\ntabs\t\t\r\n   \r\n\t\r\n"),
		text("many-final-newlines", head("many-final-newlines")+"\r\nText\r\n\r\n\r\n\r\n\r\n"),
		text("looks-like-imap", head("looks-like-imap")+"\r\n* 1 FETCH (UID 7 BODY[] {10}\r\n)\r\nA1 OK done\r\n+ go on\r\n{3+}\r\n~{4}\r\n"),
		text("looks-like-mime", head("looks-like-mime")+"Content-Type: multipart/mixed; boundary=\"a\"\r\n\r\n--a\r\n\r\none\r\n--a--\r\n--a\r\nafter the end\r\n"),
		text("looks-like-http", head("looks-like-http")+"\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n]]>&#0;<x/>%0d%0a\r\n"),
		text("folded-forever", "Subject: begins"+strings.Repeat("\r\n continues", 2000)+"\r\n\r\nBody\r\n"),
		text("many-headers", strings.Repeat("X-Again: and again\r\n", 3000)+head("many-headers")+"\r\nBody\r\n"),
	}
	// Every octet value, in order and after a CR.
	all := []byte(head("every-octet") + "\r\n")
	for i := range 256 {
		all = append(all, byte(i))
	}
	for i := range 256 {
		all = append(all, '\r', byte(i))
	}
	samples = append(samples, Sample{Name: "every-octet", Raw: all})
	// Sizes around the buffers that programs like.
	for _, size := range []int{4095, 4096, 4097, 32768, 65536, 65537} {
		name := fmt.Sprintf("size-%d", size)
		samples = append(samples, Sample{Name: name, Raw: textOf(head(name)+"\r\n", size)})
	}
	if limit >= longLine+1000 {
		line := []byte(head("long-line") + "\r\n")
		line = append(line, bytes.Repeat([]byte("0123456789abcdef"), longLine/16)...)
		samples = append(samples, Sample{Name: "long-line", Raw: append(line, "\r\n"...)})
	}
	if limit >= bigMessage {
		samples = append(samples, Sample{Name: "big", Raw: textOf(head("big")+"\r\n", bigMessage)})
	}
	return samples
}

// textOf returns head and lines of pseudo-random text behind it, size octets in all, with a CRLF at the end.
func textOf(head string, size int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	rng := rand.New(rand.NewPCG(uint64(size), uint64(len(head))))
	raw := make([]byte, 0, size+100)
	raw = append(raw, head...)
	for len(raw) < size {
		for range 8 {
			for bits, n := rng.Uint64(), 0; n < 9; bits, n = bits>>6, n+1 {
				raw = append(raw, letters[bits&63])
			}
		}
		raw = append(raw, "\r\n"...)
	}
	raw = raw[:size]
	copy(raw[size-3:], "=\r\n")
	return raw
}
