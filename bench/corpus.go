package main

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
)

// A corpus is a number of messages of sizes between two bounds, always the same ones.
type corpus struct {
	count    int
	min, max int // octets
}

// messages yields the corpus. Each message has a header of the usual length and lines of text that end in CRLF. The
// slice is valid until the next step.
func (c corpus) messages() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		r := rand.New(rand.NewPCG(1, uint64(c.count))) // repeatable, not secret
		var b bytes.Buffer
		for i := range c.count {
			b.Reset()
			size := c.min + r.IntN(c.max-c.min+1)
			fmt.Fprintf(&b, "Received: from mx%d.example.org (mx%[1]d.example.org [192.0.2.%d])\r\n\tby mail.example.com with ESMTPS id %016x;\r\n\tMon, 2 Mar 2026 10:%02d:%02d +0000\r\n", r.IntN(9), r.IntN(250), r.Uint64(), i/60%60, i%60)
			fmt.Fprintf(&b, "Message-ID: <%016x.%d@example.org>\r\nDate: Mon, 2 Mar 2026 10:%02d:%02d +0000\r\n", r.Uint64(), i, i/60%60, i%60)
			fmt.Fprintf(&b, "From: Sender %d <sender%[1]d@example.org>\r\nTo: Reader <reader@example.com>\r\nSubject: message %d\r\n", r.IntN(500), i)
			b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
			for b.Len() < size-2 {
				line := min(size-2-b.Len(), 40+r.IntN(37))
				for range line {
					b.WriteByte("etaoin shrdlu cmfwyp"[r.IntN(20)])
				}
				b.WriteString("\r\n")
			}
			if !yield(b.Bytes()) {
				return
			}
		}
	}
}

// octets returns the size of the whole corpus.
func (c corpus) octets() int64 {
	var n int64
	for m := range c.messages() {
		n += int64(len(m))
	}
	return n
}
