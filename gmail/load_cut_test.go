package gmail_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// A large message that is cut in its body is asked for again as a whole, and comes whole or not at all; no file stays behind.
func TestG27CutMessage(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	inBubble(t, &gmailtest.Options{Rendering: gmailtest.Rendering{NoGzip: true}}, nil, func(t *testing.T, r *syncRig) {
		const size = 3_000_000
		ref := connection.Ref{Mailbox: r.id, ID: r.DeliverWith(ann, nil, gmailtest.Delivery{Content: madeUp(size)})}
		r.Fail(gmailtest.On("messages.get").Times(1), gmailtest.Cut(3_500_000))
		r.Fail(gmailtest.On("messages.get").Nth(2).Times(1), gmailtest.Short(2_000_000))
		m, err := r.conn.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		body := m.Body.(io.ReadCloser)
		got, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		want := make([]byte, size)
		if _, err := madeUp(size).ReadAt(want, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || m.Size != size {
			t.Errorf("got %d octets, or others, and a size of %d, want %d", len(got), m.Size, size)
		}
		if _, raw := r.reads(); raw != 3 {
			t.Errorf("it was asked for %d times, want 3", raw)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("files are left: %v, %v", left, err)
		}
	})
}
