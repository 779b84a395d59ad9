package gmail

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailconn/mailconn/connection"
)

const batchType = `multipart/mixed; boundary="b"`

// batchBody returns a body of parts: their Content-ID and the answer in it.
func batchBody(parts ...[2]string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/http\r\nContent-ID: %s\r\n\r\n%s\r\n", p[0], p[1])
	}
	return b.String() + "--b--\r\n"
}

const fine = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{\"id\":\"a\",\"labelIds\":[\"X\"]}"

func TestReadBatch(t *testing.T) {
	answers, err := readBatch(batchType, strings.NewReader(batchBody(
		[2]string{"<response-item-2>", fine},
		[2]string{"response-item-0", "HTTP/1.1 404 Not Found\r\n\r\nno length"},
		[2]string{"<response-item-x>", fine},
		[2]string{"", fine},
		[2]string{"<response-item-2>", "HTTP/1.1 500 Again\r\n\r\n"},
		[2]string{"<response-item-7>", "HTTP/1.1 429 Slowly\r\nRetry-After: 3\r\n\r\n{}"},
	)))
	if err != nil {
		t.Fatal(err)
	}
	if len(answers) != 3 || answers[2].status != 200 || answers[0].status != 404 || string(answers[0].body) != "no length" || answers[7].header.Get("Retry-After") != "3" {
		t.Errorf("got %v", answers)
	}
	for id, want := range map[string]connection.Kind{"a": connection.ErrUnknown, "b": connection.ErrProtocol} {
		if s := answers[2].state(id); connection.KindOf(s.err) != want || s.err == nil && fmt.Sprint(s.labels) != "[X]" {
			t.Errorf("%s: got %+v", id, s)
		}
	}
	if s := answers[0].state("a"); connection.KindOf(s.err) != connection.ErrCorrupt {
		t.Errorf("got %+v", s)
	}
}

func TestReadBrokenBatch(t *testing.T) {
	good := batchBody([2]string{"<response-item-0>", fine})
	for name, test := range map[string]struct {
		kind string
		body io.Reader
		want connection.Kind
	}{
		"html":           {"text/html", strings.NewReader("<html>"), connection.ErrProtocol},
		"no boundary":    {"multipart/mixed", strings.NewReader(good), connection.ErrProtocol},
		"no http":        {batchType, strings.NewReader(batchBody([2]string{"<item-0>", "nothing of the kind"})), connection.ErrProtocol},
		"cut":            {batchType, strings.NewReader(good[:len(good)-60]), connection.ErrNetwork},
		"cut at the end": {batchType, strings.NewReader(strings.TrimSuffix(good, "--b--\r\n")), connection.ErrNetwork},
		"empty":          {batchType, strings.NewReader(""), connection.ErrNetwork},
		"failing":        {batchType, io.MultiReader(strings.NewReader(good[:50]), iotest.ErrReader(connection.ErrTimeout)), connection.ErrTimeout},
		"a long part":    {batchType, strings.NewReader(batchBody([2]string{"<item-0>", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 2<<20)})), connection.ErrTooLarge},
		"long": {
			batchType, io.MultiReader(strings.NewReader("--b\r\nContent-ID: <x>\r\n\r\n"), endless{}), connection.ErrTooLarge,
		},
	} {
		if answers, err := readBatch(test.kind, test.body); connection.KindOf(err) != test.want {
			t.Errorf("%s: got %v, %v, want %v", name, answers, err, test.want)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// FuzzReadBatch holds that no answer is beyond readBatch, and that what it returns is bounded.
func FuzzReadBatch(f *testing.F) {
	f.Add(batchType, batchBody([2]string{"<response-item-0>", fine}))
	f.Add(batchType, batchBody([2]string{"<response-item-1>", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"}))
	f.Add(`multipart/mixed; boundary=b`, "--b\r\n\r\n")
	f.Fuzz(func(t *testing.T, kind, body string) {
		answers, err := readBatch(kind, strings.NewReader(body))
		if err != nil && connection.KindOf(err) == connection.ErrUnknown {
			t.Errorf("got %v without a kind", err)
		}
		if len(answers) > batchSize {
			t.Errorf("got %d answers", len(answers))
		}
		for _, a := range answers {
			if s := a.state("a"); s.err != nil && connection.KindOf(s.err) == connection.ErrUnknown {
				t.Errorf("got %v without a kind", s.err)
			}
		}
	})
}
