package imaptest_test

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestSampleMessages(t *testing.T) {
	const n = 2000
	seen := make(map[[sha256.Size]byte]bool)
	var sizes []int
	var empty, bareLF, eightBit, multipart, noHeader, encoded int
	for raw := range imaptest.SampleMessages(n, 7) {
		sizes = append(sizes, len(raw))
		digest := sha256.Sum256(raw)
		switch {
		case len(raw) == 0:
			empty++
		case seen[digest]:
			t.Fatalf("message %d is there twice", len(sizes)-1)
		case !bytes.Contains(raw, []byte("\r\n")):
			bareLF++
		case !bytes.Contains(raw, []byte("Message-ID:")):
			noHeader++
		case bytes.Contains(raw, []byte("multipart/mixed")):
			multipart++
		}
		if bytes.Contains(raw, []byte("=?utf-8?q?")) {
			encoded++
		}
		if slices.ContainsFunc(raw, func(b byte) bool { return b >= 0x80 }) {
			eightBit++
		}
		seen[digest] = true
	}
	slices.Sort(sizes)
	if len(sizes) != n {
		t.Fatalf("got %d messages, want %d", len(sizes), n)
	}
	for name, count := range map[string]int{
		"empty": empty, "bare LF": bareLF, "8-bit": eightBit, "multipart": multipart, "no header": noHeader, "encoded words": encoded,
	} {
		if count == 0 {
			t.Errorf("no message is of the kind %q", name)
		}
	}
	if low, high := sizes[n/4], sizes[n*3/4]; low < 3000 || high > 6500 {
		t.Errorf("half of the messages have %d to %d octets, want 3 to 6 KB", low, high)
	}
	if largest := sizes[n-1]; largest > 200<<10 || largest < 50<<10 {
		t.Errorf("the largest message has %d octets, want 50 to 200 KiB", largest)
	}
}

func TestSampleMessagesRepeat(t *testing.T) {
	first := slices.Collect(imaptest.SampleMessages(300, 1))
	if again := slices.Collect(imaptest.SampleMessages(300, 1)); !slices.EqualFunc(first, again, bytes.Equal) {
		t.Error("one seed gives two sequences")
	}
	if other := slices.Collect(imaptest.SampleMessages(300, 2)); slices.EqualFunc(first, other, bytes.Equal) {
		t.Error("two seeds give one sequence")
	}
}
