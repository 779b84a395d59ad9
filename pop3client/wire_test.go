package pop3client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stuffed returns a message as it goes over the wire (RFC 1939, 3), with the line that ends it.
func stuffed(raw string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(raw, "\r\n") {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	if raw != "" && !strings.HasSuffix(raw, "\r\n") {
		b.WriteString("\r\n")
	}
	return b.String() + ".\r\n"
}

// exact are messages that end in CRLF or are empty: they come as they are.
var exact = map[string]string{
	"empty":             "",
	"text":              "Subject: x\r\n\r\nbody\r\n",
	"leading dots":      ".hidden\r\n..two\r\n.\r\n...\r\n",
	"dot and CR":        ".\rx\r\n.\r\r\n\r\n.\r\n",
	"bare LF":           "a\nb\n.\n.c\n\r\n",
	"bare CR":           "a\rb\r.\r.c\r\r\n",
	"smuggled ends":     "a\n.\r\nb\r.\r\nc\n.\nd\r.\re\r\n",
	"NUL and 8-bit":     "\x00\x80\xff\r\n\x00.\r\n",
	"From line":         "From a Mon\r\n>From b\r\n",
	"only line ends":    "\r\n\r\n\r\n",
	"CR before CRLF":    "\r\r\n.\r\n",
	"long line":         strings.Repeat("x", 100_000) + "\r\n." + strings.Repeat("y", 10_000) + "\r\n",
	"lines of dots":     strings.Repeat(".\r\n", 1000),
	"lines of two dots": strings.Repeat("..123456789abcdef\r\n", 8000),
}

func TestDotReaderExact(t *testing.T) {
	for name, raw := range exact {
		wire := stuffed(raw) + "+OK next\r\n"
		for how, reader := range map[string]func() io.Reader{
			"at once":        func() io.Reader { return strings.NewReader(wire) },
			"octet by octet": func() io.Reader { return iotest.OneByteReader(strings.NewReader(wire)) },
			"by halves":      func() io.Reader { return iotest.HalfReader(strings.NewReader(wire)) },
		} {
			for _, size := range []int{16, 4096, 256 << 10} {
				br := bufio.NewReaderSize(reader(), size)
				got, err := io.ReadAll(&dotReader{br: br})
				if err != nil || string(got) != raw {
					t.Errorf("%s, %s, buffer %d: got %d octets, want %d, %v; first difference at %d", name, how, size, len(got), len(raw), err, differAt(string(got), raw))
				}
				if rest, err := br.ReadString('\n'); err != nil || rest != "+OK next\r\n" {
					t.Errorf("%s, %s, buffer %d: behind it came %q, %v", name, how, size, rest, err)
				}
			}
		}
	}
}

func differAt(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// The end of a message and the dots before it may lie in any two reads, and the caller's buffer may end anywhere.
func TestDotReaderSplits(t *testing.T) {
	raw := "a\r\n.b\r\n\r\n..\r\nc\r\n"
	wire := stuffed(raw)
	for i := range len(wire) {
		for size := 1; size < 8; size++ {
			r := &dotReader{br: bufio.NewReader(io.MultiReader(strings.NewReader(wire[:i]), strings.NewReader(wire[i:])))}
			var got bytes.Buffer
			if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{r}, make([]byte, size)); err != nil || got.String() != raw {
				t.Fatalf("split at %d, read by %d: got %q, %v", i, size, got.String(), err)
			}
		}
	}
}

// A stream that ends before the message does is an error at every octet.
func TestDotReaderCut(t *testing.T) {
	for name, raw := range exact {
		wire := stuffed(raw)
		for i := 0; i < len(wire); i += max(1, len(wire)/500) {
			got, err := io.ReadAll(&dotReader{br: bufio.NewReader(strings.NewReader(wire[:i]))})
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(raw, string(got)) {
				t.Fatalf("%s, cut after %d of %d octets: got %d octets, %v", name, i, len(wire), len(got), err)
			}
		}
	}
}

// Without tolerance only CRLF "." CRLF is the end; with it, LF "." LF is too.
func TestDotReaderBareLF(t *testing.T) {
	wire := "a\n..b\n.c\n.\n+OK"
	got, err := io.ReadAll(&dotReader{br: bufio.NewReader(strings.NewReader(wire)), bareLF: true})
	if err != nil || string(got) != "a\n.b\nc\n" {
		t.Errorf("with tolerance: got %q, %v", got, err)
	}
	got, err = io.ReadAll(&dotReader{br: bufio.NewReader(strings.NewReader(wire))})
	if !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != wire {
		t.Errorf("without: got %q, %v", got, err)
	}
}

func TestDotReaderAllocates(t *testing.T) {
	wire := stuffed(strings.Repeat(".line of text\r\n", 1000))
	src, br, buf := strings.NewReader(wire), bufio.NewReaderSize(nil, 64<<10), make([]byte, 4<<10)
	if n := testing.AllocsPerRun(20, func() {
		src.Reset(wire)
		br.Reset(src)
		d := dotReader{br: br}
		for d.err == nil {
			if _, err := d.Read(buf); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
	}); n > 2 {
		t.Errorf("%v allocations for 1,000 lines, want none a line", n)
	}
}
