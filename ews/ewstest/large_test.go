package ewstest_test

import (
	"bytes"
	"io"
	"net/mail"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestSyntheticReadsTheSameFromAnywhere(t *testing.T) {
	for _, size := range []int64{0, 1, 100, 512, 5000} {
		s := ewstest.Synthetic{Seed: 7, Octets: size}
		whole, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
		if err != nil || int64(len(whole)) != size {
			t.Fatalf("size %d: got %d octets, %v", size, len(whole), err)
		}
		for off := int64(0); off <= size; off += 37 {
			for _, n := range []int{0, 1, 3, 200} {
				p := make([]byte, n)
				got, err := s.ReadAt(p, off)
				if want := min(int64(n), size-off); int64(got) != want || (int64(n) > want) != (err == io.EOF) { //nolint:errorlint // the bare io.EOF is meant
					t.Fatalf("size %d, ReadAt(%d octets, %d): got %d, %v", size, n, off, got, err)
				}
				if !bytes.Equal(p[:got], whole[off:off+int64(got)]) {
					t.Fatalf("size %d, ReadAt(%d octets, %d) differs from the whole", size, n, off)
				}
			}
		}
	}
	if _, err := (ewstest.Synthetic{Octets: 10}).ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
}

func TestSyntheticIsAMessage(t *testing.T) {
	s := ewstest.Synthetic{Seed: 9, Octets: 2000}
	m, err := mail.ReadMessage(io.NewSectionReader(s, 0, s.Size()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Header.Get("Message-ID"), "<"+s.MessageID()+">"; got != want {
		t.Errorf("Message-ID: got %s, want %s", got, want)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	other := ewstest.Synthetic{Seed: 10, Octets: 2000}
	octets, err := io.ReadAll(io.NewSectionReader(other, 0, other.Size()))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasSuffix(octets, body[len(body)-500:]) {
		t.Error("another seed gives the same body")
	}
	for _, line := range bytes.Split(body, []byte("\r\n")) {
		if len(line) > 76 || bytes.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("a line is not of RFC 5322: %q", line)
		}
	}
}

func BenchmarkSynthetic(b *testing.B) {
	s := ewstest.Synthetic{Seed: 1, Octets: 16 << 20}
	b.SetBytes(s.Octets)
	for b.Loop() {
		if n, err := io.Copy(io.Discard, io.NewSectionReader(s, 0, s.Size())); err != nil || n != s.Octets {
			b.Fatal(n, err)
		}
	}
}
