package ewstest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/mail"
	"runtime"
	"strings"
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

// A large mailbox is read page by page, and its messages are what their seeds make of them.
func TestFill(t *testing.T) {
	srv, mb := server(t, nil)
	const n, octets = 20_000, 600
	mb.Folder("Big").Fill(n, 100, octets)
	messages := srv.Messages(aliceAddress, "Big")
	if len(messages) != n {
		t.Fatalf("got %d messages, want %d", len(messages), n)
	}
	body := alice(t, srv).must(getItems(messages[n-1].ID)).body
	_, rest, _ := strings.Cut(body, "MimeContent")
	content, _, _ := strings.Cut(rest[strings.Index(rest, ">")+1:], "<")
	want := make([]byte, octets)
	if _, err := (ewstest.Synthetic{Seed: 100 + n - 1, Octets: octets}).ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if got := decode(t, content); got != string(want) {
		t.Errorf("the last message is %q", got)
	}
}

// What the server allocates does not grow with what it sends.
func TestLargeAnswersAreStreamed(t *testing.T) {
	srv, mb := server(t, nil)
	const octets = 8 << 20
	id := mb.Folder("Inbox").DeliverItems(ewstest.Message{Body: ewstest.Synthetic{Octets: octets}})[0]
	c := alice(t, srv)
	c.must(getInbox)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, serverURL, strings.NewReader(getItems(id)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.Header.Set("Authorization", c.auth)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if closing := resp.Body.Close(); err != nil || closing != nil || n < octets*4/3 {
		t.Errorf("read %d octets, %v, %v", n, err, closing)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 2*octets { // it would be more than four times as many; with the race detector, pools forget much
		t.Errorf("%d octets were allocated to send %d", got, n)
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

// BenchmarkGetItem reads an answer over TLS and throws it away.
func BenchmarkGetItem(b *testing.B) {
	srv, err := ewstest.Listen(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Close()
	const octets = 5 << 20
	raw := make([]byte, octets)
	mb := srv.AddMailbox(aliceAddress, ewstest.MailboxOptions{Password: alicePassword})
	body := getItems(mb.Deliver("Inbox", raw)...)
	env := srv.Env()
	transport := &http.Transport{DialContext: env.Dial, TLSClientConfig: env.TLS}
	defer transport.CloseIdleConnections()
	b.SetBytes(octets)
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, serverURL, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/xml; charset=utf-8")
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("Authorization", basic(aliceAddress, alicePassword))
		resp, err := transport.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if closing := resp.Body.Close(); err != nil || closing != nil || n < octets*4/3 {
			b.Fatal(n, err, closing)
		}
	}
}
