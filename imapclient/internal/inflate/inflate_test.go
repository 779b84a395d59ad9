package inflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func deflate(t testing.TB, level int, pieces ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	for _, p := range pieces {
		if err == nil {
			_, err = w.Write(p)
		}
		if err == nil {
			err = w.Flush()
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// samples are texts that make every kind of block: stored, fixed, dynamic, with far and near copies.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	var words strings.Builder
	for words.Len() < 400_000 {
		words.WriteString([]string{"Received: from ", "mail.example.org ", "\r\n", "Subject: ", "a", "zz "}[rng.IntN(6)])
	}
	far := append(append(bytes.Clone(noise[:32<<10]), words.String()[:100]...), noise[:32<<10]...)
	return map[string][]byte{
		"nothing": nil, "one octet": {0}, "a word": []byte("* OK done\r\n"), "noise": noise, "words": []byte(words.String()),
		"zeros": make([]byte, 500_000), "far copies": far,
	}
}

func TestInflate(t *testing.T) {
	for name, want := range samples() {
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression} {
			data := deflate(t, level, want[:len(want)/3], want[len(want)/3:])
			for kind, src := range map[string]io.Reader{"whole": bytes.NewReader(data), "octets": iotest.OneByteReader(bytes.NewReader(data)), "with EOF": iotest.DataErrReader(bytes.NewReader(data))} {
				got, err := io.ReadAll(NewReader(nil, src))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, level %d, %s: got %d octets and %v, want %d octets", name, level, kind, len(got), err, len(want))
				}
			}
			half := len(data) / 2
			if got, err := io.ReadAll(NewReader(data[:half], bytes.NewReader(data[half:]))); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, level %d, half of it begun: got %d octets and %v", name, level, len(got), err)
			}
		}
	}
}

// TestInflateHoldsNothingBack: what zlib's Z_PARTIAL_FLUSH has ended must be there before more input is.
func TestInflateHoldsNothingBack(t *testing.T) {
	// Python: z = zlib.compressobj(9, zlib.DEFLATED, -15); z.compress(line) + z.flush(zlib.Z_PARTIAL_FLUSH), twice.
	first, second := "d252f0f75648cb2c2a2e51c8c9cc4be5e50208", "202d9040716a727e5e0a584447a13c2333394321b318c8cd4e5528c94845510f10"
	r, w := io.Pipe()
	defer func() { _ = w.Close() }() // a pipe has no error here
	f := NewReader(nil, r)
	buf := make([]byte, 1000)
	for i, part := range []string{first, second} {
		want := []string{"* OK first line\r\n", "* OK second line, which is like the first line\r\n"}[i]
		octets, err := hex.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = w.Write(octets) }() // fails if the reader gives up, which the test sees
		got := ""
		for got != want { // a Read that waits for more hangs the test
			n, err := f.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if got += string(buf[:n]); !strings.HasPrefix(want, got) {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
}

func TestInflateCorrupt(t *testing.T) {
	good := deflate(t, flate.DefaultCompression, samples()["words"])
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"no such block":         {[]byte{0x06}, ErrCorrupt},
		"a stored length":       {[]byte{0x01, 1, 0, 0, 0}, ErrCorrupt},
		"a copy of nothing":     {[]byte{0x03, 0x02, 0, 0}, ErrCorrupt},
		"over-full code tables": {append([]byte{0x05, 0xc0}, bytes.Repeat([]byte{0x49}, 40)...), ErrCorrupt},
		"the end is missing":    {good[:len(good)-9], io.ErrUnexpectedEOF},
		"nothing":               {nil, io.ErrUnexpectedEOF},
	} {
		if _, err := io.ReadAll(NewReader(nil, bytes.NewReader(test.data))); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestInflateReadError(t *testing.T) {
	want := errors.New("no more")
	data := deflate(t, flate.DefaultCompression, []byte("hello"))
	got, err := io.ReadAll(NewReader(nil, io.MultiReader(bytes.NewReader(data[:len(data)-5]), iotest.ErrReader(want))))
	if string(got) != "hello" || !errors.Is(err, want) {
		t.Errorf("got %q and %v, want all that is known and then the reader's error", got, err)
	}
}

// FuzzInflate holds the Reader against compress/flate: what that one reads, ours reads.
func FuzzInflate(f *testing.F) {
	for _, text := range samples() {
		f.Add(deflate(f, flate.BestCompression, text[:min(len(text), 3000)]), 7)
	}
	f.Add([]byte{0x05, 0xc0, 0x81}, 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), most))
		step = max(1, step&0xff)
		var src io.Reader = bytes.NewReader(data)
		if step < 3 {
			src = iotest.OneByteReader(src)
		}
		var got []byte
		var err error
		buf := make([]byte, step)
		in := NewReader(nil, src)
		for len(got) < most && err == nil {
			var n int
			n, err = in.Read(buf[:min(step, most-len(got))])
			got = append(got, buf[:n]...)
		}
		switch {
		case wantErr == nil && (!bytes.Equal(got, want) || err != nil && !errors.Is(err, io.EOF)):
			t.Fatalf("got %d octets and %v, want %d octets", len(got), err, len(want))
		case !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got):
			t.Fatalf("got %q, compress/flate got %q", got, want)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	text := samples()["words"]
	data := deflate(b, flate.DefaultCompression, text)
	for name, open := range map[string]func() io.Reader{
		"ours":           func() io.Reader { return NewReader(nil, bytes.NewReader(data)) },
		"compress_flate": func() io.Reader { return flate.NewReader(bytes.NewReader(data)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if n, err := io.Copy(io.Discard, open()); err != nil || n != int64(len(text)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
